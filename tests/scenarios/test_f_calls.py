"""Scenario F: calls through a real Asterisk. They ring on the screen, are answered, missed, called back, and heard."""

from __future__ import annotations

import array
import asyncio
import io
import math
import os
import signal
import sys
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from sqlalchemy import select

from channels import voice_asterisk
from core.connections import Connection
from core.kernel.clock import SystemClock
from core.kernel.events import TimelineEvent
from core.people.contacts import Contact, ContactIdentity
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.staff.users import User
from core.talk.calls import Call, CallRecording
from core.work.tasks import Task
from hub import connections, telephony, worker
from hub.app import Hub
from tests.peers import asterisk
from tests.peers.asterisk import Asterisk

VERA, IGOR = "79161234567", "79031112230"
SECRET = "asks-who-rings"
AMI_SECRET = "the secret in manager.conf"
ROUTED = "74951000160"

DIALPLAN = """
[from-trunk](+)
exten => 74951000160,1,Gosub(switchyard-who,s,1)
 same => n,Gosub(switchyard-record,s,1)
 same => n,ExecIf($["${MANAGER}" != ""]?Dial(PJSIP/${MANAGER},1))
 same => n,Dial(PJSIP/101&PJSIP/102,20)
 same => n,Hangup()
"""
"""Who calls is put through to their manager, and to everybody where that one does not answer."""


@pytest.fixture(scope="module")
def exchange() -> Iterator[Asterisk]:
    """An exchange with the user that the guide tells to add, who may do no more than that."""
    with asterisk.running() as one:
        manager = voice_asterisk.templates("")[0].body.partition("[switchyard]")[2]
        manager = manager.replace("CHOOSE-A-LONG-ONE", AMI_SECRET).replace("ADDRESS-OF-THIS-SERVER", "127.0.0.1")
        add(one, "manager.conf", f"[switchyard]{manager}", "manager reload")
        yield one


def add(exchange: Asterisk, file: str, text: str, then: str) -> None:
    """Add to a file of the exchange's, and have it read anew."""
    with (exchange.recordings.parent / "etc" / file).open("a") as opened:
        opened.write(f"\n{text}")
    exchange.command(then)


@pytest.fixture
def clock() -> SystemClock:
    """The clock on the wall, by which Asterisk goes too."""
    return SystemClock()


