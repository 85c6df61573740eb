// The chat widget of Switchyard, in a shadow tree of its own. One script tag brings it to a page; it sets no cookie, asks
// no other host, and opens no line before its visitor opens the chat or has written once.
// On the tag: data-lang="ru" (else the page's own language), data-redirect (see the channel's settings), data-open.
// Frames of the line are described in hub/widget_door.py.
((settings, keys, words, style) => {
  "use strict";
  const tag = document.currentScript;
  if (!tag) return;
  const base = tag.src.replace(/\.js(\?.*)?$/, "");
  const name = `switchyard-${base.slice(base.lastIndexOf("/") + 1)}`;
  if (document.getElementById(name)) return;

  // --- words ---
  const asked = settings.language || tag.dataset.lang || document.documentElement.lang || navigator.language || "en";
  const code = asked.slice(0, 2).toLowerCase();
  const language = words[code] ? code : settings.language || "en";
  const W = Object.fromEntries(keys.map((key, number) => [key, words[language][number]]));
  const said = (text, value) => text.replace("%s", value);
  const clock = new Intl.DateTimeFormat(language, { hour: "numeric", minute: "2-digit" });
  const day = new Intl.DateTimeFormat(language, { weekday: "long", day: "numeric", month: "long" });
  const opening = new Intl.DateTimeFormat(language, { weekday: "long", hour: "numeric", minute: "2-digit" });

  // --- what is kept: in this browser, or in this page where it keeps nothing ---
  const memory = {};
  const shelf = (kind) => ({
    get(key) {
      try { return JSON.parse(window[kind].getItem(`${name}.${key}`)); } catch { return memory[kind + key] ?? null; }
    },
    set(key, value) {
      memory[kind + key] = value;
      try { window[kind].setItem(`${name}.${key}`, JSON.stringify(value)); } catch { /* private mode, or full */ }
    },
  });
  const kept = shelf("localStorage");
  const visit = shelf("sessionStorage");
  const waiting = () => kept.get("waiting") || [];
  const drop = (id) => kept.set("waiting", waiting().filter((one) => one.id !== id));
  const fresh = () => [...crypto.getRandomValues(new Uint8Array(16))].map((n) => n.toString(16).padStart(2, "0")).join("");

  let marks = visit.get("marks");
  if (!marks) {
    marks = { landing_page: location.href.slice(0, 2000) };
    if (document.referrer) marks.referrer = document.referrer.slice(0, 2000);
    for (const [mark, value] of new URLSearchParams(location.search)) {
      if (/^(utm_(source|medium|campaign|content|term)|[gy]clid|fbclid)$/.test(mark)) marks[mark] = value.slice(0, 2000);
    }
    visit.set("marks", marks);
  }

  // --- making things ---
  const on = (what, kind, act) => what.addEventListener(kind, act);
  const make = (kind, values = {}, ...children) => {
    const node = document.createElement(kind);
    for (const [key, value] of Object.entries(values)) {
      if (key.startsWith("on")) on(node, key.slice(2), value);
      else if (value !== null) node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  };
  const icon = (path) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", "aria-hidden": "true" })) svg.setAttribute(key, value);
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("d", path);
    svg.append(line);
    return svg;
  };
  const ICONS = {
    chat: "M21 11.5a8.4 8.4 0 0 1-12.3 7.5L3 21l2-5.7A8.4 8.4 0 1 1 21 11.5Z",
    close: "M18 6 6 18M6 6l12 12",
    clip: "m21 11-9 9a5.6 5.6 0 0 1-8-8l9-9a3.7 3.7 0 0 1 5.3 5.3l-9 9a1.9 1.9 0 0 1-2.7-2.7l8.3-8.2",
    send: "M12 19V5M5 12l7-7 7 7",
    quiet: "M11 5 6 9H2v6h4l5 4ZM22 9l-6 6M16 9l6 6",
    loud: "M11 5 6 9H2v6h4l5 4ZM16 8a5 5 0 0 1 0 8",
    file: "M14 3H6v18h12V7ZM14 3v4h4",
  };
  const button = (picture, label, act, kind = "") =>
    make("button", { type: "button", class: `icon ${kind}`, "aria-label": label, title: label, onclick: act }, icon(ICONS[picture]));

  const host = make("div", { id: name, lang: language });
  const root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(style);
  root.adoptedStyleSheets = [sheet];

  const badge = make("span", { class: "badge", "aria-hidden": "true" });
  const launcher = make(
    "button",
    { type: "button", class: "launcher", "aria-label": W.open, "aria-expanded": "false", onclick: () => open() },
    icon(ICONS.chat), badge,
  );
  const heading = make("h2", { id: "heading" }, settings.title || W.title);
  const presence = make("p", { class: "presence" });
  const sound = button("quiet", W.sound, () => { kept.set("sound", !kept.get("sound")); showSound(); if (kept.get("sound")) ring(); });
  const earlier = make("button", { type: "button", class: "earlier", onclick: () => loadEarlier() }, W.earlier);
  const list = make("ol", { class: "list" });
  const typing = make("p", { class: "typing", "aria-label": W.typing }, make("i"), make("i"), make("i"));
  const greeting = make("p", { class: "greeting" }, settings.greeting || W.greeting);
  const log = make("div", { class: "log", role: "log", "aria-live": "polite", tabindex: "0", "aria-label": W.messages }, earlier, greeting, list, typing);
  const notice = make("p", { class: "notice", role: "status" });
  const error = make("p", { class: "error", role: "alert", id: "error" });
  const field = (key, type, complete) => {
    const input = make("input", { id: key, type, autocomplete: complete, maxlength: "200", oninput: () => complain("") });
    return { input, box: make("div", { class: "field" }, make("label", { for: key }, W[key]), input) };
  };
  const contacts = { name: field("name", "text", "name"), email: field("email", "email", "email"), phone: field("phone", "tel", "tel") };
  const hint = make("p", { class: "hint" });
  const contact = make("div", { class: "contact" }, hint, ...Object.values(contacts).map((one) => one.box));
  const picker = make("input", { type: "file", multiple: "", class: "picker", tabindex: "-1", "aria-hidden": "true", onchange: () => pick(picker.files) });
  const chosen = make("ul", { class: "chosen" });
  const text = make("textarea", { id: "text", rows: "1", maxlength: "4000", "aria-label": W.write, placeholder: W.write, "aria-describedby": "error" });
  const composer = make(
    "form", { class: "composer", novalidate: "" },
    contact, chosen, error,
    make("div", { class: "row" }, picker, button("clip", W.attach, () => picker.click()), text, make("button", { class: "icon go", "aria-label": W.send, title: W.send }, icon(ICONS.send))),
  );
  const panel = make(
    "section", { class: "panel", role: "dialog", "aria-labelledby": "heading", hidden: "" },
    make("header", {}, make("div", { class: "who" }, heading, presence), sound, button("close", W.close, () => shut())),
    log, notice, composer,
  );
  root.append(make("div", { class: `corner ${settings.position}` }, panel, launcher));

  // --- colours ---
  const corner = root.firstChild;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = () => corner.classList.toggle("dark", settings.theme === "dark" || (settings.theme !== "light" && dark.matches));
  on(dark, "change", paint);
  paint();
  if (settings.colour) {
    const [red, green, blue] = [1, 3, 5].map((at) => (parseInt(settings.colour.slice(at, at + 2), 16) / 255) ** 2.2);
    corner.style.setProperty("--accent", settings.colour);
    corner.style.setProperty("--on-accent", 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 ? "#14161a" : "#fff");
  }

  // --- what was said ---
  const shown = new Map(); // by the message's number, or by its key while it has none
  const all = () => [...shown.values()];
  let here = null;
  let seen = false;
  let more = false;
  let chosenFiles = [];
  const pending = new Map(); // messages with files on their way: key → [record, files]

  const linked = (content) => {
    const found = document.createDocumentFragment();
    let rest = content;
    for (let match; (match = /\bhttps?:\/\/[^\s<>"']+/i.exec(rest)); ) {
      const address = match[0].replace(/[.,;:!?)\]}»”]+$/, "");
      found.append(rest.slice(0, match.index), make("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }, address));
      rest = rest.slice(match.index + address.length);
    }
    found.append(rest);
    return found;
  };
  const size = (bytes) => (bytes < 1048576 ? `${Math.max(1, Math.round(bytes / 1024))} ${W.kb}` : `${(bytes / 1048576).toFixed(1)} ${W.mb}`);
  const fileOf = (file) => {
    const parts = [];
    if (file.width) {
      const picture = make("img", { src: `${base}/files/${file.ticket}/preview`, alt: file.name, loading: "lazy" });
      picture.width = Math.min(220, file.width);
      picture.height = Math.round((picture.width * file.height) / file.width);
      parts.push(picture);
    } else parts.push(icon(ICONS.file), make("span", {}, file.name), make("small", {}, size(file.size)));
    return file.ticket
      ? make("a", { class: "file", href: `${base}/files/${file.ticket}`, target: "_blank", rel: "noopener" }, ...parts)
      : make("span", { class: "file" }, ...parts);
  };

  const draw = (message) => {
    const node = message.node || make("li");
    message.node = node;
    node.className = message.ours ? "ours" : "mine";
    const looks = JSON.stringify([message.text, message.gone, message.files]);
    if (looks !== message.looks) {
      message.looks = looks; // what is the same stays, so that no screen reader says it again
      const bubble = make("div", { class: message.gone ? "bubble gone" : "bubble" }, make("span", { class: "away" }, `${message.ours ? message.name || W.us : W.you}: `));
      if (message.gone) bubble.append(W.gone);
      if (message.text) bubble.append(linked(message.text));
      for (const file of message.files || []) bubble.append(fileOf(file));
      node.replaceChildren(bubble);
    } else node.lastChild.remove();
    const state = message.failed ? W.failed : message.id || message.safe ? "" : W.sending;
    const line = make("p", { class: message.failed ? "meta failed" : "meta" }, [message.ours && message.name, clock.format(new Date(message.at)), state].filter(Boolean).join(" · "));
    if (message.failed && pending.has(message.key)) line.append(" ", make("button", { type: "button", onclick: () => { message.failed = false; draw(message); upload(message.key); } }, W.again));
    node.append(line);
  };
  const place = (message) => {
    const known = (message.id && shown.get(message.id)) || (message.key && shown.get(message.key));
    if (known) {
      if (message.id) { shown.delete(known.key); shown.set(message.id, known); }
      Object.assign(known, { files: undefined }, message, { failed: false });
    } else shown.set(message.id || message.key, message);
    draw(known || message);
    return !known;
  };
  const order = () => {
    const sorted = all().sort((a, b) => (!a.id - !b.id) || a.at.localeCompare(b.at) || (a.id || 0) - (b.id || 0));
    let last = "";
    const nodes = [];
    for (const message of sorted) {
      const date = day.format(new Date(message.at));
      if (date !== last) {
        message.above ||= make("li", { class: "day" });
        if (message.above.textContent !== date) message.above.textContent = date; // the server's clock may say another
        nodes.push(message.above);
      }
      last = date;
      nodes.push(message.node);
    }
    const mine = sorted.filter((one) => !one.ours && one.id).pop();
    if (seen && mine && mine === sorted.filter((one) => one.id).pop()) nodes.push(make("li", { class: "seen" }, W.seen));
    // moving what stays in its place would make a screen reader say it again
    let at = list.firstChild;
    for (const node of nodes) {
      if (node === at) at = at.nextSibling;
      else list.insertBefore(node, at);
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
    greeting.hidden = more;
    earlier.hidden = !more;
  };
  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  const toEnd = () => { log.scrollTop = log.scrollHeight; };
  const refresh = (change) => {
    const stay = !atEnd();
    change();
    order();
    if (!stay) toEnd();
    count();
  };

  const isOpen = () => !panel.hidden;
  const count = () => {
    const unread = all().filter((one) => one.ours && one.state !== "read").length;
    if (isOpen() && !document.hidden) tell("read", (one) => one.ours && one.state !== "read");
    badge.textContent = isOpen() || !unread ? "" : String(Math.min(unread, 99));
    launcher.setAttribute("aria-label", unread && !isOpen() ? `${W.open}, ${said(W.unread, unread)}` : W.open);
  };
  const told = new Map();
  const tell = (what, which) => {
    if (!ready) return;
    const ids = all().filter((one) => one.id && which(one) && told.get(one.id) !== what && told.get(one.id) !== "read").map((one) => one.id);
    if (!ids.length) return;
    for (const id of ids) told.set(id, what);
    for (let at = 0; at < ids.length; at += 200) frame({ t: what, ids: ids.slice(at, at + 200) });
  };

  const ring = () => {
    try {
      const audio = new AudioContext();
      const tone = audio.createOscillator();
      const loudness = audio.createGain();
      loudness.gain.setValueAtTime(0.08, audio.currentTime);
      loudness.gain.exponentialRampToValueAtTime(0.0001, audio.currentTime + 0.35);
      tone.frequency.value = 660;
      tone.connect(loudness).connect(audio.destination);
      tone.start();
      tone.stop(audio.currentTime + 0.36);
      tone.onended = () => audio.close();
    } catch { /* a browser without sound */ }
  };
  const showSound = () => {
    const on = !!kept.get("sound");
    sound.replaceChildren(icon(ICONS[on ? "loud" : "quiet"]));
    sound.setAttribute("aria-pressed", String(on));
  };

  // --- the line ---
  let socket = null;
  let ready = false;
  let tries = 0;
  let timer = 0;
  let heard = 0;
  let hadPass = false;
  const frame = (what) => { if (socket?.readyState === 1) socket.send(JSON.stringify(what)); };
  const connect = () => {
    clearTimeout(timer);
    if (socket) return;
    const line = (socket = new WebSocket(`${base.replace(/^http/, "ws")}/socket`));
    heard = Date.now();
    line.onopen = () => {
      hadPass = !!kept.get("pass");
      frame({ t: "hello", pass: kept.get("pass") || "", have: all().filter((one) => one.id).slice(-100).map((one) => one.id) });
    };
    line.onmessage = (event) => {
      heard = Date.now();
      const got = JSON.parse(event.data);
      HEARD[got.t]?.(got);
    };
    line.onclose = () => {
      if (socket !== line) return;
      socket = null;
      ready = false;
      typing.hidden = true;
      tries += 1;
      if (tries > 1) notice.textContent = W.offline;
      timer = setTimeout(connect, Math.min(30, 2 ** Math.min(tries, 5)) * (500 + Math.random() * 500));
    };
  };
  const again = () => { const line = socket; socket = null; ready = false; if (line) line.close(); connect(); };
  setInterval(() => {
    if (!socket) return;
    if (Date.now() - heard > 60000) again();
    else if (ready) frame({ t: "ping" });
  }, 25000);
  on(window, "online", () => { tries = 0; if (!socket && timer) connect(); });
  on(window, "pageshow", (event) => { if (event.persisted && timer) again(); });

  const HEARD = {
    welcome(got) {
      const forget = () => { for (const [key, one] of shown) if (one.id) shown.delete(key); };
      const own = kept.get("pass");
      if (!hadPass && own && own !== got.pass) return again(); // another tab was given one meanwhile
      if (own && own !== got.pass) forget();
      kept.set("pass", got.pass);
      ready = true;
      tries = 0;
      timer = -1;
      notice.textContent = "";
      told.clear();
      flying = "";
      here = got.here;
      seen = got.seen;
      if (got.messages.length) kept.set("talked", true);
      refresh(() => {
        if (got.whole) { forget(); more = got.more; }
        got.messages.forEach(place);
      });
      if (got.whole) toEnd();
      showHere();
      tell("got", (one) => one.ours && one.state === "sent");
      count();
      flush();
      for (const key of pending.keys()) upload(key);
    },
    message(got) {
      const isNew = refreshed(() => place(got.message));
      if (got.message.ours) {
        typing.hidden = true;
        tell("got", (one) => one.ours && one.state === "sent");
        if (isNew && kept.get("sound") && !(isOpen() && document.hasFocus())) ring();
      } else {
        if (isNew) seen = false;
        kept.set("talked", true);
      }
      refresh(() => {});
    },
    state(got) { const one = shown.get(got.id); if (one) one.state = got.state; count(); },
    seen() { refresh(() => { seen = true; }); },
    typing(got) { const end = atEnd(); typing.hidden = !got.on; if (end) toEnd(); },
    pong(got) { here = got.here; showHere(); flush(); },
    ack(got) {
      const record = waiting().find((one) => one.id === got.id);
      drop(got.id);
      kept.set("talked", true);
      safe(got.id);
      if (got.redirect && record?.redirect) location.assign(got.redirect);
      else flush();
    },
    wait(got) { clearTimeout(later); later = setTimeout(() => { flying = ""; flush(); }, got.seconds * 1000 + 200); },
    refused(got) { drop(got.id); alter(got.id, { failed: true }); flush(); },
  };
  const refreshed = (change) => { let result; refresh(() => { result = change(); }); return result; };
  const alter = (key, values) => refresh(() => { const one = shown.get(key); if (one) draw(Object.assign(one, values)); });
  const safe = (key) => { seen = false; alter(key, { safe: true }); };
  // one after the other, so that they keep their order whatever becomes of one
  let flying = "";
  let later = 0;
  const flush = () => {
    const next = waiting()[0];
    if (!ready || !next || flying === next.id) return;
    flying = next.id;
    frame({ t: "say", ...next });
  };

  // --- saying something ---
  const complain = (what, input) => {
    error.textContent = what;
    for (const one of Object.values(contacts)) one.input.toggleAttribute("aria-invalid", one.input === input);
    input?.focus();
  };
  const isClosed = () => here && !here.open;
  const asks = () => {
    if (kept.get("contact")) return [];
    if (isClosed()) return settings.ask === "name" ? ["name", "email", "phone"] : ["email", "phone"];
    return settings.ask === "nothing" || kept.get("talked") ? [] : [settings.ask];
  };
  const showHere = () => {
    const wanted = asks();
    for (const [key, one] of Object.entries(contacts)) one.box.hidden = !wanted.includes(key);
    contact.hidden = !wanted.length;
    hint.textContent = isClosed() ? settings.hint || W.closed : "";
    hint.hidden = !hint.textContent;
    if (here?.company && !settings.title) heading.textContent = here.company;
    presence.textContent = !here ? "" : here.online ? W.online : here.open ? W.soon : here.opens ? said(W.back, opening.format(new Date(here.opens))) : W.away;
    presence.classList.toggle("on", !!here?.online);
  };
  const typedContact = (record) => {
    const wanted = asks();
    if (!wanted.length) return true;
    for (const key of wanted) if (contacts[key].input.value.trim()) record[key] = contacts[key].input.value.trim();
    const { email, phone } = record;
    if (email && !/^\S+@\S+\.\S+$/.test(email)) return complain(W.bad_email, contacts.email.input), false;
    if (phone && phone.replace(/\D/g, "").length < 6) return complain(W.bad_phone, contacts.phone.input), false;
    if (isClosed() ? !email && !phone : !record[wanted[0]]) return complain(W.needed, contacts[isClosed() ? "email" : wanted[0]].input), false;
    return true;
  };
  const say = () => {
    const content = text.value.trim();
    if (!content && !chosenFiles.length) return text.focus();
    const record = { id: fresh(), text: content, language };
    if (!typedContact(record)) return;
    record.marks = marks;
    if (visit.get("page") !== location.href) record.page = location.href.slice(0, 2000);
    visit.set("page", location.href);
    if (isClosed() && tag.dataset.redirect) record.redirect = new URL(tag.dataset.redirect, location.href).href;
    if (record.email || record.phone || record.name) kept.set("contact", true);
    const files = chosenFiles;
    const message = { key: record.id, ours: false, text: content, at: new Date().toISOString(), files: files.map((file) => ({ name: file.name, size: file.size })) };
    if (files.length) pending.set(record.id, [record, files]);
    else kept.set("waiting", [...waiting(), record]);
    refresh(() => place(message));
    toEnd();
    text.value = "";
    kept.set("draft", "");
    pick(null);
    complain("");
    grow();
    showHere();
    if (files.length) upload(record.id);
    else flush();
    connect();
    text.focus();
  };
  const call = (path, more) => fetch(base + path, { credentials: "omit", headers: { Authorization: `Bearer ${kept.get("pass")}` }, ...more });
  const upload = async (key) => {
    const [record, files, busy] = pending.get(key) || [];
    const pass = kept.get("pass");
    if (!record || busy || !ready || !pass) return;
    pending.get(key)[2] = true;
    const body = new FormData();
    body.append("message", JSON.stringify({ ...record, visitor: pass.split(".")[0] }));
    for (const file of files) body.append("file", file, file.name);
    let status = 0;
    try {
      status = (await call("/files", { method: "POST", body })).status;
    } catch { /* tried again when the line is back */ }
    pending.get(key)[2] = false;
    if (status === 200) {
      pending.delete(key);
      kept.set("talked", true);
      return safe(key);
    }
    if (status === 429 || status === 503) return setTimeout(() => upload(key), 12000);
    alter(key, { failed: true });
  };
  on(window, "beforeunload", (event) => { if (pending.size) event.preventDefault(); });
  const pick = (files) => {
    chosenFiles = files ? [...chosenFiles, ...files].slice(0, 10) : [];
    picker.value = "";
    while (chosenFiles.reduce((sum, file) => sum + file.size, 0) > 10485760) { chosenFiles.pop(); complain(W.large); }
    chosen.replaceChildren(...chosenFiles.map((file) =>
      make("li", {}, make("span", {}, file.name), button("close", said(W.remove, file.name), () => { chosenFiles = chosenFiles.filter((one) => one !== file); pick([]); text.focus(); }))));
  };
  const loadEarlier = async () => {
    const first = all().filter((one) => one.id).sort((a, b) => a.at.localeCompare(b.at) || a.id - b.id)[0];
    try {
      const got = await (await call(`/history?before=${first.id}`)).json();
      const height = log.scrollHeight;
      more = got.more;
      got.messages.forEach(place);
      order();
      log.scrollTop += log.scrollHeight - height;
    } catch { notice.textContent = W.offline; }
  };

  const grow = () => { text.style.height = "auto"; text.style.height = `${Math.min(text.scrollHeight + 2, 140)}px`; };
  let wroteAt = 0;
  on(text, "input", () => {
    grow();
    complain("");
    kept.set("draft", text.value);
    if (ready && Date.now() - wroteAt > 4000) { wroteAt = Date.now(); frame({ t: "typing", on: true }); }
  });
  on(text, "keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); say(); }
  });
  on(text, "paste", (event) => { if (event.clipboardData.files.length) { event.preventDefault(); pick(event.clipboardData.files); } });
  on(composer, "submit", (event) => { event.preventDefault(); say(); });

  // --- opening and closing ---
  const open = (takesFocus = true) => {
    panel.hidden = false;
    corner.classList.add("open");
    launcher.setAttribute("aria-expanded", "true");
    visit.set("open", true);
    connect();
    grow();
    toEnd();
    count();
    if (takesFocus) text.focus();
  };
  const shut = () => {
    panel.hidden = true;
    corner.classList.remove("open");
    launcher.setAttribute("aria-expanded", "false");
    visit.set("open", false);
    launcher.focus();
    count();
  };
  on(panel, "keydown", (event) => {
    if (event.key === "Escape") { event.stopPropagation(); return shut(); }
    if (event.key !== "Tab") return;
    const stops = [...panel.querySelectorAll("button, a[href], input:not(.picker), textarea, [tabindex='0']")].filter((one) => one.getClientRects().length);
    const edge = event.shiftKey ? stops[0] : stops[stops.length - 1];
    if (root.activeElement === edge) { event.preventDefault(); (event.shiftKey ? stops[stops.length - 1] : stops[0]).focus(); }
  });
  // what is typed here is none of the page's shortcuts
  for (const kind of ["keydown", "keyup", "keypress"]) on(host, kind, (event) => event.stopPropagation());
  on(document, "visibilitychange", () => { if (!document.hidden) count(); });

  const start = () => {
    document.body.append(host);
    typing.hidden = true;
    text.value = kept.get("draft") || "";
    for (const record of waiting()) place({ key: record.id, ours: false, text: record.text, at: new Date().toISOString() });
    order();
    showSound();
    showHere();
    if (kept.get("talked") || waiting().length) connect();
    if ("open" in tag.dataset || (visit.get("open") && innerWidth > 480)) open(false);
  };
  if (document.body) start();
  else on(window, "DOMContentLoaded", start);
})(SETTINGS, KEYS, WORDS, STYLE);
