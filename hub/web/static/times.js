// Keeps relative times and deadlines true while a page stays open: <time data-relative>, <time data-lasting>,
// <time data-deadline>.
// Cuts spans exactly as hub/web/rendering.py does, so nothing jumps when the browser takes over.
"use strict";

(() => {
  const root = document.documentElement;
  const locale = root.lang || "en";
  const formats = new Map();

  function amount(span) {
    const [count, unit, unitDisplay] =
      span < 7200
        ? [Math.floor(span / 60), "minute", "short"]
        : span < 172800
          ? [Math.floor(span / 3600), "hour", "short"]
          : [Math.floor(span / 86400), "day", "long"];
    if (!formats.has(unit)) {
      formats.set(unit, new Intl.NumberFormat(locale, { style: "unit", unit, unitDisplay }));
    }
    return formats.get(unit).format(count);
  }

  function say(pattern, span) {
    return (root.dataset[pattern] || "{duration}").replace("{duration}", amount(span));
  }

  function put(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  function tickRelative(node, now) {
    const seconds = (now - Date.parse(node.dateTime)) / 1000;
    if (seconds > 604800) return; // a date by now: the server wrote it
    if (Math.abs(seconds) < 60) put(node, root.dataset.wordNow);
    else put(node, say(seconds > 0 ? "wordAgo" : "wordIn", Math.abs(seconds)));
  }

  function tickDeadline(node, now) {
    const due = Date.parse(node.dateTime);
    const since = Date.parse(node.dataset.since);
    const left = (due - now) / 1000;
    const soon = since < due ? (due - since) / 4000 : 3600;
    node.classList.toggle("is-late", left < 0);
    node.classList.toggle("is-soon", left >= 0 && left <= soon);
    const words = node.querySelector("span");
    if (Math.abs(left) < 60) put(words, root.dataset.wordDue);
    else put(words, say(left < 0 ? "wordLate" : "wordIn", Math.abs(left)));
  }

  // The server's clock decides; a browser whose clock is off shows the same words as everybody else.
  const skew = root.dataset.now ? Date.parse(root.dataset.now) - Date.now() : 0;

  function tick(scope) {
    const now = Date.now() + skew;
    for (const node of scope.querySelectorAll("time[data-relative]")) tickRelative(node, now);
    for (const node of scope.querySelectorAll("time[data-lasting]")) put(node, amount(Math.max(0, (now - Date.parse(node.dateTime)) / 1000)));
    for (const node of scope.querySelectorAll("time[data-deadline]")) tickDeadline(node, now);
  }

  setInterval(() => {
    if (!document.hidden) tick(document);
  }, 5000);
  document.addEventListener("visibilitychange", () => document.hidden || tick(document));
  document.addEventListener("htmx:after:swap", () => tick(document));
})();
