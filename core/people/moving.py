"""What belongs to a contact, and how it goes over to another one: a table at a time, never a row at a time."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel import events
from core.kernel.errors import NotFound, Rejected
from core.people import contacts
from core.people.contacts import Contact

_STILLNESS = "21338, 0"  # the key of an advisory lock (0x535A); two-part keys are no ids and no digests

HOLD_STILL = f"SELECT pg_advisory_xact_lock_shared({_STILLNESS})"
"""What intake asks before it looks up whose an address is: until it ends, nothing goes over to somebody else."""

_APART = "~"
"""What sets apart the thread of a conversation whose place was taken when it went over."""

MOVED = {
    # the tables whose rows go over, and whether they have a version; conversations may clash, and go by themselves
    "identities": False,
    "messages": False,
    "calls": True,
    "leads": True,
    "deals": True,
    "tasks": True,
    "notifications": False,
    "events": False,
}

_FOLLOWING = (
    # What hangs on what has gone over, parents first. What a customer asked for goes with the words they asked it in;
    # a task goes with its deal, whichever conversation it was made in.
    """
    UPDATE messages m SET contact_id = :target FROM conversations c
    WHERE c.id = m.conversation_id AND c.contact_id = :target AND m.contact_id = :source
    """,
    """
    UPDATE leads l SET contact_id = :target, version = l.version + 1
    FROM events e JOIN conversations c ON c.id = e.conversation_id
    WHERE e.contact_id = :source AND e.kind = 'lead.created' AND c.contact_id = :target
      AND l.id = e.lead_id AND l.contact_id = :source
    """,
    """
    UPDATE deals d SET contact_id = :target, version = d.version + 1 FROM leads l
    WHERE l.id = d.lead_id AND l.contact_id = :target AND d.contact_id = :source
    """,
    """
    UPDATE leads l SET contact_id = :target, version = l.version + 1 FROM deals d
    WHERE d.id = l.deal_id AND d.contact_id = :target AND l.contact_id = :source
    """,
    """
    UPDATE tasks t SET contact_id = :target, version = t.version + 1 WHERE t.contact_id = :source AND CASE
        WHEN t.deal_id IS NOT NULL THEN EXISTS (SELECT FROM deals p WHERE p.id = t.deal_id AND p.contact_id = :target)
        WHEN t.lead_id IS NOT NULL THEN EXISTS (SELECT FROM leads p WHERE p.id = t.lead_id AND p.contact_id = :target)
        ELSE EXISTS (SELECT FROM conversations p WHERE p.id = t.conversation_id AND p.contact_id = :target) END
    """,
    """
    UPDATE events e SET contact_id = :target WHERE e.contact_id = :source AND CASE
        WHEN e.task_id IS NOT NULL THEN EXISTS (SELECT FROM tasks p WHERE p.id = e.task_id AND p.contact_id = :target)
        WHEN e.conversation_id IS NOT NULL
        THEN EXISTS (SELECT FROM conversations p WHERE p.id = e.conversation_id AND p.contact_id = :target)
        WHEN e.deal_id IS NOT NULL THEN EXISTS (SELECT FROM deals p WHERE p.id = e.deal_id AND p.contact_id = :target)
        ELSE EXISTS (SELECT FROM leads p WHERE p.id = e.lead_id AND p.contact_id = :target) END
    """,
    """
    UPDATE notifications n SET contact_id = :target FROM events e
    WHERE n.contact_id = :source AND e.id = n.event_id AND e.contact_id = :target
    """,
)


async def begin(session: AsyncSession) -> None:
    """Keep intake out until the transaction ends. Comes before any record is locked, or two wait for each other.

    Whoever writes meanwhile is stored all the same, and understood when this is done.
    """
    await session.execute(text(f"SELECT pg_advisory_xact_lock({_STILLNESS})"))


async def follow(session: AsyncSession, *, source: int, target: int) -> None:
    """Take over from one contact what hangs on conversations, leads and deals that are another's now."""
    for statement in _FOLLOWING:
        await session.execute(text(statement), {"source": source, "target": target})


