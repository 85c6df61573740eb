// The inbox: going from one conversation to the next without leaving the page, what is new and what was read, who else
// is here, letters in their frames and pictures in the viewer. The composer is in composer.js.
"use strict";

(() => {
  const desk = document.getElementById("desk");
  const inbox = document.getElementById("inbox");
  if (!desk || !inbox) return;
  const csrf = () => document.documentElement.dataset.csrf;
  const pane = () => desk.querySelector(".talk-pane");
  const current = () => pane()?.dataset.conversation || "";
  const scroller = () => document.getElementById("thread-scroll");

  function send(url, values = {}) {
    return fetch(url, {
      method: "POST",
      headers: { "X-CSRF-Token": csrf(), "HX-Request": "true" },
      body: new URLSearchParams(values),
    }).catch(() => null);
  }

  // from one conversation to the next ----------------------------------------------------------------------------------

  function mark() {
    for (const link of inbox.querySelectorAll("#inbox-rows a.main")) {
      if (link.dataset.conversation === current()) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  async function open(url, { push = true } = {}) {
    leave();
    await htmx.ajax("GET", url, { target: "#desk", swap: "innerHTML" });
    if (push) history.pushState({ inbox: true }, "", url);
    inbox.classList.add("has-desk");
    arrive();
    if (matchMedia("(max-width: 720px)").matches) document.getElementById("main").scrollTop = 0;
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-conversation], .contact-pane a.mini[href^='/conversations/']");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    open(link.getAttribute("href"));
  });

  let place = location.pathname;
  addEventListener("popstate", () => {
    if (location.pathname === place) return; // only what is behind the # has changed
    if (/^\/conversations\/\d+$/.test(location.pathname)) open(location.pathname + location.search, { push: false });
    else location.reload();
  });

  function arrive() {
    place = location.pathname;
    wrote = document.getElementById("thread")?.dataset.wrote || "0";
    present = "";
    if (!pane()) return;
    document.title = pane().dataset.title;
    mark();
    toStart();
    tellRead();
    beat();
    document.dispatchEvent(new CustomEvent("switchyard:conversation"));
  }

  // where the thread stands ------------------------------------------------------------------------------------------------

  let wrote = "0"; // the last message of theirs that was on the page
  let follows = true; // whether the reader is at the end, and wants to stay there

  function toStart() {
    const box = scroller();
    if (!box) return;
    const named = location.hash.startsWith("#message-") && document.getElementById(location.hash.slice(1));
    const unread = named || document.getElementById("unread");
    if (unread) unread.scrollIntoView({ block: named ? "center" : "start" });
    else box.scrollTop = box.scrollHeight;
    follows = atEnd(box);
  }

  const atEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < 80;

  document.addEventListener(
    "scroll",
    (event) => {
      if (event.target !== scroller()) return;
      follows = atEnd(event.target);
      if (follows) document.getElementById("to-last").hidden = true;
    },
    true,
  );

  let keeps = null; // how far from the end the reader is while older messages are put above
  document.addEventListener("htmx:before:swap", (event) => {
    const box = scroller();
    if (box && event.detail.ctx.target?.id === "earlier") keeps = box.scrollHeight - box.scrollTop;
  });

  document.addEventListener("htmx:after:swap", (event) => {
    const target = event.detail.ctx.target;
    const box = scroller();
    if (target?.id === "inbox-list") mark();
    if (!box) return;
    if (keeps !== null) {
      box.scrollTop = box.scrollHeight - keeps;
      keeps = null;
    }
    if (target?.id !== "thread") return;
    const last = document.getElementById("thread")?.dataset.wrote || "0";
    const isNew = last !== wrote;
    wrote = last;
    if (follows) box.scrollTop = box.scrollHeight;
    else if (isNew) document.getElementById("to-last").hidden = false;
    if (isNew) tellRead();
  });

  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("#to-last")) return;
    follows = true;
    scroller().scrollTop = scroller().scrollHeight;
    document.getElementById("to-last").hidden = true;
  });

  document.addEventListener("switchyard:sent", () => (follows = true));

  // the chosen one stays marked in a list that is fetched anew
  document.addEventListener("htmx:config:request", (event) => {
    const { ctx } = event.detail;
    if (ctx.sourceElement?.id !== "inbox-list" || !current()) return;
    const url = new URL(ctx.request.action, location.href);
    url.searchParams.set("at", current());
    ctx.request.action = url.pathname + url.search;
  });

  // what was read, who is here ------------------------------------------------------------------------------------------------

  let present = "";

  function tellRead() {
    if (document.hidden || !current() || !document.getElementById("composer")) return;
    send(`/conversations/${current()}/reading`);
  }

  async function beat() {
    const id = current();
    if (!id || document.hidden) return;
    const writing = document.getElementById("text")?.value.trim() ? "1" : "0";
    const answer = await send(`/conversations/${id}/presence`, { writing });
    if (!answer?.ok || id !== current()) return;
    const text = (await answer.text()).trim();
    const holder = document.getElementById("present");
    if (holder && (text !== present || !holder.childElementCount)) holder.innerHTML = present = text;
  }

  function leave() {
    if (!current() || !document.getElementById("composer")) return;
    const form = new URLSearchParams({ left: "1", csrf_token: csrf() });
    navigator.sendBeacon(`/conversations/${current()}/presence`, form);
  }

  setInterval(beat, 20000);
  addEventListener("pagehide", leave);
  document.addEventListener("switchyard:writing", beat);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    beat();
    tellRead();
  });

  // letters: a frame is as high as what is in it --------------------------------------------------------------------------------

  function fit(frame) {
    const page = frame.contentDocument?.documentElement;
    if (!page) return;
    frame.style.height = "0";
    frame.style.height = `${Math.min(page.scrollHeight + 2, 20000)}px`;
    if (follows && scroller()) scroller().scrollTop = scroller().scrollHeight;
  }

  const fitAll = () => document.querySelectorAll("iframe.letter").forEach(fit);

  document.addEventListener("load", (event) => event.target.matches?.("iframe.letter") && fit(event.target), true);
  addEventListener("resize", fitAll);
  fitAll();
  document.addEventListener("click", (event) => {
    const asks = event.target.closest?.("[data-pictures]");
    if (asks) asks.closest(".letter-bar").hidden = true; // the link itself loads the frame anew
  });

  // the viewer of pictures --------------------------------------------------------------------------------------------------------

  const viewer = document.getElementById("viewer");
  let pictures = [];
  let shown = 0;

  function show(number) {
    shown = (number + pictures.length) % pictures.length;
    const link = pictures[shown];
    viewer.querySelector("img").src = link.href;
    viewer.querySelector("img").alt = viewer.querySelector("[data-name]").textContent = link.dataset.name;
    viewer.querySelector("[data-save]").href = `${link.getAttribute("href")}?download=1`;
    for (const step of viewer.querySelectorAll("[data-step]")) step.hidden = pictures.length < 2;
  }

  document.addEventListener("click", (event) => {
    const picture = event.target.closest?.("a[data-picture]");
    if (!picture || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    pictures = [...desk.querySelectorAll("a[data-picture]")];
    show(pictures.indexOf(picture));
    viewer.showModal();
  });
  viewer.addEventListener("click", (event) => {
    const step = event.target.closest("[data-step]");
    if (step) show(shown + Number(step.dataset.step));
    else if (event.target === viewer || event.target.closest(".viewer-picture") === event.target) viewer.close();
  });
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(shown - 1);
    if (event.key === "ArrowRight") show(shown + 1);
  });

  addEventListener("load", fitAll);
  document.addEventListener("DOMContentLoaded", arrive); // after composer.js, which is deferred too
})();
