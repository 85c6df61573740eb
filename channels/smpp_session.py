"""One bound SMPP line: units out and their answers back, deliveries in, and both sides' signs of life."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from channels import smpp_units
from channels.smpp_units import Command, Unit, Unreadable
from core.kernel.waiting import end

Take = Callable[[Sequence[Unit]], Awaitable[None]]
"""Makes deliveries durable; what it raises ends the line, unacknowledged deliveries come again."""

APPLICATION_ERROR = 0x64  # ESME_RX_T_APPN: deliver it again later
UNKNOWN_COMMAND = 0x03
_MOST_AT_ONCE = 100
_LAST_SEQUENCE = 0x7FFF_FFFF


class Refused(Exception):
    """The other side answered with a status that is not 0."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status 0x{status:08X}")
        self.status = status


class Lost(Exception):
    """The line is down. `was_written`: what was asked may have been done all the same."""

    def __init__(self, reason: str, *, was_written: bool = False) -> None:
        super().__init__(reason)
        self.was_written = was_written


class Unanswered(Exception):
    """It was written, and no answer came in time."""


class Session:
    """A line over which units go. `window` is how many may wait for their answer, times are in seconds."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        window: int,
        answer_within: float,
        enquire_every: float,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._window = asyncio.Semaphore(window)
        self._answer_within = answer_within
        self._enquire_every = enquire_every
        self._sequence = 0
        self._waiting: dict[int, asyncio.Future[Unit]] = {}
        self._deliveries: asyncio.Queue[Unit] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read(), name="smpp reader")
        self._lost = ""

    async def bind(self, command: Command, system_id: str, password: str, system_type: str) -> None:
        """Say who we are.

        Raises:
            Refused: we are not let in. Lost, Unanswered: there is nobody who would.
        """
        await self.request(command, smpp_units.bind(system_id, password, system_type))

    async def request(self, command: Command, body: bytes = b"") -> Unit:
        """Send a unit and return its answer.

        Raises:
            Refused: the answer is a refusal. Lost: the line is down. Unanswered: no answer came in time.
        """
        if self._lost:
            raise Lost(self._lost)
        self._sequence = self._sequence % _LAST_SEQUENCE + 1
        sequence = self._sequence
        answered: asyncio.Future[Unit] = asyncio.get_running_loop().create_future()
        self._waiting[sequence] = answered
        try:
            self._writer.write(Unit(command, 0, sequence, body).packed())
            async with asyncio.timeout(self._answer_within):
                answer = await answered
        except TimeoutError:
            raise Unanswered(f"no answer within {self._answer_within:g} seconds") from None
        finally:
            self._waiting.pop(sequence, None)
        if answer.status:
            raise Refused(answer.status)
        return answer

    async def submit(self, body: bytes) -> str:
        """Send a message, and return the id it was given.

        Raises:
            As `request`.
        """
        async with self._window:
            return smpp_units.message_id((await self.request(Command.SUBMIT_SM, body)).body)

    async def settled(self, within: float) -> None:
        """Wait until what we have sent so far is answered, but not for ever."""
        if due := list(self._waiting.values()):
            await asyncio.wait(due, timeout=within)

    async def run(self, take: Take) -> None:
        """Take deliveries, and ask for signs of life, until the line breaks.

        Raises:
            Lost: it did, and why. Whatever `take` raises.
        """
        tasks = [
            self._reading,
            asyncio.create_task(self._keep_alive(), name="smpp signs of life"),
            asyncio.create_task(self._deliver(take), name="smpp deliveries"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in reversed(tasks):
                if task in done:
                    task.result()
        finally:
            await end(*tasks[1:])
        raise Lost(self._lost or "the line was closed")

    async def close(self, *, politely: bool = True) -> None:
        """Say goodbye, where there is still somebody to hear it, and hang up."""
        if politely and not self._lost:
            with suppress(Refused, Lost, Unanswered, OSError):
                async with asyncio.timeout(2):
                    await self.request(Command.UNBIND)
        await end(self._reading)
        self._end("the line was closed")
        self._writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(2):
                await self._writer.wait_closed()

    # --- within ---

    async def _read(self) -> None:
        try:
            while True:
                length, unit = smpp_units.unpack_header(await self._reader.readexactly(smpp_units.HEADER_SIZE))
                unit = unit._replace(body=await self._reader.readexactly(length))
                if unit.is_response:
                    waiting = self._waiting.get(unit.sequence)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(unit)
                elif unit.command in (Command.DELIVER_SM, Command.DATA_SM):
                    self._deliveries.put_nowait(unit)
                elif unit.command == Command.UNBIND:
                    self._answer(unit.answer())
                    self._end("the provider ended the session")
                    return
                elif unit.command == Command.ENQUIRE_LINK:
                    self._answer(unit.answer())
                elif unit.command != Command.ALERT_NOTIFICATION:  # which has no answer
                    self._answer(Unit(Command.GENERIC_NACK, UNKNOWN_COMMAND, unit.sequence))
        except asyncio.IncompleteReadError:
            self._end("the provider closed the connection")
        except Unreadable as error:
            self._end(f"the provider sent what is no SMPP: {error}")
        except (OSError, EOFError) as error:
            self._end(str(error) or type(error).__name__)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._enquire_every)
            try:
                await self.request(Command.ENQUIRE_LINK)
            except Refused:
                pass  # an answer all the same
            except Unanswered:
                self._end("the provider gives no sign of life")
                return

    async def _deliver(self, take: Take) -> None:
        while True:
            units = [await self._deliveries.get()]
            while not self._deliveries.empty() and len(units) < _MOST_AT_ONCE:
                units.append(self._deliveries.get_nowait())
            try:
                await take(units)
            except Exception:
                for unit in units:
                    self._answer(unit.answer(APPLICATION_ERROR, b"\0"))
                raise
            for unit in units:
                self._answer(unit.answer(0, b"\0"))

    def _answer(self, unit: Unit) -> None:
        if not self._writer.is_closing():
            self._writer.write(unit.packed())

    def _end(self, reason: str) -> None:
        self._lost = self._lost or reason
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Lost(self._lost, was_written=True))
