"""Telephony beside what calls mean: who rings, calls placed, recordings fetched and heard, words at night."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from channels.contract import Advice, Dial, Dialler, Fetcher
from channels.errors import ChannelError, Misconfigured, Temporary, Uncertain, Undeliverable
from core.kernel import events
from core.kernel.addresses import PHONE
from core.kernel.errors import NotFound, Rejected
from core.people.contacts import Contact, ContactIdentity
from core.staff import absences, workspace
from core.staff.access import Reach, Rights
from core.staff.audit import AuditEntry
from core.staff.audit import note as audit_note
from core.staff.users import Presence, Role, User
from core.talk import calls
from core.talk.attachments import Attachment, StoredFile
from core.talk.calls import Call, CallRecording, RecordingState
from core.work import callers, calling
from hub import files, replies
from hub.app import Hub
from hub.connections import Live
from hub.web_client import tools_for

log = structlog.get_logger(__name__)

_AWAY = (Presence.AWAY, Presence.OFF_SHIFT, Presence.ON_LEAVE)
_MOST_RECORDING = 500_000_000  # bytes: a day of speech
_NOT_YET = 60.0  # seconds
_PIECE: Final = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
_PROBE = 20
"""Players ask for a few bytes first, to see whether they may skip to and fro; nobody hears anything by that."""
_ONE_LISTENING = timedelta(minutes=30)
"""A piece from the middle that is asked for within that belongs to what was begun."""


# --- who rings ---


async def advise(hub: Hub, live: Live, number: str) -> Advice:
    """Return what we know of a number, for the PBX to show and to put the call through; empty for somebody unknown."""
    line = live.line
    read = "" if line is None else callers.readable(number, line.country, line.rules)
    if not read:
        return Advice()
    async with hub.database.reading() as session:
        theirs = ContactIdentity.scheme == PHONE, ContactIdentity.value == read
        contact = await session.scalar(
            select(Contact).join(ContactIdentity, ContactIdentity.contact_id == Contact.id).where(*theirs)
        )
        if contact is None:
            return Advice()
        manager = None if contact.owner_id is None else await session.get(User, contact.owner_id)
        can_be_rung = (
            manager is not None
            and manager.is_active
            and manager.presence not in _AWAY
            and not await absences.current(session, [manager.id], hub.clock.now())
        )
        return Advice(
            is_known=True,
            name=contact.name,
            extension=(manager.extension or "") if manager is not None and can_be_rung else "",
            manager=manager.name if manager is not None else "",
            language=contact.language or "",
            contact_id=str(contact.id),
            url=f"{hub.public_url}/contacts/{contact.id}" if hub.public_url else "",
        )


# --- calls placed ---


def diallers(hub: Hub) -> list[Live]:
    """Return the connections that can place calls now, oldest first."""
    return [
        live
        for live in hub.switchboard.live()
        if isinstance(live.channel, Dialler) and live.channel.can_dial and live.paused_because is None
    ]


async def call_up(
    session: AsyncSession,
    hub: Hub,
    user: User,
    *,
    number: str = "",
    contact_id: int | None = None,
    deal_id: int | None = None,
    connection_id: int | None = None,
) -> Call:
    """Have a colleague's phone ring and then a contact's number, or another one, called, once the caller commits.

    Raises:
        Rejected: there is no telephone to call with, no number, or the colleague has no extension; `field` is
            `connection_id`, `to` or `user`. NotFound: there is no such connection.
    """
    live = None
    if connection_id is not None:
        live = hub.switchboard.by_id(connection_id)
        if live is None:
            raise NotFound("channel", connection_id)
        if not isinstance(live.channel, Dialler) or not live.channel.can_dial:
            raise Rejected("%(title)s cannot place calls", title=live.title, field="connection_id")
        if live.paused_because is not None:
            raise Rejected(
                "%(title)s is paused: %(reason)s", title=live.title, reason=live.paused_because, field="connection_id"
            )
    else:
        live = next(iter(diallers(hub)), None)
    if live is None:
        raise Rejected("No telephone is connected that can place calls: add one in the settings", field="connection_id")
    if not number and contact_id is not None:
        theirs = ContactIdentity.contact_id == contact_id, ContactIdentity.scheme == PHONE
        number = (
            await session.scalar(select(ContactIdentity.value).where(*theirs).order_by(ContactIdentity.id).limit(1))
            or ""
        )
    if not number:
        raise Rejected("There is no phone number to call", field="to")
    line = live.line
    assert line is not None
    return await calling.place(
        session, line, user=user, number=number, contact_id=contact_id, deal_id=deal_id, at=hub.clock.now()
    )


async def place_call(hub: Hub, *, call_id: int) -> None:
    """Ask the PBX for a call. It is asked once: whoever stops in between may have been put through already."""
    async with hub.database.transaction() as session:
        call = await session.get(Call, call_id, with_for_update=True)
        if call is None or call.external_id is not None or call.is_over or call.trouble is not None:
            return
        user = await session.get(User, call.user_id) if call.user_id is not None else None
        call.trouble = "The PBX was asked, and has not said anything yet"
        extension = (user.extension if user is not None else None) or call.caller
        dial = Dial(call.dial_id, extension, call.number, call.line)
        connection_id = call.connection_id
    live = hub.switchboard.by_id(connection_id)
    said, external_id, problem = "", "", ""
    try:
        if live is None or not isinstance(live.channel, Dialler):
            raise Undeliverable("The telephone is not connected any more")
        tools = tools_for(hub.web, live, now=hub.clock.now, public_url=hub.public_url)
        external_id = (await live.channel.dial(dial, tools)).call_id
    except Uncertain as error:
        said = str(error)
    except ChannelError as error:
        problem = str(error)
    async with hub.database.transaction() as session:
        call = await session.get(Call, call_id, with_for_update=True)
        if call is None:
            return
        if problem:
            call.trouble = None
            await calling.fail(session, call, problem, now=hub.clock.now())
            return
        call.trouble = said or None
        line = None if live is None else live.line
        if await calling.placed(session, call, external_id, now=hub.clock.now()) and line is not None:
            await calling.refold(session, line, external_id, now=hub.clock.now())


async def end_silent(hub: Hub) -> int:
    """End the calls whose end was never heard; return how many."""
    lines = {live.id: live.line for live in hub.switchboard.live() if live.line is not None}
    async with hub.database.transaction() as session:
        return await calling.end_silent(session, lines, now=hub.clock.now())


# --- recordings ---


async def fetch_recording(hub: Hub, *, recording_id: int) -> None:
    """Bring a recording from the provider to where files are kept.

    Raises:
        Temporary: it cannot be had just now.
    """
    async with hub.database.reading() as session:
        row = await session.get(CallRecording, recording_id)
        if row is None or row.state != RecordingState.PENDING:
            return
        call = await session.get_one(Call, row.call_id)
    live = hub.switchboard.by_id(call.connection_id)
    try:
        if live is None or not isinstance(live.channel, Fetcher):
            raise Undeliverable("The telephone it was recorded by is not connected any more")
        tools = tools_for(hub.web, live, now=hub.clock.now, public_url=hub.public_url)
        fetched = await live.channel.fetch_media(row.reference, tools)
        kept = await hub.files.keep(
            fetched.chunks, name=fetched.name, declared=fetched.content_type, most=_MOST_RECORDING
        )
        if not kept.size:
            raise Temporary("The recording is empty so far", _NOT_YET)
    except Undeliverable as error:
        await _note_recording(hub, recording_id, None, str(error))
        return
    except Temporary:
        raise
    except ChannelError as error:  # wrong credentials, say: it is tried again when they may have been mended
        raise Temporary(str(error), 600 if isinstance(error, Misconfigured) else None) from error
    await _note_recording(hub, recording_id, kept, "")


async def _note_recording(hub: Hub, recording_id: int, kept: files.Kept | None, problem: str) -> None:
    now = hub.clock.now()
    async with hub.database.transaction() as session:
        row = await session.get(CallRecording, recording_id, with_for_update=True)
        if row is None or row.state != RecordingState.PENDING:
            return
        if kept is None:
            row.state, row.error = RecordingState.FAILED, problem[:500]
        else:
            stored = await files.note(session, kept, at=now)
            row.file_id, row.state, row.error = stored.id, RecordingState.STORED, None
        call = await session.get_one(Call, row.call_id)
        call.version += 1
        await events.record(
            session,
            "call.recorded",
            now,
            user_id=call.user_id,
            details=calls.details(call, error=problem or None),
            **calls.subjects(call),
        )


def may_listen(rights: Rights, call: Call) -> bool:
    """Whether somebody may hear the recording of a call they see: their own, their team's as a head, or any."""
    if rights.role in (Role.OWNER, Role.ADMIN, Role.HEAD):
        return True
    return rights.reach is Reach.OWN and call.user_id == rights.user_id


