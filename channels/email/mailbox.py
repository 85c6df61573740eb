"""Watches a mailbox and brings every letter in, word for word, once.

The position is the folder's UIDVALIDITY and the UID of the last letter brought (RFC 3501 §2.3.1.1); it is stored in
the transaction that stores the letters. With IDLE (RFC 2177) the server tells of new letters at once, without it we
ask; either is only a hint, and the folder is searched by UID whenever something may have happened. Letters are read
with BODY.PEEK and stay unread for whoever else looks into the mailbox.

Where UIDVALIDITY has changed (the mailbox was moved, restored, rebuilt) no old UID means anything: all letters of the
time in question are brought again, and those that are known by their Message-ID change nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from channels.contract import Item, Listening, Routed
from channels.email import imap as imaps
from channels.email.imap import Imap
from channels.email.imap_syntax import Found
from channels.email.servers import Login, Server
from channels.errors import Temporary
from webhooks.request import RawRequest

METHOD = "IMAP"
"""The method of a request that is a letter."""

MOST_BYTES = 30 * 1024 * 1024
"""Longer letters are brought by their beginning only."""

BEGINNING = 256 * 1024
_BATCH_LETTERS = 50
_BATCH_BYTES = 1_500_000
_WHOLE_TRIES, _LAST_TRIES = 3, 6  # how often a letter may break the connection before less of it is asked for
_DAYS_BACK = 2  # SINCE knows neither hours nor time zones
_DAYS_ON_THE_WAY = 7  # mail servers give up after five
_DAYS_UNKNOWN = 14
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take, in seconds.

    renew     a wait for news is renewed: routers drop silent connections within minutes
    poll      between two looks where the server cannot tell news
    patience  for any answer
    acceptance  for the word that a letter was taken, which servers may weigh long (RFC 5321 §4.5.3.2.6)
    shortest  first pause after a trouble; each further one is twice as long, up to `longest`
    """

    renew: float = 300
    poll: float = 60
    patience: float = 30
    acceptance: float = 300
    shortest: float = 1
    longest: float = 300


USUAL_PACE = Pace()


