"""Talking to MAX's API: calling methods, uploading files, and what its refusals mean (see `channels.max`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from channels.contract import Button, OutgoingFile, Part, Receipt, Tools
from channels.errors import ChannelError, RecipientGone, Temporary, Unauthorised, Uncertain, Undeliverable
from channels.fields import Fields
from channels.http import TIMEOUT, Answer
from channels.max_messages import CHAT
from channels.uploads import form_with

_UPLOAD_WITHIN = 600.0
_READY_WITHIN = 3.0
_MOST_KEPT = 100
_LONGEST_BUTTON = 128
_NOT_READY = ("attachment.not.ready", "attachment.file.not.processed")


class Api:
    """MAX's methods, called as one bot."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"Authorization": token}  # without "Bearer"
        # Files MAX has but is still preparing: tried again in seconds, they are not uploaded again.
        self._uploaded: dict[tuple[str, int], Mapping[str, Any]] = {}

    async def call(
        self,
        method: str,
        path: str,
        tools: Tools,
        *,
        query: Mapping[str, str] | None = None,
        json: Any = None,
        timeout: float = TIMEOUT,
        repeatable: bool = False,
    ) -> Fields:
        """Call a method and return its answer.

        Raises:
            ChannelError: by MAX's error code or the status.
        """
        answer = await tools.http.call(
            method,
            self._url + path,
            query=query,
            json=json,
            headers=self._headers,
            timeout=timeout,
            repeatable=repeatable,
        )
        if not answer.is_fine:
            raise _refusal(answer, tools)
        found = Fields(answer.object())
        if found.at("success").value is False:
            raise Undeliverable(f"MAX refuses: {tools.http.masked(found.text('message'))[:200]}")
        return found

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send a part with its file and its buttons.

        Raises:
            ChannelError: as in `channels.contract.Sender`.
        """
        keys = [(part.id, index) for index in range(len(part.files))]
        attachments: list[Mapping[str, Any]] = []
        for key, file in zip(keys, part.files, strict=True):
            if key not in self._uploaded:
                self._keep(key, await self._upload(file, tools))
            attachments.append(self._uploaded[key])
        if part.buttons:
            rows = [[_button(button)] for button in part.buttons]
            attachments.append({"type": "inline_keyboard", "payload": {"buttons": rows}})
        body: dict[str, Any] = {"text": part.text or None, "attachments": attachments}
        if part.reply_to.startswith("mid.") and part.is_first:
            body["link"] = {"type": "reply", "mid": part.reply_to}
        chat = part.peer.removeprefix(CHAT)
        query = {"user_id" if chat == part.peer else "chat_id": chat}
        found = await self.call("POST", "/messages", tools, query=query, json=body)
        for key in keys:
            self._uploaded.pop(key, None)
        mid = found.id("message", "body", "mid")
        if not mid:
            raise Uncertain("MAX does not say what became of the message")
        return Receipt((mid,))

    def _keep(self, key: tuple[str, int], attachment: Mapping[str, Any]) -> None:
        self._uploaded[key] = attachment
        while len(self._uploaded) > _MOST_KEPT:
            del self._uploaded[next(iter(self._uploaded))]

    async def _upload(self, file: OutgoingFile, tools: Tools) -> Mapping[str, Any]:
        """Upload a file and return the attachment it becomes. What proves it comes now before, now after its bytes."""
        kind = {"image": "image", "video": "video", "audio": "audio", "voice": "audio"}.get(file.kind, "file")
        place = await self.call("POST", "/uploads", tools, query={"type": kind}, repeatable=True)
        url = place.text("url")
        if not url:
            raise Temporary(f"MAX names no place to upload {file.name} to")
        form = form_with(file, "data")
        answer = await tools.http.call("POST", url, body=form, timeout=_UPLOAD_WITHIN, repeatable=True)
        if answer.status in (400, 406, 413, 415):
            said = tools.http.masked(answer.text)[:200]
            raise Undeliverable(f"{file.name} was not sent: MAX does not take it ({said})", code=str(answer.status))
        if not answer.is_fine:
            raise Temporary(f"MAX did not take {file.name} just now: {answer.status}", code=str(answer.status))
        if kind in ("video", "audio") and place.text("token"):
            return {"type": kind, "payload": {"token": place.text("token")}}
        uploaded = Fields(answer.object())
        token = uploaded.text("token") or place.text("token")
        if kind == "image" and uploaded.at("photos"):
            return {"type": kind, "payload": {"photos": uploaded.at("photos").value}}
        if not token:
            raise Temporary(f"MAX took {file.name} but did not keep it")
        return {"type": kind, "payload": {"token": token}}


def _button(button: Button) -> dict[str, str]:
    """Make a button that says its text in the chat, or one that calls back with what it holds."""
    text = button.text[:_LONGEST_BUTTON]
    if button.payload and button.payload != button.text:
        return {"type": "callback", "text": text, "payload": button.payload[:1024]}
    return {"type": "message", "text": text}


def _refusal(answer: Answer, tools: Tools) -> ChannelError:
    """Return what MAX's error means: a `code` with dots in it, and a text that is often another one."""
    try:
        found = Fields(answer.json())
    except Uncertain:
        found = Fields(None)
    code = found.text("code")[:100]
    said = tools.http.masked(f"{code} {found.text('message')}".strip())[:200]
    if any(word in said for word in _NOT_READY):
        return Temporary(f"MAX is still preparing the file ({said})", _READY_WITHIN, code=code)
    if answer.status == 401 or code == "verify.token":
        return Unauthorised(f"MAX does not take the bot's token ({said}). Enter the token of the bot again", code=code)
    if "suspended" in said:
        return RecipientGone(f"This person has stopped the bot ({said})", code=code, opted_out=True)
    if answer.status in (403, 404) and any(word in said for word in ("dialog", "chat", "user")):
        return RecipientGone(f"MAX does not let the bot write there ({said})", code=code)
    if answer.status == 403:
        return Undeliverable(f"MAX does not allow it ({said})", code=code or "403")
    return answer.failure(f"MAX refuses: {said}" if said and answer.status < 500 else "", code=code)
