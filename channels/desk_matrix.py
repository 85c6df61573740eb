"""The desk on Matrix: our own people write with a bot, which is a plain user of a homeserver.

Reaches   everybody who can invite the bot: on its homeserver, or anywhere if that is federated
Set up    make a user for the bot, log in as it once to get an access token (in Element: All settings, Help & About; log
          out nowhere afterwards, that ends the token) and enter it here. To be known, everybody starts a direct chat
          with the bot, not encrypted, and writes it the words that their account's page shows
Calls us  never: we ask `/sync`, which holds a call until there is something to tell
Checks    the line is ours; the hook takes nothing
Repeats   an event has one id, whichever way it comes
Quirks    there are no buttons: what can be pressed elsewhere is typed, and `!take` is read as `/take`, since programs
          keep what begins with / to themselves. Rooms encrypted end to end cannot be read: who invites the bot into
          one, as programs do by default, is invited into another that is not. What makes no sound is sent as a notice

From the Matrix specification v1.13, Client-Server API: "Syncing", "Sending events to a room", "Event replacements",
"Threading", "Content repository", `m.room.message` (formatted_body), "User and room mentions".
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from channels import desk_matrix_events
from channels.contract import (
    ChannelSettings,
    Checked,
    Fetched,
    Group,
    Listening,
    OutgoingFile,
    ParseContext,
    Routed,
    Tools,
)
from channels.desk_contract import Abilities, Card, DeskEvent, Place, PlaceGone
from channels.desk_matrix_events import METHOD
from channels.desk_matrix_line import Line
from channels.desk_posts import Piece, addresses, asking, patiently, pieces
from channels.errors import Misconfigured, RecipientGone, Undeliverable
from channels.fields import Fields, object_of
from channels.matrix_homeserver import CLIENT, Homeserver, content_of, quoted, relation
from webhooks.errors import Refused
from webhooks.request import RawRequest, Reply


class MatrixDesk:
    """The desk on a Matrix homeserver."""

    kind: ClassVar[str] = "desk_matrix"
    title: ClassVar[str] = "Desk: Matrix"
    group: ClassVar[Group] = "desk"
    account = ""
    # An event has at most 65,536 bytes; a text stands in it twice, and in an edit four times, each & as &amp;.
    abilities: ClassVar[Abilities] = Abilities(text=4_000, buttons=False, threads=True)

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        homeserver: str = Field(
            title="Address of the homeserver",
            description="Where it answers clients, such as https://matrix.example.com.",
        )
        user_id: str = Field(title="The bot's user", description="Its whole name, such as @desk:example.com.")
        access_token: SecretStr = Field(
            title="Access token of the bot",
            description="In Element, logged in as the bot: All settings, Help & About, Access Token.",
        )

        @field_validator("homeserver")
        @classmethod
        def _read_homeserver(cls, setting: str) -> str:
            setting = setting.strip().rstrip("/")
            if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", setting):
                raise ValueError("it is no address such as https://matrix.example.com")
            return setting

        @field_validator("user_id")
        @classmethod
        def _read_user(cls, setting: str) -> str:
            setting = setting.strip()
            if not re.fullmatch(r"@[^\s:@]+:[^\s@/]+", setting) or len(setting) > 255:
                raise ValueError("it is no whole name such as @desk:example.com")
            return setting

    def __init__(self, settings: Settings) -> None:
        self._user = settings.user_id
        self._homeserver = Homeserver(
            settings.base_url.rstrip("/") or settings.homeserver,
            settings.access_token,
            unknown="The homeserver does not take the access token. Log in as the bot again and enter the new one",
        )

    # --- what comes in ---

    async def run(self, listening: Listening) -> None:
        """Ask the homeserver what is new, for ever, and accept invitations.

        Raises:
            Unauthorised, Misconfigured: nothing will come of it.
        """
        await Line(self._homeserver, self._user, listening).keep()

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check that it comes from our line.

        Raises:
            Refused: it came over HTTP.
        """
        if request.method != METHOD or request.url or request.path or request.client:
            raise Refused("The desk on Matrix asks the homeserver by itself; this address takes nothing.")

    def route(self, request: RawRequest) -> Routed:
        """Tell what the request is a repeat of and in which thread it happened.

        Raises:
            Malformed: it is nothing the line makes.
        """
        return desk_matrix_events.route(request)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[DeskEvent]:
        """Read what the line brought.

        Raises:
            Malformed: it is nothing the line makes.
        """
        return desk_matrix_events.events(object_of(request))

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say nothing; nobody listens."""
        return Reply(b"{}")

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file, which our homeserver gets from the sender's if need be.

        Raises:
            Temporary, Undeliverable: as in the contract.
        """
        return await self._homeserver.open_media(reference, tools)

    # --- what goes out ---

    async def post(
        self, place: Place, card: Card, tools: Tools, *, files: Sequence[OutgoingFile] = (), reply_to: str = ""
    ) -> tuple[str, ...]:
        """Post a card, in the place's thread or else in that of `reply_to`; each file as an event after it.

        Raises:
            PlaceGone, ChannelError: as in the contract.
        """
        thread, answered = await self._thread(place, reply_to, tools)
        tie = relation(thread, answered)
        contents = [_content(piece, is_quiet=card.is_quiet) for piece in _pieces(card)]
        contents += [content_of(file, *await self._homeserver.upload(file, tools)) for file in files]
        refs = list[str]()
        for content in contents:
            send = partial(self._homeserver.send, place.chat, {**content, **tie}, tools)
            refs.append(await (patiently(send) if refs else send()))
            tie = relation(thread, "")
        return tuple(refs)

    async def _thread(self, place: Place, reply_to: str, tools: Tools) -> tuple[str, str]:
        """Return the first event of the thread to post in, and the event that is answered in it; "" for none.

        Homeservers take events for threads whose first one was deleted, and none for those that begin within another.
        """
        begun = place.thread or reply_to
        found = await self._standing(place.chat, begun, tools) if begun else None
        if found is None:
            if place.thread:
                raise PlaceGone("The first message of this thread was deleted")
            return "", ""
        answered = reply_to if reply_to != place.thread else ""
        if found.text("rel_type") == "m.thread" and found.id("event_id"):
            return found.id("event_id"), answered or begun
        if found.text("rel_type"):
            return "", answered or begun
        return begun, answered if place.thread else ""

    async def _standing(self, room: str, ref: str, tools: Tools) -> Fields | None:
        """Return what an event relates to; None where it is no more."""
        try:
            found = await self._homeserver.call("GET", f"{CLIENT}/rooms/{quoted(room)}/event/{quoted(ref)}", tools)
        except RecipientGone as error:
            if error.code != "M_NOT_FOUND":
                raise
            return None
        return None if found.at("unsigned", "redacted_because") else found.at("content", "m.relates_to")

    async def edit(self, place: Place, ref: str, card: Card, tools: Tools) -> None:
        """Change a post of ours to this card, as far as one post holds it.

        Raises:
            ChannelError: as in `post`.
        """
        [piece, *_] = _pieces(card) or [Piece("…")]
        fresh = _content(piece, is_quiet=card.is_quiet)
        old: dict[str, Any] = {name: f"* {fresh[name]}" for name in ("body", "formatted_body") if name in fresh}
        tie = {"m.relates_to": {"rel_type": "m.replace", "event_id": ref}}
        await self._homeserver.send(place.chat, {**fresh, **old, "m.new_content": fresh, **tie}, tools)

    async def confirm(self, press: str, tools: Tools, *, text: str = "", is_alert: bool = False) -> None:
        """Say that nothing can have been pressed.

        Raises:
            Undeliverable: always.
        """
        raise Undeliverable("Matrix has no buttons, so nothing was pressed")

    def link(self, ticket: str, account: str) -> str:
        """Return what to write to the bot."""
        return asking(ticket)

    # --- what can be asked ---

    async def check(self, tools: Tools) -> Checked:
        """Ask the homeserver whose token this is.

        Raises:
            ChannelError: it is of no use, or another user's.
        """
        found = await self._homeserver.whoami(tools)
        if found != self._user:
            raise Misconfigured(f"The access token is that of {found or 'nobody'}, not of {self._user}")
        newest = ""
        with suppress(Undeliverable):
            versions = (await self._homeserver.call("GET", "/_matrix/client/versions", tools)).items("versions")
            newest = ([version.text() for version in versions] or [""])[-1]
        facts = {"bot": found, "version": newest}
        return Checked(f"The homeserver knows us as {found}", {name: value for name, value in facts.items() if value})


def _pieces(card: Card) -> list[Piece]:
    """Return the pieces of a card, with the addresses its keys open; the other keys are for messengers with buttons."""
    return pieces(card, MatrixDesk.abilities.text, more=addresses(card.keys))


def _content(piece: Piece, *, is_quiet: bool) -> dict[str, Any]:
    """Return a message's content. Nobody is mentioned in it, whatever names stand in somebody's words."""
    content: dict[str, Any] = {"msgtype": "m.notice" if is_quiet else "m.text", "body": piece.text, "m.mentions": {}}
    if not piece.bold:
        return content
    title, rest = _escaped(piece.text[: piece.bold]), _escaped(piece.text[piece.bold :])
    return {**content, "format": "org.matrix.custom.html", "formatted_body": f"<strong>{title}</strong>{rest}"}


def _escaped(text: str) -> str:
    """Return a text as HTML, which would make several blanks one."""
    return html.escape(text, quote=False).replace("  ", " \u00a0").replace("\n", "<br>")