async def listen(
    session: AsyncSession, rights: Rights, call: Call, *, at: datetime, client: str, method: str, piece: str
) -> StoredFile:
    """Return a call's recording for somebody to hear, and write into the audit log that they do.

    A player asks for a recording piece by piece; only the request that begins a listening is written down.

    Args:
        method: of the request; HEAD asks what there is to hear.
        piece: what the request wants of the recording, as its Range header says (RFC 9110, 14.2); "" for all of it.

    Raises:
        NotFound: there is none, or they may not hear it.
    """
    if not may_listen(rights, call):
        raise NotFound("recording", call.id)
    row = next(
        (found for found in (await calls.recordings_of(session, [call.id])).get(call.id, []) if found.file_id), None
    )
    stored = None if row is None else await session.get(StoredFile, row.file_id)
    if stored is None:
        raise NotFound("recording", call.id)
    if await _begins(session, rights.user_id, call.id, at=at, method=method, piece=piece):
        audit_note(
            session,
            "call.listened",
            at=at,
            user_id=rights.user_id,
            entity="call",
            entity_id=call.id,
            details={"number": call.number},
            client=client,
        )
    return stored


async def _begins(session: AsyncSession, user_id: int, call_id: int, *, at: datetime, method: str, piece: str) -> bool:
    """Tell whether a request begins a listening, and is not the next piece of one.

    A piece from the middle belongs to the listening that the log knows of; where it knows of none, it is one itself, so
    that nobody hears all but the first byte unnoticed.
    """
    if method == "HEAD":
        return False
    asked = _PIECE.fullmatch(piece.strip())
    if asked is None or not (asked[1] or asked[2]):
        return True
    if asked[1] and int(asked[1]) == 0:
        return not asked[2] or int(asked[2]) >= _PROBE
    known = select(AuditEntry.id).where(
        AuditEntry.action == "call.listened",
        AuditEntry.user_id == user_id,
        AuditEntry.entity_id == call_id,
        AuditEntry.created_at > at - _ONE_LISTENING,
    )
    return await session.scalar(known.limit(1)) is None


