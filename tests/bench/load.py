"""The load generator: posts website forms to one URL over keep-alive connections, from a process of its own.

It shares two cores with what it measures, so it is raw sockets and ready-made bytes: no HTTP library. Run as
`python -m tests.bench.load URL …`; it prints one JSON object (`Report`). `post_forms` starts it and reads that.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from array import array
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import msgspec
import uvloop

from tests.bench.pgbench import PEOPLE

RETRY_AFTER = 0.05
"""Seconds until a refused form is sent again when a fixed number of forms has to arrive."""


class Report(msgspec.Struct, frozen=True):
    """What the load generator saw.

    acknowledged   answers with 2xx, everything counted
    refused        other answers by status; 0 stands for a connection that broke
    rate           answers with 2xx per second between the end of the warm-up and the end of the time
    p50, p99       latency of those, ms
    began          the moment of the first post, seconds since the epoch
    seconds        from the first post to the last answer
    next_number    the first form number not used
    sent_at        moment of each post by form number, only at a fixed rate; seconds since the epoch
    cpu            CPU of the generator itself per post, ms
    """

    acknowledged: int
    refused: dict[int, int]
    rate: float
    p50: float
    p99: float
    began: float
    seconds: float
    next_number: int
    sent_at: dict[int, float]
    cpu: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What to post: forms from number `start` on, each `copies` times, until `seconds` have passed or `requests` sent.

    `rate` posts per second instead of as many as the clients manage; 0 means no such limit. `what` is `form`, or
    `text`: short messages of the same `PEOPLE` people by turns, as an SMS gateway posts them.
    """

    url: str
    clients: int = 64
    seconds: float = 0
    requests: int = 0
    start: int = 0
    copies: int = 1
    rate: float = 0
    warm_up: float = 0
    what: str = "form"


def form(number: int) -> bytes:
    """Return the body of form `number`: a new person's request as a browser encodes it; the length never varies."""
    prefix, rest = divmod(number % 10_000_000, 10_000)
    return b"".join(
        (
            b"name=Vera+Bench%010d&phone=8+%%28916%%29+%03d-%02d-%02d" % (number, prefix, *divmod(rest, 100)),
            b"&email=vera.%010d%%40example.com&message=3+windows%%2C+quote+please" % number,
            b"&utm_source=google&utm_medium=cpc&utm_campaign=spring&utm_content=windows&utm_term=pvc+windows",
            b"&referrer=https%3A%2F%2Fwww.example.com%2Fcatalogue&landing_page=https%3A%2F%2Fexample.com%2Fwindows",
        )
    )


def text(number: int) -> bytes:
    """Return the body of message `number`, from one of the people; the length never varies."""
    words = b"Where+are+my+windows%%3F+%010d" % number
    return b"from=%%2B7916%07d&to=%%2B74950000000&text=%s&id=%010d" % (number % PEOPLE, words, number)


BODIES = {"form": form, "text": text}


