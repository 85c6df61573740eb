// Canned replies: / and a few letters in the composer offer them, arrows choose, Enter takes.
"use strict";

(() => {
  const form = () => document.getElementById("composer");
  const byId = (id) => document.getElementById(id);
  const text = () => byId("text");

  const kept = new Map(); // what the server offers, by conversation
  let offered = [];
  let at = 0;

  function typedShortcut() {
    const before = text().value.slice(0, text().selectionStart);
    return /(?:^|\s)\/([\p{L}\p{N}_.-]{0,40})$/u.exec(before)?.[1] ?? null;
  }

  async function suggest() {
    const begun = typedShortcut();
    if (begun === null) return hide();
    const url = form().dataset.canned;
    if (!kept.has(url)) {
      kept.set(url, []);
      const answer = await fetch(url, { headers: { Accept: "application/json" } }).catch(() => null);
      if (answer?.ok) kept.set(url, (await answer.json()).items);
      else kept.delete(url);
      if (!form() || form().dataset.canned !== url) return;
    }
    const wanted = (typedShortcut() ?? "").toLowerCase();
    const fits = (reply) => reply.shortcut.includes(wanted) || reply.title.toLowerCase().includes(wanted);
    offered = (kept.get(url) || []).filter(fits).sort((one, other) => other.shortcut.startsWith(wanted) - one.shortcut.startsWith(wanted)).slice(0, 8);
    at = 0;
    show();
  }

  function show() {
    const list = byId("canned");
    list.hidden = !offered.length;
    list.replaceChildren(
      ...offered.map((reply, number) => {
        const row = document.createElement("li");
        row.id = `canned-${number}`;
        row.role = "option";
        row.dataset.number = number;
        row.setAttribute("aria-selected", String(number === at));
        const name = Object.assign(document.createElement("b"), { textContent: `/${reply.shortcut}` });
        const words = Object.assign(document.createElement("span"), { className: "cut second", textContent: reply.title ? `${reply.title} — ${reply.text}` : reply.text });
        row.append(name, words);
        return row;
      }),
    );
    if (offered.length) text().setAttribute("aria-activedescendant", `canned-${at}`);
    else text().removeAttribute("aria-activedescendant");
    list.children[at]?.scrollIntoView({ block: "nearest" });
  }

  function hide() {
    offered = [];
    if (byId("canned")) show();
  }

  function take(number) {
    const reply = offered[number];
    const begun = typedShortcut();
    if (!reply || begun === null) return;
    const end = text().selectionStart;
    text().setRangeText(reply.text, end - begun.length - 1, end, "end");
    hide();
    text().dispatchEvent(new Event("input", { bubbles: true }));
    text().focus();
  }

  document.addEventListener("input", (event) => event.target === text() && suggest());

  document.addEventListener("click", (event) => {
    const option = event.target.closest?.("#canned [role=option]");
    if (option) take(Number(option.dataset.number));
  });

  // before composer.js hears of it
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.target !== text() || !offered.length || event.ctrlKey || event.metaKey) return;
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        at = (at + (event.key === "ArrowDown" ? 1 : -1) + offered.length) % offered.length;
        show();
      } else if (event.key === "Enter" || event.key === "Tab") take(at);
      else if (event.key === "Escape") hide();
      else return;
      event.preventDefault();
    },
    true,
  );
  document.addEventListener("focusout", (event) => event.target === text() && setTimeout(hide, 150));
})();
