"""Slack: people who write to our bot, in a direct message, a channel it was invited to, or by a slash command.

Reaches   members of the workspace the app is installed in, and those of shared channels
Set up    make an app at api.slack.com: scopes chat:write, im:history, im:write, users:read, files:read, files:write
          (and channels:history, groups:history, mpim:history, app_mentions:read, reactions:read for what is said in
          channels); enter its signing secret and bot token here; put the hook's address at Event Subscriptions
          (message.im, …), Interactivity and Slash Commands
Calls us  POST: JSON for events, urlencoded for pressed buttons (`payload`) and slash commands
Checks    X-Slack-Signature: HMAC-SHA256 of "v0:<time>:<body>" by the signing secret; older than five minutes is refused
Repeats   an event that was not answered in three seconds comes three times more with the same `event_id`
Quirks    errors come with status 200 and "ok": false; a file's address answers with the sign-in page, status 200, where
          the token lacks files:read; messages have no id but their time within the channel

From Slack's documentation: "Verifying requests from Slack", "The Events API", `chat.postMessage`,
`files.getUploadURLExternal`, `files.completeUploadExternal`, `conversations.open`, `users.info`, `auth.test`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from channels import slack_answers, slack_events
from channels.contract import (
    Capability,
    ChannelSettings,
    Checked,
    Fetched,
    Group,
    Media,
    OutgoingFile,
    ParseContext,
    Part,
    Profile,
    Receipt,
    Routed,
    Sending,
    Tools,
)
from channels.errors import ChannelError, Misconfigured, Temporary, Uncertain, Undeliverable
from channels.fields import Fields
from channels.http import Answer, origin_of
from channels.shared_secret import same
from channels.slack_events import LOOK_UP, SCHEME, escaped
from core.kernel.addresses import Address
from core.kernel.envelopes import Event
from webhooks.errors import BadSignature, Malformed, NotConfigured
from webhooks.request import RawRequest, Reply

API = "https://slack.com/api"
WINDOW = 300
"""Seconds a signature is good for."""

_MOST_BYTES = 50 * 1024 * 1024  # Slack takes a gigabyte; a file is held in memory while it is sent
_LONGEST_SECTION = 3_000
_FILE = Media(_MOST_BYTES)


class Slack:
    """Speaks with people in Slack."""

    kind: ClassVar[str] = "slack"
    title: ClassVar[str] = "Slack"
    group: ClassVar[Group] = "messenger"
    account = ""
    sending: ClassVar[Sending] = Sending(
        text=4_000,
        caption=4_000,
        media={kind: _FILE for kind in ("image", "audio", "voice", "video", "sticker", "file")},
        album=10,
        per_peer=1.0,
        capabilities=frozenset({Capability.BUTTONS, Capability.REPLY_TO, Capability.START}),
    )

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
        self._secret = settings.signing_secret
        self._token = settings.bot_token
        self._api = settings.base_url.rstrip("/") or API

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

    def route(self, request: RawRequest) -> Routed:
        """Tell what the request is a repeat of and where it was said.

        Raises:
            Malformed: it cannot be read.
        """
        return slack_events.route(request)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read the request.

        Raises:
            Malformed: it cannot be read.
        """
        return slack_events.events(slack_events.read(request))

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say nothing: what is answered to a slash command would be shown to whoever typed it."""
        return Reply(content_type="text/plain")

    # --- what goes out ---

    def peer_of(self, address: Address) -> str | None:
        """Return `<team>:<user>`: writing there opens the direct message."""
        return address.value if address.scheme == SCHEME else None

    def address_of(self, peer: str) -> Address:
        """Return the address of a peer: a person as `<team>:<user>`, or a channel by its id."""
        return Address(SCHEME, peer)

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send one part: a message, or files with one.

        Raises:
            ChannelError: it was not sent, or we cannot know.
        """
        channel = await self._channel(part.peer, tools)
        thread = part.thread or (part.reply_to.rpartition(":")[2] if part.is_first else "")
        if not part.files:
            return Receipt((await self._post(channel, thread, part.text, part, tools),))
        ids = await self._share(channel, thread, part, tools)
        if not part.buttons:
            return Receipt(ids)
        try:
            return Receipt((*ids, await self._post(channel, thread, "", part, tools)))
        except ChannelError as error:
            return Receipt(ids, detail=f"The files went, their buttons did not: {error}")

    async def _channel(self, peer: str, tools: Tools) -> str:
        """Return the channel to write to, opening the direct message with a person; doing so again changes nothing."""
        user = peer.partition(":")[2] or (peer if peer[:1] in ("U", "W") else "")
        if not user:
            return peer
        found = await self._call("conversations.open", {"users": user}, tools, repeatable=True)
        channel = found.id("channel", "id")
        if not channel:
            raise Temporary("Slack opened no direct message with this person, and did not say why")
        return channel

    async def _post(self, channel: str, thread: str, text: str, part: Part, tools: Tools) -> str:
        choices = ", ".join(button.text for button in part.buttons)
        message: dict[str, Any] = {"channel": channel, "text": escaped(text or choices), "mrkdwn": False}
        if thread:
            message["thread_ts"] = thread
        if part.buttons:
            message["blocks"] = _blocks(text, part)
        found = await self._call("chat.postMessage", message, tools)
        stamp = found.id("ts")
        if not stamp:
            raise Uncertain("Slack took the message, but did not say under what name")
        return f"{found.id('channel') or channel}:{stamp}"

    async def _share(self, channel: str, thread: str, part: Part, tools: Tools) -> tuple[str, ...]:
        uploaded = [{"id": await self._upload(file, tools), "title": file.name} for file in part.files]
        sharing: dict[str, Any] = {"files": uploaded, "channel_id": channel}
        if part.text:
            sharing["initial_comment"] = escaped(part.text)
        if thread:
            sharing["thread_ts"] = thread
        await self._call("files.completeUploadExternal", sharing, tools)
        stamp = await self._stamp(uploaded[0]["id"], channel, tools)
        return (f"{channel}:{stamp}",) if stamp else tuple(f"{channel}:{file['id']}" for file in uploaded)

    async def _upload(self, file: OutgoingFile, tools: Tools) -> str:
        """Bring a file to Slack; nobody sees it before it is shared."""
        content = b"".join([piece async for piece in file.read()])
        asked = {"filename": file.name, "length": str(len(content))}
        place = await self._call("files.getUploadURLExternal", asked, tools, is_form=True, repeatable=True)
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
            found = await self._call("files.info", {"file": file}, tools, is_form=True, repeatable=True)
            for where in ("private", "public"):
                if stamp := found.id("file", "shares", where, channel, 0, "ts"):
                    return stamp
        return ""

    # --- what can be asked ---

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file; the token goes along to Slack's own addresses only.

        Raises:
            Temporary, Undeliverable: as in the contract.
        """
        if reference.startswith(LOOK_UP):
            asked = {"file": reference.removeprefix(LOOK_UP)}
            found = await self._call("files.info", asked, tools, is_form=True, repeatable=True)
            reference = found.text("file", "url_private_download") or found.text("file", "url_private")
            if not reference:
                raise Undeliverable("Slack names no address for this file")
        headers = self._headers if self._is_theirs(reference) else None
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

    async def profile(self, peer: str, tools: Tools) -> Profile | None:
        """Ask who somebody is; None for channels, where many speak.

        Raises:
            ChannelError: Slack would not say.
        """
        user = peer.partition(":")[2] or (peer if peer[:1] in ("U", "W") else "")
        if not user:
            found = await self._call("conversations.info", {"channel": peer}, tools, is_form=True, repeatable=True)
            user = found.id("channel", "user")
        if not user:
            return None
        asked = {"user": user, "include_locale": "true"}
        person = (await self._call("users.info", asked, tools, is_form=True, repeatable=True)).at("user")
        name = person.text("profile", "real_name") or person.text("real_name") or person.text("profile", "display_name")
        return Profile(name or person.text("name"), person.text("locale"))

    async def check(self, tools: Tools) -> Checked:
        """Ask Slack whose token this is and whether it may write.

        Raises:
            ChannelError: it is of no use.
        """
        answer = await self._ask("auth.test", {}, tools, is_form=True, repeatable=True)
        found = slack_answers.read(answer, repeatable=True)
        scopes = next((value for name, value in answer.headers.items() if name.lower() == "x-oauth-scopes"), "")
        if scopes and "chat:write" not in [scope.strip() for scope in scopes.split(",")]:
            raise Misconfigured(
                "The app may not write. Give it the scope chat:write and install it again", code="scope"
            )
        facts = {"workspace": found.text("team"), "bot": found.text("user"), "address": found.text("url")}
        return Checked(
            f"Slack knows this bot as {found.text('user') or 'nameless'} in {found.text('team') or 'its workspace'}",
            {name: value for name, value in {**facts, "scopes": scopes}.items() if value},
        )

    # --- calling ---

    @property
    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._token.get_secret_value()}"}

    async def _call(
        self, method: str, asked: Mapping[str, Any], tools: Tools, *, is_form: bool = False, repeatable: bool = False
    ) -> Fields:
        answer = await self._ask(method, asked, tools, is_form=is_form, repeatable=repeatable)
        return slack_answers.read(answer, repeatable=repeatable)

    async def _ask(
        self, method: str, asked: Mapping[str, Any], tools: Tools, *, is_form: bool, repeatable: bool
    ) -> Answer:
        """Make a call; methods that only read take no JSON."""
        return await tools.http.call(
            "POST",
            f"{self._api}/{method}",
            json=None if is_form else dict(asked),
            form=dict(asked) if is_form else None,
            headers={**self._headers, **({} if is_form else {"Content-Type": "application/json; charset=utf-8"})},
            repeatable=repeatable,
        )


def _blocks(text: str, part: Part) -> list[dict[str, Any]]:
    """Make the blocks of a message with buttons: a block of text holds 3,000 characters, a row 25 buttons."""
    written = [text[start : start + _LONGEST_SECTION] for start in range(0, len(text), _LONGEST_SECTION)]
    sections = [{"type": "section", "text": {"type": "plain_text", "text": piece, "emoji": True}} for piece in written]
    buttons = [
        {
            "type": "button",
            "action_id": f"answer_{number}",
            "text": {"type": "plain_text", "text": button.text[:75], "emoji": True},
            "value": (button.payload or button.text)[:2_000],
        }
        for number, button in enumerate(part.buttons)
    ]
    rows = [{"type": "actions", "elements": buttons[start : start + 25]} for start in range(0, len(buttons), 25)]
    return [*sections, *rows]
