// The composer: what the chosen channel can carry, drafts, files, templates, sending later. Canned replies: canned.js.
"use strict";

(() => {
  const root = document.documentElement;
  const form = () => document.getElementById("composer");
  const byId = (id) => document.getElementById(id);
  const text = () => byId("text");
  const isNote = () => form().elements.mode.value === "note";
  const word = (name, values = {}) =>
    Object.entries(values).reduce((said, [key, value]) => said.replace(`{${key}}`, value), form().dataset[`word${name}`] || "");

  let files = []; // of the conversation that is open: {key, name, id, progress, error, request}

  // the chosen channel ---------------------------------------------------------------------------------------------------

  let chosen = ""; // survives that the choice is fetched anew

  function way() {
    const option = byId("way")?.selectedOptions[0];
    return option ? JSON.parse(option.dataset.facts) : null;
  }

  function showWay() {
    if (!form()) return;
    const facts = way();
    for (const state of document.querySelectorAll("[data-way]")) state.hidden = !facts || state.dataset.way !== facts.id;
    const note = isNote();
    form().classList.toggle("is-note", note);
    byId("ways").hidden = note && Boolean(facts);
    byId("subject-field").hidden = note || !facts?.hasSubject;
    const offers = !note && facts?.templates.length > 0;
    const needs = !note && Boolean(facts?.needsTemplate);
    byId("template-field").hidden = !offers && !needs;
    byId("write").hidden = needs;
    if (offers || needs) fillTemplates(facts);
    else byId("template").value = "";
    byId("later").hidden = note;
    text().placeholder = note ? text().dataset.placeholderNote : text().dataset.placeholderReply;
    showLater();
    count();
  }

  document.addEventListener("htmx:after:swap", (event) => {
    if (event.detail.ctx.target?.id !== "ways" || !byId("way")) return;
    if (chosen && [...byId("way").options].some((option) => option.value === chosen)) byId("way").value = chosen;
    showWay();
  });

  // length ------------------------------------------------------------------------------------------------------------------

  // 3GPP TS 23.038 §6.2.1, as channels/sms_text.py has it
  const BASIC = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
  const ESCAPED = "\f^{}\\[~]|€";

  function sms(said) {
    const costs = [...said].map((sign) => (BASIC.includes(sign) ? 1 : ESCAPED.includes(sign) ? 2 : 0));
    const gsm = !costs.includes(0);
    const [alone, joined] = gsm ? [160, 153] : [70, 67];
    const each = gsm ? costs : [...said].map((sign) => sign.length);
    const units = each.reduce((sum, cost) => sum + cost, 0);
    if (units <= alone) return { units, segments: 1, room: alone };
    let segments = 1;
    let used = 0;
    for (const cost of each) {
      if (used + cost > joined) {
        segments += 1;
        used = 0;
      }
      used += cost;
    }
    return { units, segments, room: segments * joined };
  }

  const LENGTHS = {
    codepoints: (said) => [...said].length,
    utf16: (said) => said.length,
    bytes: (said) => new TextEncoder().encode(said).length,
    sms: (said) => sms(said).units,
  };

  function count() {
    const shown = byId("measure");
    const said = text().value.trim();
    const facts = way();
    shown.textContent = "";
    shown.classList.remove("warn");
    if (!said || isNote() || !facts || facts.needsTemplate) return;
    if (facts.unit === "sms") {
      const { units, segments, room } = sms(said);
      shown.textContent = `${word("Left", { length: units, limit: room })} · ${word("Sms", { count: segments })}`;
      shown.classList.toggle("warn", segments > 3);
      return;
    }
    const length = LENGTHS[facts.unit](said);
    const parts = Math.ceil(length / facts.limit);
    if (length > facts.limit * 0.8) shown.textContent = word("Left", { length, limit: facts.limit });
    if (parts > 1) shown.textContent += ` · ${word("Parts", { count: parts })}`;
    shown.classList.toggle("warn", parts > 1);
  }

  // templates ------------------------------------------------------------------------------------------------------------------

  function fillTemplates(facts) {
    const choice = byId("template");
    if (choice.dataset.of !== facts.id) {
      choice.dataset.of = facts.id;
      choice.length = 1;
      for (const each of facts.templates) choice.add(new Option(each.language ? `${each.name} (${each.language})` : each.name, `${each.name}|${each.language}`));
    }
    showTemplate();
  }

  const template = () => way()?.templates.find((each) => `${each.name}|${each.language}` === byId("template").value);

  function showTemplate() {
    const found = template();
    const holder = byId("template-values");
    const key = byId("template").value;
    if (holder.dataset.of !== key) {
      holder.dataset.of = key;
      holder.replaceChildren(
        ...(found?.places || []).map((name) => {
          const input = document.createElement("input");
          Object.assign(input, { className: "input", name: "value", placeholder: `{{${name}}}` });
          input.setAttribute("aria-label", word("Value", { name }));
          return input;
        }),
      );
    }
    let body = found?.body || "";
    const values = [...holder.querySelectorAll("input")];
    found?.places.forEach((name, place) => {
      const given = values[place].value.trim();
      if (given) body = body.split(new RegExp(`\\{\\{\\s*${name}\\s*\\}\\}`)).join(given);
    });
    byId("template-preview").textContent = body;
    byId("write").hidden = Boolean(found) || Boolean(way()?.needsTemplate && !isNote());
  }

  // drafts ---------------------------------------------------------------------------------------------------------------------

  const key = () => `draft.${form().dataset.draft}`;

  function keep() {
    const draft = { text: text().value, subject: byId("subject").value, mode: form().elements.mode.value, way: byId("way")?.value || "" };
    try {
      if (draft.text.trim() || draft.subject.trim()) localStorage.setItem(key(), JSON.stringify(draft));
      else localStorage.removeItem(key());
    } catch {
      // no room, or storage is forbidden: what is typed still stands in the field
    }
  }

  function begin() {
    for (const file of files) file.request?.abort();
    files = [];
    chosen = "";
    if (!form()) return;
    let draft = null;
    try {
      draft = JSON.parse(localStorage.getItem(key()) || "null");
    } catch {
      // an old draft nobody can read
    }
    if (draft && !text().value) {
      text().value = draft.text || "";
      byId("subject").value = draft.subject || "";
      const mode = form().querySelector(`[name=mode][value="${draft.mode === "note" ? "note" : "reply"}"]`);
      if (mode) mode.checked = true;
      if (draft.way && byId("way")?.querySelector(`option[value="${CSS.escape(draft.way)}"]`)) byId("way").value = chosen = draft.way;
    }
    showWay();
    showFiles();
  }

  // files ------------------------------------------------------------------------------------------------------------------------

  const MOST = 50 * 1024 * 1024;
  function attach(list) {
    for (const file of list) {
      const row = { key: crypto.randomUUID?.() || String(Math.random()), name: file.name || "file", progress: 0 };
      files.push(row);
      if (file.size > MOST) {
        row.error = word("Large");
        continue;
      }
      const body = new FormData();
      body.append("file", file, row.name);
      const request = (row.request = new XMLHttpRequest());
      request.open("POST", "/files");
      request.setRequestHeader("X-CSRF-Token", root.dataset.csrf);
      request.upload.onprogress = (event) => {
        row.progress = event.lengthComputable ? event.loaded / event.total : 0;
        showFiles();
      };
      request.onload = () => {
        row.request = null;
        let said = {};
        try {
          said = JSON.parse(request.responseText);
        } catch {
          // an answer that is not ours: told below
        }
        if (request.status === 201) row.id = said.id;
        else row.error = said.detail || said.title || word("UploadFailed");
        showFiles();
      };
      request.onerror = () => {
        row.request = null;
        row.error = root.dataset.wordUnreachable;
        showFiles();
      };
      request.send(body);
    }
    showFiles();
  }

  function showFiles() {
    const list = byId("attached");
    if (!list) return;
    list.replaceChildren(
      ...files.map((file) => {
        const row = document.createElement("li");
        row.className = `attached-file${file.error ? " bad" : ""}`;
        const name = document.createElement("span");
        name.className = "cut";
        name.textContent = file.name;
        row.append(name);
        if (file.error) row.append(Object.assign(document.createElement("span"), { className: "small", textContent: file.error }));
        else if (!file.id) {
          const bar = Object.assign(document.createElement("progress"), { max: 1, value: file.progress });
          bar.setAttribute("aria-label", word("Uploading"));
          row.append(bar);
        } else row.append(Object.assign(document.createElement("input"), { type: "hidden", name: "attachment_ids", value: file.id }));
        const remove = Object.assign(document.createElement("button"), { type: "button", className: "button bare square small", textContent: "×" });
        remove.setAttribute("aria-label", word("Remove", { name: file.name }));
        remove.addEventListener("click", () => {
          file.request?.abort();
          files = files.filter((each) => each !== file);
          showFiles();
          text().focus();
        });
        row.append(remove);
        return row;
      }),
    );
  }

  document.addEventListener("paste", (event) => {
    if (event.target !== text() || !event.clipboardData?.files.length) return;
    event.preventDefault();
    attach(event.clipboardData.files);
  });
  const carriesFiles = (event) => form() && event.dataTransfer?.types.includes("Files") && event.target.closest?.(".talk-pane");
  document.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    form().classList.add("is-target");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget?.closest?.(".talk-pane") || form()?.classList.remove("is-target"));
  document.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    form().classList.remove("is-target");
    attach(event.dataTransfer.files);
  });

  // sending ------------------------------------------------------------------------------------------------------------------------

  function showLater() {
    const at = byId("send_at").value;
    const later = Boolean(at) && !isNote();
    byId("later-chip").hidden = !later;
    if (later) byId("later-chip").lastElementChild.textContent = new Intl.DateTimeFormat(root.lang, { dateStyle: "medium", timeStyle: "short" }).format(new Date(at));
    byId("send").lastElementChild.textContent = word(isNote() ? "Note" : later ? "Later" : "Send");
  }

  function complain(errors, formError = "") {
    const all = { ...errors };
    const above = [formError, all.channel].filter(Boolean).join(" ");
    delete all.channel;
    byId("form-error").textContent = above;
    byId("form-error").hidden = !above;
    for (const name of ["text", "attachments", "send_at", "template"]) {
      const holder = byId(`${name}-error`);
      holder.textContent = all[name] || "";
      holder.hidden = !all[name];
    }
    text().toggleAttribute("aria-invalid", Boolean(all.text));
  }

  let isSending = false;

  async function send() {
    if (isSending || !form()) return;
    if (files.some((file) => file.request)) return complain({ attachments: word("Wait") });
    const sent = form();
    const body = new FormData(sent);
    if (!byId("write").hidden || isNote()) body.delete("template");
    else body.set("text", "");
    if (isNote()) ["channel", "send_at", "attachment_ids"].forEach((name) => body.delete(name));
    isSending = true;
    byId("send").disabled = true;
    const answer = await fetch(sent.action, {
      method: "POST",
      headers: { "X-CSRF-Token": root.dataset.csrf, Accept: "application/json", "HX-Request": "true" },
      body: new URLSearchParams(body),
    }).catch(() => null);
    const said = await answer?.json().catch(() => null);
    isSending = false;
    if (byId("send")) byId("send").disabled = false;
    if (form() !== sent) return; // another conversation was opened meanwhile
    if (!answer) return complain({}, root.dataset.wordUnreachable);
    if (!answer.ok || !said?.id) return complain(said?.errors || {}, said ? said.form_error || said.detail || "" : root.dataset.wordFailed);
    complain({});
    text().value = byId("subject").value = byId("send_at").value = byId("template").value = "";
    if (!isNote()) files = [];
    unanswer();
    keep();
    showFiles();
    showWay();
    document.dispatchEvent(new CustomEvent("switchyard:sent"));
    document.dispatchEvent(new CustomEvent("switchyard:refresh"));
    text().focus();
  }

  function unanswer() {
    form().elements.reply_to_id.value = "";
    byId("answered-to").hidden = true;
  }

  document.addEventListener("submit", (event) => {
    if (event.target !== form()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    send();
  }, true);

  let said = false; // whether the others were told that somebody writes here
  document.addEventListener("input", (event) => {
    if (!form()?.contains(event.target)) return;
    if (event.target === text()) {
      count();
      const writes = Boolean(text().value.trim());
      if (writes !== said) {
        said = writes;
        document.dispatchEvent(new CustomEvent("switchyard:writing"));
      }
    }
    if (event.target.name === "value") showTemplate();
    keep();
  });

  document.addEventListener("change", (event) => {
    if (!form()?.contains(event.target)) return;
    if (event.target.id === "files") {
      attach(event.target.files);
      event.target.value = "";
    }
    if (event.target.id === "way") chosen = event.target.value;
    if (["way", "mode", "template"].includes(event.target.name) || event.target.id === "way") showWay();
    if (event.target.id === "send_at") showLater();
    keep();
  });

  document.addEventListener("click", (event) => {
    if (!form()) return;
    if (event.target.closest("#composer label[data-key]")) setTimeout(() => (byId("write").hidden ? byId("template") : text()).focus());
    if (event.target.closest("[data-send-now]")) {
      byId("send_at").value = "";
      byId("later").open = false;
      showLater();
    }
    if (event.target.closest("[data-unanswer]")) unanswer();
  });

  document.addEventListener("click", (event) => {
    const asks = event.target.closest?.("[data-answer]");
    if (!asks || !form()) return;
    const bubble = asks.closest(".bubble");
    const reply = form().querySelector("[name=mode][value=reply]");
    if (reply) reply.checked = true;
    form().elements.reply_to_id.value = asks.dataset.answer;
    byId("answered-to").hidden = false;
    byId("answered-to").querySelector("span").textContent = bubble.querySelector(".words")?.textContent.trim().slice(0, 120) || bubble.dataset.from;
    showWay();
    text().focus();
  });

  document.addEventListener("keydown", (event) => {
    if (!form()?.contains(event.target) || event.defaultPrevented) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      send();
    } else if (event.key === "Escape" && event.target === text()) text().blur();
  });

  document.addEventListener("switchyard:conversation", begin);
})();