class Generator:
    """Keeps the clients busy and counts what comes back."""

    def __init__(self, plan: Plan) -> None:
        address = urlsplit(plan.url)
        self.plan = plan
        self._body = BODIES[plan.what]
        self.host, self.port = address.hostname or "127.0.0.1", address.port or 80
        self._head = (
            f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nUser-Agent: switchyard-bench\r\n"
            "Accept: application/json\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(self._body(0))}\r\n\r\n"
        ).encode()
        self.sent = 0
        self.acknowledged = 0
        self.in_window = 0
        self.refused: dict[int, int] = {}
        self.latencies = array("d")
        self.sent_at: dict[int, float] = {}
        self.again: list[int] = []
        self.began = self.window_from = self.window_to = float("inf")
        self.last = 0.0
        self.open = 0
        self.idle: list[Client] = []
        self.finished = asyncio.Event()
        self.rested = asyncio.Event()

    def request(self, number: int) -> bytes:
        """Return the bytes of one post."""
        return self._head + self._body(number)

    def next_number(self, now: float) -> int | None:
        """Say which form a free client posts now; None when there is nothing more to post."""
        if self.again:
            return self.again.pop()
        plan = self.plan
        if (self.sent >= plan.requests) if plan.requests else now >= self.window_to:
            return None
        number = plan.start + self.sent // plan.copies
        self.sent += 1
        return number

    def answered(self, number: int, status: int, posted: float, now: float) -> None:
        """Count an answer; a refused form is posted again if all have to arrive."""
        self.last = now
        if 200 <= status < 300:
            self.acknowledged += 1
            if self.window_from <= now <= self.window_to:
                self.in_window += 1
                self.latencies.append(now - posted)
            return
        self.refused[status] = self.refused.get(status, 0) + 1
        if self.plan.requests:
            asyncio.get_running_loop().call_later(RETRY_AFTER, self._retry, number)

    def _retry(self, number: int) -> None:
        self.again.append(number)
        if self.idle:
            self.idle.pop().post(time.perf_counter())

    def rest(self, client: Client) -> None:
        """Note that a client has nothing to do; the run is over when that is true of all and everything arrived."""
        self.idle.append(client)
        self.rested.set()
        if len(self.idle) == self.open and not self.plan.rate:
            wanted = self.plan.requests
            if not wanted or self.acknowledged >= wanted:
                self.finished.set()

    async def run(self) -> Report:
        """Post everything and report."""
        loop, plan = asyncio.get_running_loop(), self.plan
        for _ in range(plan.clients):
            _, client = await loop.create_connection(lambda: Client(self), self.host, self.port)
            self.idle.append(client)
        self.open = plan.clients
        cpu = time.process_time()
        epoch = time.time() - time.perf_counter()
        self.began = time.perf_counter()
        self.window_from = self.began + plan.warm_up
        self.window_to = self.window_from + plan.seconds if plan.seconds else float("inf")
        if plan.rate:
            await self._post_at_rate(epoch)
        else:
            clients, self.idle = self.idle, []
            for client in clients:
                client.post(self.began)
            await self.finished.wait()
        cpu = time.process_time() - cpu
        window = plan.seconds or self.last - self.window_from
        ordered = sorted(self.latencies)
        return Report(
            acknowledged=self.acknowledged,
            refused=self.refused,
            rate=self.in_window / window,
            p50=1000 * percentile(ordered, 0.5),
            p99=1000 * percentile(ordered, 0.99),
            began=epoch + self.began,
            seconds=self.last - self.began,
            next_number=plan.start + -(-self.sent // plan.copies),
            sent_at=self.sent_at,
            cpu=1000 * cpu / max(self.acknowledged, 1),
        )

    async def _post_at_rate(self, epoch: float) -> None:
        turn = 0
        while True:
            due = self.began + turn / self.plan.rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            now = time.perf_counter()
            await self._until_idle(1)
            number = self.next_number(now)
            if number is None:
                break
            self.sent_at[number] = epoch + due
            self.idle.pop().send(number, now)
            turn += 1
        await self._until_idle(self.open)

    async def _until_idle(self, clients: int) -> None:
        while len(self.idle) < clients:
            self.rested.clear()
            await self.rested.wait()


class Client(asyncio.Protocol):
    """One keep-alive connection with one request in flight."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._transport: asyncio.WriteTransport | None = None
        self._buffer = b""
        self._number = -1
        self._posted = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports have the methods, not the base class
        self._transport = cast(asyncio.WriteTransport, transport)

    def post(self, now: float) -> None:
        """Post the next form, or rest."""
        number = self._generator.next_number(now)
        if number is None:
            self._generator.rest(self)
        else:
            self.send(number, now)

    def send(self, number: int, now: float) -> None:
        """Post a form."""
        assert self._transport is not None
        self._number, self._posted = number, now
        self._transport.write(self._generator.request(number))

    def data_received(self, data: bytes) -> None:
        """Read the status, skip the rest, go on with the next form."""
        if self._buffer:
            data = self._buffer + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or len(data) < end + 4 + content_length(data, end):
            self._buffer = data
            return
        self._buffer = b""
        now = time.perf_counter()
        number, self._number = self._number, -1
        self._generator.answered(number, int(data[9:12]), self._posted, now)
        if self._generator.plan.rate:
            self._generator.rest(self)
        else:
            self.post(now)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the form in flight as refused and connect again while there is work."""
        generator, number = self._generator, self._number
        if generator.finished.is_set():
            return
        generator.open -= 1
        if self in generator.idle:
            generator.idle.remove(self)
        if number >= 0:
            generator.answered(number, 0, self._posted, time.perf_counter())
        task = asyncio.ensure_future(self._reconnect())
        task.add_done_callback(lambda done: done.exception())

    async def _reconnect(self) -> None:
        generator = self._generator
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: Client(generator), generator.host, generator.port)
        generator.open += 1
        if generator.plan.rate:
            generator.rest(client)
        else:
            client.post(time.perf_counter())


def content_length(data: bytes, end: int) -> int:
    """Return the length of the body that the headers before `end` announce; 0 when they do not."""
    at = data.find(b"Content-Length:", 0, end)
    if at < 0:
        at = data.lower().find(b"content-length:", 0, end)
    if at < 0:
        return 0
    stop = data.find(b"\r\n", at)
    return int(data[at + 15 : stop])


def percentile(ordered: list[float], share: float) -> float:
    """Return the value below which `share` of the ordered values lie; NaN when there are none."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


async def post_forms(plan: Plan) -> Report:
    """Run the generator in a process of its own.

    Raises:
        RuntimeError: the generator failed; its own words were printed to stderr.
    """
    arguments = [sys.executable, "-m", "tests.bench.load", msgspec.json.encode(plan).decode()]
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError("The load generator failed")
    return msgspec.json.decode(output, type=Report)


def main() -> None:
    """Run one plan, given as JSON, and print the report as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", help='{"url": …, "clients": 64, "seconds": 5 or "requests": 20000, …}')
    plan = msgspec.json.decode(parser.parse_args().plan, type=Plan)
    print(msgspec.json.encode(uvloop.run(Generator(plan).run())).decode())


if __name__ == "__main__":
    main()
