// The hosted form: keeps where the visitor came from, and stops a second click from sending twice.
"use strict";

(() => {
  const form = document.querySelector("form[data-public]");
  if (!form) return;
  const hidden = (name) => form.querySelector(`input[type=hidden][name="${name}"]`);
  const button = form.querySelector("button[type=submit]");
  if (!hidden("referrer").value) hidden("referrer").value = document.referrer;

  let wasSent = false;
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = wasSent = "yes";
    button.setAttribute("aria-disabled", "true");
  });
  // Back on this page after sending: the same words are the same request, other words are another one.
  addEventListener("pageshow", () => {
    delete form.dataset.sent;
    button.removeAttribute("aria-disabled");
  });
  form.addEventListener("input", () => {
    if (!wasSent) return;
    wasSent = false;
    hidden("submission_id").value = [...crypto.getRandomValues(new Uint8Array(12))].map((n) => n.toString(16).padStart(2, "0")).join("");
  });
  document.querySelector("[data-summary]")?.focus();
})();
