// The board: cards move between stages by dragging or by keyboard (space lifts, arrows move, space drops, Escape puts back).
// The server decides; a refusal puts the card back and says why.
"use strict";

(() => {
  const speaker = document.getElementById("board-speaker");
  const say = (text) => speaker && (speaker.textContent = text);
  const columnOf = (card) => card.closest(".column");

  async function move(card, home) {
    const stage = columnOf(card);
    if (stage === home.parent.closest(".column")) return;
    const moved = await window.switchyard.post(`/deals/${card.dataset.deal}/stage`, {
      stage_id: stage.dataset.stage,
      version: card.dataset.row,
    });
    if (moved) say(`${card.dataset.title}: ${stage.dataset.name}`);
    else home.parent.insertBefore(card, home.next);
  }

  const known = new WeakSet();
  const homeOf = (card) => ({ parent: card.parentElement, next: card.nextElementSibling });

  function sortable() {
    for (const cards of document.querySelectorAll(".board .cards")) {
      if (known.has(cards) || !window.Sortable) continue;
      known.add(cards);
      let home = null;
      window.Sortable.create(cards, {
        group: "deals",
        draggable: ".deal-card",
        animation: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 140,
        delay: 160,
        delayOnTouchOnly: true,
        onStart: (event) => (home = homeOf(event.item)),
        onEnd: (event) => move(event.item, home),
      });
    }
  }

  let lifted = null;
  let home = null;

  function drop(putBack) {
    const card = lifted;
    lifted = null;
    card.classList.remove("is-lifted");
    document.querySelector(".column.is-target")?.classList.remove("is-target");
    if (putBack) home.parent.insertBefore(card, home.next);
    else move(card, home);
    card.querySelector(".title").focus();
  }

  document.addEventListener(
    "keydown",
    (event) => {
      const card = event.target.closest?.(".deal-card");
      if (!card) return;
      const columns = [...document.querySelectorAll(".board .column")];
      if (event.key === " ") {
        event.preventDefault();
        if (lifted) return drop(false);
        lifted = card;
        home = homeOf(card);
        card.classList.add("is-lifted");
        columnOf(card).classList.add("is-target");
        say(`${card.dataset.title}: ${document.documentElement.dataset.wordLifted || ""}`);
      } else if (event.key === "Escape" && lifted) {
        event.preventDefault();
        drop(true);
      } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
        event.preventDefault();
        const next = columns[columns.indexOf(columnOf(card)) + (event.key === "ArrowRight" ? 1 : -1)];
        if (!next) return;
        if (lifted) {
          document.querySelector(".column.is-target")?.classList.remove("is-target");
          next.classList.add("is-target");
          next.querySelector(".cards").prepend(card);
          card.querySelector(".title").focus();
          say(next.dataset.name);
        } else {
          next.querySelector(".deal-card .title")?.focus();
        }
        next.scrollIntoView({ block: "nearest", inline: "nearest" });
      } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
        event.preventDefault();
        const other = event.key === "ArrowUp" ? card.previousElementSibling : card.nextElementSibling;
        if (!lifted) other?.querySelector(".title")?.focus();
      }
    },
    true,
  );

  sortable();
  document.addEventListener("htmx:after:swap", sortable);
})();
