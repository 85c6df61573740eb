"""The desk's line to a Matrix homeserver: long polling, as any program of a plain user does it.

From the Matrix specification, Client-Server API: "Syncing" (a token stands for all that was told up to it; where a room
has more than the filter lets through, the rest is asked for), "Room membership", "Lazy-loading room members".

An invitation is told once, so that those not accepted yet are kept beside the token. Rooms that are encrypted end to
end cannot be read: who invites the bot into one is invited into another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress

import msgspec

from channels.contract import Item, Listening
from channels.desk_matrix_events import MET, PARTED, SAID, item
from channels.errors import ChannelError, Misconfigured, Temporary, Undeliverable
from channels.fields import Fields
from channels.matrix_homeserver import CLIENT, Homeserver, quoted

POLL = 30
"""Seconds the homeserver holds a call that has nothing to tell."""

SEALED = (
    "This room is encrypted end to end, so I cannot read what is written here. {}\n"
    "Эта комната зашифрована, и прочесть написанное здесь я не могу. {}"
)
_ELSEWHERE = ("Write to me in the other room: I have invited you.", "Напишите мне в другой комнате: я вас пригласил.")
_UNENCRYPTED = ("Invite me to one that is not.", "Пригласите меня в незашифрованную.")

_TYPES = ["m.room.message", "m.sticker", "m.room.encrypted", "m.room.member"]
_LOST_TOKEN = frozenset({"M_UNKNOWN", "M_INVALID_PARAM", "M_UNKNOWN_POS"})
_MOST_EVENTS = 30  # of a room in one answer; all rooms of a long absence have to fit into one
_MOST_PAGES = 20
_PAGE = 100
_MOST_JOININGS = 20  # attempts
_JOINING = 120.0  # seconds: a room of another homeserver, with many members, takes its time
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_KEEP_EVERY = 20  # rounds in which nothing was said, after which the token is kept all the same


class Line:
    """One connection's line. `user` is whose the token has to be."""

    def __init__(self, homeserver: Homeserver, user: str, listening: Listening) -> None:
        self._homeserver = homeserver
        self._us = user
        self._listening = listening
        cursor = Fields(dict(listening.cursor))
        is_same = cursor.text("user") in ("", user)
        self._since = cursor.text("since") if is_same else ""
        invited = cursor.at("invited")
        self._invited = {room: (told.id(0), told.whole(1) or 0) for room, told in _named(invited)} if is_same else {}
        self._members: dict[str, Mapping[str, str]] = {}
        self._told: set[str] = set()
        self._quiet = 0
        self._is_first = True  # which is not to be waited for

    async def keep(self) -> None:
        """Listen until cancelled; after a trouble again, later and later.

        Raises:
            Unauthorised, Misconfigured: nothing will come of it.
        """
        is_known, pause = False, _FIRST_PAUSE
        while True:
            try:
                if not is_known:
                    await self._introduce()
                    is_known = True
                started = asyncio.get_running_loop().time()
                may_follow = await self._round()
            except Misconfigured:
                raise
            except ChannelError as error:
                self._listening.is_ill(str(error))
                asked = error.retry_after if isinstance(error, Temporary) else None
                await asyncio.sleep(max(pause, asked or 0.0))
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            self._listening.is_well(f"Listening as {self._us}")
            if not may_follow and asyncio.get_running_loop().time() - started < _FIRST_PAUSE:
                await asyncio.sleep(_FIRST_PAUSE)  # a server that does not hold calls is not to be asked without end

    async def _introduce(self) -> None:
        found = await self._homeserver.whoami(self._listening.tools)
        if found != self._us:
            raise Misconfigured(f"The access token is not that of {self._us}. Enter both as they belong together")

    async def _round(self) -> bool:
        """Ask what is new, keep it, and then accept invitations; return whether the next one may follow at once."""
        before, is_first = self._since, self._is_first
        try:
            found = await self._sync()
        except Undeliverable as error:
            if not before or error.code not in _LOST_TOKEN:
                raise
            self._since = ""  # what was said meanwhile cannot be had; what comes from now on can
            raise Temporary(
                "The homeserver does not know any more where we had come to, so we begin anew", code=error.code
            ) from error
        rooms = found.at("rooms")
        for room, where in _named(rooms.at("invite")):
            self._invited[room] = (self._inviter(where), 0)
        items: list[Item] = []
        if before:
            for room, where in _named(rooms.at("join")):
                items += await self._heard(room, where)
            for room, where in _named(rooms.at("leave")):
                items += self._left(room, where)
        self._since, self._is_first = found.text("next_batch"), False
        self._quiet += 1
        if items or self._invited or not before or self._quiet >= _KEEP_EVERY:
            await self._keep(items)
        was_invited = bool(self._invited)
        if was_invited:
            await self._accept()
            await self._keep([])
        return bool(items) or was_invited or is_first

    async def _sync(self) -> Fields:
        nothing = {"not_types": ["*"]}
        sieve = {
            "presence": nothing,
            "account_data": nothing,
            "room": {
                "timeline": {"limit": _MOST_EVENTS if self._since else 1, "types": _TYPES},
                "state": {"types": ["m.room.member"], "lazy_load_members": True},
                "ephemeral": nothing,
                "account_data": nothing,
            },
        }
        wait = 0 if self._is_first or not self._since else POLL * 1000
        query = {"filter": msgspec.json.encode(sieve).decode(), "timeout": str(wait)}
        if self._since:
            query["since"] = self._since
        return await self._homeserver.call(
            "GET", f"{CLIENT}/sync", self._listening.tools, query=query, timeout=POLL + 60.0
        )

    async def _keep(self, items: list[Item]) -> None:
        invited = {room: [inviter, attempts] for room, (inviter, attempts) in self._invited.items()}
        cursor = {"user": self._us, "since": self._since, **({"invited": invited} if invited else {})}
        await self._listening.deliver(items, cursor)
        self._quiet = 0

    # --- invitations ---

    def _inviter(self, where: Fields) -> str:
        for event in where.items("invite_state", "events"):
            if event.text("type") == "m.room.member" and event.id("state_key") == self._us:
                return event.id("sender")
        return ""

    async def _accept(self) -> None:
        """Accept invitations; one that cannot be just now is tried again in a later round, some times."""
        tools = self._listening.tools
        for room, (inviter, attempts) in list(self._invited.items()):
            home = inviter.partition(":")[2]
            query = {"via": home, "server_name": home} if home else {}
            try:
                path = f"{CLIENT}/join/{quoted(room)}"
                await self._homeserver.call(
                    "POST", path, tools, json={}, query=query, timeout=_JOINING, repeatable=True
                )
                if await self._is_sealed(room):
                    await self._say_so(room, inviter)
            except Misconfigured:
                raise
            except Temporary:
                if attempts + 1 < _MOST_JOININGS:
                    self._invited[room] = (inviter, attempts + 1)
                    continue
            except ChannelError:
                pass  # it was withdrawn, or we were banned
            del self._invited[room]

    async def _is_sealed(self, room: str) -> bool:
        with suppress(Undeliverable):
            path = f"{CLIENT}/rooms/{quoted(room)}/state/m.room.encryption"
            await self._homeserver.call("GET", path, self._listening.tools)
            return True
        return False

    async def _say_so(self, room: str, person: str) -> None:
        """Say in an encrypted room that it cannot be read; from one with one person go to another with them."""
        if room in self._told:
            return
        tools, (is_private, _) = self._listening.tools, await self._around(room, person)
        with suppress(Undeliverable):
            if is_private and person:
                other = await self._homeserver.direct_room(person, tools)
                if other == room or self._us not in await self._present(other):
                    other = await self._homeserver.direct_room(person, tools, is_new=True)
                if person not in await self._present(other):
                    asked = {"user_id": person}
                    with suppress(Undeliverable):  # invited already
                        await self._homeserver.call("POST", f"{CLIENT}/rooms/{quoted(other)}/invite", tools, json=asked)
            english, russian = _ELSEWHERE if is_private and person else _UNENCRYPTED
            content = {"msgtype": "m.notice", "body": SEALED.format(english, russian)}
            await self._homeserver.send(room, content, tools)
            if is_private and person:
                await self._homeserver.call("POST", f"{CLIENT}/rooms/{quoted(room)}/leave", tools, json={})
        self._told.add(room)

    # --- what is said ---

    async def _heard(self, room: str, where: Fields) -> list[Item]:
        """Return what happened in a room of ours, oldest first."""
        events, start = list(where.items("timeline", "events")), where.text("timeline", "prev_batch")
        if any(self._is_arrival(event, self._us) for event in events):
            events = await self._since_invited(room, events, start)
        elif where.flag("timeline", "limited"):
            events = [*await self._before(room, start), *events]
        if any(event.text("type") == "m.room.member" for event in (*events, *where.items("state", "events"))):
            self._members.pop(room, None)
        found = []
        inviter = ""
        for event in events:
            kind, sender = event.text("type"), event.id("sender")
            if kind == "m.room.member":
                if event.id("state_key") == self._us and event.text("content", "membership") == "invite":
                    inviter = sender
                found += await self._moved(event, room, inviter)
            elif not sender or sender == self._us or not event.id("event_id"):
                continue
            elif kind == "m.room.encrypted":
                await self._say_so(room, sender)
            else:
                is_private, name = await self._around(room, sender)
                found.append(item(SAID, event, room=room, us=self._us, person=sender, name=name, is_private=is_private))
        return found

    async def _moved(self, event: Fields, room: str, inviter: str) -> list[Item]:
        """Read who came and who left."""
        user = event.id("state_key")
        person = inviter if user == self._us else user
        is_private, name = await self._around(room, person)
        if self._is_arrival(event, user) and is_private:
            return [item(MET, event, room=room, us=self._us, person=person, name=name, is_private=True)]
        has_left = event.text("content", "membership") in ("leave", "ban")
        if has_left and user != self._us and not set(await self._present(room)) - {self._us}:
            return [item(PARTED, event, room=room, us=self._us, person=user, is_private=True)]
        return []

    def _left(self, room: str, where: Fields) -> list[Item]:
        """Read that we were put out of a room."""
        self._members.pop(room, None)
        for event in (*where.items("timeline", "events"), *where.items("state", "events")):
            is_ours = event.text("type") == "m.room.member" and event.id("state_key") == self._us
            if is_ours and event.text("content", "membership") in ("leave", "ban") and event.id("sender") != self._us:
                return [item(PARTED, event, room=room, us=self._us)]
        return []

    @staticmethod
    def _is_arrival(event: Fields, user: str) -> bool:
        """Tell whether somebody came in; a change of their name or picture is told in the same way."""
        is_join = event.text("content", "membership") == "join" and event.id("state_key") == user
        was = event.text("unsigned", "prev_content", "membership")
        return event.text("type") == "m.room.member" and is_join and was != "join"

    async def _since_invited(self, room: str, events: list[Fields], start: str) -> list[Fields]:
        """Return what happened in a room we have just come into since we were invited: people write meanwhile."""
        pages = 0
        while start and pages < _MOST_PAGES and not any(self._is_invitation(event) for event in events):
            page, start = await self._page(room, start)
            events = [*page, *events]
            pages += 1
        marks = [place for place, event in enumerate(events) if self._is_invitation(event)] or [
            place for place, event in enumerate(events) if self._is_arrival(event, self._us)
        ]
        return events[marks[-1] :]

    def _is_invitation(self, event: Fields) -> bool:
        is_ours = event.text("type") == "m.room.member" and event.id("state_key") == self._us
        return is_ours and event.text("content", "membership") == "invite"

    async def _before(self, room: str, start: str) -> list[Fields]:
        """Return what an answer left out: what happened in a room since the token, before what it holds."""
        events: list[Fields] = []
        for _ in range(_MOST_PAGES):
            if not start:
                break
            page, start = await self._page(room, start, until=self._since)
            if not page:
                break
            events = [*page, *events]
        return events

    async def _page(self, room: str, start: str, *, until: str = "") -> tuple[list[Fields], str]:
        """Return a page of what happened before a place, oldest first, and the place before it; "" if there is none."""
        query = {
            "dir": "b",
            "from": start,
            "limit": str(_PAGE),
            "filter": msgspec.json.encode({"types": _TYPES}).decode(),
        }
        if until:
            query["to"] = until
        path = f"{CLIENT}/rooms/{quoted(room)}/messages"
        try:
            found = await self._homeserver.call("GET", path, self._listening.tools, query=query)
        except Undeliverable:
            return [], ""  # we may not look back
        return list(found.items("chunk"))[::-1], found.text("end")

    # --- who is there ---

    async def _around(self, room: str, person: str) -> tuple[bool, str]:
        """Return whether a room is somebody's alone with the bot, and what they call themself there."""
        present = await self._present(room)
        return set(present) - {person} == {self._us}, present.get(person, "")

    async def _present(self, room: str) -> Mapping[str, str]:
        """Return who is in a room of ours, by what they call themself; nobody if we are not in it."""
        if room not in self._members:
            self._members[room] = {}
            with suppress(Undeliverable):
                path = f"{CLIENT}/rooms/{quoted(room)}/joined_members"
                joined = (await self._homeserver.call("GET", path, self._listening.tools)).at("joined")
                self._members[room] = {user: member.text("display_name") for user, member in _named(joined)}
        return self._members[room]


def _named(fields: Fields) -> Iterator[tuple[str, Fields]]:
    """Yield the values of an object with their names."""
    names = fields.keys()
    for name in names:
        yield name, fields.at(name)
