"""The line to Asterisk's manager interface, which the listener holds: events are followed, noted and made durable.

Asterisk tells nothing twice. So whenever the line is opened, the calls that were under way when we last knew are
compared with the channels there are: what ended meanwhile is said to have ended, and what has begun is taken up.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from pydantic import SecretStr

from channels import asterisk_events
from channels.asterisk_ami import Ami
from channels.asterisk_calls import Calls
from channels.asterisk_channels import Note, Plan
from channels.contract import Item, Listening
from channels.errors import Misconfigured, Temporary, Uncertain
from channels.fields import Fields
from core.kernel.waiting import end, woken

EVENTS = ("call", "agent", "dialplan", "dtmf")
"""Classes of events that calls are made of; `dialplan` names recordings and menus, `dtmf` the keys pressed there."""

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.25, 30.0
_STOOD_WELL = 10.0  # seconds after which a line that breaks is opened again at once
_SIGN_EVERY = 30.0  # seconds: how well the end of a call is known that ends while nobody listens
_MOST_WAITING = 2_000
_MOST_AT_ONCE = 200


class Access(NamedTuple):
    """Where the manager interface is, and who we are there."""

    host: str
    port: int
    user: str
    secret: SecretStr
    tls: bool
    certificate: str

    async def open(self, *events: str) -> Ami:
        """Open a line.

        Raises:
            Unauthorised, Misconfigured: we are not let in. Temporary: not just now.
        """
        context = None
        if self.tls:
            try:
                context = ssl.create_default_context(cadata=self.certificate or None)
            except ssl.SSLError as error:
                raise Misconfigured("The certificate cannot be read: paste it as PEM") from error
        return await Ami.connect(
            self.host,
            self.port,
            username=self.user,
            secret=self.secret.get_secret_value(),
            tls=context,
            events=events,
        )


class Line:
    """One connection's line, mended whenever it breaks."""

    def __init__(self, access: Access, plan: Plan, listening: Listening) -> None:
        self._access = access
        self._listening = listening
        cursor = Fields(dict(listening.cursor))
        self._number = max(0, cursor.whole("number") or 0)
        self._seen = cursor.moment("seen") or listening.tools.now()
        self._calls = Calls(plan, cursor.at("calls").value)
        self._waiting: list[Item] = []
        self._news = asyncio.Event()

    async def keep(self) -> None:
        """Listen until canceled.

        Raises:
            Unauthorised, Misconfigured: nothing will come of it until somebody changes the settings.
        """
        pause = _SHORTEST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            opened = loop.time()
            try:
                ami = await self._access.open(*EVENTS)
                try:
                    await self._follow(ami)
                finally:
                    await ami.close()
            except (Temporary, Uncertain) as error:
                self._listening.is_ill(str(error))
            if loop.time() - opened > _STOOD_WELL:
                pause = _SHORTEST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.7, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _follow(self, ami: Ami) -> None:
        """Take up what is there, then what happens, until the line breaks.

        Raises:
            Temporary, Uncertain: it broke.
        """
        there = await ami.action("CoreShowChannels")
        now = self._listening.tools.now()
        channels = [item.fields for item in there.items if item.name == "CoreShowChannel"]
        for fields, notes in self._calls.compare(channels, now=now, lost_at=self._seen):
            self._put("CoreShowChannel", fields, notes, now)
        await self._store()
        self._listening.is_well(f"Listening as {self._access.user}")
        reading = asyncio.create_task(self._read(ami), name="Asterisk's events")
        try:
            while True:
                self._news.clear()
                is_over = reading.done()
                if self._waiting:
                    await self._store()
                elif is_over:
                    break
                else:
                    if await woken(self._news, _SIGN_EVERY):
                        continue
                    if self._calls.are_any:
                        await self._store()
        finally:
            await end(reading)
        reading.result()

    async def _read(self, ami: Ami) -> None:
        try:
            async for event in ami.events():
                notes = self._calls.take(event.name, event.fields)
                if notes:
                    self._put(event.name, event.fields, notes, self._listening.tools.now())
                while len(self._waiting) > _MOST_WAITING:
                    await asyncio.sleep(0.05)
        finally:
            self._seen = self._listening.tools.now()
            self._news.set()

    def _put(self, name: str, fields: Mapping[str, str], notes: Sequence[Note], now: datetime) -> None:
        self._number += 1
        request = asterisk_events.kept(name, fields, notes, number=self._number, now=now, host=self._access.host)
        self._waiting.append(Item(request, asterisk_events.routed(request)))
        self._news.set()

    async def _store(self) -> None:
        """Make what waits durable, with what is known of the calls under way."""
        items, self._waiting = self._waiting, []
        cursor = {
            "number": self._number,
            "seen": self._listening.tools.now().isoformat(),
            "calls": self._calls.keep(),
        }
        for start in range(0, max(1, len(items)), _MOST_AT_ONCE):
            more = items[start : start + _MOST_AT_ONCE]
            is_last = start + _MOST_AT_ONCE >= len(items)
            await self._listening.deliver(more, cursor if is_last else None)
