// Live pages. The server says what changed over one stream (hx-sse on #live); every region that declares to depend on it
// (data-live="task deal", optionally data-live-of="deal:7") fetches itself anew and is morphed, so that focus, selection and
// half-typed words stay. The first news is acted on at once, what follows within 100 ms is gathered.
"use strict";

(() => {
  const GATHER = 100;
  const waiting = new Set();
  const asked = new WeakMap(); // when a region was last fetched; data-live-pace is the least time between two fetches, in ms
  let timer = null;
  let connected = false;

  function mustWait(region) {
    if (region.querySelector(".is-lifted, .sortable-chosen")) return true; // somebody is holding a card
    return performance.now() - (asked.get(region) ?? -Infinity) < Number(region.dataset.livePace || 0);
  }

  function flush() {
    timer = null;
    const now = [...waiting];
    waiting.clear();
    for (const region of now) {
      if (!region.isConnected) continue;
      if (mustWait(region)) waiting.add(region);
      else {
        asked.set(region, performance.now());
        htmx.trigger(region, "live", {}, false);
      }
    }
    if (now.length) timer = setTimeout(flush, GATHER);
  }

  function refresh(regions) {
    for (const region of regions) waiting.add(region);
    if (timer === null && waiting.size) flush();
  }

  function concerned(region, news) {
    const kinds = region.dataset.live.split(" ");
    const hit = news.kinds.includes("*") || news.kinds.some((kind) => kinds.includes(kind));
    if (!hit || !region.dataset.liveOf || !news.ids) return hit;
    const [kind, id] = region.dataset.liveOf.split(":");
    return (news.ids[kind] || []).map(String).includes(id);
  }

  function hear(event) {
    let news;
    try {
      news = JSON.parse(event.detail.data);
    } catch {
      return;
    }
    refresh([...document.querySelectorAll("[data-live]")].filter((region) => concerned(region, news)));
  }

  document.addEventListener("changed", hear);
  document.addEventListener("told", hear); // somebody has a new notification

  const refreshAll = () => refresh(document.querySelectorAll("[data-live]"));
  document.addEventListener("switchyard:refresh", refreshAll);

  // Whatever happened while the stream was away is caught up with by reading everything again.
  document.addEventListener("htmx:sse:after:connection", () => {
    document.documentElement.classList.remove("is-offline");
    if (connected) refreshAll();
    connected = true;
  });
  document.addEventListener("htmx:sse:error", () => {
    if (!navigator.onLine) document.documentElement.classList.add("is-offline");
  });

  // What a region held before, to let new rows slide in and changed ones glow once.
  const before = new WeakMap();
  const rows = (region) => new Map([...region.querySelectorAll("[data-row][id]")].map((row) => [row.id, row.dataset.row]));
  document.addEventListener("htmx:before:swap", (event) => {
    const region = event.detail.ctx.target;
    if (region?.dataset?.live !== undefined) before.set(region, rows(region));
  });
  document.addEventListener("htmx:after:swap", (event) => {
    const region = event.detail.ctx.target;
    const known = region && before.get(region);
    if (!known) return;
    before.delete(region);
    for (const [id, version] of rows(region)) {
      const row = document.getElementById(id);
      if (!known.has(id)) row.classList.add("is-new");
      else if (known.get(id) !== version) row.classList.add("is-changed");
    }
  });

  // An open menu or dialog stays open when the region around it is morphed.
  htmx.registerExtension("keep-open", {
    htmx_before_morph_attr: (element, detail) => detail.attrName !== "open",
  });
})();
