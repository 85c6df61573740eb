"""Asterisk's manager interface (AMI): actions and their answers over one line, and the events that come in between.

Source: docs.asterisk.org, "Asterisk Manager Interface (AMI)", "AMI v2 Specification", "AMI Actions"; how Asterisk 16
behaves was seen at a real one.

Asterisk reads a line of at most 1,024 bytes and takes whatever follows CR LF for the next header, and a blank line for
the end of an action: a value that could hold a line break could run `System`. Nothing with a control character is sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from channels.errors import ChannelError, Misconfigured, Temporary, Unauthorised, Uncertain, Undeliverable
from core.kernel.waiting import end

Value = str | int | bool | Sequence[str] | Mapping[str, str]
"""Of a header: a sequence is the header as many times, a mapping is channel variables."""

_BANNER: Final = b"Asterisk Call Manager/"
_LONGEST_SENT = 1_000
_MOST_SENT = 120  # Asterisk reads 128
_LONGEST_LINE = 65_536
_MOST_LINES = 20_000  # of one message: what a command prints is one
_LARGEST_MESSAGE = 4_000_000
_MOST_LISTED = 50_000
_MOST_WAITING = 10_000  # events nobody has taken
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_FIRST = re.compile(r"(Response|Event): *(.+)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Message:
    """An event or an answer. `name` is the event's, or `Success` and the like.

    `fields` holds the other headers under the names Asterisk gave them; one that came several times has its values
    joined by line breaks. `items` is what a list holds.
    """

    is_event: bool
    name: str
    fields: Mapping[str, str]
    items: tuple[Message, ...] = ()

    def get(self, field_name: str) -> str:
        """Return a field, or an empty text."""
        return self.fields.get(field_name, "")


@dataclass(slots=True)
class _Asked:
    answer: asyncio.Future[Message]
    head: Message | None = None
    items: list[Message] = field(default_factory=list)


class Ami:
    """A line to a manager, logged in. Made by `connect`; times are in seconds."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answer_within: float, ping_every: float
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._answer_within = answer_within
        self._ping_every = ping_every
        self._numbers = count(1)
        self._asked: dict[str, _Asked] = {}
        self._events: asyncio.Queue[Message | None] = asyncio.Queue()
        self._lost: ChannelError | None = None
        self._is_closed = False
        self._tasks: list[asyncio.Task[None]] = []
        self.version = ""

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        *,
        username: str,
        secret: str,
        tls: ssl.SSLContext | None = None,
        events: Sequence[str] = (),
        answer_within: float = 8,
        ping_every: float = 5,
    ) -> Ami:
        """Open a line and log in, by challenge, so that the secret does not go over it.

        A manager that knows no challenge is told the secret itself, over TLS only.

        Args:
            events: The classes of events that are wanted, such as `call` and `cdr`; none of them: no events.

        Raises:
            Unauthorised: we are not let in. Misconfigured: it wants the secret itself, and this is no TLS. Temporary:
            nobody answers, or no manager, or its certificate is not right.
        """
        try:
            async with asyncio.timeout(answer_within):
                reader, writer = await asyncio.open_connection(host, port, ssl=tls, limit=_LONGEST_LINE)
        except ssl.SSLCertVerificationError as error:
            wrong = f"The certificate of {host}:{port} is not right: {error.verify_message}"
            raise Temporary(wrong, code="tls") from error
        except (OSError, TimeoutError) as error:
            why = str(error) or "no answer in time"
            raise Temporary(f"{host}:{port} cannot be reached: {why}", code="unreachable") from error
        line = cls(reader, writer, answer_within=answer_within, ping_every=ping_every)
        try:
            await line._greet()
            line._tasks.append(asyncio.create_task(line._read(), name="AMI reader"))
            await line._log_in(username, secret, ",".join(events) or "off", is_private=tls is not None)
        except BaseException:
            await line.close()
            raise
        line._tasks.append(asyncio.create_task(line._keep_alive(), name="AMI signs of life"))
        return line

    async def action(self, name: str, /, **headers: Value) -> Message:
        """Ask for something and return the answer; of a list, once it is complete.

        Raises:
            Undeliverable: it is refused, or a value cannot be sent. Misconfigured: this user may not, or the manager
            does not know such an action. Temporary: the line is down, nothing was sent. Uncertain: it was sent, and no
            answer came.
        """
        answer = await self._request(name, headers)
        if answer.name == "Error":
            said = answer.get("Message") or "no reason"
            wrong = f"Asterisk refuses {name}: {said}"
            if said.startswith(("Permission denied", "Invalid/unknown command")):
                raise Misconfigured(wrong)
            raise Undeliverable(wrong)
        return answer

    async def events(self) -> AsyncIterator[Message]:
        """Give the events in the order they came, until the line is closed by us.

        Raises:
            Temporary: the line broke, and why.
        """
        while (event := await self._events.get()) is not None:
            yield event
        self._events.put_nowait(None)  # whoever asks again
        if self._lost is not None and not self._is_closed:
            raise Temporary(str(self._lost))

    async def close(self) -> None:
        """Say goodbye, where there is still somebody to hear it, and hang up."""
        self._is_closed = True
        if self._lost is None and self._tasks:
            with suppress(ChannelError, TimeoutError):
                async with asyncio.timeout(1):
                    await self._request("Logoff", {})
        await end(*self._tasks)
        self._end("it was closed")
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(2):
                await self._writer.wait_closed()

    # --- within ---

    async def _greet(self) -> None:
        try:
            async with asyncio.timeout(self._answer_within):
                banner = await self._reader.readline()
        except (OSError, ValueError, TimeoutError) as error:
            raise Temporary("Nobody answers who speaks AMI") from error
        if not banner.startswith(_BANNER):
            raise Temporary("What answers does not speak AMI")
        self.version = banner.removeprefix(_BANNER).decode(errors="replace").strip()

    async def _log_in(self, username: str, secret: str, events: str, *, is_private: bool) -> None:
        said = {"Username": username, "Events": events}
        try:
            challenge = await self._request("Challenge", {"AuthType": "MD5"})
            if challenge.name == "Success":
                key = hashlib.md5(f"{challenge.get('Challenge')}{secret}".encode(), usedforsecurity=False).hexdigest()
                answer = await self._request("Login", {"AuthType": "MD5", "Key": key, **said})
            elif is_private:
                answer = await self._request("Login", {"Secret": secret, **said})
            else:
                raise Misconfigured("Asterisk takes the password in clear only: this needs TLS")
        except Undeliverable as error:
            raise Unauthorised(f"Such a user name or password cannot be: {error}") from error
        except Uncertain as error:
            raise Temporary(f"Asterisk did not let us in: {error}") from error
        if answer.name != "Success":
            raise Unauthorised(f"Asterisk does not let us in: {answer.get('Message')}")

    async def _request(self, name: str, headers: Mapping[str, Value]) -> Message:
        action_id = f"switchyard-{next(self._numbers)}"
        packed = _packed({"Action": name, "ActionID": action_id, **headers})
        if self._lost is not None:
            raise Temporary(str(self._lost))
        asked = self._asked[action_id] = _Asked(asyncio.get_running_loop().create_future())
        self._writer.write(packed)
        try:
            async with asyncio.timeout(self._answer_within):
                return await asked.answer
        except TimeoutError:
            raise Uncertain(f"Asterisk has not answered {name} within {self._answer_within:g} seconds") from None
        finally:
            del self._asked[action_id]

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._ping_every)
            try:
                await self._request("Ping", {})
            except (Temporary, Uncertain):
                self._end("it gives no sign of life")
                return

    async def _read(self) -> None:
        try:
            while True:
                self._take(await self._message())
        except (asyncio.IncompleteReadError, EOFError):
            self._end("it closed the line")
        except ValueError as error:  # StreamReader's for a line that is too long, and ours
            self._end(f"it sent what is no AMI: {error}")
        except OSError as error:
            self._end(str(error) or type(error).__name__)

    async def _message(self) -> Message:
        lines: list[str] = []
        size = 0
        while True:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            line = line.rstrip(b"\r\n")
            if not line and lines:
                return _understood(lines)
            size += len(line)
            if len(lines) >= _MOST_LINES or size > _LARGEST_MESSAGE:
                raise ValueError("a message without an end")
            if line:
                lines.append(line.decode(errors="replace"))
                if len(lines) == 1 and not _FIRST.fullmatch(lines[0]):
                    raise ValueError("neither an answer nor an event")

    def _take(self, message: Message) -> None:
        asked = self._asked.get(message.get("ActionID"))
        if asked is None or (message.is_event and asked.head is None) or asked.answer.done():
            if message.is_event:
                if self._events.qsize() >= _MOST_WAITING:
                    raise ValueError("more events than can be read")
                self._events.put_nowait(message)
            return
        if not message.is_event and message.get("EventList") != "start":
            asked.answer.set_result(message)
        elif not message.is_event:
            asked.head = message
        elif asked.head is not None and message.get("EventList") in ("Complete", "cancelled"):
            head = asked.head
            fields = {**head.fields, **message.fields}
            asked.answer.set_result(Message(False, head.name, fields, tuple(asked.items)))
        elif len(asked.items) >= _MOST_LISTED:
            raise ValueError("a list without an end")
        else:
            asked.items.append(message)

    def _end(self, reason: str) -> None:
        if self._lost is not None:
            return
        self._lost = Temporary(f"The line to Asterisk is down: {reason}")
        for asked in self._asked.values():
            if not asked.answer.done():
                asked.answer.set_exception(Uncertain(str(self._lost)))
        self._events.put_nowait(None)
        self._writer.close()


