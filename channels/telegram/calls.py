"""Calls to the Bot API, by aiogram over the hub's own way out. Importing this takes seconds: see `channels.telegram`.

aiogram knows the methods, what they take and how it is written; `Way` hands what it has written to `channels.http`,
which notes every call with the token masked and tells a refused connection from one that was cut. Answers are read with
`Fields`: aiogram's own types refuse a sent message whose description lacks one field, and it would be sent again.

Errors as https://core.telegram.org/bots/api#making-requests and `ResponseParameters` have them; their wording as the
public server (tdlib/telegram-bot-api, `Client.cpp`) gives it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import Any, cast
from urllib.parse import quote

import msgspec
from aiogram import Bot
from aiogram.client.session.base import BaseSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.methods import TelegramMethod
from aiogram.methods.base import TelegramType
from aiogram.types import InputFile
from aiohttp import FormData

from channels.contract import OutgoingFile
from channels.errors import (
    ChannelError,
    Misconfigured,
    PeerMoved,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
    WindowClosed,
)
from channels.fields import Fields
from channels.http import TIMEOUT, Answer, Http

_GONE = ("chat not found", "user not found", "peer_id_invalid", "chat_id_invalid", "deactivated", "chat was deleted")
_UNFIT = (
    "photo_invalid",
    "photo_save_file_invalid",
    "photo_ext_invalid",
    "image_process_failed",
    "too big for a photo",
    "voice_messages_forbidden",
    "video_content_type_invalid",
    "video_file_invalid",
)
_BYTES_A_SECOND = 500_000  # what an upload is granted, up to the time a part may take at all
_LONGEST = 110.0


class Unfit(Undeliverable):
    """Telegram takes the file, only not as what it was sent as: a picture too long to be a photo, say."""


class Upload(InputFile):
    """A file of the hub's on its way to Telegram, read as it goes out."""

    def __init__(self, file: OutgoingFile) -> None:
        # aiohttp writes the name as it is, and a header has one line
        super().__init__(filename=re.sub(r'[\x00-\x1f\x7f"\\/]+', "_", file.name)[-200:] or "file")
        self.file = file

    async def read(self, bot: Bot) -> AsyncGenerator[bytes, None]:
        """Yield the bytes, from the beginning each time."""
        async for piece in self.file.read():
            yield piece


class Way(BaseSession):
    """aiogram's session that goes through the hub's HTTP client, which outlives it."""

    def __init__(self, api: TelegramAPIServer, http: Http) -> None:
        super().__init__(api=api)
        self._http = http

    async def make_request(
        self, bot: Bot, method: TelegramMethod[TelegramType], timeout: int | None = None
    ) -> TelegramType:
        """Call a method and return its result as plain JSON.

        Raises:
            ChannelError: it was not done, or we cannot know.
        """
        uploads: dict[str, InputFile] = {}
        values: dict[str, str] = {}
        for name, value in method.model_dump(warnings=False).items():
            if written := self.prepare_value(value, bot=bot, files=uploads):
                values[name] = written
        answer = await self._http.call(
            "POST",
            self.api.api_url(token=bot.token, method=method.__api_method__),
            form=None if uploads else values,
            body=_form(bot, values, uploads) if uploads else None,
            timeout=timeout or _patience(uploads),
            repeatable=not method.__api_method__.startswith(("send", "create")),
        )
        return cast(TelegramType, _result(answer, self._http))

    async def stream_content(
        self,
        url: str,
        headers: dict[str, Any] | None = None,
        timeout: int = 30,
        chunk_size: int = 65536,
        raise_for_status: bool = True,
    ) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes."""
        chunks, _, _ = await self._http.stream(url, headers=headers)
        async for chunk in chunks:
            yield chunk

    async def close(self) -> None:
        """Close nothing: the connections are the hub's."""


class Api:
    """One bot at the Bot API, or at a server of the same interface at `base_url`."""

    def __init__(self, token: str, base_url: str, http: Http) -> None:
        self._server = TelegramAPIServer.from_base(base_url)
        self._bot = Bot(token, session=Way(self._server, http))

    async def __call__(self, method: TelegramMethod[Any], timeout: int | None = None) -> Fields:
        """Call a method and return what Telegram answered.

        Raises:
            ChannelError: it was not done, or we cannot know.
        """
        return Fields(await self._bot(method, request_timeout=timeout))

    def file_url(self, path: str) -> str:
        """Return where a file lies. The token is part of it: it is for us alone."""
        return self._server.file_url(self._bot.token, quote(path, safe="/"))


def _patience(uploads: dict[str, InputFile]) -> float:
    size = sum(upload.file.size for upload in uploads.values() if isinstance(upload, Upload))
    return min(TIMEOUT + size / _BYTES_A_SECOND, _LONGEST)


def _form(bot: Bot, values: dict[str, str], uploads: dict[str, InputFile]) -> FormData:
    form = FormData(quote_fields=False)
    for name, value in values.items():
        form.add_field(name, value)
    for name, upload in uploads.items():
        kind = upload.file.content_type if isinstance(upload, Upload) else ""
        is_type = re.fullmatch(r"[\w.+-]+/[\w.+-]+", kind, re.ASCII) is not None
        form.add_field(
            name,
            upload.read(bot),
            filename=upload.filename,
            content_type=kind if is_type else "application/octet-stream",
        )
    return form


def _result(answer: Answer, http: Http) -> Any:
    """Return what a call gave.

    Raises:
        ChannelError: it gave nothing; Uncertain where Telegram's answer says neither yes nor no.
    """
    try:
        said = Fields(msgspec.json.decode(answer.body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = Fields(None)
    if "ok" not in said:
        if not answer.is_fine:
            raise answer.failure(http.masked(f"Telegram answered {answer.status}: {answer.text[:200].strip()}"))
        raise Uncertain("Telegram's answer makes no sense, so nobody knows whether it was done", code="unreadable")
    if said.at("ok").value is True and answer.is_fine:
        return said.at("result").value
    raise _failure(said, answer, http)


def _failure(said: Fields, answer: Answer, http: Http) -> ChannelError:
    status = said.whole("error_code") or answer.status
    code = str(status)
    words = http.masked(said.text("description")[:300]) or f"no reason given ({code})"
    told, text = words.lower(), f"Telegram refused: {words}"
    if moved := said.whole("parameters", "migrate_to_chat_id"):
        return PeerMoved(f"The group has another number now: {moved}", new_peer=str(moved))
    wait = said.whole("parameters", "retry_after")
    if status == 429 or wait:
        return Throttled(text, float(wait) if wait else answer.retry_after, code=code)
    if status == 401:
        return Unauthorised(
            f"{text}. The bot's token is not valid (any more): enter the one @BotFather shows", code=code
        )
    if status == 404:
        return Misconfigured(f"{text}. No bot has this token, or no Bot API is at this address: check both", code=code)
    if status == 409 or status >= 500:
        return Temporary(text, answer.retry_after, code=code)
    if status == 403 or any(sign in told for sign in _GONE):
        return RecipientGone(text, code=code, opted_out="blocked" in told)
    if "business_peer_usage_missing" in told:
        return WindowClosed(
            "A business account answers within 24 hours of the person's last words; they are over", code=code
        )
    if any(sign in told for sign in _UNFIT):
        return Unfit(text, code=code)
    if "temporarily unavailable" in told:
        return Temporary(text, code=code)
    return Undeliverable(text, code=code)
