"""Contacts who are one person: who looks like whom, merging two, and taking them apart again."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET
from sqlalchemy import or_, select

from core.kernel.errors import Conflict, NotFound, Rejected
from core.people import contacts as people
from core.people import merging, moving
from core.people.contacts import Contact, DuplicateCandidate
from core.people.merging import MergeRecord
from core.staff import access
from hub.api import paging, records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.resources import contacts
from hub.api.resources.contacts import ContactView
from hub.api.wire import Body, Id, Moment, Page, View, as_id


class MergeView(View):
    """A merge. `gone_id` was put into `kept_id`; `name` is what it was called. Undone, it is a contact again."""

    id: Id
    kept_id: Id
    gone_id: Id
    name: str
    reason: Literal["by_hand", "attested"]
    actor_id: Id | None
    created_at: Moment
    undone_at: Moment | None
    undone_by: Id | None


class DuplicateView(View):
    """Two contacts who may be one person. `dismissed`: somebody said that they are two."""

    id: Id
    contact_id: Id
    other_id: Id
    reason: str
    details: dict[str, Any]
    dismissed: bool
    created_at: Moment


class Merge(Body):
    """Who else it is. This contact is no more afterwards; what is known of the one in the address stays."""

    other_id: Id


class Unmerge(Body):
    """Which merge to undo; without it, the last one."""

    merge_id: Id | None = None


MERGES = Listing(
    "merges",
    unique=MergeRecord.id,
    sorts={"created_at": MergeRecord.created_at},
    filters={
        "reason": paging.one_of(MergeRecord.reason),
        "undone": paging.flag(lambda: MergeRecord.undone_at.is_not(None), "Whether it was undone."),
    },
)

DUPLICATES = Listing(
    "duplicates",
    unique=DuplicateCandidate.id,
    sorts={"created_at": DuplicateCandidate.created_at},
    filters={
        "contact_id": paging.matching(
            Id,
            lambda found: or_(DuplicateCandidate.contact_id == int(found), DuplicateCandidate.other_id == int(found)),
            "With this contact on either side.",
        ),
        "dismissed": paging.flag(lambda: DuplicateCandidate.dismissed.is_(True), "Whether they are known to be two."),
    },
)


async def merge(call: Call, contact_id: Id, body: Merge) -> ContactView:
    """Merge another contact into this one: addresses, conversations, requests, deals, tasks and diary.

    What this contact lacks is taken over. It can be undone, even after a day of work.
    """
    await moving.begin(call.session)
    kept = await records.changing(call, Contact, contact_id)
    gone = await records.referred(call, Contact, body.other_id, field="other_id")
    await merging.merge(call.session, kept, gone, reason="by_hand", at=call.now, actor_id=call.user_id)
    return (await contacts.views(call, [kept]))[0]


async def unmerge(call: Call, contact_id: Id, body: Unmerge) -> MergeView:
    """Take apart what was merged into this contact. Each record goes back where it was, with what hangs on it by now.

    A contact that was itself merged since comes back first: 409.
    """
    await moving.begin(call.session)
    try:
        kept = await records.changing(call, Contact, contact_id)
    except NotFound:
        part_of = await merging.now_part_of(call.session, int(contact_id))
        if part_of is None or not await _may_see(call, part_of):
            raise
        said = f"This contact was itself merged into contact {part_of} since. Undo that first"
        raise Conflict(said) from None
    theirs = await merging.of_contact(call.session, kept.id)
    chosen = [record for record in theirs if body.merge_id is None or record.id == body.merge_id]
    if not chosen:
        raise Rejected("Nothing was merged into this contact that could be undone", field="merge_id")
    await merging.undo(call.session, chosen[0], at=call.now, actor_id=call.user_id)
    return _view(chosen[0])


async def _may_see(call: Call, contact_id: int) -> bool:
    statement = access.narrow(select(Contact.id), call.rights, Contact).where(Contact.id == contact_id)
    return await call.session.scalar(statement) is not None


async def list_merges(call: Call, contact_id: Id, query: ListQuery) -> Page[MergeView]:
    """List what was merged into a contact, undone or not, the last one first."""
    contact = await records.seen(call, Contact, contact_id)
    found = await MERGES.page(call.session, select(MergeRecord).where(MergeRecord.kept_id == contact.id), query)
    return Page(items=[_view(row) for row in found.rows], next=found.next)


async def list_duplicates(call: Call, query: ListQuery) -> Page[DuplicateView]:
    """List pairs of contacts who may be one person; those known to be two only with `dismissed=true`."""
    statement = access.narrow(select(DuplicateCandidate), call.rights, DuplicateCandidate)
    if getattr(query, "dismissed", UNSET) is UNSET:
        statement = statement.where(DuplicateCandidate.dismissed.is_(False))
    found = await DUPLICATES.page(call.session, statement, query)
    return Page(items=[_pair(row) for row in found.rows], next=found.next)


async def dismiss(call: Call, duplicate_id: Id) -> DuplicateView:
    """Note that two contacts are two people: they are offered no more, and no rule merges them."""
    call.rights.require_change()
    candidate = await records.changing(call, DuplicateCandidate, duplicate_id)
    await people.keep_apart(call.session, candidate, at=call.now, actor_id=call.user_id)
    return _pair(candidate)


def _view(record: MergeRecord) -> MergeView:
    return MergeView(
        id=Id(record.id),
        kept_id=Id(record.kept_id),
        gone_id=Id(record.gone_id),
        name=str(record.gone.get("name") or ""),
        reason=record.reason,  # type: ignore[arg-type]
        actor_id=as_id(record.actor_id),
        created_at=record.created_at,
        undone_at=record.undone_at,
        undone_by=as_id(record.undone_by),
    )


def _pair(row: DuplicateCandidate) -> DuplicateView:
    return DuplicateView(
        id=Id(row.id),
        contact_id=Id(row.contact_id),
        other_id=Id(row.other_id),
        reason=row.reason,
        details=row.details,
        dismissed=row.dismissed,
        created_at=row.created_at,
    )


ENDPOINTS = (
    Endpoint("POST", "/contacts/{contact_id}/merge", merge, refuses=(409,)),
    Endpoint("POST", "/contacts/{contact_id}/unmerge", unmerge, refuses=(409,)),
    Endpoint("GET", "/contacts/{contact_id}/merges", list_merges, listing=MERGES),
    Endpoint("GET", "/duplicates", list_duplicates, listing=DUPLICATES),
    Endpoint("POST", "/duplicates/{duplicate_id}/dismissal", dismiss),
)
