"""Talking to a Mattermost server as its bot.

From Mattermost's API reference v4; the ids of its errors are those of its translations (`api.context.…app_error`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from pydantic import SecretStr

from channels.contract import OutgoingFile, Tools
from channels.errors import (
    ChannelError,
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
)
from channels.fields import Fields
from channels.http import Answer

_CODE = re.compile(r"[a-z][a-z0-9_]{0,60}(?:\.[a-z0-9_]{1,80}){1,6}")
_GONE = re.compile(r"can_not_post_to_deleted|channel\.get.*existing|user\.(?:missing_account|get).*|deleted_channel")

_POSTING = 12.0  # seconds: two attempts have to lie within the half minute


class Server:
    """A server at an address, which knows us by a token."""

    def __init__(self, address: str, token: SecretStr) -> None:
        self.address = address
        self.token = token

    @property
    def headers(self) -> Mapping[str, str]:
        """What tells the server who we are."""
        return {"Authorization": f"Bearer {self.token.get_secret_value()}"}

    async def call(self, method: str, path: str, tools: Tools, **more: Any) -> Fields:
        """Make a call and return what it brought, an object or a list.

        Raises:
            ChannelError: it brought nothing.
        """
        answer = await tools.http.call(
            method, f"{self.address}/api/v4{path}", headers={**self.headers, **more.pop("headers", {})}, **more
        )
        if not answer.is_fine:
            raise _failure(answer)
        try:
            return Fields(answer.json())
        except Uncertain as error:
            if method == "GET":  # nothing can have been done
                raise Misconfigured("What answers at this address is no Mattermost. Correct the address") from error
            raise

    async def me(self, tools: Tools) -> Fields:
        """Ask which user our token belongs to.

        Raises:
            ChannelError: to none.
        """
        return await self.call("GET", "/users/me", tools)

    async def direct_channel(self, user: str, tools: Tools) -> str:
        """Return the channel between us and somebody; asking again changes nothing.

        Raises:
            ChannelError: there can be none.
        """
        us = (await self.me(tools)).id("id")
        channel = (await self.call("POST", "/channels/direct", tools, json=[us, user], repeatable=True)).id("id")
        if not channel:
            raise Temporary("Mattermost opened a direct channel, but did not say which")
        return channel

    async def post(self, post: Mapping[str, Any], tools: Tools) -> Fields:
        """Post, and return the post. It should have a `pending_post_id`.

        Where the answer was lost it is asked again at once, while the server still knows what it has posted.

        Raises:
            ChannelError: it was not posted, or nobody knows.
        """
        try:
            found = await self.call("POST", "/posts", tools, json=dict(post), timeout=_POSTING)
        except Uncertain as lost:
            try:
                found = await self.call("POST", "/posts", tools, json=dict(post), timeout=_POSTING)
            except ChannelError as error:
                raise lost from error  # whatever the second answer was, the first may have posted
        if not found.id("id"):
            raise Uncertain("Mattermost took the post, but did not say under what name")
        return found

    async def upload(self, file: OutgoingFile, channel: str, tools: Tools) -> str:
        """Bring a file there and return its id; nobody sees it before a post names it.

        Raises:
            ChannelError: it could not be done.
        """
        content = b"".join([piece async for piece in file.read()])
        found = await self.call(
            "POST",
            "/files",
            tools,
            body=content,
            query={"channel_id": channel, "filename": file.name},
            headers={"Content-Type": file.content_type or "application/octet-stream"},
            timeout=300,
            repeatable=True,
        )
        name = found.id("file_infos", 0, "id")
        if not name:
            raise Temporary("Mattermost took the file, but did not say under what name")
        return name


def quoted(piece: str) -> str:
    """Return a piece of a path, escaped."""
    return quote(piece, safe="")


def _failure(answer: Answer) -> ChannelError:
    try:
        found = Fields(msgspec.json.decode(answer.body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = Fields(None)
    told = found.id("id")
    code = told if _CODE.fullmatch(told) else ""
    shown = code or str(answer.status)
    if answer.status == 401:
        return Unauthorised(f"Mattermost does not take the token ({shown}). Enter a new one", code=shown)
    if answer.status == 429:
        reset = next((value for name, value in answer.headers.items() if name.lower() == "x-ratelimit-reset"), "")
        wait = answer.retry_after if answer.retry_after is not None else Fields(reset).whole()
        return Throttled("Mattermost says we write too fast", wait, code=shown)
    if answer.status >= 500 or answer.status in (408, 425):
        return Temporary(f"Mattermost is in trouble: {shown}", answer.retry_after, code=shown)
    if not code and answer.status in (403, 404, 405):
        return Misconfigured(
            f"There seems to be no Mattermost at this address: it answered {answer.status}", code=shown
        )
    if answer.status == 404 or _GONE.search(code):
        return RecipientGone(f"There is no such person or channel any more: {shown}", code=shown)
    if answer.status == 403:
        return Undeliverable(
            f"Our bot may not do this ({shown}). Add it to the team and the channel, or give it the permission",
            code=shown,
        )
    return Undeliverable(f"Mattermost refused it: {shown}", code=shown)
