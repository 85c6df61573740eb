"""The demo company's telephone: what its PBX would tell of calls, and recordings in which two tones talk."""

from __future__ import annotations

import io
import json
import math
import random
import wave
from array import array
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from channels.contract import Receiver
from core.kernel import events
from core.talk import calls
from core.talk.calls import Call, CallRecording, RecordingState
from hub import connections, files, worker
from hub.app import Hub
from hub.commands import demo_company as company
from webhooks.request import RawRequest

_LINE = "+78005553535"
_RATE = 8000  # samples a second
_TONES = (392.0, 523.25, 440.0, 587.33)  # Hz, in turn


class Phones:
    """The company's PBX. It needs a connection first: `connect`."""

    def __init__(self, hub: Hub, clock: Any, people: Mapping[str, int], *, seed: int) -> None:
        self._hub, self._clock = hub, clock
        self._random = random.Random(seed)
        self._extensions = {people[each.key]: each.extension for each in company.PEOPLE if each.extension}
        self._connection_id = 0
        self._count = 0
        self._token = f"{self._random.getrandbits(160):040x}"

    async def connect(self, session: AsyncSession, *, at: datetime, actor_id: int) -> None:
        """Connect the PBX."""
        connection = await connections.create(
            session,
            self._hub.vault,
            kind="voice_http",
            title="Office phones",
            settings={"token": self._token},
            at=at,
            actor_id=actor_id,
            default_country="RU",
        )
        self._connection_id = connection.id

    async def call(self, number: str, user_id: int, at: datetime) -> None:
        """Have a colleague call somebody; the call ends at `at`, and is recorded."""
        extension = self._extensions.get(user_id)
        if extension is None:
            return
        talk = self._random.randrange(25, 170)
        said = [
            (talk + 11, {"event": "started", "direction": "outbound", "from": extension, "to": number, "line": _LINE}),
            (talk, {"event": "answered", "extension": extension}),
            (0, {"event": "ended"}),
        ]
        await self._tell(said, at, seconds=talk)

    async def ring(self, ring: company.Ring, number: str, at: datetime) -> None:
        """Have somebody ring the company; the call ends at `at`."""
        talk = ring.talk
        after = talk + 20
        said: list[tuple[int, dict[str, Any]]] = [
            (after, {"event": "started", "direction": "inbound", "from": number, "to": _LINE, "line": _LINE}),
            (after - 2, {"event": "queued", "detail": "Sales"}),
            *((after - 4, {"event": "ringing", "extension": each}) for each in ring.rings),
        ]
        if talk:
            said.append((talk, {"event": "answered", "extension": ring.rings[0]}))
            for each in ring.through:
                said += [
                    (talk // 2, {"event": "transferred", "extension": each}),
                    (talk // 2 - 4, {"event": "answered", "extension": each}),
                ]
        elif ring.left_word:
            said.append((6, {"event": "voicemail"}))
        await self._tell([*said, (0, {"event": "ended"})], at, seconds=talk or (6 if ring.left_word else 0))

    async def _tell(self, said: list[tuple[int, dict[str, Any]]], at: datetime, *, seconds: int) -> None:
        """Post what happened, each so many seconds before `at`, and keep a recording of that many seconds."""
        live = self._hub.switchboard.by_id(self._connection_id)
        assert live is not None and isinstance(live.channel, Receiver)
        self._count += 1
        call_id = f"demo-{self._count}"
        told = [
            {"call_id": call_id, "id": str(number), "at": (at - timedelta(seconds=before)).isoformat(), **each}
            for number, (before, each) in enumerate(said)
        ]
        path = f"/hooks/{live.key}"
        request = RawRequest(
            body=json.dumps({"events": told}).encode(),
            headers={"content-type": "application/json"},
            path=path,
            url=f"{self._hub.public_url}{path}",
            query=f"token={self._token}",
            client="192.0.2.250",  # TEST-NET-1, RFC 5737
        )
        live.channel.verify(request, self._clock.now())
        routed = live.channel.route(request)
        await self._hub.ingress.accept(
            live.id, request, dedupe_key=routed.dedupe_key, repeat_within=routed.repeat_within, peer=routed.peer
        )
        await worker.drain(self._hub)
        if seconds:
            await self._record(call_id, seconds)

    async def _record(self, call_id: str, seconds: int) -> None:
        """Keep a recording as if it had been fetched: there is no PBX to fetch it from."""
        content = tones(seconds)

        async def chunks() -> AsyncIterator[bytes]:
            yield content

        kept = await self._hub.files.keep(chunks(), name="call.wav", declared="audio/wav", most=len(content))
        now = self._clock.now()
        async with self._hub.database.transaction() as session:
            call = await session.scalar(
                select(Call).where(Call.connection_id == self._connection_id, Call.external_id == call_id)
            )
            if call is None:
                return
            stored = await files.note(session, kept, at=now)
            session.add(
                CallRecording(
                    call_id=call.id,
                    external_id=call_id,
                    reference=call_id,
                    seconds=seconds,
                    state=RecordingState.STORED,
                    file_id=stored.id,
                    created_at=now,
                )
            )
            await events.record(
                session, "call.recorded", now, user_id=call.user_id, details=calls.details(call), **calls.subjects(call)
            )

    async def conclude(self, contact_id: int, outcome: str, note: str, *, at: datetime, actor_id: int) -> None:
        """Note what the last call with a contact came to."""
        async with self._hub.database.transaction() as session:
            found = await calls.of_contact(session, contact_id, limit=1)
            for call in found:
                await calls.conclude(session, call, at=at, actor_id=actor_id, outcome=outcome, note=note)


@cache
def _second(pitch: float) -> bytes:
    """Return a second of a tone that swells and fades."""
    turn = math.tau * pitch / _RATE
    return array(
        "h", (int(5000 * math.sin(math.pi * step / _RATE) * math.sin(turn * step)) for step in range(_RATE))
    ).tobytes()


def tones(seconds: int) -> bytes:
    """Return a WAV file of so many seconds in which one tone after the other speaks, softly."""
    samples = b"".join(_second(_TONES[second // 2 % len(_TONES)]) for second in range(seconds))
    content = io.BytesIO()
    with wave.open(content, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(_RATE)
        written.writeframes(samples)
    return content.getvalue()