async def forget_recordings(session: AsyncSession, *, now: datetime, limit: int = 500) -> list[str]:
    """Take the recordings whose time is over out of the records; return the paths nobody needs any more."""
    rows = list(
        await session.scalars(
            select(CallRecording)
            .where(CallRecording.expires_at <= now)
            .order_by(CallRecording.expires_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
    )
    file_ids = {row.file_id for row in rows if row.file_id is not None}
    for row in rows:
        row.state, row.file_id, row.expires_at, row.error = RecordingState.DELETED, None, None, None
    await session.flush()
    return await _unneeded(session, file_ids)


async def _unneeded(session: AsyncSession, file_ids: set[int]) -> list[str]:
    if not file_ids:
        return []
    used = select(Attachment.file_id).where(Attachment.file_id.in_(file_ids))
    heard = select(CallRecording.file_id).where(CallRecording.file_id.in_(file_ids))
    stored = list(
        await session.scalars(
            select(StoredFile).where(
                StoredFile.id.in_(file_ids), StoredFile.id.not_in(used), StoredFile.id.not_in(heard)
            )
        )
    )
    for row in stored:
        await session.delete(row)
    return [row.path for row in stored]


# --- words at night ---


async def tell_after_hours(hub: Hub, *, call_id: int, opens_at: str) -> None:
    """Tell somebody who rang while we are closed when we will call, over the channel chosen for answers."""
    async with hub.database.transaction() as session:
        call = await session.get(Call, call_id)
        if call is None or not call.number or call.contact_id is None:
            return
        live = hub.switchboard.by_id(call.connection_id)
        line = None if live is None else live.line
        if live is None or line is None or live.reply_through is None or not line.rules.after_hours_text:
            return
        company = await workspace.get(session)
        opening = datetime.fromisoformat(opens_at).astimezone(ZoneInfo(live.time_zone or company.time_zone))
        text = line.rules.after_hours_text.replace("{time}", f"{opening:%H:%M}")
        try:
            await replies.write_to(
                session,
                hub,
                contact_id=call.contact_id,
                connection_id=live.reply_through,
                number=call.number,
                text=text,
            )
        except Rejected as error:
            log.warning("after_hours_not_told", call_id=call_id, reason=str(error))
