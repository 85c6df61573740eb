"""Two contacts who are one person: put together, with a journal, so that a day's work later they can be taken apart.

Every row that moves is written down with what was in it before. Taking them apart moves back those rows, and with them
what has come to be beneath them since: a conversation goes back with the messages it has by then.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Table, Text, delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel import events
from core.kernel.db import Base, Record, json_text
from core.kernel.errors import Conflict, NotFound, Rejected
from core.people import contacts
from core.people.contacts import Contact, DuplicateCandidate

MERGE_ATTESTED = "contact.merge_attested"
"""The job that merges contacts whose provider vouches that they are one, where the workspace wants that."""

_APART = "~"
"""What sets apart the thread of a conversation whose place was taken when its contact was merged."""

_MOVED = ("identities", "leads", "deals", "tasks", "messages", "notifications", "events")
"""The tables whose rows simply go over. Conversations may clash, and go by themselves."""

_BENEATH = (
    # what came to be beneath a conversation, a deal or a lead that goes back: table, its column, the parent's table
    ("messages", "conversation_id", "conversations"),
    ("tasks", "conversation_id", "conversations"),
    ("tasks", "deal_id", "deals"),
    ("tasks", "lead_id", "leads"),
    ("leads", "deal_id", "deals"),
    ("deals", "lead_id", "leads"),
    ("events", "conversation_id", "conversations"),
    ("events", "deal_id", "deals"),
    ("events", "lead_id", "leads"),
)


class MergeRecord(Base, Record):
    """A merge: `gone_id` was put into `kept_id`. `gone` is the row of the contact that went, as it was; `kept` what of
    the other one was changed: field → [before, after].
    """

    __tablename__ = "merges"
    __table_args__ = (
        Index("ix_merges_kept_id", "kept_id", "id"),
        Index("ix_merges_gone_id", "gone_id"),
    )

    kept_id: Mapped[int]
    gone_id: Mapped[int]
    reason: Mapped[str]
    actor_id: Mapped[int | None]
    kept: Mapped[dict[str, Any]]
    gone: Mapped[dict[str, Any]]
    undone_at: Mapped[datetime | None]
    undone_by: Mapped[int | None]


class MergedRow(Base):
    """A row that a merge moved or removed, and what was in it before."""

    __tablename__ = "merged_rows"
    __table_args__ = (Index("ix_merged_rows_merge_id", "merge_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('record_ids')"), primary_key=True)
    merge_id: Mapped[int] = mapped_column(ForeignKey("merges.id", ondelete="CASCADE"))
    table: Mapped[str] = mapped_column("table_name", Text)
    row_id: Mapped[int]
    action: Mapped[str]
    """`moved` or `removed`."""
    before: Mapped[dict[str, Any]]


async def merge(
    session: AsyncSession, kept: Contact, gone: Contact, *, reason: str, at: datetime, actor_id: int | None
) -> MergeRecord:
    """Put `gone` into `kept`: all that was said, asked and done is one person's from then on.

    What is known of `kept` stays; what it lacks is taken over. `reason` is `by_hand` or `attested`.

    Raises:
        Rejected: they are one contact already. Conflict: one of them was merged meanwhile.
    """
    if kept.id == gone.id:
        raise Rejected("That is the same contact", field="other_id")
    await _lock(session, kept.id, gone.id)
    if await session.scalar(select(Contact.id).where(Contact.id == gone.id)) is None:
        raise Conflict("This contact was merged with another one meanwhile")
    record = MergeRecord(
        kept_id=kept.id,
        gone_id=gone.id,
        reason=reason,
        actor_id=actor_id,
        kept=_take_over(kept, gone),
        gone=_row_of(gone),
        created_at=at,
    )
    session.add(record)
    await session.flush()
    await _move_conversations(session, record)
    for table in _MOVED:
        await session.execute(
            text(
                f"""
                WITH moved AS (
                    UPDATE {table} SET contact_id = :kept WHERE contact_id = :gone RETURNING id
                )
                INSERT INTO merged_rows (merge_id, table_name, row_id, action, before)
                SELECT :merge, '{table}', id, 'moved', '{{}}' FROM moved
                """  # noqa: S608 - our own tables
            ),
            {"kept": kept.id, "gone": gone.id, "merge": record.id},
        )
    await _move_candidates(session, record, at=at)
    session.expunge(gone)
    await session.execute(delete(Contact).where(Contact.id == record.gone_id))
    kept.version += 1
    await contacts.refresh_search(session, kept)
    await events.record(
        session,
        "contact.merged",
        at,
        contact_id=kept.id,
        user_id=kept.owner_id,
        actor_id=actor_id,
        details={"merge_id": record.id, "name": record.gone["name"], "reason": reason},
    )
    return record


async def undo(session: AsyncSession, record: MergeRecord, *, at: datetime, actor_id: int | None) -> Contact:
    """Take two contacts apart again, each row back where it was; return the one that comes back.

    What has been done with the kept contact since stays there, unless it hangs on something that goes back. A field
    that somebody changed since keeps its new value; so does a row that was given to a third contact.

    Raises:
        Conflict: it was undone before; or the kept contact was itself merged into another: undo that first.
    """
    if record.undone_at is not None:
        raise Conflict("This was undone already")
    await _lock(session, record.kept_id, record.gone_id)
    kept = await session.get(Contact, record.kept_id, with_for_update=True)
    if kept is None:
        raise Conflict("The contact it was put into was itself merged with another one since. Undo that first")
    gone = Contact(**_values_of(record.gone))
    session.add(gone)
    for field, (before, after) in record.kept.items():
        if getattr(kept, field) == after:
            setattr(kept, field, before)
    await session.flush()
    where = {"merge": record.id, "kept": kept.id, "gone": gone.id}
    await session.execute(
        text(
            """
            UPDATE conversations c SET contact_id = :gone, thread = coalesce(r.before->>'thread', c.thread),
                   version = c.version + 1
            FROM merged_rows r WHERE r.merge_id = :merge AND r.table_name = 'conversations' AND r.row_id = c.id
              AND c.contact_id = :kept
            """
        ),
        where,
    )
    for table in _MOVED:
        await session.execute(
            text(
                f"""
                UPDATE {table} t SET contact_id = :gone FROM merged_rows r
                WHERE r.merge_id = :merge AND r.table_name = '{table}' AND r.row_id = t.id AND t.contact_id = :kept
                """  # noqa: S608 - our own tables
            ),
            where,
        )
    for table, column, parent in _BENEATH:
        await session.execute(
            text(
                f"""
                UPDATE {table} t SET contact_id = :gone FROM {parent} p
                WHERE t.{column} = p.id AND p.contact_id = :gone AND t.contact_id = :kept
                """  # noqa: S608 - our own tables
            ),
            where,
        )
    await _bring_back_candidates(session, record)
    record.undone_at, record.undone_by = at, actor_id
    kept.version += 1
    for contact in (kept, gone):
        await contacts.refresh_search(session, contact)
        await events.record(
            session,
            "contact.unmerged",
            at,
            contact_id=contact.id,
            user_id=contact.owner_id,
            actor_id=actor_id,
            details={"merge_id": record.id, "other_id": gone.id if contact is kept else kept.id},
        )
    return gone


async def get(session: AsyncSession, merge_id: int) -> MergeRecord:
    """Return a merge, locked.

    Raises:
        NotFound: there is none.
    """
    record = await session.get(MergeRecord, merge_id, with_for_update=True)
    if record is None:
        raise NotFound("merge", merge_id)
    return record


async def of_contact(session: AsyncSession, contact_id: int) -> list[MergeRecord]:
    """Return the merges into a contact that could be undone, the last one first."""
    rows = await session.scalars(
        select(MergeRecord)
        .where(MergeRecord.kept_id == contact_id, MergeRecord.undone_at.is_(None))
        .order_by(MergeRecord.id.desc())
    )
    return list(rows)


async def reassign(
    session: AsyncSession,
    conversation_id: int,
    *,
    to: Contact,
    at: datetime,
    actor_id: int | None,
    address: tuple[str, str] | None = None,
) -> None:
    """Give a conversation, with all that was said in it, to another contact.

    `address` (scheme, value) is the one it came from: what comes from there next is then this contact's too.

    Raises:
        NotFound: there is no such conversation. Rejected: it is theirs already.
    """
    row = (
        await session.execute(
            text("SELECT contact_id, connection_id, thread FROM conversations WHERE id = :id FOR UPDATE"),
            {"id": conversation_id},
        )
    ).first()
    if row is None:
        raise NotFound("conversation", conversation_id)
    if row.contact_id == to.id:
        raise Rejected("It is theirs already", field="contact_id")
    await _lock(session, row.contact_id, to.id)
    before = row.contact_id
    clash = await session.scalar(
        text(
            "SELECT id FROM conversations WHERE contact_id = :to AND connection_id = :connection AND thread = :thread"
        ),
        {"to": to.id, "connection": row.connection_id, "thread": row.thread},
    )
    thread = f"{row.thread}{_APART}{conversation_id}" if clash is not None else row.thread
    values = {"to": to.id, "id": conversation_id, "thread": thread, "before": before}
    await session.execute(
        text("UPDATE conversations SET contact_id = :to, thread = :thread, version = version + 1 WHERE id = :id"),
        values,
    )
    for table in ("messages", "tasks", "events"):
        await session.execute(
            text(
                f"UPDATE {table} SET contact_id = :to "  # noqa: S608 - our own tables
                "WHERE conversation_id = :id AND contact_id = :before"
            ),
            values,
        )
    if address is not None:
        await session.execute(
            text(
                "UPDATE identities SET contact_id = :to "
                "WHERE scheme = :scheme AND value = :value AND contact_id = :before"
            ),
            {**values, "scheme": address[0], "value": address[1]},
        )
    session.expire_all()
    old = await session.get(Contact, before)
    for contact in (old, await session.get(Contact, to.id)):
        if contact is not None:
            contact.version += 1
            await contacts.refresh_search(session, contact)
    for contact_id in (before, to.id):
        await events.record(
            session,
            "conversation.moved",
            at,
            contact_id=contact_id,
            conversation_id=conversation_id,
            actor_id=actor_id,
            details={"from": before, "to": to.id},
        )


def plain_thread(thread: str) -> str:
    """Return a conversation's thread as its channel knows it, whatever merges have made of it."""
    return thread.rpartition(_APART)[0] if _APART in thread and thread.rpartition(_APART)[2].isdigit() else thread


