"""Calls as pages show them: one entry for each, with the names of their people, on timelines and in threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import select

from core.connections import Connection
from core.people.contacts import Contact
from core.staff import access
from core.talk import calls
from core.talk.calls import Call, RecordingState
from core.talk.conversations import Message
from hub import telephony
from hub.web import formats, shown
from hub.web.rendering import local_date
from hub.web.shown import Person
from hub.web.visits import Visit


@dataclass(frozen=True, slots=True)
class ShownStep:
    """Something that happened on the way of a call. `who` is a colleague's name, else their extension, else ""."""

    phase: str
    who: str
    detail: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class ShownCall:
    """A call. `date` is the day it began on where the reader is, `at` when that was.

    line       the number of ours as people read it, else what the connection is called
    talked     for how long they talked, `3:12`; "" if they did not, or nobody knows
    recording  how far it is for this reader: "", pending, stored, failed; "" as well if they may not listen
    may_change whether the reader may say what it came to
    """

    id: int
    direction: str
    status: str
    number: str
    line: str
    contact: Person | None
    deal_id: int | None
    user: Person | None
    wait_seconds: int | None
    talk_seconds: int | None
    talked: str
    steps: Sequence[ShownStep]
    outcome: str
    note: str
    recording: str
    trouble: str
    is_over: bool
    is_lost: bool
    after_hours: bool
    called_back_at: datetime | None
    answered_at: datetime | None
    ended_at: datetime | None
    may_change: bool
    version: int
    date: date
    at: datetime

    @property
    def key(self) -> tuple[bool, datetime, int]:
        """Where it stands in a thread."""
        return False, self.at, self.id

    @property
    def is_in_vain(self) -> bool:
        """Whether somebody rang and nobody talked to them."""
        return self.direction == "inbound" and self.status in calls.IN_VAIN


async def rows(visit: Visit, found: Sequence[Call]) -> list[ShownCall]:
    """Make what pages show of calls; people, contacts and recordings are read at once."""
    if not found:
        return []
    session = visit.session
    steps = {call.id: [step for step in call.steps if isinstance(step, dict)] for call in found}
    rung = [step.get("user_id") for each in steps.values() for step in each]
    names = await shown.people(session, [*(call.user_id for call in found), *rung])
    contact_ids = {call.contact_id for call in found if call.contact_id is not None}
    contacts: dict[int | None, Person] = {}
    if contact_ids:
        for row in await session.execute(select(Contact.id, Contact.name).where(Contact.id.in_(contact_ids))):
            contacts[row.id] = Person(row.id, row.name)
    titles = {
        row.id: row.title
        for row in await session.execute(
            select(Connection.id, Connection.title).where(Connection.id.in_({call.connection_id for call in found}))
        )
    }
    recordings = await calls.recordings_of(session, [call.id for call in found])
    return [
        ShownCall(
            id=call.id,
            direction=call.direction,
            status=call.status,
            number=call.number or (call.callee if call.direction == "outbound" else call.caller),
            line=formats.phone(call.line) if call.line else titles.get(call.connection_id, ""),
            contact=contacts.get(call.contact_id),
            deal_id=call.deal_id,
            user=names.get(call.user_id),
            wait_seconds=call.wait_seconds,
            talk_seconds=call.talk_seconds,
            talked=formats.stopwatch(call.talk_seconds) if call.talk_seconds else "",
            steps=[_step(step, names) for step in steps[call.id]],
            outcome=call.outcome or "",
            note=call.note,
            recording=_recording(recordings.get(call.id, ())) if telephony.may_listen(visit.rights, call) else "",
            trouble=visit.translate(call.trouble) if call.trouble else "",
            is_over=call.is_over,
            is_lost=call.is_lost,
            after_hours=call.after_hours,
            called_back_at=call.called_back_at,
            answered_at=call.answered_at,
            ended_at=call.ended_at,
            may_change=visit.rights.may_change,
            version=call.version,
            date=local_date(visit.viewer, call.started_at),
            at=call.started_at,
        )
        for call in found
    ]


def _step(step: dict[str, Any], names: dict[int | None, Person]) -> ShownStep:
    person = names.get(step.get("user_id"))
    try:
        at = datetime.fromisoformat(str(step.get("at", "")))
    except ValueError:
        at = None
    who = person.name if person is not None else str(step.get("extension") or "")
    return ShownStep(str(step.get("phase", "")), who, str(step.get("detail") or ""), at)


def _recording(found: Iterable[calls.CallRecording]) -> str:
    """Return how far the recordings of a call are: as far as the best of them."""
    states = {str(row.state) for row in found}
    for state in (RecordingState.STORED, RecordingState.PENDING, RecordingState.FAILED):
        if state in states:
            return state.value
    return ""


async def of(visit: Visit, *, limit: int, since: datetime | None = None, **subject: int) -> list[ShownCall]:
    """Return the last calls about a record the person sees (`deal_id=…`), newest first."""
    statement = select(Call).filter_by(**subject).where(Call.direction != "internal")
    if since is not None:
        statement = statement.where(Call.started_at >= since)
    found = await visit.session.scalars(
        access.narrow(statement, visit.rights, Call).order_by(Call.started_at.desc(), Call.id.desc()).limit(limit)
    )
    return await rows(visit, list(found))


async def of_thread(
    visit: Visit, contact_id: int, *, since: datetime | None, before: int, limit: int
) -> list[ShownCall]:
    """Return the calls with a contact that stand between the messages of a part of the thread.

    `since` is when its first message was said, None for the very first; `before` the message that follows it, 0: none.
    """
    statement = select(Call).where(Call.contact_id == contact_id, Call.direction != "internal")
    if since is not None:
        statement = statement.where(Call.started_at >= since)
    if before:
        until = select(Message.occurred_at).where(Message.id == before).scalar_subquery()
        statement = statement.where(Call.started_at < until)
    found = await visit.session.scalars(
        access.narrow(statement, visit.rights, Call).order_by(Call.started_at.desc(), Call.id.desc()).limit(limit)
    )
    return await rows(visit, list(found))
