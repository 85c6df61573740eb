"""Calls: one record for each telephone call, whatever the PBX and however many phones rang."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, Text, false, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel import events
from core.kernel.db import Base, Edited, Record
from core.kernel.errors import NotFound, Rejected

FETCH = "call.fetch_recording"
"""The job that brings a recording to where files are kept."""

PLACE = "call.place"
"""The job that asks a PBX for a call somebody wants."""

OUTCOMES = ("interested", "call_later", "not_interested", "no_answer", "wrong_number", "solved")
"""What somebody may say a call came to, with one click."""


class CallStatus(StrEnum):
    """How far a call has come, or how it ended."""

    RINGING = "ringing"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    MISSED = "missed"
    BUSY = "busy"
    FAILED = "failed"
    CANCELED = "canceled"
    VOICEMAIL = "voicemail"


UNDER_WAY = (CallStatus.RINGING, CallStatus.IN_PROGRESS)
IN_VAIN = (CallStatus.MISSED, CallStatus.VOICEMAIL)


class Call(Base, Record, Edited):
    """A telephone call. The provider's events (`call_events`) are folded into it; see core.talk.call_folding.

    external_id    the provider's id of it; None while a call we asked for is not known to the provider
    number         the other side in E.164; "" for hidden and short numbers and SIP addresses
    caller, callee as the provider wrote them; line: the number of ours
    user_id        the colleague who talked (last), else whose call it is
    ringing        the users whose phones ring now
    rang           the users whose phones have rung
    steps          what happened on the way, for the timeline: {"at", "phase", "extension", "user_id", "detail"}
    wait_seconds   until somebody answered, or the end; talk_seconds: None while it lasts, or if its end was never heard
    is_lost        its end was never heard, and was noted hours later
    after_hours    it came while we were closed
    settled_at     when what follows from its end was done: tasks, proofs
    task_id        the task to call back that it made
    called_back_at when somebody reached the person afterwards, called_back_by: by which call
    outcome, note  what somebody said it came to
    trouble        why a call we asked for was not placed
    """

    __tablename__ = "calls"
    __table_args__ = (
        Index("uq_calls_external_id", "connection_id", "external_id", unique=True),
        Index("ix_calls_contact_id", "contact_id", "id"),
        Index("ix_calls_user_id", "user_id", "id"),
        Index("ix_calls_started_at", "started_at", "id"),
        Index("ix_calls_deal_id", "deal_id", postgresql_where=text("deal_id IS NOT NULL")),
        Index("ix_calls_lead_id", "lead_id", postgresql_where=text("lead_id IS NOT NULL")),
        Index(
            "ix_calls_to_call_back",
            "started_at",
            "id",
            postgresql_where=text(
                "direction = 'inbound' AND status IN ('missed', 'voicemail') AND called_back_at IS NULL"
            ),
        ),
        Index("ix_calls_under_way", "heard_at", postgresql_where=text("status IN ('ringing', 'in_progress')")),
    )

    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id"))
    external_id: Mapped[str | None]
    contact_id: Mapped[int | None] = mapped_column(ForeignKey("contacts.id", ondelete="SET NULL"))
    deal_id: Mapped[int | None]
    lead_id: Mapped[int | None]
    direction: Mapped[str] = mapped_column(Text, default="inbound", server_default="inbound")
    number: Mapped[str] = mapped_column(Text, default="", server_default="")
    caller: Mapped[str] = mapped_column(Text, default="", server_default="")
    callee: Mapped[str] = mapped_column(Text, default="", server_default="")
    line: Mapped[str] = mapped_column(Text, default="", server_default="")
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id", ondelete="SET NULL"))
    status: Mapped[str] = mapped_column(Text, default=CallStatus.RINGING, server_default="ringing")
    ringing: Mapped[list[int]] = mapped_column(default=list, server_default="{}")
    rang: Mapped[list[int]] = mapped_column(default=list, server_default="{}")
    steps: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    started_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    wait_seconds: Mapped[int | None] = mapped_column(Integer)
    talk_seconds: Mapped[int | None] = mapped_column(Integer)
    is_lost: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    after_hours: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    heard_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]
    task_id: Mapped[int | None]
    called_back_at: Mapped[datetime | None]
    called_back_by: Mapped[int | None]
    outcome: Mapped[str | None]
    note: Mapped[str] = mapped_column(Text, default="", server_default="")
    trouble: Mapped[str | None]

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.status not in UNDER_WAY

    @property
    def dial_id(self) -> str:
        """What we call it towards the provider where we asked for it."""
        return f"dial-{self.id}"


class HeardEvent(Base):
    """An event of a call as its channel read it; `event` is a `CallEvent`. A repeat is not kept twice."""

    __tablename__ = "call_events"

    connection_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    external_id: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    event: Mapped[dict[str, Any]]
    received_at: Mapped[datetime]
    delivery_id: Mapped[int | None]


class RecordingState(StrEnum):
    """Where a recording is."""

    PENDING = "pending"  # with the provider
    STORED = "stored"
    FAILED = "failed"  # it could not be had; `error` says why
    DELETED = "deleted"  # its time was over


class CallRecording(Base):
    """A recording of a call, kept with the other files once fetched; `reference` is where the provider has it."""

    __tablename__ = "call_recordings"
    __table_args__ = (
        Index("uq_call_recordings_external_id", "call_id", "external_id", unique=True),
        Index("ix_call_recordings_expires_at", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
        Index("ix_call_recordings_file_id", "file_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('record_ids')"), primary_key=True)
    call_id: Mapped[int] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"))
    external_id: Mapped[str]
    reference: Mapped[str]
    seconds: Mapped[int | None] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(Text, default=RecordingState.PENDING, server_default="pending")
    file_id: Mapped[int | None] = mapped_column(ForeignKey("files.id"))
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]


async def get(session: AsyncSession, call_id: int) -> Call:
    """Return a call.

    Raises:
        NotFound: there is no such call.
    """
    call = await session.get(Call, call_id)
    if call is None:
        raise NotFound("call", call_id)
    return call


async def recordings_of(session: AsyncSession, call_ids: Sequence[int]) -> dict[int, list[CallRecording]]:
    """Return the recordings of several calls that are there or may still come, oldest first."""
    found: dict[int, list[CallRecording]] = {}
    rows = await session.scalars(
        select(CallRecording)
        .where(CallRecording.call_id.in_(call_ids), CallRecording.state != RecordingState.DELETED)
        .order_by(CallRecording.id)
    )
    for row in rows:
        found.setdefault(row.call_id, []).append(row)
    return found


async def of_contact(session: AsyncSession, contact_id: int, *, limit: int = 50) -> list[Call]:
    """Return the calls with a contact, newest first."""
    return list(
        await session.scalars(
            select(Call)
            .where(Call.contact_id == contact_id, Call.direction != "internal")
            .order_by(Call.started_at.desc(), Call.id.desc())
            .limit(limit)
        )
    )


def subjects(call: Call) -> dict[str, int | None]:
    """Return whose timelines a call is on, for a line of the diary."""
    return {"contact_id": call.contact_id, "deal_id": call.deal_id, "lead_id": call.lead_id}


def details(call: Call, **more: Any) -> dict[str, Any]:
    """Return what a reader of the diary needs to know of a call."""
    told = {
        "call_id": call.id,
        "direction": call.direction,
        "number": call.number or call.caller if call.direction != "outbound" else call.number or call.callee,
        "line": call.line,
        "talk_seconds": call.talk_seconds,
        "wait_seconds": call.wait_seconds,
        **more,
    }
    return {name: value for name, value in told.items() if value not in (None, "")}


async def conclude(
    session: AsyncSession,
    call: Call,
    *,
    at: datetime,
    actor_id: int | None,
    outcome: str | None = None,
    note: str | None = None,
) -> None:
    """Note what a call came to (one of `OUTCOMES`, "" takes it back), and a few words on it. None leaves as it is.

    Raises:
        Rejected: there is no such outcome, or the note is too long.
    """
    if outcome and outcome not in OUTCOMES:
        raise Rejected("An outcome is one of: %(names)s", names=", ".join(OUTCOMES), field="outcome")
    if note is not None and len(note) > 5000:
        raise Rejected("A note has at most 5000 letters", field="note")
    before = (call.outcome, call.note)
    if outcome is not None:
        call.outcome = outcome or None
    if note is not None:
        call.note = note.strip()
    if (call.outcome, call.note) == before:
        return
    call.version += 1
    await events.record(
        session,
        "call.concluded",
        at,
        actor_id=actor_id,
        user_id=call.user_id,
        details=details(call, outcome=call.outcome, text=call.note[:160]),
        **subjects(call),
    )