class Watch:
    """Watches one folder. `route` tells of a letter what it is a repeat of."""

    def __init__(
        self,
        server: Server,
        login: Login,
        folder: str,
        route: Callable[[RawRequest], Routed],
        *,
        import_days: int = 0,
        pace: Pace = USUAL_PACE,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._server, self._login, self._folder, self._route = server, login, folder, route
        self._import_days, self._pace, self._most_bytes = import_days, pace, most_bytes
        self._cursor: dict[str, Any] = {}
        self._tries: dict[int, int] = {}
        self._wary_until = 0
        self._idles = True
        self._troubles = 0

    async def run(self, listening: Listening) -> None:
        """Watch until cancelled.

        Raises:
            Unauthorised, Misconfigured: somebody has to change the settings.
        """
        self._cursor = dict(listening.cursor)
        while True:
            try:
                async with imaps.signed_in(self._server, self._login, listening.tools, self._pace.patience) as imap:
                    await self._follow(imap, listening)
            except Temporary as trouble:
                if trouble.code == "idle":
                    self._idles = False
                listening.is_ill(str(trouble))
            pause = min(self._pace.longest, self._pace.shortest * 2 ** min(self._troubles, 20))
            self._troubles += 1
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # not all mailboxes of a server at the same moment

    async def _follow(self, imap: Imap, listening: Listening) -> None:
        folder = await imap.select(self._folder)
        today = listening.tools.now().date()
        if self._cursor.get("uidvalidity") != folder.uid_validity:
            last = folder.uid_next - 1
            if not folder.uid_next:
                last = max(await imap.search("UID *"), default=0) if folder.letters else 0
            await self._begin(listening, folder.uid_validity, last, today)
        while True:
            news = imap.news
            brought = await self._bring(imap, listening)
            self._troubles = 0
            listening.is_well(f"{self._folder}: {'told of letters at once' if imap.has_idle else 'asked regularly'}")
            if brought or imap.news != news:
                continue
            today = listening.tools.now().date()
            if self._cursor.get("date") != today.isoformat():
                await self._move(listening, [], date=today.isoformat())
            if imap.has_idle and self._idles:
                await imap.idle(self._pace.renew)
            else:
                await asyncio.sleep(self._pace.poll)
                await imap.noop()

    async def _begin(self, listening: Listening, uid_validity: int, last: int, today: date) -> None:
        """Decide where to start: behind what is there, or with the letters of some days.

        `since` holds for the letters up to `until`; it stays in the cursor until they are all in.
        """
        self._tries, self._wary_until = {}, 0
        cursor: dict[str, Any] = {"uidvalidity": uid_validity, "uid": last, "date": today.isoformat()}
        since: date | None = None
        if self._cursor:
            try:
                since = date.fromisoformat(str(self._cursor.get("since") or self._cursor["date"]))
            except (KeyError, ValueError):
                since = today - timedelta(days=_DAYS_UNKNOWN)
        elif self._import_days:
            since = today - timedelta(days=self._import_days)
        if since is not None:
            cursor |= {"uid": 0, "since": since.isoformat(), "until": last}
        self._cursor = cursor
        await listening.deliver([], dict(cursor))

    async def _bring(self, imap: Imap, listening: Listening) -> bool:
        """Bring what is new; tell whether there was anything."""
        known = int(self._cursor["uid"])
        criteria = f"UID {known + 1}:*"
        if "since" in self._cursor:
            since = date.fromisoformat(self._cursor["since"]) - timedelta(days=_DAYS_BACK)
            # a mailbox that was moved may have its letters dated by the day of the move: their own date tells then
            sent = since - timedelta(days=_DAYS_ON_THE_WAY)
            criteria += f" SINCE {_day(since)} NOT SENTBEFORE {_day(sent)}"
        # `n:*` is never empty: where nothing is new it is the last letter there is (RFC 3501 §6.4.8)
        uids = [uid for uid in await imap.search(criteria) if uid > known]
        brought = False
        while uids:
            count = 1 if uids[0] <= self._wary_until else imaps.MOST_AT_ONCE
            some, uids = uids[:count], uids[count:]
            try:
                await self._bring_some(imap, listening, some)
            except Temporary as trouble:
                self._note_trouble(some, trouble)
                raise
            brought = True
        if "since" in self._cursor:
            last = max([int(self._cursor.pop("until", 0)), int(self._cursor["uid"])])
            del self._cursor["since"]
            await self._move(listening, [], uid=last)
        return brought

    async def _bring_some(self, imap: Imap, listening: Listening, uids: list[int]) -> None:
        tries = self._tries.get(uids[0], 0)
        if tries >= _LAST_TRIES:
            told = f"{self._server.host} breaks off whenever this letter is asked for"
            await self._move(listening, [self._request(Found(uids[0], 0, "", b""), problem=told)], uid=uids[0])
            return
        if tries >= _WHOLE_TRIES:
            await self._bring_beginning(imap, listening, Found(uids[0], 0, "", None))
            return
        for batch in self._batches(sorted(await imap.look(uids))):
            if batch[0].size > self._most_bytes:
                await self._bring_beginning(imap, listening, batch[0])
                continue
            read = await imap.read([letter.uid for letter in batch])
            letters = [self._request(letter) for letter in sorted(read) if letter.body is not None]
            await self._move(listening, letters, uid=batch[-1].uid)

    async def _bring_beginning(self, imap: Imap, listening: Listening, letter: Found) -> None:
        read = await imap.read([letter.uid], f"BODY.PEEK[]<0.{BEGINNING}>")
        letters = [self._request(found, whole=letter.size) for found in read if found.body is not None]
        await self._move(listening, letters, uid=letter.uid)

    def _batches(self, letters: Sequence[Found]) -> Iterator[list[Found]]:
        """Group letters so that many small ones, or one large one, are read and stored at once."""
        most = min(_BATCH_BYTES, self._most_bytes)
        batch: list[Found] = []
        size = 0
        for letter in letters:
            if batch and (len(batch) == _BATCH_LETTERS or size + letter.size > most):
                yield batch
                batch, size = [], 0
            batch.append(letter)
            size += letter.size
        if batch:
            yield batch

    def _note_trouble(self, uids: list[int], trouble: Temporary) -> None:
        """Remember where it broke: these letters are asked for one by one, and less and less of one that breaks it."""
        if len(uids) > 1:
            self._wary_until = uids[-1]
            return
        tries = self._tries.get(uids[0], 0) + 1
        if trouble.code in ("NO", "BAD"):  # it will say so again
            tries = _WHOLE_TRIES if tries < _WHOLE_TRIES else _LAST_TRIES
        self._tries = {uids[0]: tries}

    def _request(self, letter: Found, *, whole: int = -1, problem: str = "") -> RawRequest:
        """Make a letter into what the hub keeps. `whole`: the size of that of which it is the beginning, if it is."""
        body = letter.body or b""
        headers = {
            "x-folder": self._folder,
            "x-uidvalidity": str(self._cursor["uidvalidity"]),
            "x-uid": str(letter.uid),
            "x-internal-date": letter.date,
        }
        if whole >= 0 and len(body) == BEGINNING:
            headers["x-whole-size"] = str(whole)
        if problem:
            headers["x-problem"] = " ".join(problem.split())
        return RawRequest(body, METHOD, headers)

    async def _move(self, listening: Listening, letters: Sequence[RawRequest], **cursor: Any) -> None:
        """Store letters, and the position behind them."""
        moved = {**self._cursor, **cursor}
        await listening.deliver([Item(letter, self._route(letter)) for letter in letters], dict(moved))
        self._cursor = moved


def _day(day: date) -> str:
    return f"{day.day}-{_MONTHS[day.month - 1]}-{day.year}"