async def reassign(
    session: AsyncSession,
    conversation_id: int,
    *,
    to: Contact,
    at: datetime,
    actor_id: int | None,
    address: tuple[str, str] | None = None,
) -> None:
    """Give a conversation, with all that was said in it and what was asked for there, to another contact.

    `address` (scheme, value) is the one it came from: what comes from there next is then this contact's too. What the
    session has read of these records before is stale; `begin` comes before any of them is locked.

    Raises:
        NotFound: there is no such conversation. Rejected: it is theirs already.
    """
    await begin(session)
    await session.flush()
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
    before = row.contact_id
    clash = await session.scalar(
        text(
            "SELECT id FROM conversations WHERE contact_id = :to AND connection_id = :connection AND thread = :thread"
        ),
        {"to": to.id, "connection": row.connection_id, "thread": row.thread},
    )
    await session.execute(
        text("UPDATE conversations SET contact_id = :to, thread = :thread, version = version + 1 WHERE id = :id"),
        {
            "to": to.id,
            "id": conversation_id,
            "thread": row.thread if clash is None else apart(row.thread, conversation_id),
        },
    )
    await follow(session, source=before, target=to.id)
    if address is not None:
        await session.execute(
            text(
                "UPDATE identities SET contact_id = :to "
                "WHERE scheme = :scheme AND value = :value AND contact_id = :before"
            ),
            {"to": to.id, "before": before, "scheme": address[0], "value": address[1]},
        )
    for contact in (await session.get_one(Contact, before, with_for_update=True), to):
        contact.version += 1
        await contacts.refresh_search(session, contact)
        await events.record(
            session,
            "conversation.moved",
            at,
            contact_id=contact.id,
            conversation_id=conversation_id if contact is to else None,
            actor_id=actor_id,
            details={"from": before, "to": to.id, "name": to.name},
        )


def apart(thread: str, conversation_id: int) -> str:
    """Return the thread of a conversation whose place is taken."""
    return f"{thread}{_APART}{conversation_id}"


def plain_thread(thread: str) -> str:
    """Return a conversation's thread as its channel knows it, whatever moving has made of it."""
    plain, mark, number = thread.rpartition(_APART)
    return plain if mark and number.isdecimal() else thread


async def go_over(session: AsyncSession, *, merge_id: int, source: int, target: int) -> None:
    """Give all that is one contact's to another, and write each row down with what was in it before.

    Where the other has a conversation of the same thread over the same channel, the thread of the one that comes is set
    apart; it goes on by itself, with its own other side.
    """
    values = {"merge": merge_id, "source": source, "target": target}
    for table in ("identities", "messages"):  # a message before its conversation, as sending locks them
        await _go_over(session, table, values)
    await session.execute(
        text(
            f"""
            WITH going AS (
                SELECT g.id, g.thread, EXISTS (
                    SELECT FROM conversations k WHERE k.contact_id = :target AND k.connection_id = g.connection_id
                    AND k.thread = g.thread) AS clashes
                FROM conversations g WHERE g.contact_id = :source FOR UPDATE
            ), moved AS (
                UPDATE conversations c SET contact_id = :target, version = c.version + 1,
                       thread = CASE WHEN going.clashes THEN going.thread || '{_APART}' || c.id ELSE c.thread END
                FROM going WHERE c.id = going.id RETURNING c.id, going.thread
            )
            INSERT INTO merged_rows (merge_id, table_name, row_id, action, before)
            SELECT :merge, 'conversations', id, 'moved', jsonb_build_object('thread', thread) FROM moved
            """  # noqa: S608 - our own words
        ),
        values,
    )
    # what was said while we waited for a conversation, and what hangs on nothing
    for table in ("messages", "leads", "deals", "tasks", "notifications", "events"):
        await _go_over(session, table, values)


async def _go_over(session: AsyncSession, table: str, values: dict[str, int]) -> None:
    version = ", version = version + 1" if MOVED[table] else ""
    await session.execute(
        text(
            f"""
            WITH moved AS (UPDATE {table} SET contact_id = :target{version} WHERE contact_id = :source RETURNING id)
            INSERT INTO merged_rows (merge_id, table_name, row_id, action, before)
            SELECT :merge, '{table}', id, 'moved', '{{}}' FROM moved
            """  # noqa: S608 - our own tables
        ),
        values,
    )


async def come_back(session: AsyncSession, *, merge_id: int, source: int, target: int) -> None:
    """Give back what `go_over` wrote down, and what hangs on it by now. What a third contact has got since stays."""
    values = {"merge": merge_id, "source": source, "target": target}
    await session.execute(
        text(
            """
            UPDATE conversations c SET contact_id = :target, thread = r.before->>'thread', version = c.version + 1
            FROM merged_rows r WHERE r.merge_id = :merge AND r.table_name = 'conversations' AND r.row_id = c.id
              AND c.contact_id = :source
            """
        ),
        values,
    )
    for table, is_edited in MOVED.items():
        version = ", version = t.version + 1" if is_edited else ""
        await session.execute(
            text(
                f"""
                UPDATE {table} t SET contact_id = :target{version} FROM merged_rows r
                WHERE r.merge_id = :merge AND r.table_name = '{table}' AND r.row_id = t.id AND t.contact_id = :source
                """  # noqa: S608 - our own tables
            ),
            values,
        )
    await follow(session, source=source, target=target)
    await session.execute(
        text("DELETE FROM merged_rows WHERE merge_id = :merge AND table_name <> 'duplicate_candidates'"),
        {"merge": merge_id},
    )
