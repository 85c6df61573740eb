// A form of Switchyard inside somebody's page. It stands where its script tag stands, in a shadow tree of its own.
// On the tag: data-lang="ru" and data-target="#selector" if need be. Colours: --switchyard-accent, -on-accent, -field,
// -field-text, -line, -error, -radius; fonts and text colour are those of the page around it.
((settings) => {
  "use strict";
  const tag = document.currentScript;
  if (!tag) return;
  const hook = tag.src.replace(/\/w\/([^/?#]+)\.js.*$/, "/hooks/$1");
  const words = {
    en: ["Your name", "Phone", "E-mail", "What can we do for you?", "Send", "Leave a phone or an e-mail, so that we can answer", "Thank you, it has arrived. We will get back to you shortly.", "That could not be sent. What you typed is still here: try again in a moment.", "Your request:"],
    ru: ["Ваше имя", "Телефон", "Эл. почта", "Чем мы можем помочь?", "Отправить", "Оставьте телефон или почту, чтобы мы могли ответить", "Спасибо, заявка получена. Скоро мы с вами свяжемся.", "Не удалось отправить. Всё, что вы написали, на месте: попробуйте ещё раз чуть позже.", "Номер заявки:"],
    sl: ["Vaše ime", "Telefon", "E-pošta", "Kako vam lahko pomagamo?", "Pošlji", "Pustite telefon ali e-pošto, da vam lahko odgovorimo", "Hvala, sporočilo smo prejeli. Kmalu se vam oglasimo.", "Pošiljanje ni uspelo. Kar ste napisali, je še tu: poskusite znova čez trenutek.", "Vaše povpraševanje:"],
    et: ["Teie nimi", "Telefon", "E-post", "Kuidas saame aidata?", "Saada", "Jätke telefon või e-post, et saaksime vastata", "Aitäh, teie sõnum jõudis kohale. Võtame peagi ühendust.", "Saatmine ei õnnestunud. Kõik, mida kirjutasite, on alles: proovige hetke pärast uuesti.", "Teie päring:"],
    hy: ["Ձեր անունը", "Հեռախոս", "Էլ. փոստ", "Ինչո՞վ կարող ենք օգնել", "Ուղարկել", "Թողեք հեռախոս կամ էլ. փոստ, որ կարողանանք պատասխանել", "Շնորհակալություն, ձեր հայտը ստացվել է։ Շուտով կկապվենք ձեզ հետ։", "Չհաջողվեց ուղարկել։ Ձեր գրածը տեղում է. փորձեք մի փոքր ուշ։", "Հայտի համարը՝"],
  };
  const asked = tag.dataset.lang || tag.closest("[lang]")?.lang || navigator.language || "en";
  const language = words[asked.slice(0, 2).toLowerCase()] ? asked.slice(0, 2).toLowerCase() : "en";
  const [name, phone, email, message, send, needed, thanks, failed, number] = words[language];

  const make = (kind, values = {}, ...children) => {
    const node = document.createElement(kind);
    for (const [key, value] of Object.entries(values)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };
  const fields = {};
  const field = (key, text, kind, values) => {
    fields[key] = make(kind, { id: key, name: key, part: "input", ...values });
    return make("div", {}, make("label", { for: key, part: "label" }, text), fields[key]);
  };
  const error = make("p", { class: "error", id: "error", role: "alert", part: "error" });
  const button = make("button", { part: "button" }, send);
  fields.trap = make("input", { name: "trap", tabindex: "-1", autocomplete: "off", "aria-label": "trap" });
  const form = make(
    "form", { novalidate: "", action: hook, method: "post", part: "form" },
    field("name", name, "input", { autocomplete: "name" }),
    field("phone", phone, "input", { type: "tel", autocomplete: "tel", inputmode: "tel" }),
    field("email", email, "input", { type: "email", autocomplete: "email", inputmode: "email" }),
    field("message", message, "textarea", { rows: "3" }),
    make("div", { class: "trap", "aria-hidden": "true" }, fields.trap),
    error, button,
  );

  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    :host { display: block; max-width: 30rem; }
    form { display: grid; gap: .875em; }
    label { display: block; margin-bottom: .25em; font-size: .9em; }
    input, textarea, button { box-sizing: border-box; width: 100%; padding: .6em .75em; font: inherit; border-radius: var(--switchyard-radius, 8px); }
    input, textarea { background: var(--switchyard-field, Field); color: var(--switchyard-field-text, FieldText); border: 1px solid var(--switchyard-line, #8a8f98); resize: vertical; }
    button { border: 0; background: var(--switchyard-accent, #3b5bdb); color: var(--switchyard-on-accent, #fff); font-weight: 600; cursor: pointer; }
    button[aria-disabled] { opacity: .6; cursor: progress; }
    :focus-visible { outline: 2px solid var(--switchyard-accent, #3b5bdb); outline-offset: 2px; }
    .error { margin: 0; color: var(--switchyard-error, #c92a2a); } .error:empty { display: none; }
    .trap { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
    .thanks { margin: 0; } .thanks small { display: block; opacity: .75; }`);
  const host = make("div", { lang: language, class: "switchyard-form" });
  const root = host.attachShadow({ mode: "open" });
  root.adoptedStyleSheets = [sheet];
  root.append(form);

  const query = new URLSearchParams(location.search);
  const marks = { referrer: document.referrer, landing_page: location.href, language };
  for (const mark of ["utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term", "gclid", "yclid", "fbclid"]) {
    if (query.get(mark)) marks[mark] = query.get(mark);
  }
  const fresh = () => [...crypto.getRandomValues(new Uint8Array(12))].map((n) => n.toString(16).padStart(2, "0")).join("");

  // The same words sent again are the same request, whatever became of the first try; other words are another one.
  let last = "";
  let id = "";
  const written = () => {
    const values = { ...marks };
    for (const [key, input] of Object.entries(fields)) if (input.value.trim()) values[key] = input.value;
    if (JSON.stringify(values) !== last) [last, id] = [JSON.stringify(values), fresh()];
    return { ...values, submission_id: id };
  };
  const complain = (text, input) => {
    error.textContent = text;
    for (const each of [fields.phone, fields.email]) {
      each.setAttribute("aria-invalid", Boolean(input));
      each.setAttribute("aria-describedby", "error");
    }
    (input || button).focus();
  };
  const mayRead = settings.origins.includes("*") || settings.origins.includes(location.origin) || new URL(hook).origin === location.origin;
  if (!mayRead && settings.origins.length) console.warn(`Switchyard: ${location.origin} is not among the sites that may send this form`);

  form.addEventListener("submit", async (event) => {
    const values = written();
    if (button.hasAttribute("aria-disabled")) return event.preventDefault();
    if (!fields.phone.value.trim() && !fields.email.value.trim()) {
      event.preventDefault();
      return complain(needed, fields.phone);
    }
    if (!settings.origins.length && !mayRead) {
      // No site is listed, so none may read the answer: the browser goes there itself and shows it.
      form.querySelectorAll("[type=hidden]").forEach((input) => input.remove());
      for (const key of [...Object.keys(marks), "submission_id"]) form.append(make("input", { type: "hidden", name: key, value: values[key] }));
      return;
    }
    event.preventDefault();
    error.textContent = "";
    button.setAttribute("aria-disabled", "true");
    try {
      const answer = await fetch(hook, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(values) });
      const told = await answer.json();
      if (!answer.ok || !told.ok) throw new Error(told.error);
      const note = make("p", { class: "thanks", role: "status", tabindex: "-1", part: "thanks" }, thanks, make("small", {}, `${number} ${told.reference}`));
      form.replaceWith(note);
      note.focus();
      host.dispatchEvent(new CustomEvent("switchyard:sent", { bubbles: true, detail: { reference: told.reference } }));
    } catch (reason) {
      console.warn("Switchyard:", reason.message);
      complain(failed);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  });

  const put = () => {
    const target = tag.dataset.target && document.querySelector(tag.dataset.target);
    target ? target.append(host) : tag.before(host);
  };
  tag.dataset.target && document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", put) : put();
})(SETTINGS);
