// Telephone calls on every page: the cards of what rings now, their stopwatches, notes that must not get lost, and the
// speed of recordings. What a card shows comes from /calls/ringing (#calls, a live region like any other).
"use strict";

(() => {
  const region = document.getElementById("calls");
  const root = document.documentElement;
  const skew = root.dataset.now ? Date.parse(root.dataset.now) - Date.now() : 0; // the server's clock decides

  // recordings: 1×, 1.5×, 2× and round again
  const SPEEDS = [1, 1.5, 2];
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-speed]");
    if (button) {
      const speed = SPEEDS[(SPEEDS.indexOf(Number(button.dataset.speed)) + 1) % SPEEDS.length];
      button.dataset.speed = speed;
      button.textContent = `${speed.toLocaleString(root.lang || "en")}×`;
      button.parentElement.querySelector("audio").playbackRate = speed;
    }
    const writes = event.target.closest?.("[data-writes]");
    if (writes) document.getElementById(writes.dataset.writes)?.focus();
  });
  document.addEventListener(
    "play",
    (event) => {
      for (const other of document.querySelectorAll(".call-player audio")) if (other !== event.target) other.pause();
    },
    true,
  );

  if (!region) return;

  // stopwatches, cut as hub/web/formats.py does
  function stopwatch(seconds) {
    const two = (number) => String(number).padStart(2, "0");
    const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
    return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
  }

  function tick() {
    for (const node of region.querySelectorAll("time[data-stopwatch]")) {
      const text = stopwatch(Math.max(0, Math.round((Date.now() + skew - Date.parse(node.dateTime)) / 1000)));
      if (node.textContent !== text) node.textContent = text;
    }
  }
  setInterval(tick, 1000);

  // A note that is being written stays, whatever becomes of the call: #calls-kept tells the server of it.
  const kept = document.getElementById("calls-kept");
  function keep() {
    const ids = [...region.querySelectorAll(".call-note textarea")]
      .filter((note) => note.value !== note.defaultValue || note === document.activeElement)
      .map((note) => note.form.dataset.call);
    kept.replaceChildren(
      ...ids.map((id) => {
        const input = document.createElement("input");
        [input.name, input.value] = ["keep", id];
        return input;
      }),
    );
  }
  region.addEventListener("input", keep);
  region.addEventListener("focusin", keep);
  region.addEventListener("focusout", () => setTimeout(keep));
  document.addEventListener("htmx:after:request", (event) => {
    const { ctx } = event.detail;
    const note = ctx.sourceElement?.closest?.("#calls .call-note")?.querySelector("textarea");
    if (!note || ctx.response.status >= 400) return;
    note.defaultValue = note.value; // it is noted
    keep();
  }, true);

  // A side sheet is above everything else and makes the rest of the page deaf: the cards go with it.
  function place() {
    const home = [...document.querySelectorAll("dialog:modal")].at(-1) || document.body;
    if (region.childElementCount > 1 && region.parentElement !== home) home.append(region);
    else if (region.parentElement !== document.body && home === document.body) home.append(region);
  }
  for (const dialog of document.querySelectorAll("dialog")) {
    new MutationObserver(place).observe(dialog, { attributes: true, attributeFilter: ["open"] });
  }

  document.addEventListener("htmx:after:swap", (event) => {
    if (event.detail.ctx.target !== region) return;
    tick();
    place();
  });

  // Whose phone only rang need not hear from the stream how it went on: somebody else's call may be none of theirs.
  setInterval(() => {
    if (region.querySelector("[data-state=rings], [data-state=dials]")) htmx.trigger(region, "live", {}, false);
  }, 2000);
})();
