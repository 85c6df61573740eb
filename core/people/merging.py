"""Two contacts who are one person: put together, with a journal, so that a day's work later they can be taken apart.

Every row that moves is written down. Taking them apart moves back those rows, and with them what has come to hang on
them since: a conversation goes back with the messages it has by then, and with what was asked for in them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Table, Text, delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel import events
from core.kernel.db import Base, Record
from core.kernel.errors import Conflict, NotFound, Rejected
from core.people import contacts, moving
from core.people.contacts import Contact

MERGE_ATTESTED = "contact.merge_attested"
"""The job that merges contacts whose provider vouches that they are one, where the workspace wants that."""


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
    """A row that a merge moved, removed or added, and what was in it before."""

    __tablename__ = "merged_rows"
    __table_args__ = (Index("ix_merged_rows_merge_id", "merge_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('record_ids')"), primary_key=True)
    merge_id: Mapped[int] = mapped_column(ForeignKey("merges.id", ondelete="CASCADE"))
    table: Mapped[str] = mapped_column("table_name", Text)
    row_id: Mapped[int]
    action: Mapped[str]
    """`moved`, `removed` or `added`."""
    before: Mapped[dict[str, Any]]


async def merge(
    session: AsyncSession, kept: Contact, gone: Contact, *, reason: str, at: datetime, actor_id: int | None
) -> MergeRecord:
    """Put `gone` into `kept`: all that was said, asked and done is one person's from then on.

    What is known of `kept` stays; what it lacks is taken over. `reason` is `by_hand` or `attested`. Whoever locks
    records before calls `moving.begin` first.

    Raises:
        Rejected: they are one contact already. Conflict: one of them was merged meanwhile.
    """
    if kept.id == gone.id:
        raise Rejected("That is the same contact", field="other_id")
    await moving.begin(session)
    await session.flush()
    if len(await _locked(session, kept.id, gone.id)) < 2:
        raise Conflict("One of them was merged with another contact meanwhile. Look again")
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
    await moving.go_over(session, merge_id=record.id, source=gone.id, target=kept.id)
    await _move_candidates(session, record)
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

    What has been done with the kept contact since stays there, unless it hangs on something that goes back. What
    somebody changed since keeps its new value; what was given to a third contact stays with them.

    Raises:
        Conflict: it was undone before; or the kept contact was itself merged into another: undo that first.
    """
    await moving.begin(session)
    await session.refresh(record, with_for_update=True)
    if record.undone_at is not None:
        raise Conflict("This was undone already")
    if not await _locked(session, record.kept_id):
        raise Conflict("The contact it was put into was itself merged with another one since. Undo that first")
    kept = await session.get_one(Contact, record.kept_id)
    gone = Contact(**await _values_of(session, record.gone))
    session.add(gone)
    _give_back(kept, record.kept)
    await session.flush()
    await moving.come_back(session, merge_id=record.id, source=kept.id, target=gone.id)
    await _bring_back_candidates(session, record, at=at)
    record.undone_at, record.undone_by = at, actor_id
    kept.version += 1
    for contact, other in ((kept, gone), (gone, kept)):
        await contacts.refresh_search(session, contact)
        await events.record(
            session,
            "contact.unmerged",
            at,
            contact_id=contact.id,
            user_id=contact.owner_id,
            actor_id=actor_id,
            details={"merge_id": record.id, "other_id": other.id, "name": other.name},
        )
    return gone


async def get(session: AsyncSession, merge_id: int) -> MergeRecord:
    """Return a merge.

    Raises:
        NotFound: there is none.
    """
    record = await session.get(MergeRecord, merge_id)
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


async def now_part_of(session: AsyncSession, contact_id: int) -> int | None:
    """Return the contact that one was merged into, through as many merges as there were; None if it was not."""
    found = None
    while True:
        kept_id = await session.scalar(
            select(MergeRecord.kept_id)
            .where(MergeRecord.gone_id == (found or contact_id), MergeRecord.undone_at.is_(None))
            .order_by(MergeRecord.id.desc())
            .limit(1)
        )
        if kept_id is None:
            return found
        found = kept_id


async def _locked(session: AsyncSession, *contact_ids: int) -> list[Contact]:
    """Lock contacts and read them anew, so that nothing is hung on one that is about to go."""
    statement = select(Contact).where(Contact.id.in_(contact_ids)).order_by(Contact.id).with_for_update()
    return list(await session.scalars(statement.execution_options(populate_existing=True)))


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


