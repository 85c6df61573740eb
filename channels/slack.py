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

from collections.abc import Sequence
from typing import Any, ClassVar

from channels import slack_events
from channels.contract import (
    Capability,
    Checked,
    Group,
    Media,
    ParseContext,
    Part,
    Profile,
    Receipt,
    Routed,
    Sending,
    Tools,
)
from channels.errors import ChannelError, Temporary, Uncertain
from channels.slack_app import InWorkspace
from channels.slack_events import SCHEME, escaped
from core.kernel.addresses import Address
from core.kernel.envelopes import Event
from webhooks.request import RawRequest

_MOST_BYTES = 50 * 1024 * 1024  # Slack takes a gigabyte; a file is held in memory while it is sent
_LONGEST_SECTION = 3_000
_FILE = Media(_MOST_BYTES)


class Slack(InWorkspace):
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

    # --- what comes in ---

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
        found = await self._app.call("conversations.open", {"users": user}, tools, repeatable=True)
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
        found = await self._app.call("chat.postMessage", message, tools)
        stamp = found.id("ts")
        if not stamp:
            raise Uncertain("Slack took the message, but did not say under what name")
        return f"{found.id('channel') or channel}:{stamp}"

    async def _share(self, channel: str, thread: str, part: Part, tools: Tools) -> tuple[str, ...]:
        names = await self._app.share(channel, thread, part.files, tools, text=part.text)
        return tuple(f"{channel}:{name}" for name in names)

    # --- what can be asked ---

    async def profile(self, peer: str, tools: Tools) -> Profile | None:
        """Ask who somebody is; None for channels, where many speak.

        Raises:
            ChannelError: Slack would not say.
        """
        user = peer.partition(":")[2] or (peer if peer[:1] in ("U", "W") else "")
        if not user:
            found = await self._app.call("conversations.info", {"channel": peer}, tools, is_form=True, repeatable=True)
            user = found.id("channel", "user")
        if not user:
            return None
        asked = {"user": user, "include_locale": "true"}
        person = (await self._app.call("users.info", asked, tools, is_form=True, repeatable=True)).at("user")
        name = person.text("profile", "real_name") or person.text("real_name") or person.text("profile", "display_name")
        return Profile(name or person.text("name"), person.text("locale"))

    async def check(self, tools: Tools) -> Checked:
        """Ask Slack whose token this is and whether it may write.

        Raises:
            ChannelError: it is of no use.
        """
        found, scopes = await self._app.who(tools)
        facts = {"workspace": found.text("team"), "bot": found.text("user"), "address": found.text("url")}
        return Checked(
            f"Slack knows this bot as {found.text('user') or 'nameless'} in {found.text('team') or 'its workspace'}",
            {name: value for name, value in {**facts, "scopes": scopes}.items() if value},
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