def _understood(lines: Sequence[str]) -> Message:
    first = _FIRST.fullmatch(lines[0])
    assert first is not None  # looked at as it came
    fields: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name in fields else value
    return Message(first[1] == "Event", first[2], fields)


def _packed(headers: Mapping[str, Value]) -> bytes:
    lines = []
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise Undeliverable(f"{name!r} is no header of AMI")
        if isinstance(value, Mapping):
            values = [_variable(key, text) for key, text in value.items()]
        elif isinstance(value, bool):
            values = ["true" if value else "false"]
        elif isinstance(value, str | int):
            values = [str(value)]
        else:
            values = list(value)
        lines += [f"{name}: {text}" for text in values]
    if len(lines) > _MOST_SENT:
        raise Undeliverable(f"An action of Asterisk has {_MOST_SENT} headers at most")
    for line in lines:
        if _CONTROL.search(line):
            raise Undeliverable("A value for Asterisk holds a line break or another control character")
        if len(line.encode(errors="replace")) > _LONGEST_SENT:
            raise Undeliverable(f"A value for Asterisk is longer than {_LONGEST_SENT} bytes")
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode(errors="replace")


def _variable(name: str, value: str) -> str:
    """Return a channel variable. Asterisk takes a comma for the next one, and undoes quotes."""
    if not _NAME.fullmatch(name.lstrip("_")) or re.search(r'[,"\\]', value):
        raise Undeliverable(f"{name} cannot be a channel variable with this value")
    return f"{name}={value}"
