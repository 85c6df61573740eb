"""Talking to VK's API: calling methods, uploading files, and what its refusals mean (see `channels.vk`).

Source: dev.vk.com/reference/errors and …/method/messages.send. Errors come with status 200, as `error` of the answer,
or as `error` of one recipient inside a good answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from channels.contract import Button, OutgoingFile, Part, Receipt, Tools
from channels.errors import (
    ChannelError,
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
    WindowClosed,
)
from channels.fields import LONGEST_ID, Fields
from channels.uploads import form_with

VERSION = "5.199"
_UPLOAD_WITHIN = 300.0
_MOST_INLINE = 6
_MOST_ROWS = 10
_MOST_BUTTONS = 40
_LONGEST_LABEL = 40

_GONE = {
    18: "VK has deleted or banned this person",
    113: "VK knows nobody by this number",
    900: "This person is on the community's black list",
    901: "This person has not allowed the community to write to them, or has forbidden it",
    902: "This person's privacy settings let nobody write",
    917: "The community is not in this chat any more",
    927: "This chat does not exist",
    932: "The community cannot write here",
    935: "This person is not in the chat any more",
    936: "VK does not know this contact",
    945: "This chat was switched off",
    946: "VK does not let communities write to this chat",
    3610: "This person has deactivated their page",
}
_OPTED_OUT = frozenset({901, 902})
_BUSY = {6: 1.0, 9: 60.0, 29: 600.0, 603: 60.0}
_LATER = {1: None, 10: None, 14: 600.0, 36: None}


class Api:
    """VK's methods, called as one community."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token

    async def call(self, method: str, tools: Tools, arguments: Mapping[str, str], *, repeatable: bool = True) -> Fields:
        """Call a method and return its `response`.

        Raises:
            ChannelError: by VK's error code.
        """
        form = {**arguments, "access_token": self._token, "v": VERSION}
        answer = await tools.http.call("POST", f"{self._url}/method/{method}", form=form, repeatable=repeatable)
        if not answer.is_fine:
            raise answer.failure()
        found = Fields(answer.object())
        if "error" in found:
            number = found.whole("error", "error_code")
            raise refusal(number or 0, tools.http.masked(found.text("error", "error_msg")))
        if "response" not in found:
            raise Uncertain(f"VK's answer makes no sense: {tools.http.masked(answer.text[:200])!r}")
        return found.at("response")

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send a part with its files.

        Raises:
            ChannelError: as in `channels.contract.Sender`.
        """
        attached = [await self._upload(file, part.peer, tools) for file in part.files]
        arguments = {"peer_ids": part.peer, "random_id": str(random_id(part.number)), "message": part.text}
        if attached:
            arguments["attachment"] = ",".join(attached)
        if part.buttons:
            arguments["keyboard"] = keyboard(part.buttons)
        peer, _, number = part.reply_to.rpartition("_")
        if part.is_first and peer == part.peer and number.isdecimal():
            forward = {"peer_id": int(peer), "conversation_message_ids": [int(number)], "is_reply": True}
            arguments["forward"] = json.dumps(forward)
        response = await self.call("messages.send", tools, arguments, repeatable=False)
        return _receipt(response, part.peer, tools)

    async def _upload(self, file: OutgoingFile, peer: str, tools: Tools) -> str:
        """Upload a file and return what it is attached as. The place to upload to is for this peer alone."""
        if file.kind == "image":
            place = await self.call("photos.getMessagesUploadServer", tools, {"peer_id": peer})
            uploaded = await _put(place, file, "photo", tools)
            if uploaded.text("photo") in ("", "[]"):
                raise Undeliverable(f"{file.name} was not sent: VK cannot read it as a picture")
            names = ("server", "photo", "hash")
            saved = await self.call("photos.saveMessagesPhoto", tools, {name: uploaded.text(name) for name in names})
            return _attachment("photo", saved.at(0), file)
        kind = "audio_message" if file.kind == "voice" else "doc"
        place = await self.call("docs.getMessagesUploadServer", tools, {"type": kind, "peer_id": peer})
        uploaded = await _put(place, file, "file", tools)
        if not uploaded.text("file"):
            said = tools.http.masked(uploaded.text("error"))[:200]
            raise Undeliverable(f"{file.name} was not sent: VK does not take it. {said}".strip())
        saved = await self.call("docs.save", tools, {"file": uploaded.text("file"), "title": file.name})
        named = saved.text("type") or "doc"
        return _attachment("doc", saved.at(named) or saved.at(0), file)


async def _put(place: Fields, file: OutgoingFile, field: str, tools: Tools) -> Fields:
    url = place.text("upload_url")
    if not url:
        raise Temporary(f"VK names no place to upload {file.name} to")
    answer = await tools.http.call("POST", url, body=form_with(file, field), timeout=_UPLOAD_WITHIN, repeatable=True)
    if answer.status == 413:
        raise Undeliverable(f"{file.name} was not sent: it is larger than VK takes", code="413")
    if not answer.is_fine:
        raise Temporary(f"VK did not take {file.name} just now: {answer.status}", code=str(answer.status))
    return Fields(answer.object())


def _attachment(kind: str, saved: Fields, file: OutgoingFile) -> str:
    owner, number, key = saved.id("owner_id"), saved.id("id"), saved.id("access_key")
    if not (owner and number):
        raise Temporary(f"VK took {file.name} but did not keep it")
    return f"{kind}{owner}_{number}" + (f"_{key}" if key else "")


def _receipt(response: Fields, peer: str, tools: Tools) -> Receipt:
    """Read what became of a message to the one peer it was for."""
    sent = response.at(0)
    if not sent:
        if response.whole():  # a gateway that answers as VK does for `peer_id`: the number counted per community
            return Receipt((response.id(),))
        raise Uncertain("VK does not say what became of the message")
    if "error" in sent:
        said = sent.text("error", "description") or sent.text("error", "error_msg")
        raise refusal(sent.whole("error", "code") or sent.whole("error", "error_code") or 0, tools.http.masked(said))
    number = sent.whole("conversation_message_id")
    return Receipt((f"{peer}_{number}"[:LONGEST_ID] if number else sent.id("message_id"),))


def random_id(number: int) -> int:
    """Fold the number of a part into what VK recognises a repeat by: 31 bits, never 0."""
    return ((number ^ (number >> 31) ^ (number >> 62)) & 0x7FFF_FFFF) or 1


def keyboard(buttons: tuple[Button, ...]) -> str:
    """Lay buttons out: a few under the message, more in place of the keyboard."""
    shown = buttons[:_MOST_BUTTONS]
    wide = -(-len(shown) // _MOST_ROWS)
    made = [
        {
            "action": {
                "type": "text",
                "label": button.text[:_LONGEST_LABEL],
                "payload": json.dumps(button.payload or button.text, ensure_ascii=False),
            },
            "color": "secondary",
        }
        for button in shown
    ]
    rows = [made[start : start + wide] for start in range(0, len(made), wide)]
    is_inline = len(rows) <= _MOST_INLINE
    layout: dict[str, Any] = {"inline": is_inline, "buttons": rows}
    if not is_inline:
        layout["one_time"] = True
    return json.dumps(layout, ensure_ascii=False)


def refusal(number: int, said: str) -> ChannelError:
    """Return what one of VK's error codes means."""
    code, said = str(number), said[:200]
    if number in _GONE:
        return RecipientGone(f"{_GONE[number]} ({said})", code=code, opted_out=number in _OPTED_OUT)
    if number in (5, 27, 28):
        return Unauthorised(f"VK does not take the access token ({said}). Issue a key and enter it", code=code)
    if number in (7, 20):
        return Misconfigured(
            f"The access token lacks a right ({said}). Issue a key of the community with the rights for messages, "
            "photos, files and management, and enter it",
            code=code,
        )
    if number == 912:
        return Misconfigured(
            f"Bots are switched off in the community ({said}). Switch them on: Manage, Messages, Bot settings",
            code=code,
        )
    if number in (2, 23):
        return Misconfigured(f"VK has switched off the application or the method ({said})", code=code)
    if number in _BUSY:
        return Throttled(f"VK says we are too fast ({said})", _BUSY[number], code=code)
    if number in _LATER:
        return Temporary(f"VK cannot do it just now ({said})", _LATER[number], code=code)
    if number == 950:
        return WindowClosed(f"The time in which this person may be answered is over ({said})", code=code)
    return Undeliverable(f"VK refuses: {number} {said}".strip(), code=code)
