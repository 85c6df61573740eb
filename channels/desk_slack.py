"""The desk in Slack: our own people get cards in a direct message or a channel, press, and answer in threads.

Reaches   members of the workspace the app is installed in, in the app's direct messages and channels it was invited to
Set up    make an app at api.slack.com: bot scopes chat:write, im:history, files:read, files:write (and for channels
          channels:history, groups:history); put the hook's address at Event Subscriptions (bot events message.im, and
          for channels message.channels, message.groups, member_left_channel, channel_left, channel_archive) and at
          Interactivity; allow messages in the app's "Messages Tab"; enter its signing secret and bot token here. To be
          known, everybody writes the bot the words that their account's page shows
Calls us  POST: JSON for events, urlencoded for pressed buttons (`payload`) and slash commands
Checks    as for customers in Slack (`channels.slack_app`): X-Slack-Signature, not older than five minutes
Repeats   an event that was not answered in three seconds comes again with the same `event_id`, and X-Slack-Retry-Num
Quirks    a text of ours is `rich_text`, which knows no markup, so that words stand as they were written; a post is
          named by its time stamp; nothing can be posted without a sound; what begins with / Slack takes for a command
          of its own, so `!take` is read as `/take`. A thread whose first post was deleted goes on under a placeholder;
          where Slack refuses to, its words for that are from memory: `thread_not_found`

From Slack's documentation: `chat.postMessage`, `chat.update`, `chat.postEphemeral`, "Rich text block", "Actions block",
"Button element", `files.getUploadURLExternal`, `files.completeUploadExternal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from channels import desk_slack_events, slack_events
from channels.contract import (
    Checked,
    Group,
    OutgoingFile,
    ParseContext,
    Routed,
    Tools,
)
from channels.desk_contract import Abilities, Card, DeskEvent, Key, Place, PlaceGone
from channels.desk_posts import Piece, addresses, asking, is_page, patiently, pieces, runs
from channels.errors import Uncertain, Undeliverable
from channels.slack_app import InWorkspace
from channels.slack_events import escaped
from webhooks.request import RawRequest

_NO_THREAD = frozenset({"thread_not_found", "invalid_thread_ts", "cannot_reply_to_message"})
_LONGEST_LABEL = 75
_MOST_IN_ROW = 25
_MOST_FILES = 10


class SlackDesk(InWorkspace):
    """The desk in a Slack workspace."""

    kind: ClassVar[str] = "desk_slack"
    title: ClassVar[str] = "Desk: Slack"
    group: ClassVar[Group] = "desk"
    account = ""
    abilities: ClassVar[Abilities] = Abilities(text=3_000, threads=True)

    # --- what comes in ---

    def route(self, request: RawRequest) -> Routed:
        """Tell what the request is a repeat of and in which thread it happened.

        Raises:
            Malformed: it cannot be read.
        """
        return desk_slack_events.route(request)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[DeskEvent]:
        """Read the request.

        Raises:
            Malformed: it cannot be read.
        """
        return desk_slack_events.events(slack_events.read(request))

    # --- what goes out ---

    async def post(
        self, place: Place, card: Card, tools: Tools, *, files: Sequence[OutgoingFile] = (), reply_to: str = ""
    ) -> tuple[str, ...]:
        """Post a card, in the place's thread or else in that of `reply_to`; files in one message after it.

        Raises:
            PlaceGone, ChannelError: as in the contract.
        """
        uploaded = [{"id": await self._app.upload(file, tools), "title": file.name} for file in files]
        thread, refs = place.thread or reply_to, list[str]()
        for message in _messages(card):
            if refs:
                refs.append(await patiently(partial(self._say, place, thread, message, tools)))
                continue
            try:
                refs.append(await self._say(place, thread, message, tools))
            except Undeliverable as error:
                if error.code not in _NO_THREAD or not thread:
                    raise
                if place.thread:
                    raise PlaceGone("This thread is no more in Slack", code=error.code) from error
                thread = ""
                refs.append(await self._say(place, thread, message, tools))
        for start in range(0, len(uploaded), _MOST_FILES):
            refs += await self._app.show(place.chat, thread, uploaded[start : start + _MOST_FILES], tools)
        return tuple(refs)

    async def _say(self, place: Place, thread: str, message: dict[str, Any], tools: Tools) -> str:
        tie = {"thread_ts": thread} if thread else {}
        asked = {"channel": place.chat, **message, **tie, "unfurl_links": False, "unfurl_media": False}
        stamp = (await self._app.call("chat.postMessage", asked, tools)).id("ts")
        if not stamp:
            raise Uncertain("Slack took the post, but did not say under what name")
        return stamp

    async def edit(self, place: Place, ref: str, card: Card, tools: Tools) -> None:
        """Change a post of ours to this card, as far as one post holds it.

        Raises:
            ChannelError: as in `post`.
        """
        [*first, last] = _messages(card) or [{"text": "…", "blocks": []}]
        shown = first[0] if first else last
        blocks = [*shown["blocks"], *(block for block in last["blocks"] if first and block["type"] == "actions")]
        asked = {"channel": place.chat, "ts": ref, "text": shown["text"], "blocks": blocks}
        try:
            await self._app.call("chat.update", asked, tools, repeatable=True)
        except Undeliverable as error:
            if error.code != "message_not_found":
                raise

    async def confirm(self, press: str, tools: Tools, *, text: str = "", is_alert: bool = False) -> None:
        """Show whoever pressed some words that nobody else sees, and which are gone once they reload.

        Raises:
            ChannelError: as in `post`.
        """
        chat, _, rest = press.partition(" ")
        user, _, thread = rest.partition(" ")
        if not text:
            return  # the press itself was answered when it came
        asked = {"channel": chat, "user": user, "text": escaped(text), **({"thread_ts": thread} if thread else {})}
        await self._app.call("chat.postEphemeral", asked, tools, repeatable=True)

    def link(self, ticket: str, account: str) -> str:
        """Return what to write to the bot."""
        return asking(ticket)

    # --- what can be asked ---

    async def check(self, tools: Tools) -> Checked:
        """Ask Slack whose token this is and whether it may write.

        Raises:
            ChannelError: it is of no use.
        """
        found, scopes = await self._app.who(tools)
        bot = f"@{found.text('user') or 'nameless'}"
        facts = {"bot": bot, "workspace": found.text("team"), "address": found.text("url"), "scopes": scopes}
        return Checked(
            f"Slack knows this bot as {bot} in {found.text('team') or 'its workspace'}",
            {name: value for name, value in facts.items() if value},
        )


def _messages(card: Card) -> list[dict[str, Any]]:
    """Return what a card is in Slack, a message each: `text` is for notifications, `blocks` are what is seen."""
    found = [
        {"text": escaped(piece.text), "blocks": [_words(piece)]}
        for piece in pieces(card, SlackDesk.abilities.text, more=addresses(card.keys, is_web=False))
    ]
    rows = _rows(card)
    if rows and not found:
        labels = ", ".join(key.text for row in card.keys for key in row)
        found = [{"text": escaped(labels), "blocks": []}]
    if rows:
        found[-1]["blocks"] = [*found[-1]["blocks"], *rows]
    return found


def _words(piece: Piece) -> dict[str, Any]:
    """Return a block of words as they are: in `rich_text` nothing is markup, and addresses are marked by us."""
    elements: list[dict[str, Any]] = []
    for text, style in ((piece.text[: piece.bold], {"style": {"bold": True}}), (piece.text[piece.bold :], {})):
        for run, is_address in runs(text):
            shown = {"type": "link", "url": run} if is_address else {"type": "text", "text": run}
            elements.append({**shown, **style})
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]}


def _rows(card: Card) -> list[dict[str, Any]]:
    """Return the buttons; ids of buttons must be different within a message."""
    rows = []
    for number, row in enumerate(card.keys):
        buttons = [_button(key, f"key_{number}_{place}") for place, key in enumerate(row) if _is_button(key)]
        rows += [
            {"type": "actions", "elements": buttons[start : start + _MOST_IN_ROW]}
            for start in range(0, len(buttons), _MOST_IN_ROW)
        ]
    return rows


def _is_button(key: Key) -> bool:
    return bool(key.text and (key.data or is_page(key.url)))


def _button(key: Key, name: str) -> dict[str, Any]:
    label = {"type": "plain_text", "text": key.text[:_LONGEST_LABEL], "emoji": True}
    brings = {"url": key.url} if key.url else {"value": key.data}
    return {"type": "button", "action_id": name, "text": label, **brings}
