"""Lines to the visitors of chat widgets: every window that is open on this node, and what it is told as it happens.

A node follows the diary while any window is open. What concerns a visitor is read once more from the database, under
the rule of `hub.widget_messages`, and told to each of their windows that does not have it as it is: so nothing depends
on a message being pushed, and a window that was away is told the same when it comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog
from aiohttp import web
from sqlalchemy import and_, exists, or_, select, text

from core.kernel import events
from core.kernel.events import Position
from core.staff import workspace
from core.staff.absences import Absence
from core.staff.sessions import Session
from core.staff.users import Presence, Role, User
from core.talk.conversations import Conversation
from core.talk.viewings import Viewing
from core.work import hours_json
from hub.app import Hub
from hub.desk.records import DeskLink
from hub.live import is_behind
from hub.widget_messages import Reader, Visitor, note_received

log = structlog.get_logger(__name__)

MOST_MESSAGES, WITHIN = 10, 10.0
"""Messages a visitor may send in so many seconds."""

MOST_WINDOWS = 5_000
MOST_WINDOWS_OF_ONE = 40
"""Windows open at once on a node, and of them from one address: an office has many people behind one."""

CUSTOMER = 0
"""In `viewings`, whoever is not one of us: a visitor who is writing just now."""

_SHOWN = frozenset(
    f"message.{what}"
    for what in ("received", "sent", "delivered", "read", "edited", "deleted", "grown", "file_fetched", "uncertain")
)
_SEEN = frozenset({"conversation.read", "conversation.resolved"})
_GATHER = 0.15  # seconds in which receipts come together
_LOOK = 2.0  # seconds between two looks at who is writing
_WRITING_LASTS = timedelta(seconds=25)
_STAYS_HERE = timedelta(minutes=70)  # a session's last use is noted once an hour
_HOURS_KEPT = timedelta(seconds=20)

_encode = msgspec.json.Encoder().encode


class Line:
    """One open window. `has` is what it was told: message → what it looked like then, and its state."""

    def __init__(self, socket: web.WebSocketResponse, visitor: Visitor, *, shows_names: bool) -> None:
        self.visitor = visitor
        self.shows_names = shows_names
        self.has: dict[int, tuple[int, str]] = {}
        self.wanted: set[int] = set()
        self.is_seen = False
        self.is_writing = self.was_writing = False
        self.woken = asyncio.Event()
        self._socket = socket

    async def tell(self, kind: str, **more: Any) -> None:
        """Tell the window something; one that has gone hears nothing."""
        with contextlib.suppress(ConnectionError, RuntimeError):
            await self._socket.send_str(_encode({"t": kind, **more}).decode())

    def take(self, messages: Iterable[dict[str, Any]]) -> None:
        """Note what the window has been told."""
        for message in messages:
            self.has[message["id"]] = _looks(message)

    async def show(self, messages: Iterable[dict[str, Any]]) -> None:
        """Tell the window of messages, as far as it does not have them like that."""
        for message in messages:
            before, now = self.has.get(message["id"]), _looks(message)
            if before == now:
                continue
            self.has[message["id"]] = now
            if before is not None and before[0] == now[0]:
                await self.tell("state", id=message["id"], state=message["state"])
            else:
                await self.tell("message", message=message)

    async def hang_up(self) -> None:
        """Close the window's socket; its script opens another by itself."""
        with contextlib.suppress(ConnectionError, RuntimeError):
            await self._socket.close(code=1012, message=b"restarting")


def _looks(message: dict[str, Any]) -> tuple[int, str]:
    files = tuple((file["name"], file["state"]) for file in message.get("files", ()))
    return hash((message["text"], message.get("gone"), files)), message.get("state", "")


