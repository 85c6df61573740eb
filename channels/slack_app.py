"""A Slack app as both of its uses need it: is a request from Slack, and how its Web API is called with a bot token.

From Slack's documentation: "Verifying requests from Slack", `files.getUploadURLExternal`,
`files.completeUploadExternal`, `files.info`, `auth.test`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from channels import slack_answers, slack_events
from channels.contract import ChannelSettings, Fetched, OutgoingFile, Tools
from channels.errors import ChannelError, Misconfigured, Temporary, Undeliverable
from channels.fields import Fields
from channels.http import Answer, origin_of
from channels.shared_secret import same
from channels.slack_events import LOOK_UP, escaped
from webhooks.errors import BadSignature, Malformed, NotConfigured
from webhooks.request import RawRequest, Reply

API = "https://slack.com/api"
WINDOW = 300
"""Seconds a signature is good for."""


class App:
    """An app in a workspace, known to us by its signing secret and its bot token."""

    def __init__(self, signing_secret: SecretStr, bot_token: SecretStr, address: str = "") -> None:
        self._secret = signing_secret
        self._token = bot_token
        self._api = address.rstrip("/") or API

    # --- what comes in ---

    def handshake(self, request: RawRequest) -> Reply | None:
        """Answer the challenge Slack sends when the hook's address is entered.

        Raises:
            BadSignature, NotConfigured: it is not signed with our secret.
        """
        if b"url_verification" not in request.body and b"ssl_check" not in request.body:
            return None
        try:
            fields = slack_events.read(request)
        except Malformed:
            return None
        if fields.text("type") == "url_verification":
            self._check_signature(request)
            return Reply(fields.text("challenge").encode(), content_type="text/plain")
        if fields.flag("ssl_check"):
            return Reply(content_type="text/plain")
        return None

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the signature and that it is not older than five minutes.

        Raises:
            BadSignature, NotConfigured: it is not genuine.
        """
        written = self._check_signature(request)
        if abs(now.timestamp() - written) > WINDOW:
            raise BadSignature(
                "The request was signed more than five minutes ago or ahead. Nothing was stored. If it came from Slack "
                "just now, this server's clock is wrong"
            )

    def _check_signature(self, request: RawRequest) -> int:
        """Check the signature and return when it was made."""
        secret = self._secret.get_secret_value()
        if not secret:
            raise NotConfigured("The signing secret is missing, so nothing is accepted. Enter it in the settings")
        written = request.headers.get("x-slack-request-timestamp", "")
        if not (written.isascii() and written.isdecimal() and len(written) < 15):
            raise BadSignature("The request is not signed by Slack. Nothing was stored")
        signed = b"v0:" + written.encode() + b":" + request.body
        expected = "v0=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        if not same(request.headers.get("x-slack-signature", ""), expected):
            raise BadSignature("The signature is not of this app's signing secret. Nothing was stored")
        return int(written)

    # --- files ---

    async def share(
        self, channel: str, thread: str, files: Sequence[OutgoingFile], tools: Tools, *, text: str = ""
    ) -> tuple[str, ...]:
        """Bring files to a channel, with words; see `show`.

        Raises:
            ChannelError: it could not be done.
        """
        uploaded = [{"id": await self.upload(file, tools), "title": file.name} for file in files]
        return await self.show(channel, thread, uploaded, tools, text=text)

    async def show(
        self, channel: str, thread: str, uploaded: Sequence[Mapping[str, str]], tools: Tools, *, text: str = ""
    ) -> tuple[str, ...]:
        """Show files that were uploaded (`id` and `title` of each) in one message, and return its time stamp.

        Where Slack has not made it yet, which may take a moment, the files' ids are returned instead.

        Raises:
            ChannelError: it could not be done.
        """
        sharing: dict[str, Any] = {"files": list(uploaded), "channel_id": channel}
        if text:
            sharing["initial_comment"] = escaped(text)
        if thread:
            sharing["thread_ts"] = thread
        await self.call("files.completeUploadExternal", sharing, tools)
        stamp = await self._stamp(uploaded[0]["id"], channel, tools)
        return (stamp,) if stamp else tuple(file["id"] for file in uploaded)

    async def upload(self, file: OutgoingFile, tools: Tools) -> str:
        """Bring a file to Slack and return its id; nobody sees it before it is shared.

        Raises:
            ChannelError: it could not be done.
        """
        content = b"".join([piece async for piece in file.read()])
        asked = {"filename": file.name, "length": str(len(content))}
        place = await self.call("files.getUploadURLExternal", asked, tools, is_form=True, repeatable=True)
        url, name = place.text("upload_url"), place.id("file_id")
        if not url or not name:
            raise Temporary("Slack gave no place to upload a file to")
        answer = await tools.http.call(
            "POST",
            url,
            body=content,
            headers={"Content-Type": "application/octet-stream"},
            timeout=300,
            repeatable=True,
        )
        if not answer.is_fine:
            raise answer.failure(f"Slack did not take the file {file.name!r}: {answer.status}")
        return name

    async def _stamp(self, file: str, channel: str, tools: Tools) -> str:
        """Ask as what message a file was shared; "" where Slack has not yet made it, which may take a moment."""
        with suppress(ChannelError):
            found = await self.call("files.info", {"file": file}, tools, is_form=True, repeatable=True)
            for where in ("private", "public"):
                if stamp := found.id("file", "shares", where, channel, 0, "ts"):
                    return stamp
        return ""

    async def open_file(self, reference: str, tools: Tools) -> Fetched:
        """Open a file; the token goes along to Slack's own addresses only.

        Raises:
            Temporary, Undeliverable: as in the contract.
        """
        if reference.startswith(LOOK_UP):
            asked = {"file": reference.removeprefix(LOOK_UP)}
            found = await self.call("files.info", asked, tools, is_form=True, repeatable=True)
            reference = found.text("file", "url_private_download") or found.text("file", "url_private")
            if not reference:
                raise Undeliverable("Slack names no address for this file")
        headers = self.headers if self._is_theirs(reference) else None
        chunks, content_type, size = await tools.http.stream(reference, headers=headers)
        name = urlsplit(reference).path.rpartition("/")[2]
        if content_type == "text/html" and not name.lower().endswith((".html", ".htm")):
            await chunks.aclose()  # type: ignore[attr-defined]  # a generator, so that the connection is given back
            raise Undeliverable("Slack gave its sign-in page instead of the file. Give the app the scope files:read")
        return Fetched(chunks, content_type, size, name)

    def _is_theirs(self, url: str) -> bool:
        host = urlsplit(url).hostname or ""
        if origin_of(url) == origin_of(self._api):
            return True
        return url.startswith("https://") and (host in ("slack.com", "slack-files.com") or host.endswith(".slack.com"))

    # --- calling ---

    async def who(self, tools: Tools) -> tuple[Fields, str]:
        """Ask Slack whose token this is; return that and the token's scopes, "" where Slack does not say them.

        Raises:
            ChannelError: it is of no use, or may not write.
        """
        answer = await self.ask("auth.test", {}, tools, is_form=True, repeatable=True)
        found = slack_answers.read(answer, repeatable=True)
        scopes = next((value for name, value in answer.headers.items() if name.lower() == "x-oauth-scopes"), "")
        if scopes and "chat:write" not in [scope.strip() for scope in scopes.split(",")]:
            raise Misconfigured(
                "The app may not write. Give it the scope chat:write and install it again", code="scope"
            )
        return found, scopes

    @property
    def headers(self) -> Mapping[str, str]:
        """What tells Slack who we are."""
        return {"Authorization": f"Bearer {self._token.get_secret_value()}"}

    async def call(
        self, method: str, asked: Mapping[str, Any], tools: Tools, *, is_form: bool = False, repeatable: bool = False
    ) -> Fields:
        """Make a call and return what it brought; `is_form` for methods that only read, which take no JSON.

        Raises:
            ChannelError: Slack refused, or nobody knows.
        """
        answer = await self.ask(method, asked, tools, is_form=is_form, repeatable=repeatable)
        return slack_answers.read(answer, repeatable=repeatable)

    async def ask(
        self, method: str, asked: Mapping[str, Any], tools: Tools, *, is_form: bool, repeatable: bool
    ) -> Answer:
        """Make a call and return the answer, whatever it is.

        Raises:
            Temporary, Uncertain: as `Http.call`.
        """
        return await tools.http.call(
            "POST",
            f"{self._api}/{method}",
            json=None if is_form else dict(asked),
            form=dict(asked) if is_form else None,
            headers={**self.headers, **({} if is_form else {"Content-Type": "application/json; charset=utf-8"})},
            repeatable=repeatable,
        )


class InWorkspace:
    """What the customers' channel and the desk have in common: settings, and how what comes in is checked."""

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        signing_secret: SecretStr = Field(
            title="Signing secret",
            description="On the app's page at api.slack.com: Basic Information, App Credentials.",
        )
        bot_token: SecretStr = Field(
            title="Bot token", description="It begins with xoxb-. On the app's page: OAuth & Permissions."
        )

    def __init__(self, settings: Settings) -> None:
        self._app = App(settings.signing_secret, settings.bot_token, settings.base_url)

    def handshake(self, request: RawRequest) -> Reply | None:
        """Answer the challenge Slack sends when the hook's address is entered.

        Raises:
            BadSignature, NotConfigured: it is not signed with our secret.
        """
        return self._app.handshake(request)

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the signature and that it is not older than five minutes.

        Raises:
            BadSignature, NotConfigured: it is not genuine.
        """
        self._app.verify(request, now)

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say nothing: what is answered to a slash command would be shown to whoever typed it."""
        return Reply(content_type="text/plain")

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file; the token goes along to Slack's own addresses only.

        Raises:
            Temporary, Undeliverable: as in the contract.
        """
        return await self._app.open_file(reference, tools)
