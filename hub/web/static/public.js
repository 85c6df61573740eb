// The hosted form: keeps where the visitor came from, and stops a second click from sending twice.
"use strict";

(() => {
  const form = document.querySelector("form[data-public]");
  if (!form) return;
  const hidden = (name) => form.querySelector(`input[type=hidden][name="${name}"]`);
  const query = new URLSearchParams(location.search);
  for (const name of ["utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term", "gclid", "yclid", "fbclid"]) {
    const field = hidden(name);
    if (field && !field.value && query.get(name)) field.value = query.get(name);
  }
  if (!hidden("referrer").value) hidden("referrer").value = document.referrer;
  if (!hidden("landing_page").value) hidden("landing_page").value = location.href;
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    form.querySelector("button[type=submit]").setAttribute("aria-disabled", "true");
  });
  addEventListener("pageshow", () => {
    delete form.dataset.sent;
    form.querySelector("button[type=submit]").removeAttribute("aria-disabled");
  });
  document.querySelector("[aria-invalid=true]")?.focus();
})();