class Lines:
    """All windows of this node."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._lines: dict[Visitor, set[Line]] = {}
        self._from: Counter[str] = Counter()
        self._position: Position | None = None
        self._grown = asyncio.Event()
        self._receipts: dict[Visitor, dict[int, str]] = {}
        self._received = asyncio.Event()
        self._said: dict[Visitor, deque[float]] = {}
        self._wrote: dict[Visitor, float] = {}
        self._here: tuple[datetime, dict[str, Any]] | None = None

    def wake(self, _payload: str = "") -> None:
        """Note that the diary has grown."""
        self._grown.set()

    # --- windows ---

    def has_room(self, client: str) -> bool:
        """Whether one more window may open from an address."""
        return self._from.total() < MOST_WINDOWS and self._from[client] < MOST_WINDOWS_OF_ONE

    @asynccontextmanager
    async def counted(self, client: str) -> AsyncIterator[None]:
        """Count a socket from an address for as long as it is open."""
        self._from[client] += 1
        try:
            yield
        finally:
            self._from[client] -= 1
            if not self._from[client]:
                del self._from[client]

    @asynccontextmanager
    async def open(self, line: Line) -> AsyncIterator[None]:
        """Keep a window informed for the length of the block, of all that is not certain when it begins."""
        self._lines.setdefault(line.visitor, set()).add(line)
        try:
            if self._position is None:
                async with self._hub.database.reading() as session:
                    end = await events.end(session)
                self._position = self._position or end
            yield
        finally:
            self._lines[line.visitor].discard(line)
            if not self._lines[line.visitor]:
                del self._lines[line.visitor]
                self._wrote.pop(line.visitor, None)

    async def serve(self, line: Line) -> None:
        """Tell a window what it is to hear, as it comes up, until canceled."""
        while True:
            await line.woken.wait()
            line.woken.clear()
            try:
                await self._tell(line)
            except Exception:  # the window is told again when it comes back
                log.exception("widget_line_failed")
                await line.hang_up()
                return

    async def _tell(self, line: Line) -> None:
        wanted, line.wanted = line.wanted, set()
        if wanted:
            hub = self._hub
            async with hub.database.reading() as session:
                reader = Reader(session, hub.files, now=hub.clock.now(), shows_names=line.shows_names)
                found = await reader.these(line.visitor, wanted)
            if any(message["ours"] for message in found):
                line.is_writing = False
            await line.show(found)
        if line.is_seen:
            line.is_seen = False
            await line.tell("seen")
        if line.is_writing != line.was_writing:
            line.was_writing = line.is_writing
            await line.tell("typing", on=line.is_writing)

    def _all(self) -> Iterable[Line]:
        return [line for lines in self._lines.values() for line in lines]

    # --- what happens ---

    async def run(self) -> None:
        """Follow the diary, note receipts and look who is writing, until canceled."""
        await asyncio.gather(self._follow(), self._note_receipts(), self._watch_writing())

    async def _follow(self) -> None:
        while True:
            await self._grown.wait()
            self._grown.clear()
            try:
                await self._read_on()
            except Exception:  # a chat that is not live must not end the process
                log.exception("widget_lines_failed")
                await asyncio.sleep(1)
                self._grown.set()

    async def _read_on(self) -> None:
        while True:
            if not self._lines:
                self._position = None
                return
            async with self._hub.database.reading() as session:
                if self._position is None:
                    self._position = await events.end(session)
                lines, position = await events.read_after(session, self._position)
                if lines:
                    await self._spread(session, lines)
                elif await is_behind(session, position):
                    # committed, but an older transaction is still under way: look again in a moment
                    asyncio.get_running_loop().call_later(0.02, self._grown.set)
            self._position = position
            if not lines:
                return

    async def _spread(self, session: Any, lines: Iterable[Any]) -> None:
        """Find out whose windows some lines of the diary are about."""
        about = [line for line in lines if line.conversation_id and (line.kind in _SHOWN or line.kind in _SEEN)]
        if not about:
            return
        here = {visitor.connection_id for visitor in self._lines}
        rows = await session.execute(
            select(Conversation.id, Conversation.connection_id, Conversation.peer).where(
                Conversation.id.in_({line.conversation_id for line in about}), Conversation.connection_id.in_(here)
            )
        )
        whose = {row.id: Visitor(row.connection_id, row.peer) for row in rows}
        for line in about:
            visitor = whose.get(line.conversation_id)
            for window in self._lines.get(visitor, ()) if visitor is not None else ():
                if line.kind in _SEEN:
                    window.is_seen = True
                elif line.message_id is not None:
                    window.wanted.add(line.message_id)
                window.woken.set()

    async def _watch_writing(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            if not self._lines:
                continue
            try:
                await self._look_who_writes()
            except Exception:
                log.exception("widget_writing_failed")

    async def _look_who_writes(self) -> None:
        async with self._hub.database.reading() as session:
            rows = await session.execute(
                select(Conversation.connection_id, Conversation.peer)
                .join(Viewing, Viewing.conversation_id == Conversation.id)
                .where(
                    Viewing.is_writing,
                    Viewing.user_id != CUSTOMER,
                    Viewing.at > self._hub.clock.now() - _WRITING_LASTS,
                    Conversation.connection_id.in_({visitor.connection_id for visitor in self._lines}),
                )
            )
            written_to = {Visitor(row.connection_id, row.peer) for row in rows}
        for line in self._all():
            if line.is_writing != (line.visitor in written_to):
                line.is_writing = line.visitor in written_to
                line.woken.set()

    # --- what visitors do ---

    def admits(self, visitor: Visitor) -> float:
        """Count a message of a visitor; return for how many seconds they have to wait before it, 0 if it may come."""
        now = time.monotonic()
        if len(self._said) > 10_000:
            self._said = {who: times for who, times in self._said.items() if times[-1] > now - WITHIN}
        times = self._said.setdefault(visitor, deque(maxlen=MOST_MESSAGES))
        if len(times) == MOST_MESSAGES and times[0] > now - WITHIN:
            return times[0] + WITHIN - now
        times.append(now)
        return 0.0

    def receive(self, visitor: Visitor, ids: Iterable[int], status: str) -> None:
        """Note, with the next ones, that messages of ours have come to a visitor, or were read."""
        noted = self._receipts.setdefault(visitor, {})
        for message_id in ids:
            if noted.get(message_id) != "read":
                noted[message_id] = status
        self._received.set()

    async def _note_receipts(self) -> None:
        while True:
            await self._received.wait()
            await asyncio.sleep(_GATHER)
            self._received.clear()
            taken, self._receipts = self._receipts, {}
            try:
                async with self._hub.database.transaction() as session:
                    for visitor, received in taken.items():
                        await note_received(session, visitor, received, at=self._hub.clock.now())
            except Exception:  # the windows send them again when they come back
                log.exception("widget_receipts_failed")
                await asyncio.sleep(1)

    async def note_writing(self, visitor: Visitor, *, is_writing: bool) -> None:
        """Let colleagues see that a visitor is writing, at most every four seconds."""
        now = time.monotonic()
        if is_writing and now - self._wrote.get(visitor, -60.0) < 4:
            return
        if not is_writing and visitor not in self._wrote:
            return
        if is_writing:
            self._wrote[visitor] = now
        else:
            del self._wrote[visitor]
        async with self._hub.database.transaction() as session:
            await session.execute(
                text(
                    "INSERT INTO viewings (conversation_id, user_id, is_writing, at) "
                    "SELECT id, :customer, :is_writing, :at FROM conversations "
                    "WHERE connection_id = :connection AND peer = :peer ORDER BY last_message_at DESC LIMIT 1 "
                    "ON CONFLICT (conversation_id, user_id) DO UPDATE SET is_writing = :is_writing, at = :at"
                ),
                {
                    "customer": CUSTOMER,
                    "is_writing": is_writing,
                    "at": self._hub.clock.now(),
                    "connection": visitor.connection_id,
                    "peer": visitor.peer,
                },
            )

    async def here(self) -> dict[str, Any]:
        """Tell whether the company is open just now, when it will be, and whether somebody is at work.

        That is whoever uses the workspace, and whoever can be reached in a messenger and is not absent.
        """
        now = self._hub.clock.now()
        if self._here is not None and timedelta() <= now - self._here[0] < _HOURS_KEPT:
            return self._here[1]
        async with self._hub.database.reading() as session:
            company = await workspace.get(session)
            schedule = hours_json.from_json(company.schedule)
            in_browser = Session.user_id == User.id, Session.seen_at > now - _STAYS_HERE, Session.expires_at > now
            is_away = exists().where(Absence.user_id == User.id, Absence.starts_at <= now, Absence.ends_at > now)
            in_messenger = exists().where(DeskLink.user_id == User.id, DeskLink.is_reachable)
            somebody = await session.scalar(
                select(User.id)
                .where(
                    User.is_active,
                    User.presence.in_((Presence.AVAILABLE, Presence.BUSY)),
                    User.role != Role.VIEWER,
                    or_(exists().where(*in_browser), and_(in_messenger, ~is_away)),
                )
                .limit(1)
            )
        is_open = schedule.is_open(now)
        opens = None if is_open else schedule.next_opening(now)
        found = {
            "open": is_open,
            "opens": opens.isoformat() if opens is not None else None,
            "online": is_open and somebody is not None,
            "company": company.name,
        }
        self._here = (now, found)
        return found

    async def hang_up(self) -> None:
        """Close all windows' sockets, as when this node stops; they come back to another one."""
        await asyncio.gather(*(line.hang_up() for line in self._all()))
