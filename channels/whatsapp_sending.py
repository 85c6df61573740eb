"""Writing to WhatsApp: what a part becomes, for Meta's own API and for 360dialog's, which takes the same objects.

Files are uploaded first and sent by their id: WhatsApp fetching a link fails later, where nobody can mend it. A sound
or a sticker has no caption, and words under buttons may be no longer than 1024; then the words go as a message of
their own.

Source    Meta, "WhatsApp Cloud API: Messages, Media, Templates"; the limits of files are from memory
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import aiohttp

from channels import rendering
from channels.contract import Capability, KnownTemplate, Media, OutgoingFile, Part, Receipt, Sending, Template, Tools
from channels.errors import ChannelError, Temporary, Uncertain
from channels.fields import Fields
from channels.uploads import form_with
from channels.whatsapp_events import WINDOW, is_number
from channels.whatsapp_reports import OUR_MARK

_MB = 1_000_000
_SOUNDS = ("audio/aac", "audio/mp4", "audio/mpeg", "audio/amr", "audio/ogg", "audio/opus")
SENDING = Sending(
    text=4096,
    caption=1024,
    media={
        "image": Media(5 * _MB, ("image/jpeg", "image/png")),
        "video": Media(16 * _MB, ("video/mp4", "video/3gpp")),
        "audio": Media(16 * _MB, _SOUNDS, caption=0),
        "voice": Media(16 * _MB, _SOUNDS),
        "sticker": Media(100_000, ("image/webp",)),
        "file": Media(100 * _MB),
    },
    per_second=80,
    window=WINDOW,
    capabilities=frozenset(
        {
            Capability.BUTTONS,
            Capability.TEMPLATES,
            Capability.REPLY_TO,
            Capability.DELIVERY_RECEIPTS,
            Capability.READ_RECEIPTS,
            Capability.START,
        }
    ),
    addresses=("phone",),
)
_TYPES = {
    "image": "image",
    "video": "video",
    "audio": "audio",
    "voice": "audio",
    "sticker": "sticker",
    "file": "document",
}
_CAPTIONED = frozenset({"image", "video", "document"})
_UNDER_BUTTONS = Sending(text=1024)
_MOST_BUTTONS, _MOST_ROWS = 3, 10
_LONGEST_BUTTON, _LONGEST_ROW, _LONGEST_DESCRIPTION, _LONGEST_PAYLOAD = 20, 24, 72, 200
_OPEN_LIST = "☰"


class Asking(Protocol):
    """How a provider is asked: `messages` with JSON, `media` with a form."""

    async def __call__(
        self, path: str, tools: Tools, *, json: object = None, body: aiohttp.FormData | None = None
    ) -> Fields:
        """Post and return the answer, or raise what is wrong."""
        ...


async def deliver(part: Part, tools: Tools, ask: Asking) -> Receipt:
    """Send a part, as one message where WhatsApp allows.

    Raises:
        ChannelError: it was not sent. Uncertain: it may have been, or a piece of it was.
    """
    media = ""
    if part.files:
        media = await _uploaded(part.files[0], tools, ask)
    sent: list[str] = []
    details: list[str] = []
    for message in messages(part, media):
        try:
            answer = await ask("messages", tools, json=message)
        except ChannelError as error:
            if not sent:
                raise
            raise Uncertain(
                f"The first {len(sent)} of the messages it takes went, the next did not: {error}", code=error.code
            ) from error
        external_id = answer.id("messages", 0, "id")
        if not external_id:
            raise Uncertain("WhatsApp answered without the id of a message, so it may have gone or not")
        sent.append(external_id)
        known_as = answer.id("contacts", 0, "wa_id")
        if known_as and is_number(part.peer) and known_as != part.peer:
            details.append(f"WhatsApp knows {part.peer} as {known_as}")
        if answer.text("messages", 0, "message_status") == "held_for_quality_assessment":
            details.append("Held back by WhatsApp while it looks at how the template is received")
    return Receipt(tuple(sent), detail=". ".join(dict.fromkeys(details)))


def messages(part: Part, media: str = "") -> list[dict[str, Any]]:
    """Write a part as WhatsApp's messages; `media` is the id of its file."""
    envelope: dict[str, Any] = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to" if is_number(part.peer) else "recipient": part.peer,
        "biz_opaque_callback_data": f"{OUR_MARK}{part.id}",
    }
    bodies = [_template(part.template)] if part.template is not None else _bodies(part, media)
    if part.reply_to and part.is_first and part.template is None:
        bodies[0]["context"] = {"message_id": part.reply_to}
    return [{**envelope, **body} for body in bodies]