def _give_back(kept: Contact, changed: dict[str, Any]) -> None:
    """Take from the kept contact what it had of the other one, unless somebody changed it since."""
    for field, (before, after) in changed.items():
        if field == "tags":
            kept.tags = [tag for tag in kept.tags if tag in before or tag not in after]
        elif field == "custom":
            taken = {name: value for name, value in after.items() if name not in before}
            kept.custom = {
                name: value for name, value in kept.custom.items() if name not in taken or value != taken[name]
            }
        elif getattr(kept, field) == after:
            setattr(kept, field, before)


def _row_of(contact: Contact) -> dict[str, Any]:
    row = {column.name: getattr(contact, column.name) for column in _columns()}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


async def _values_of(session: AsyncSession, row: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a contact that was kept as JSON, without whoever and whatever is no more."""
    values = {column.name: row[column.name] for column in _columns() if column.name in row}
    values["created_at"] = datetime.fromisoformat(values["created_at"])
    values["version"] += 1
    for column in _columns():
        for key in column.foreign_keys:
            table = key.column.table
            if values.get(column.name) is not None:
                there = select(key.column).select_from(table).where(key.column == values[column.name])
                values[column.name] = await session.scalar(there)
    return values


def _columns() -> Any:
    table = Contact.__table__
    assert isinstance(table, Table)
    return table.columns


async def _move_candidates(session: AsyncSession, record: MergeRecord) -> None:
    """Whoever looked like the one that goes looks like the one that stays."""
    await session.execute(
        text(
            """
            WITH pairs AS (
                DELETE FROM duplicate_candidates WHERE contact_id = :gone OR other_id = :gone RETURNING *
            ), removed AS (
                INSERT INTO merged_rows (merge_id, table_name, row_id, action, before)
                SELECT :merge, 'duplicate_candidates', id, 'removed', to_jsonb(pairs) FROM pairs
            ), others AS (
                SELECT *, CASE WHEN contact_id = :gone THEN other_id ELSE contact_id END AS third FROM pairs
            ), added AS (
                INSERT INTO duplicate_candidates (contact_id, other_id, reason, details, dismissed, created_at)
                SELECT least(third, :kept), greatest(third, :kept), reason, details, dismissed, created_at
                FROM others WHERE third <> :kept ON CONFLICT DO NOTHING RETURNING *
            )
            INSERT INTO merged_rows (merge_id, table_name, row_id, action, before)
            SELECT :merge, 'duplicate_candidates', id, 'added', to_jsonb(added) FROM added
            """
        ),
        {"kept": record.kept_id, "gone": record.gone_id, "merge": record.id},
    )


async def _bring_back_candidates(session: AsyncSession, record: MergeRecord, *, at: datetime) -> None:
    """Let those who looked alike before look alike again; the two themselves are known to be two people now.

    Also of merges into this contact that were undone before, while the other one of a pair was still part of it.
    """
    where = {"kept": record.kept_id, "gone": record.gone_id, "merge": record.id}
    await session.execute(
        text(
            """
            DELETE FROM duplicate_candidates d USING merged_rows r
            WHERE r.merge_id = :merge AND r.table_name = 'duplicate_candidates' AND r.action = 'added'
              AND d.id = r.row_id AND NOT d.dismissed
            """
        ),
        where,
    )
    await session.execute(
        text(
            """
            INSERT INTO duplicate_candidates (id, contact_id, other_id, reason, details, dismissed, created_at)
            SELECT r.row_id, one.id, other.id, r.before->>'reason', r.before->'details',
                   (r.before->>'dismissed')::bool, (r.before->>'created_at')::timestamptz
            FROM merges m JOIN merged_rows r ON r.merge_id = m.id
            JOIN contacts one ON one.id = (r.before->>'contact_id')::bigint
            JOIN contacts other ON other.id = (r.before->>'other_id')::bigint
            WHERE m.kept_id = :kept AND (m.id = :merge OR m.undone_at IS NOT NULL)
              AND r.table_name = 'duplicate_candidates' AND r.action = 'removed'
              AND :gone IN (one.id, other.id)
            ON CONFLICT DO NOTHING
            """
        ),
        where,
    )
    await session.execute(
        text(
            """
            INSERT INTO duplicate_candidates (contact_id, other_id, reason, dismissed, created_at)
            VALUES (:first, :second, 'merged_before', true, :at)
            ON CONFLICT (contact_id, other_id) DO UPDATE SET dismissed = true
            """
        ),
        {"first": min(record.kept_id, record.gone_id), "second": max(record.kept_id, record.gone_id), "at": at},
    )