async def until(condition: Callable[[], Awaitable[Any]], *, seconds: float = 60) -> Any:
    """Wait for something; return it."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
        return found


@dataclass
class Office:
    """A company with an exchange: Anna at 101, Boris at 102."""

    hub: Hub
    exchange: Asterisk
    connection: Connection
    anna: User
    boris: User

    async def rows(self, model: Any) -> list[Any]:
        async with self.hub.database.reading() as session:
            return list(await session.scalars(select(model).order_by(model.id)))

    async def told(self, kind: str) -> list[TimelineEvent]:
        return [line for line in await self.rows(TimelineEvent) if line.kind == kind]

    async def to_call_back(self) -> list[Task]:
        """Return the tasks that missed calls made; a talk too short to count leaves those of the first stage."""
        return [task for task in await self.rows(Task) if task.note.startswith("Rang in vain")]

    async def calls(self, *statuses: str, count: int = 1) -> list[Call]:
        """Wait until there are so many calls, all in one of these states, and return them."""

        async def they_are() -> list[Call]:
            found = await self.rows(Call)
            assert len(found) <= count, [(call.external_id, call.status) for call in found]
            return found if len(found) == count and all(call.status in statuses for call in found) else []

        try:
            return list(await until(they_are))
        except TimeoutError:
            found = [(call.external_id, call.status, call.direction) for call in await self.rows(Call)]
            raise AssertionError(f"not {count} calls {statuses}, but {found}") from None

    async def knows(self, number: str, name: str, owner: User) -> int:
        """Have somebody known already; return their id."""
        async with self.hub.database.transaction() as session:
            contact = Contact(name=name, search=name.lower(), owner_id=owner.id, created_at=self.hub.clock.now())
            session.add(contact)
            await session.flush()
            session.add(
                ContactIdentity(
                    contact_id=contact.id,
                    scheme="phone",
                    value=f"+{number}",
                    raw=number,
                    trust="typed",
                    created_at=self.hub.clock.now(),
                )
            )
        return contact.id

    def desk_hangs_up(self, number: str) -> None:
        """Have the exchange end the call of the phone on a desk."""
        for line in self.exchange.command("core show channels concise").splitlines():
            if line.startswith(f"PJSIP/{number}-"):
                self.exchange.command(f"channel request hangup {line.partition('!')[0]}")

    async def listens(self) -> None:
        """Wait until the line stands."""

        async def it_stands() -> bool:
            async with self.hub.database.reading() as session:
                return bool((await session.get_one(Connection, self.connection.id)).cursor)

        await until(it_stands)


@asynccontextmanager
async def office_of(hub: Hub, exchange: Asterisk, take_on: Any, *, ami_port: int = 0) -> AsyncIterator[Office]:
    """Connect the exchange; nothing runs yet."""
    anna, boris = await take_on("Anna", extension="101"), await take_on("Boris", extension="102")
    async with hub.database.transaction() as session:
        connection = await connections.create(
            session,
            hub.vault,
            kind="voice_asterisk",
            title="Office",
            settings={
                "ami_host": "127.0.0.1",
                "ami_port": ami_port or exchange.ami_port,
                "ami_user": "switchyard",
                "ami_secret": AMI_SECRET,
                "originate_context": "internal",
                "trunk": "trunk",
                "recordings_dir": str(exchange.recordings),
                "proof_seconds": 1,
                "secret": SECRET,
            },
            at=hub.clock.now(),
            default_country="RU",
        )
    await hub.switchboard.refresh()
    for desk in ("101", "102", "103"):
        exchange.desk(desk, "answers")  # type: ignore[arg-type]
    try:
        yield Office(hub, exchange, connection, anna, boris)
    finally:
        with suppress(RuntimeError):
            exchange.hang_up()


@pytest.fixture
async def office(hub: Hub, exchange: Asterisk, take_on: Any) -> AsyncIterator[Office]:
    """The office, with the hub at work."""
    async with office_of(hub, exchange, take_on) as made, worker.running(hub):
        await made.listens()
        yield made


def loudness(sound: bytes) -> float:
    with wave.open(io.BytesIO(sound)) as recording:
        samples = array.array("h", recording.readframes(recording.getnframes()))
    return math.sqrt(sum(sample * sample for sample in samples) / max(1, len(samples)))


async def test_a_call_rings_on_the_screen_is_answered_recorded_and_heard(
    office: Office, client: TestClient[Any, Any], token_of: Any
):
    office.exchange.desk("101", "rings")
    office.exchange.desk("102", "hesitates")
    office.exchange.call(asterisk.GROUP, seconds=1)
    (call,) = await office.calls("completed")
    assert (call.direction, call.number, call.line) == ("inbound", f"+{VERA}", asterisk.GROUP)
    assert (call.user_id, set(call.rang), call.ringing) == (office.boris.id, {office.anna.id, office.boris.id}, [])
    assert 0 < call.talk_seconds <= 20
    rings, (answered,) = await office.told("call.ringing"), await office.told("call.answered")
    assert {line.user_id for line in rings} == {office.anna.id, office.boris.id}
    for line in rings:
        assert line.id < answered.id, "it is on the screen before anybody answers"
    (contact,), (lead,), (deal,) = [await office.rows(model) for model in (Contact, Lead, Deal)]
    assert [row.owner_id for row in (contact, lead, deal)] == [office.boris.id] * 3, "who answers looks after them"
    assert await office.rows(Task) == []

    async def it_is_kept() -> bool:
        return [row.state for row in await office.rows(CallRecording)] == ["stored"]

    await until(it_is_kept)
    path, headers = f"/api/v1/calls/{call.id}/recording", await token_of(office.boris)
    async with client.get(path, headers=headers) as answer:
        sound = await answer.read()
        assert (answer.status, answer.content_type, answer.headers["Accept-Ranges"]) == (200, "audio/wav", "bytes")
    assert loudness(sound) > 1_000
    async with client.get(path, headers={**headers, "Range": "bytes=44-143"}) as answer:
        assert (answer.status, await answer.read()) == (206, sound[44:144])
        assert answer.headers["Content-Range"] == f"bytes 44-143/{len(sound)}"


async def test_a_missed_call_is_one_task_for_their_manager_and_a_click_calls_back(office: Office):
    contact_id = await office.knows(IGOR, "Igor", office.boris)
    office.exchange.desk("101", "rings")
    for count in (1, 2):
        office.exchange.call(asterisk.DESK_101, caller=IGOR, gives_up_after=1)
        missed = await office.calls("missed", count=count)
    assert [(call.contact_id, call.talk_seconds) for call in missed] == [(contact_id, 0)] * 2

    async def rang_twice() -> list[Task]:
        tasks = await office.rows(Task)
        return tasks if tasks and tasks[0].note.count("Rang in vain") == 2 else []

    (task,) = await until(rang_twice)
    assert (task.title, task.assignee_id, task.status) == ("Call back", office.boris.id, "todo")

    async with office.hub.database.transaction() as session:
        placed = await telephony.call_up(session, office.hub, office.boris, contact_id=contact_id)

    async def they_talk() -> bool:
        async with office.hub.database.reading() as session:
            call = await session.get_one(Call, placed.id)
            now = office.hub.clock.now()
            return call.answered_at is not None and now - call.answered_at > timedelta(seconds=1.2)

    await until(they_talk)
    assert len(await office.rows(Call)) == 3, "what Asterisk tells of is the call that was asked for"
    office.exchange.hang_up()
    *missed, back = await office.calls("missed", "completed", count=3)
    assert (back.id, back.status, back.direction, back.user_id) == (placed.id, "completed", "outbound", office.boris.id)
    assert (back.number, back.line) == (f"+{IGOR}", "74951000100")
    assert [line.user_id for line in await office.told("call.ringing")] == [office.anna.id] * 2, "not one's own call"

    async def it_is_done() -> list[Task]:
        return [row for row in await office.rows(Task) if row.status == "done"]

    (task,) = await until(it_is_done)
    assert (task.completed_by, task.completed_by_proof) == (office.boris.id, f"call:{back.id}")
    assert [call.called_back_by for call in (await office.rows(Call))[:2]] == [back.id] * 2


@pytest.mark.parametrize("does", ["transfers", "introduces"])
async def test_a_call_that_is_passed_on_is_one_call_of_whoever_has_it_then(office: Office, does: Any):
    office.exchange.desk("101", does)
    office.exchange.call(asterisk.DESK_101, seconds=2)
    asks = 1 if does == "introduces" else 0  # the call to ask the colleague is one of its own, and internal
    found = await office.calls("completed", count=1 + asks)
    call = next(each for each in found if each.direction == "inbound")
    assert [each.direction for each in found if each is not call] == ["internal"] * asks
    assert call.user_id == office.boris.id
    steps = [(step["phase"], step["extension"]) for step in call.steps if step["phase"] in ("answered", "transferred")]
    assert steps[0] == ("answered", "101")
    assert sorted(steps[1:]) == [("answered", "102"), ("transferred", "102")]
    (contact,) = await office.rows(Contact)
    assert contact.owner_id == office.anna.id, "who answered first looks after them"
    assert await office.rows(Task) == []


async def test_a_queue_answers_nobody_until_somebody_does(office: Office):
    office.exchange.desk("101", "rings")
    office.exchange.desk("102", "rings")
    office.exchange.call(asterisk.QUEUE, seconds=1)
    (call,) = await office.calls("missed")
    assert next((step["phase"], step["detail"]) for step in call.steps) == ("queued", "sales")
    assert await office.told("call.answered") == []
    office.exchange.desk("102", "answers")
    office.exchange.call(asterisk.QUEUE, seconds=1)
    _, call = await office.calls("missed", "completed", count=2)
    assert (call.status, call.user_id) == ("completed", office.boris.id)


async def test_what_is_pressed_in_a_menu_is_on_the_call(office: Office):
    office.exchange.call(asterisk.MENU, digits="1", seconds=1.5)
    (call,) = await office.calls("completed")
    assert [step["detail"] for step in call.steps if step["phase"] == "menu"] == ["menu", "1"]
    assert (call.user_id, call.line) == (office.anna.id, asterisk.MENU)


async def test_a_word_left_with_the_machine_is_kept_and_somebody_calls_back(office: Office):
    office.exchange.desk("101", "rings")
    office.exchange.call(asterisk.MACHINE, seconds=2)
    (call,) = await office.calls("voicemail")
    assert call.talk_seconds == 0

    async def it_is_kept() -> bool:
        recordings, tasks = await office.rows(CallRecording), await office.rows(Task)
        return [row.state for row in recordings] == ["stored"] and len(tasks) == 1

    await until(it_is_kept)


async def test_a_hidden_number_and_a_colleague_make_nobody(office: Office):
    office.exchange.desk("101", "rings")
    office.exchange.call(asterisk.DESK_101, caller="anonymous", gives_up_after=1)
    office.exchange.call("102", caller="103", seconds=0.5)
    found = {call.direction: call for call in await office.calls("missed", "completed", count=2)}
    assert (found["inbound"].status, found["inbound"].number) == ("missed", "")
    assert found["internal"].status == "completed"
    for model in (Contact, Lead, Deal, Task):
        assert await office.rows(model) == []


async def test_a_call_placed_that_comes_to_nothing_says_so(office: Office):
    async def placed(number: str) -> Call:
        async with office.hub.database.transaction() as session:
            call = await telephony.call_up(session, office.hub, office.anna, number=number)

        async def it_is_over() -> Call | None:
            async with office.hub.database.reading() as session:
                found = await session.get_one(Call, call.id)
                return found if found.is_over else None

        return await until(it_is_over)  # type: ignore[no-any-return]

    assert (await placed("+79161234561")).status == "busy"
    assert (await placed("+79161234563")).status == "failed"
    office.exchange.desk("101", "declines")
    assert (await placed("+79161234560")).status == "failed"
    assert len(await office.rows(Call)) == 3


async def test_a_customer_who_calls_again_is_put_through_to_their_manager(office: Office, client: TestClient[Any, Any]):
    await office.knows(VERA, "Вера :S),System(true)", office.boris)
    address = client.make_url(f"/hooks/{office.connection.key}?token={SECRET}")
    add(
        office.exchange, "extensions.conf", voice_asterisk.templates(str(address))[1].body + DIALPLAN, "dialplan reload"
    )
    office.exchange.call(ROUTED, caller=f"+{VERA}", seconds=0.5)
    (call,) = await office.calls("completed")
    assert (call.rang, call.user_id) == ([office.boris.id], office.boris.id), "Anna's phone was left in peace"
    recorded = office.exchange.recordings.parent.joinpath("spool", "monitor").rglob(f"{call.external_id}.wav")
    assert [path.stat().st_size > 44 for path in recorded] == [True]
    office.exchange.call(ROUTED, caller="79037654321", seconds=0.5)
    _, call = await office.calls("completed", count=2)
    assert set(call.rang) == {office.anna.id, office.boris.id}, "a stranger rings everybody"


# --- what breaks ---


class Node:
    """`switchyard serve` as an operator runs it."""

    def __init__(self, hub: Hub, settings: Any, folder: Path) -> None:
        self._log = folder / "serve.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SWITCHYARD_")},
            "SWITCHYARD_DATABASE_URL": hub.url,
            "SWITCHYARD_STATE_DIR": str(settings.state_dir),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "hub", "serve", "--role", "worker", "--role", "listener"),
                cwd=self._log.parent,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()


async def test_a_hub_that_is_killed_in_mid_call_has_every_call_once_and_with_its_end(
    hub: Hub, exchange: Asterisk, take_on: Any, settings: Any, tmp_path: Path
):
    async with office_of(hub, exchange, take_on) as office:
        node = Node(hub, settings, tmp_path)
        try:
            await node.start()
            await until(lambda: _stands(office), seconds=60)
            exchange.call(asterisk.DESK_101, seconds=30)
            exchange.call(asterisk.DESK_102, caller=IGOR, seconds=30)
            await office.calls("in_progress", count=2)
            await node.kill()
            office.desk_hangs_up("102")
            await node.start()

            async def it_is_over() -> bool:
                found = [call for call in await office.rows(Call) if call.number == f"+{IGOR}"]
                return [call.status for call in found] == ["completed"]

            await until(it_is_over, seconds=60)
            assert sorted(call.status for call in await office.rows(Call)) == ["completed", "in_progress"]
            exchange.hang_up()
            vera = next(call for call in await office.calls("completed", count=2) if call.number == f"+{VERA}")
            assert vera.user_id == office.anna.id
            assert vera.talk_seconds is not None and vera.talk_seconds >= 2
            assert len(await office.told("call.answered")) == len(await office.told("call.completed")) == 2
            assert (await office.to_call_back(), len(await office.rows(Contact))) == ([], 2)
        finally:
            await node.kill()


async def _stands(office: Office) -> bool:
    async with office.hub.database.reading() as session:
        return bool((await session.get_one(Connection, office.connection.id)).cursor)


class Wire:
    """What lies between the hub and the exchange, and can be cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._lines: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.opened = 0

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
        for line in self._lines:
            line.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there, out = await asyncio.open_connection("127.0.0.1", self._to)
        self._lines |= {writer, out}
        try:
            await asyncio.gather(self._copy(reader, out), self._copy(there, writer))
        finally:
            for line in (writer, out):
                line.close()
            self._lines -= {writer, out}
            self._tasks.discard(task)

    @staticmethod
    async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await source.read(65_536):
                target.write(piece)
                await target.drain()
        target.close()


