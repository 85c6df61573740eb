"""Questions: what is done with the words that answer one. A question is answered once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from channels.desk_contract import Card
from core.people.contacts import Contact
from core.sales.deals import Deal
from core.talk.conversations import Conversation
from hub.desk import answering, deal_presses, lists, orders, planning, presses
from hub.desk.doing import Doing
from hub.desk.planning import About
from hub.desk.records import DeskPost


async def answer(doing: Doing, about: DeskPost, text: str) -> None:
    """Do what a question was asked for, once; where the words do not answer it, it is asked again.

    Raises:
        DomainError: it cannot be done; the message may be shown, and the question stays open.
    """
    await doing.session.refresh(about, with_for_update=True)
    if about.what.get("sent"):
        doing.say(Card(title="❔ " + doing.text("This was answered already. Nothing was done.")))
        return
    question = QUESTIONS.get(str(about.what.get("ask")))
    parts = [str(part) for part in about.what.get("parts", ())]
    try:
        is_answered = question is not None and await question(doing, parts, text.strip())
    except (ValueError, IndexError):
        question = None
    if question is None:
        doing.say(Card(title="❔ " + doing.text("This cannot be answered any more. Nothing was done.")))
    elif is_answered:
        about.what = {**about.what, "sent": True}


async def _note(doing: Doing, parts: list[str], text: str) -> bool:
    if not text:
        await presses.ask_note(doing, parts)
        return False
    if parts[0] == "v":
        conversation = await doing.fetch(Conversation, int(parts[1]))
        await answering.note(doing, conversation, text)
        return True
    contact = await doing.fetch(Contact, int(parts[1]), change=False, lock=False)
    await orders.note_on(doing, contact.id, text)
    return True


async def _lost(doing: Doing, parts: list[str], text: str) -> bool:
    deal = await doing.fetch(Deal, int(parts[0]))
    if not text:
        await orders.offer_reasons(doing, deal)
        return False
    orders.tell(doing, await orders.lose(doing, deal, text))
    return True


async def _amount(doing: Doing, parts: list[str], text: str) -> bool:
    deal = await doing.fetch(Deal, int(parts[0]))
    if await orders.set_amount(doing, deal, text):
        return True
    hint = doing.text("For example: 120 000, 120k, 1.5m")
    doing.ask(
        "💰 " + doing.text("I find no amount in that. Answer to this with a number"), "amount", deal.id, hint=hint
    )
    return False


async def _task(doing: Doing, parts: list[str], text: str) -> bool:
    if not text:
        await deal_presses.ask_task(doing, parts)
        return False
    about = About(deal_id=int(parts[0]), conversation_id=doing.conversation_id)
    return await planning.plan(doing, text, await planning.allowed(doing, about))


async def _plan(doing: Doing, parts: list[str], text: str) -> bool:
    title, due, *subjects = parts
    about = About(*(int(part) if part else None for part in subjects))
    due_at = datetime.fromisoformat(due) if due else None
    return await planning.plan(doing, text, await planning.allowed(doing, about), title=title, due_at=due_at)


async def _find(doing: Doing, parts: list[str], text: str) -> bool:
    await lists.find(doing, text)
    return bool(text)


QUESTIONS: dict[str, Callable[[Doing, list[str], str], Awaitable[bool]]] = {
    "note": _note,
    "lost": _lost,
    "amount": _amount,
    "task": _task,
    "plan": _plan,
    "find": _find,
}
"""What is done with the answer, by the word a question was asked with; False: it was none, and was asked again."""