async def _lock(session: AsyncSession, *contact_ids: int) -> None:
    """Keep intake, which takes the same locks, from these contacts until the transaction ends."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(k) FROM unnest(CAST(:ids AS bigint[])) AS k"), {"ids": sorted(contact_ids)}
    )


_TAKEN_OVER = ("name", "company_id", "company_name", "language", "owner_id", "team_id")


def _take_over(kept: Contact, gone: Contact) -> dict[str, Any]:
    """Give the kept contact what it lacks, and return what that changed: field → [before, after]."""
    after: dict[str, Any] = {}
    for field in _TAKEN_OVER:
        if not getattr(kept, field) and getattr(gone, field):
            after[field] = getattr(gone, field)
    if tags := [tag for tag in gone.tags if tag not in kept.tags]:
        after["tags"] = [*kept.tags, *tags]
    if custom := {name: value for name, value in gone.custom.items() if name not in kept.custom}:
        after["custom"] = {**kept.custom, **custom}
    if gone.created_at < kept.created_at and gone.first_source:
        after["first_source"] = gone.first_source
    changed = {field: [getattr(kept, field), value] for field, value in after.items()}
    for field, value in after.items():
        setattr(kept, field, value)
    return changed


def _row_of(contact: Contact) -> dict[str, Any]:
    row = {column.name: getattr(contact, column.name) for column in _columns()}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _values_of(row: dict[str, Any]) -> dict[str, Any]:
    values = {column.name: row[column.name] for column in _columns() if column.name in row}
    values["created_at"] = datetime.fromisoformat(values["created_at"])
    return values


def _columns() -> Any:
    table = Contact.__table__
    assert isinstance(table, Table)
    return table.columns


async def _move_conversations(session: AsyncSession, record: MergeRecord) -> None:
    """Move conversations. Where the kept contact has one of the same thread over the same channel, the thread of the
    one that comes is set apart; it goes on by itself, with its own other side.
    """
    await session.execute(
        text(
            f"""
            WITH going AS (
                SELECT g.id, g.thread, EXISTS (
                    SELECT FROM conversations k WHERE k.contact_id = :kept AND k.connection_id = g.connection_id
                    AND k.thread = g.thread) AS clashes
                FROM conversations g WHERE g.contact_id = :gone FOR UPDATE
            ), moved AS (
                UPDATE conversations c SET contact_id = :kept, version = c.version + 1,
                       thread = CASE WHEN going.clashes THEN going.thread || '{_APART}' || c.id ELSE c.thread END
                FROM going WHERE c.id = going.id RETURNING c.id, going.thread
            )
            INSERT INTO merged_rows (merge_id, table_name, row_id, action, before)
            SELECT :merge, 'conversations', id, 'moved', jsonb_build_object('thread', thread) FROM moved
            """  # noqa: S608 - our own words
        ),
        {"kept": record.kept_id, "gone": record.gone_id, "merge": record.id},
    )


async def _move_candidates(session: AsyncSession, record: MergeRecord, *, at: datetime) -> None:
    """Whoever looked like the one that goes looks like the one that stays."""
    pairs = list(
        await session.scalars(
            select(DuplicateCandidate).where(
                (DuplicateCandidate.contact_id == record.gone_id) | (DuplicateCandidate.other_id == record.gone_id)
            )
        )
    )
    for pair in pairs:
        before = {
            "contact_id": pair.contact_id,
            "other_id": pair.other_id,
            "reason": pair.reason,
            "details": pair.details,
            "dismissed": pair.dismissed,
            "created_at": pair.created_at.isoformat(),
        }
        session.add(
            MergedRow(merge_id=record.id, table="duplicate_candidates", row_id=pair.id, action="removed", before=before)
        )
        other = pair.other_id if pair.contact_id == record.gone_id else pair.contact_id
        if other != record.kept_id:
            first, second = sorted((other, record.kept_id))
            await session.execute(
                text(
                    "INSERT INTO duplicate_candidates (contact_id, other_id, reason, details, dismissed, created_at) "
                    "VALUES (:first, :second, :reason, CAST(:details AS jsonb), :dismissed, :at) "
                    "ON CONFLICT DO NOTHING"
                ),
                {
                    "first": first,
                    "second": second,
                    "reason": pair.reason,
                    "details": json_text(pair.details),
                    "dismissed": pair.dismissed,
                    "at": at,
                },
            )
        await session.delete(pair)
    await session.flush()


async def _bring_back_candidates(session: AsyncSession, record: MergeRecord) -> None:
    """Let those who looked alike before look alike again; the two themselves are two people now."""
    await session.execute(
        text(
            """
            INSERT INTO duplicate_candidates (id, contact_id, other_id, reason, details, dismissed, created_at)
            SELECT r.row_id, (r.before->>'contact_id')::bigint, (r.before->>'other_id')::bigint, r.before->>'reason',
                   r.before->'details', (r.before->>'dismissed')::bool, (r.before->>'created_at')::timestamptz
            FROM merged_rows r
            WHERE r.merge_id = :merge AND r.table_name = 'duplicate_candidates'
              AND EXISTS (SELECT FROM contacts WHERE id = (r.before->>'contact_id')::bigint)
              AND EXISTS (SELECT FROM contacts WHERE id = (r.before->>'other_id')::bigint)
            ON CONFLICT DO NOTHING
            """
        ),
        {"merge": record.id},
    )
    first, second = sorted((record.kept_id, record.gone_id))
    await session.execute(
        text("UPDATE duplicate_candidates SET dismissed = true WHERE contact_id = :first AND other_id = :second"),
        {"first": first, "second": second},
    )