async def test_a_line_that_was_cut_is_mended_and_nothing_is_lost_or_doubled(hub: Hub, exchange: Asterisk, take_on: Any):
    wire = Wire(exchange.ami_port)
    await wire.mend()
    async with office_of(hub, exchange, take_on, ami_port=wire.port) as office, worker.running(hub):
        try:
            await office.listens()
            exchange.call(asterisk.DESK_101, seconds=30)
            exchange.call(asterisk.DESK_102, caller=IGOR, seconds=30)
            await office.calls("in_progress", count=2)
            await wire.cut()
            office.desk_hangs_up("102")
            exchange.call(asterisk.DESK_103, caller="79037654321", seconds=30)

            async def another_talks() -> bool:
                return "4 active channels" in exchange.command("core show channels count")

            await until(another_talks)
            assert len(await office.rows(Call)) == 2, "nothing is heard while the line is down"
            await wire.mend()
            found = {call.number: call for call in await office.calls("completed", "in_progress", count=3)}
            assert {number: call.status for number, call in found.items()} == {
                f"+{VERA}": "in_progress",
                f"+{IGOR}": "completed",
                "+79037654321": "in_progress",
            }
            assert wire.opened > 1
            exchange.hang_up()
            await office.calls("completed", count=3)
            assert len(await office.told("call.answered")) == len(await office.told("call.completed")) == 3
            assert await office.to_call_back() == []
        finally:
            await wire.cut()


async def test_an_asterisk_that_is_killed_has_ended_all_its_calls(office: Office):
    exchange = office.exchange
    exchange.desk("102", "rings")
    exchange.call(asterisk.DESK_101, seconds=30)
    exchange.call(asterisk.DESK_102, caller=IGOR, gives_up_after=30)
    await office.calls("in_progress", "ringing", count=2)
    await asyncio.to_thread(exchange.restart, kill=True)
    found = {call.number: call for call in await office.calls("completed", "missed", count=2)}
    assert (found[f"+{VERA}"].status, found[f"+{IGOR}"].status) == ("completed", "missed")
    assert found[f"+{VERA}"].talk_seconds <= 20
    (task,) = await office.to_call_back()
    assert task.contact_id == found[f"+{IGOR}"].contact_id, "who rang is called back"
    exchange.hang_up()
    exchange.desk("102", "answers")
    exchange.call(asterisk.DESK_102, caller="79037654321", seconds=0.5)
    assert (await office.calls("completed", "missed", count=3))[-1].user_id == office.boris.id
