"""Matrix: people of any homeserver who write to our bot. We are an Application Service of one homeserver.

Reaches   everybody on Matrix, if our homeserver is federated
Set up    `Matrix.registration` makes a file from these settings; the homeserver's administrator adds it and restarts.
          The tokens are ours to choose
Calls us  PUT <hook>/_matrix/app/v1/transactions/<number>, or <hook>/transactions/<number> from older homeservers;
          GET …/users/<user> and …/rooms/<alias> ask whether we know a name, POST …/ping whether we are there
Checks    hs_token, as a Bearer token or, from older homeservers, the query's `access_token`
Repeats   a transaction that was not answered with 200 comes again with the same number, later and later
Quirks    an invitation has to be accepted before anything is heard, and people write while it is on its way: what was
          said since is asked for after joining. Encrypted rooms cannot be read. A message is sent under a number of
          ours (`Part.id`), so that sending it again changes nothing; Synapse remembers it for half an hour

From the Matrix specification v1.13: Application Service API, Client-Server API ("Sending events to a room", "Content
repository", "Direct Messaging", "Standard error response").
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from pydantic import Field, SecretStr, field_validator

from channels import matrix_answers, matrix_events, matrix_registration
from channels.contract import (
    Capability,
    ChannelSettings,
    Checked,
    Fetched,
    Group,
    Media,
    ParseContext,
    Part,
    Profile,
    Receipt,
    Routed,
    Sending,
    Tools,
    Unit,
)
from channels.errors import Misconfigured, RecipientGone, Uncertain
from channels.fields import Fields, object_of
from channels.matrix_events import MARK, SCHEME, Ourselves
from channels.matrix_homeserver import CLIENT, Homeserver, content_of, quoted, relation
from channels.shared_secret import same
from core.kernel.addresses import Address
from core.kernel.envelopes import Event, Pending, Signal
from webhooks.errors import BadSignature, Malformed, NotConfigured
from webhooks.request import RawRequest, Reply

_FILE = Media(50 * 1024 * 1024)  # what Synapse takes by default
_MOST_MISSED = 50
_JOINING = 120.0  # seconds: a room of another homeserver, with many members, takes its time


class Matrix:
    """Speaks with people on Matrix as one bot."""

    kind: ClassVar[str] = "matrix"
    title: ClassVar[str] = "Matrix"
    group: ClassVar[Group] = "messenger"
    account = ""
    sending: ClassVar[Sending] = Sending(
        text=32_000,  # an event has at most 65,536 bytes in all
        unit=Unit.BYTES,
        caption=32_000,
        media={kind: _FILE for kind in ("image", "audio", "voice", "video", "sticker", "file")},
        capabilities=frozenset({Capability.REPLY_TO, Capability.READ_RECEIPTS, Capability.START}),
        retries_safely=True,
    )

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        homeserver: str = Field(
            title="Address of the homeserver",
            description="Where it answers clients, such as https://matrix.example.com.",
        )
        as_token: SecretStr = Field(
            title="Our token (as_token)",
            description="By which the homeserver knows us. It is part of the registration.",
            json_schema_extra={"made": True},
        )
        hs_token: SecretStr = Field(
            title="The homeserver's token (hs_token)",
            description="By which we know the homeserver. It is part of the registration.",
            json_schema_extra={"made": True},
        )
        user_prefix: str = Field(
            "switchyard_",
            title="Beginning of our users' names",
            description="Reserved for us by the registration. The bot's name is this without the _ at its end.",
            pattern=r"^@?[a-z0-9._=/+-]{1,100}$",
        )
        server_name: str = Field(
            "",
            title="The homeserver's name",
            description="What stands after the colon in its users' names. Only needed where the address is quite "
            "another.",
            json_schema_extra={"advanced": True},
        )

        @field_validator("homeserver")
        @classmethod
        def _read_homeserver(cls, setting: str) -> str:
            setting = setting.strip().rstrip("/")
            if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", setting):
                raise ValueError("it is no address such as https://matrix.example.com")
            return setting

    def __init__(self, settings: Settings) -> None:
        self._as_token = settings.as_token
        self._homeserver = Homeserver(settings.base_url.rstrip("/") or settings.homeserver, settings.as_token)
        self._hs_token = settings.hs_token
        self._us = Ourselves(
            settings.user_prefix.removeprefix("@"),
            matrix_events.home_of(settings.homeserver, settings.server_name),
            hashlib.sha256(settings.as_token.get_secret_value().encode()).digest(),
        )

    def registration(self, hook_url: str) -> str:
        """Return the file for the homeserver, as YAML. It holds both tokens: show it to administrators only."""
        as_token, hs_token = self._as_token.get_secret_value(), self._hs_token.get_secret_value()
        return matrix_registration.registration(self._us, as_token=as_token, hs_token=hs_token, hook_url=hook_url)

    # --- what comes in ---

    def handshake(self, request: RawRequest) -> Reply | None:
        """Answer whether we are there and whom we know, and what says nothing we listen to (who is online).

        Raises:
            BadSignature, NotConfigured: it does not carry the homeserver's token.
        """
        path = matrix_events.question(request)
        if request.method == "GET" and path[:1] in (("users",), ("rooms",), ("thirdparty",)):
            self._check_token(request)
            # The bot is known to the homeserver by the registration; there are no others.
            return Reply(b'{"errcode":"M_NOT_FOUND","error":"There is none of that name here"}', 404)
        if request.method == "POST" and path[-1:] == ("ping",):
            self._check_token(request)
            return Reply(b"{}")
        if request.method == "PUT" and path[:1] == ("transactions",):
            self._check_token(request)
            with suppress(Malformed):
                if matrix_events.is_empty(object_of(request)):
                    return Reply(b"{}")
        return None

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check that it comes from our homeserver.

        Raises:
            BadSignature, NotConfigured: it does not carry the homeserver's token.
        """
        self._check_token(request)

    def _check_token(self, request: RawRequest) -> None:
        expected = self._hs_token.get_secret_value()
        if not expected:
            raise NotConfigured("The homeserver's token is missing, so nothing is accepted. Enter it in the settings")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        carried = [given.strip()] if scheme.lower() == "bearer" else []
        try:
            pairs = parse_qsl(request.query, max_num_fields=50)
        except ValueError:
            pairs = []
        carried += [value for name, value in pairs if name == "access_token"]
        if not any(same(token, expected) for token in carried):
            raise BadSignature("The request does not carry this channel's hs_token. Nothing was stored")

    def route(self, request: RawRequest) -> Routed:
        """Tell what the request is a repeat of and whose rooms it is about.

        Raises:
            Malformed: it cannot be read.
        """
        return matrix_events.route(request)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read a transaction: the events of all rooms.

        Raises:
            Malformed: it cannot be read.
        """
        return matrix_events.events(object_of(request), self._us)

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say that we have it."""
        return Reply(b"{}")

    async def enrich(self, event: Pending, tools: Tools) -> Sequence[Event]:
        """Accept an invitation, and return what was said since it was made; nothing if it is not for us.

        Raises:
            ChannelError: as in `send`.
        """
        if event.hints.get("invited") != await self._homeserver.whoami(tools):
            return []
        room, inviter = event.reference, event.hints.get("by", "")
        query = {"via": inviter.partition(":")[2], "server_name": inviter.partition(":")[2]}
        try:
            path = f"{CLIENT}/join/{quoted(room)}"
            await self._homeserver.call("POST", path, tools, json={}, query=query, timeout=_JOINING, repeatable=True)
        except RecipientGone:
            return []  # the invitation was withdrawn
        started = Signal(
            peer=room,
            occurred_at=event.occurred_at,
            kind="started",
            claims=matrix_events.claims(inviter),
            name=await self._homeserver.display_name(inviter, tools),
        )
        return [started, *await self._missed(room, event.occurred_at, tools)]

    async def _missed(self, room: str, since: datetime | None, tools: Tools) -> list[Event]:
        """Return what was said in a room after we were invited: the homeserver pushes only what follows our joining."""
        query = {"dir": "b", "limit": str(_MOST_MISSED)}
        found = await self._homeserver.call("GET", f"{CLIENT}/rooms/{quoted(room)}/messages", tools, query=query)
        said: list[Event] = []
        for event in found.items("chunk"):
            moment = event.at("origin_server_ts").moment()
            if event.text("type") == "m.room.member" or moment is None or (since is not None and moment < since):
                continue
            whole = Fields({**event.value, "room_id": room}) if isinstance(event.value, dict) else event
            said[:0] = matrix_events.of(whole, self._us)
        return said

    # --- what goes out ---

    def peer_of(self, address: Address) -> str | None:
        """Return the user: writing there goes to the direct room with them, which is made where there is none."""
        return address.value if address.scheme == SCHEME else None

    def address_of(self, peer: str) -> Address:
        """Return the address of a peer: a person by their name, or a room by its id."""
        return Address(SCHEME, peer)

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send one part; the homeserver recognises a repeat by its number.

        Raises:
            ChannelError: it was not sent.
        """
        room = await self._homeserver.direct_room(part.peer, tools) if part.peer.startswith("@") else part.peer
        related = _relation(part)
        contents = [content_of(file, *await self._homeserver.upload(file, tools)) for file in part.files]
        if contents and part.text:
            contents[0]["body"] = part.text
        if not contents:
            contents = [{"msgtype": "m.text", "body": part.text}]
        ids = []
        for number, content in enumerate(contents):
            name = part.id if number == 0 else f"{part.id}-{number}"
            path = f"{CLIENT}/rooms/{quoted(room)}/send/m.room.message/{quoted(name)}"
            tie = related if number == 0 or part.thread else {}
            whole = {**content, **tie, MARK: self._us.mark(name)}
            found = await self._homeserver.call("PUT", path, tools, json=whole, repeatable=True)
            if not found.id("event_id"):
                raise Uncertain("The homeserver took the message, but did not say under what name")
            ids.append(found.id("event_id"))
        return Receipt(tuple(ids))

    # --- what can be asked ---

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file, which our homeserver gets from the sender's if need be.

        Raises:
            Temporary, Undeliverable: as in the contract.
        """
        return await self._homeserver.open_media(reference, tools)

    async def profile(self, peer: str, tools: Tools) -> Profile | None:
        """Ask who a person, or the one other member of a room, is; None where there are several.

        Raises:
            ChannelError: the homeserver would not say.
        """
        if peer.startswith("@"):
            return Profile(await self._homeserver.display_name(peer, tools))
        found = await self._homeserver.call("GET", f"{CLIENT}/rooms/{quoted(peer)}/joined_members", tools)
        members = found.at("joined")
        bot = await self._homeserver.whoami(tools)
        names = members.keys()
        others = [user for user in names if user != bot and not self._us.include(user)]
        return Profile(members.text(others[0], "display_name")) if len(others) == 1 else None

    async def check(self, tools: Tools) -> Checked:
        """Ask the homeserver whether it knows us, and whether it can reach us.

        Raises:
            ChannelError: it does not, or cannot; the message says what to do.
        """
        versions = (await self._homeserver.call("GET", "/_matrix/client/versions", tools)).items("versions")
        newest = [version.text() for version in versions][-1:]
        bot = await self._homeserver.whoami(tools)
        facts = {"bot": bot, "version": newest[0] if newest else ""}
        path = f"/_matrix/client/v1/appservice/{quoted(matrix_registration.service_id(self._us))}/ping"
        answer = await self._homeserver.ask("POST", path, tools, json={}, repeatable=True)
        code = matrix_answers.said(answer).id("errcode")
        if code in ("M_BAD_STATUS", "M_CONNECTION_FAILED", "M_CONNECTION_TIMEOUT", "M_URL_NOT_SET"):
            raise Misconfigured(
                f"We are known to the homeserver as {bot}, but it cannot reach us ({code}). The registration's `url` "
                f"has to be {tools.hook_url}",
                code=code,
            )
        if answer.is_fine:
            return Checked(f"The homeserver knows us as {bot}, and reaches us", facts)
        # Homeservers older than Matrix 1.7 know no such question, and a registration may have another id.
        return Checked(f"The homeserver knows us as {bot}. Whether it reaches us, the first message will show", facts)


def _relation(part: Part) -> dict[str, Any]:
    """Return what ties a message to the one it answers or to its thread."""
    answered = part.reply_to if part.is_first else ""
    return relation(part.thread, answered)
