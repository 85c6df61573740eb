"""Context: what a command is about: the card it answers, or the topic it is written in."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, select

from core.kernel.errors import NotFound, Rejected
from core.people.contacts import Contact
from core.sales import leads
from core.sales.deals import Deal, Outcome
from core.sales.leads import Lead
from core.staff import access
from core.talk.calls import Call
from core.talk.conversations import Conversation
from core.work.tasks import OPEN_STATUSES, Task
from hub.desk.doing import Doing


async def conversation_here(doing: Doing) -> Conversation | None:
    """Return the conversation a command is about; None where it is about none.

    Raises:
        NotFound, Forbidden: they may not touch it.
    """
    if doing.conversation_id is None:
        return None
    return await doing.fetch(Conversation, doing.conversation_id)


async def contact_here(doing: Doing) -> Contact | None:
    """Return the person a command is about; None where it is about nobody they may see."""
    contact_id: int | None = None
    about = doing.about
    if doing.conversation_id is not None:
        contact_id = await _seen(doing, Conversation, select(Conversation.contact_id), doing.conversation_id)
    if contact_id is None and about is not None:
        for model, statement, record_id in (
            (Lead, select(Lead.contact_id), about.lead_id),
            (Deal, select(Deal.contact_id), about.deal_id),
            (Task, select(Task.contact_id), about.task_id),
            (Call, select(Call.contact_id), about.call_id),
        ):
            if contact_id is None and record_id is not None:
                contact_id = await _seen(doing, model, statement, record_id)
    if contact_id is None:
        return None
    try:
        return await doing.fetch(Contact, contact_id, change=False, lock=False)
    except NotFound:
        return None


async def _seen(
    doing: Doing, model: type[Conversation | Lead | Deal | Task | Call], statement: Select[Any], record_id: int
) -> int | None:
    found: int | None = await doing.session.scalar(
        access.narrow(statement.where(model.id == record_id), doing.rights, model)
    )
    return found


async def lead_here(doing: Doing) -> Lead | None:
    """Return the lead a command is about: the card's own, else the newest open one of the person.

    Raises:
        NotFound, Forbidden: they may not touch the card's own.
    """
    about = doing.about
    if about is not None and about.lead_id is not None:
        return await doing.fetch(Lead, about.lead_id)
    contact = await contact_here(doing)
    if contact is None:
        return None
    statement = select(Lead.id).where(Lead.contact_id == contact.id, Lead.status.in_(leads.OPEN_STATUSES))
    found = await doing.session.scalar(access.narrow(statement, doing.rights, Lead).order_by(Lead.id.desc()).limit(1))
    return None if found is None else await doing.fetch(Lead, found)


async def deal_here(doing: Doing) -> Deal:
    """Return the deal a command is about: the card's own, else the newest of the person, an open one first.

    Raises:
        Rejected: it is about none; the message says what to answer to. NotFound, Forbidden: they may not touch it.
    """
    about = doing.about
    deal_id = about.deal_id if about is not None else None
    if deal_id is None and about is not None and about.lead_id is not None:
        deal_id = (await doing.fetch(Lead, about.lead_id, change=False, lock=False)).deal_id
    if deal_id is None and about is not None and about.task_id is not None:
        deal_id = (await doing.fetch(Task, about.task_id, change=False, lock=False)).deal_id
    if deal_id is None and (contact := await contact_here(doing)) is not None:
        statement = access.narrow(select(Deal.id).where(Deal.contact_id == contact.id), doing.rights, Deal)
        newest = statement.order_by((Deal.outcome == Outcome.OPEN).desc(), Deal.id.desc()).limit(1)
        deal_id = await doing.session.scalar(newest)
        if deal_id is None:
            raise Rejected(doing.text("There is no deal with this person that you could change"))
    if deal_id is None:
        raise Rejected(doing.text("Write this in answer to a card of the deal or the person, or in their topic"))
    return await doing.fetch(Deal, deal_id)


async def task_here(doing: Doing) -> Task | None:
    """Return the task a command is about: the card's own, or what is next to do about the card's lead or deal.

    Raises:
        NotFound, Forbidden: they may not touch it.
    """
    about = doing.about
    if about is None:
        return None
    if about.task_id is not None:
        return await doing.fetch(Task, about.task_id)
    if about.lead_id is None and (about.deal_id is None or about.purpose != "said"):
        return None
    of_it = Task.lead_id == about.lead_id if about.lead_id is not None else Task.deal_id == about.deal_id
    if about.lead_id is not None and about.deal_id is not None:
        of_it = of_it | (Task.deal_id == about.deal_id)
    statement = access.narrow(select(Task.id).where(of_it, Task.status.in_(OPEN_STATUSES)), doing.rights, Task)
    found = await doing.session.scalar(statement.order_by(Task.due_at.nulls_last(), Task.id).limit(1))
    return None if found is None else await doing.fetch(Task, found)