def known_templates(found: Fields) -> list[KnownTemplate]:
    """Read a list of templates, Meta's or 360dialog's.

    Usable are those that are approved and want nothing but values in order for their text: a picture on top, a button
    with a changing address or named values cannot be filled in.
    """
    templates = []
    for item in [*found.items("data"), *found.items("waba_templates")]:
        body, is_plain = "", item.text("parameter_format").upper() != "NAMED"
        for component in item.items("components"):
            kind = component.text("type").upper()
            if kind == "BODY":
                body = component.text("text")
            elif kind == "HEADER":
                is_plain &= component.text("format").upper() == "TEXT" and "{{" not in component.text("text")
            elif kind == "BUTTONS":
                is_plain &= not any("{{" in button.text("url") for button in component.items("buttons"))
        if name := item.text("name"):
            is_approved = item.text("status").upper() == "APPROVED"
            category = item.text("category").lower()
            templates.append(KnownTemplate(name, item.text("language"), body, category, is_approved and is_plain))
    return templates


async def _uploaded(file: OutgoingFile, tools: Tools, ask: Asking) -> str:
    form = form_with(file, "file")
    form.add_field("messaging_product", "whatsapp")
    form.add_field("type", file.content_type)
    found = (await ask("media", tools, body=form)).id("id")
    if not found:
        raise Temporary(f"WhatsApp took {file.name} but gave no id for it. Nothing was sent")
    return found


def _bodies(part: Part, media: str) -> list[dict[str, Any]]:
    """Return the type and content of each message."""
    text, bodies = part.text, list[dict[str, Any]]()
    kind = _TYPES[part.files[0].kind] if part.files else ""
    described: dict[str, Any] = {"id": media}
    if kind == "document":
        described["filename"] = part.files[0].name
    buttons = part.buttons
    if buttons and (not text or len(buttons) > _MOST_ROWS):
        lines = "\n".join(f"{number}. {button.text}" for number, button in enumerate(buttons, 1))
        text, buttons = f"{text}\n\n{lines}".strip(), ()
    if buttons:
        *before, text = rendering.split(text, _UNDER_BUTTONS)
        fits = kind in _CAPTIONED and not before and len(buttons) <= _MOST_BUTTONS  # a list has no picture on top
        header = {"type": kind, kind: described} if fits else None
        if kind and header is None:
            bodies.append({"type": kind, kind: described})
        if before:
            whole = part.text[: part.text.rindex(text)].rstrip()
            bodies += [_text(piece) for piece in rendering.split(whole, SENDING)]
        bodies.append(_interactive(part, text, header))
        return bodies
    if kind and text and kind in _CAPTIONED and len(text) <= SENDING.caption:
        return [{"type": kind, kind: {**described, "caption": text}}]
    if kind:
        bodies.append({"type": kind, kind: described})
    return bodies + [_text(piece) for piece in rendering.split(text, SENDING)]


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": {"body": text, "preview_url": False}}


def _interactive(part: Part, text: str, header: dict[str, Any] | None) -> dict[str, Any]:
    """Make up to three buttons, or a list of up to ten rows where there are more or their words are longer."""
    titles = [button.text for button in part.buttons]
    payloads = _distinct([button.payload or button.text for button in part.buttons])
    content: dict[str, Any] = {"body": {"text": text}}
    fit_buttons = len(titles) <= _MOST_BUTTONS and all(len(title) <= _LONGEST_BUTTON for title in titles)
    if fit_buttons or header is not None:
        content["type"] = "button"
        content["action"] = {
            "buttons": [
                {"type": "reply", "reply": {"id": payload, "title": _cut(title, _LONGEST_BUTTON)}}
                for title, payload in zip(titles, payloads, strict=True)
            ]
        }
    else:
        content["type"] = "list"
        rows = []
        for title, payload in zip(titles, payloads, strict=True):
            row = {"id": payload, "title": _cut(title, _LONGEST_ROW)}
            if len(title) > _LONGEST_ROW:
                row["description"] = _cut(title, _LONGEST_DESCRIPTION)
            rows.append(row)
        content["action"] = {"button": _OPEN_LIST, "sections": [{"rows": rows}]}
    if header is not None:
        content["header"] = header
    return {"type": "interactive", "interactive": content}


def _template(template: Template) -> dict[str, Any]:
    # line breaks and runs of blanks in a value are refused (132012)
    values = [{"type": "text", "text": " ".join(value.split()) or "-"} for value in template.values]
    content: dict[str, Any] = {
        "name": template.name,
        "language": {"policy": "deterministic", "code": template.language.replace("-", "_")},
    }
    if values:
        content["components"] = [{"type": "body", "parameters": values}]
    return {"type": "template", "template": content}


def _distinct(payloads: Sequence[str]) -> list[str]:
    """Make each payload different: WhatsApp refuses two buttons with one id."""
    found: list[str] = []
    for payload in payloads:
        one, number = payload[:_LONGEST_PAYLOAD], 2
        while one in found:
            one, number = f"{payload[:_LONGEST_PAYLOAD]} {number}", number + 1
        found.append(one)
    return found


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
