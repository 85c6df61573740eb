"""Callers: whose number it is that rings, and whose phone: matched by any spelling, met where nobody has it yet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel import addresses, events, locks
from core.kernel.addresses import PHONE, Address
from core.kernel.envelopes import CallRules, Trust
from core.people import contacts
from core.people.contacts import Contact, ContactIdentity
from core.sales import leads
from core.sales.deals import Deal, Outcome
from core.sales.leads import Lead
from core.staff import workspace
from core.staff.users import User
from core.talk.calls import Call
from core.work import progress

if TYPE_CHECKING:
    from core.work.calling import Line

_HIDDEN = re.compile(r"anonymous|unknown|private|restricted|withheld|unavailable|hidden|asterisk|0*", re.IGNORECASE)
_SIP = re.compile(r"sips?:", re.IGNORECASE)
_MESSAGE = {"inbound": "Incoming call", "outbound": "Outgoing call"}


async def extensions(session: AsyncSession) -> dict[str, User]:
    """Return who answers at which extension; of several with the same one, who has been here longest."""
    found: dict[str, User] = {}
    rows = await session.scalars(
        select(User).where(User.extension.is_not(None), User.is_active.is_(True)).order_by(User.id)
    )
    for user in rows:
        found.setdefault((user.extension or "").strip(), user)
    return found


def users_of(rung: Sequence[str], known: Mapping[str, User]) -> list[int]:
    """Return the users at extensions, in order, each once."""
    return list(dict.fromkeys(known[extension].id for extension in rung if extension in known))


def is_internal(number: str, rules: CallRules, known: Mapping[str, User]) -> bool:
    """Whether a number is a colleague's extension, or as short as one."""
    if number in known:
        return True
    digits = re.sub(r"[^0-9]", "", number)
    return bool(digits) and len(digits) <= rules.internal_digits and not number.startswith("+")


def readable(written: str, country: str, rules: CallRules) -> str:
    """Return a caller's number in E.164; "" for a hidden or short one, an extension, or a SIP address.

    Providers write numbers with or without a plus, `00`, the trunk prefix; national ones are of `country`.
    """
    text_ = written.strip()
    if not text_ or _SIP.match(text_) or "@" in text_ or _HIDDEN.fullmatch(text_):
        return ""
    if len(re.sub(r"[^0-9]", "", text_)) <= max(rules.internal_digits, 6):
        return ""
    if any(character.isalpha() for character in text_):
        return ""
    return addresses.phone(text_, country) or addresses.phone("+" + text_.lstrip("+0"), "") or ""


async def identify(session: AsyncSession, line: Line, call: Call, *, now: datetime) -> None:
    """Find the person at the other side of a call, or meet them; and what is open of theirs, or open it.

    A hidden, short or SIP number makes nobody. Somebody we call ourselves becomes a contact, but no lead.
    """
    if call.contact_id is not None and (call.lead_id is not None or call.deal_id is not None):
        return
    written = call.callee if call.direction == "outbound" else call.caller
    number = call.number or readable(written, line.country, line.rules)
    if not number:
        return
    call.number = number
    contact = await _contact(session, line, call, number, now=now)
    call.contact_id = contact.id
    if call.deal_id is None:
        deal = await _open_deal(session, line, contact.id)
        if deal is not None:
            call.deal_id, call.lead_id = deal.id, deal.lead_id
            return
    if call.deal_id is not None or call.direction != "inbound" or not line.make_lead:
        return
    lead = await session.scalar(
        select(Lead)
        .where(Lead.contact_id == contact.id, Lead.status.in_(leads.OPEN_STATUSES))
        .order_by(Lead.id.desc())
        .limit(1)
    )
    if lead is None:
        lead = await progress.enter_lead(
            session,
            contact,
            message=_MESSAGE["inbound"],
            title=f"{contact.name or addresses.display(Address(PHONE, number))}: {line.title}",
            currency=(await workspace.get(session)).currency,
            owner_id=contact.owner_id,
            team_id=contact.team_id or line.team_id,
            at=now,
            actor_id=None,
            source=line.kind,
            connection_id=line.id,
            pipeline_id=line.pipeline_id,
            has_deal=line.make_deal,
            runs_rules=False,
            details={"call_id": call.id, "connection": line.title},
        )
    call.lead_id, call.deal_id = lead.id, lead.deal_id


async def _contact(session: AsyncSession, line: Line, call: Call, number: str, *, now: datetime) -> Contact:
    if call.contact_id is not None and (given := await session.get(Contact, call.contact_id)) is not None:
        return given
    # Intake takes the same lock: whoever fills in a form while they ring is one person.
    await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": locks.keys_of([f"{PHONE}:{number}"])[0]})
    theirs = ContactIdentity.scheme == PHONE, ContactIdentity.value == number
    found = await session.scalar(
        select(Contact).join(ContactIdentity, ContactIdentity.contact_id == Contact.id).where(*theirs)
    )
    if found is not None:
        return found
    met = Contact(
        name="",
        owner_id=call.user_id if call.direction == "outbound" else None,
        team_id=line.team_id,
        first_source=line.kind,
        search=contacts.folded(number),
        tags=[],
        custom={},
        created_at=now,
    )
    session.add(met)
    await session.flush()
    session.add(
        ContactIdentity(
            contact_id=met.id,
            scheme=PHONE,
            value=number,
            raw=call.callee if call.direction == "outbound" else call.caller,
            trust=Trust.ATTESTED if call.direction == "inbound" else Trust.TYPED,
            connection_id=line.id,
            created_at=now,
        )
    )
    await session.flush()
    await events.record(session, "contact.created", now, contact_id=met.id, user_id=met.owner_id)
    return met


async def _open_deal(session: AsyncSession, line: Line, contact_id: int) -> Deal | None:
    """Return the open deal a call belongs to: one of the connection's pipeline, else the newest."""
    found = list(
        await session.scalars(
            select(Deal).where(Deal.contact_id == contact_id, Deal.outcome == Outcome.OPEN).order_by(Deal.id.desc())
        )
    )
    return next((deal for deal in found if deal.pipeline_id == line.pipeline_id), found[0] if found else None)
