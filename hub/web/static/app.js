// The workspace's behaviour: keys, side sheet, toasts, theme, copying, the bar that shows that something takes time.
"use strict";

(() => {
  const root = document.documentElement;
  const word = (name) => root.dataset[name] || "";

  // toasts ---------------------------------------------------------------------------------------------------------

  function toast({ text, undo = "", tone = "", link = "", link_text: linkText = "" }) {
    const holder = document.getElementById("toasts");
    const pattern = document.getElementById("toast-pattern");
    if (!holder || !pattern || !text) return;
    const node = pattern.content.firstElementChild.cloneNode(true);
    node.querySelector(".text").textContent = text;
    if (tone) node.classList.add(tone);
    const button = node.querySelector("[data-undo]");
    if (undo) {
      button.hidden = false;
      button.addEventListener("click", () => {
        node.remove();
        post(undo);
      });
    }
    if (link) {
      const way = document.createElement("a"); // the way out of what was refused
      [way.href, way.textContent] = [link, linkText];
      node.querySelector(".text").append(" ", way);
    }
    node.querySelector("[data-dismiss]").addEventListener("click", () => node.remove());
    holder.append(node);
    let left = setTimeout(() => node.remove(), tone === "bad" ? 12000 : 6000);
    node.addEventListener("pointerenter", () => clearTimeout(left));
    node.addEventListener("pointerleave", () => (left = setTimeout(() => node.remove(), 3000)));
  }

  for (const told of document.querySelectorAll("#toasts .toast")) setTimeout(() => told.remove(), 6000);

  async function post(url, values = {}) {
    const answer = await fetch(url, {
      method: "POST",
      headers: { "X-CSRF-Token": word("csrf"), Accept: "application/problem+json" },
      body: new URLSearchParams(values),
    }).catch(() => null);
    if (answer?.ok) {
      const news = answer.headers.get("HX-Trigger");
      if (news?.startsWith("{")) {
        for (const [name, detail] of Object.entries(JSON.parse(news))) {
          document.body.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));
        }
      }
    } else {
      toast({ text: answer ? reason(await answer.text(), answer.status) : word("wordUnreachable"), tone: "bad" });
    }
    document.dispatchEvent(new CustomEvent("switchyard:refresh"));
    return Boolean(answer?.ok);
  }

  function reason(text, status) {
    try {
      const problem = JSON.parse(text);
      return problem.detail || problem.title;
    } catch {
      return `${word("wordFailed")} (${status})`;
    }
  }

  window.switchyard = { toast, post };

  document.addEventListener("toast", (event) => toast(event.detail));

  document.addEventListener("htmx:response:error", (event) => {
    const { ctx } = event.detail;
    const shown = (ctx.response.headers.get("Content-Type") || "").includes("text/html") && ctx.swap !== "none";
    if (!shown) toast({ text: reason(ctx.text, ctx.response.status), tone: "bad" });
  });
  document.addEventListener("htmx:before:swap", (event) => {
    // a problem in JSON is for the toast, never for the page
    const type = event.detail.ctx?.response?.headers?.get("Content-Type") || "";
    if (type.includes("json")) event.preventDefault();
  });
  document.addEventListener("htmx:error", (event) => {
    if (event.detail.ctx?.request?.method !== "GET") toast({ text: word("wordUnreachable"), tone: "bad" });
  });

  // what was changed here is shown at once, even when the live stream is away
  document.addEventListener("htmx:after:request", (event) => {
    const { ctx } = event.detail;
    if (ctx.request.method !== "GET" && ctx.response.status < 400) {
      if (ctx.sourceElement?.dataset?.note !== undefined) ctx.sourceElement.reset(); // it is on the timeline now
      document.dispatchEvent(new CustomEvent("switchyard:refresh"));
    }
  });

  // what takes long shows progress
  let running = 0;
  let patience = null;
  const loud = (event) => !["live", "calls"].includes(event.detail.ctx?.sourceElement?.id) && event.detail.ctx?.sourceEvent?.type !== "live";
  document.addEventListener("htmx:before:request", (event) => {
    if (!loud(event)) return;
    running += 1;
    patience ??= setTimeout(() => root.classList.add("is-working"), 350);
  });
  document.addEventListener("htmx:finally:request", (event) => {
    if (!loud(event)) return;
    running = Math.max(0, running - 1);
    if (running) return;
    clearTimeout(patience);
    patience = null;
    root.classList.remove("is-working");
  });

  // the side sheet -----------------------------------------------------------------------------------------------------

  const sheet = document.getElementById("sheet");
  let opener = null;

  async function openSheet(link) {
    opener = link;
    await htmx.ajax("GET", link.href, { target: "#sheet-content", swap: "innerHTML" });
    if (!sheet.open) sheet.showModal();
    sheet.querySelector("[autofocus], input:not([type=hidden]), textarea, select")?.focus();
  }

  function closeSheet() {
    if (sheet?.open) sheet.close();
    opener?.focus();
    opener = null;
  }

  document.addEventListener("close-sheet", closeSheet);
  document.addEventListener("open-sheet", (event) => openSheet({ href: event.detail.url, focus: () => {} }));
  sheet?.addEventListener("click", (event) => event.target === sheet && closeSheet());

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-sheet]");
    if (link && sheet && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      openSheet(link);
      return;
    }
    if (event.target.closest?.("[data-close]")) {
      const dialog = event.target.closest("dialog");
      if (dialog) {
        event.preventDefault();
        dialog === sheet ? closeSheet() : dialog.close();
      }
      return;
    }
    const opens = event.target.closest?.("[data-opens]");
    if (opens) document.getElementById(opens.dataset.opens)?.showModal();
    const copies = event.target.closest?.("[data-copy]");
    if (copies) copy(copies);
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  async function copy(button) {
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const range = document.createRange(); // no clipboard without https: select it, so that Ctrl-C does
      range.selectNodeContents(document.getElementById(button.dataset.copy));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      return;
    }
    toast({ text: word("wordCopied") });
  }

  // what is sent as soon as it is chosen
  document.addEventListener("change", (event) => {
    const control = event.target.closest?.("[data-submits]");
    if (control) control.form.requestSubmit();
    const theme = event.target.closest?.("input[name=theme]");
    if (theme) {
      if (theme.value === "system") delete root.dataset.theme;
      else root.dataset.theme = theme.value;
    }
  });

  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.ask;
    if (question && !window.confirm(question)) event.preventDefault();
  }, true);

  // a form that came back with errors: its summary takes the focus
  document.addEventListener("htmx:after:swap", () => document.querySelector("[data-summary]:not(:focus)")?.focus());
  document.querySelector("[data-summary]")?.focus();

  // what scrolls sideways shows where one is
  for (const here of document.querySelectorAll(".settings-nav [aria-current], .path .here")) {
    here.parentElement.scrollLeft = here.offsetLeft - here.parentElement.offsetLeft - 24;
  }

  // keys ------------------------------------------------------------------------------------------------------------------

  let prefix = "";
  let forget = null;

  const typing = (node) => node.closest?.("input, textarea, select, [contenteditable]");

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      for (const menu of document.querySelectorAll("details.menu[open]")) {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    }
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || document.querySelector("dialog[open]")) return;
    const keys = prefix ? `${prefix} ${event.key}` : event.key;
    clearTimeout(forget);
    if (!prefix && event.key === "g") {
      prefix = "g";
      forget = setTimeout(() => (prefix = ""), 1200);
      return;
    }
    prefix = "";
    if (keys === "j" || keys === "k") return step(keys === "j" ? 1 : -1);
    const target = document.querySelector(`[data-key="${CSS.escape(keys)}"]`);
    if (!target) return;
    event.preventDefault();
    if (target.matches("input, textarea")) target.focus();
    else target.click();
  });

  function step(by) {
    const rows = [...document.querySelectorAll("[data-row] .title, [data-row] .main")].filter((row) => row.offsetParent);
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.closest("[data-row]").contains(document.activeElement));
    rows[Math.min(rows.length - 1, Math.max(0, at + by))].focus();
  }

  // offline ------------------------------------------------------------------------------------------------------------------

  const offline = document.getElementById("offline");
  function network() {
    if (offline) offline.hidden = navigator.onLine;
    if (navigator.onLine) document.dispatchEvent(new CustomEvent("switchyard:refresh"));
  }
  addEventListener("online", network);
  addEventListener("offline", network);
  if (!navigator.onLine) network();

  // the bell's number also stands in the title, for a tab in the background
  const plain = document.title;
  function title() {
    const count = Number(document.querySelector("#bell .count")?.dataset.count || 0);
    document.title = count ? `(${count}) ${plain}` : plain;
  }
  document.addEventListener("htmx:after:swap", title);
  title();
})();
