"""Planning: a task made of words with a time in them, and what is asked where either is missing."""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple

from channels.desk_contract import Card
from core.people.contacts import Contact
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.work import tasks
from core.work.tasks import TaskKind
from hub.desk import times
from hub.desk.cards import key
from hub.desk.doing import Doing

_LONGEST = 300  # letters of a title
_KINDS = (
    (TaskKind.CALL, r"call|ring|phone|позвон|перезвон|созвон|звонок|звонк|набрать"),
    (TaskKind.MEETING, r"meet|встреч|встретит"),
    (TaskKind.VISIT, r"visit|визит|выезд|выехать|замер|заехать"),
    (TaskKind.DOCUMENT, r"contract|invoice|document|proposal|договор|сч[её]т(?!ч)|документ|предложени|смет"),
    (TaskKind.MESSAGE, r"write|message|e-?mail|mail|reply|напис|написать|письмо|ответить|сообщ"),
)


class About(NamedTuple):
    """What a task is about; None where it is about nothing of the sort."""

    deal_id: int | None = None
    contact_id: int | None = None
    lead_id: int | None = None
    conversation_id: int | None = None


def kind_of(words: str) -> TaskKind:
    """Return what sort of doing some words name."""
    low = words.casefold()
    found = ((match.start(), kind) for kind, pattern in _KINDS if (match := re.search(rf"(?<!\w)(?:{pattern})", low)))
    return min(found, default=(0, TaskKind.OTHER))[1]


async def allowed(doing: Doing, about: About) -> About:
    """Return what a task is to be about, once it is clear that they may do so.

    Raises:
        NotFound, Forbidden: they may not.
    """
    if about.deal_id is not None:
        deal = await doing.fetch(Deal, about.deal_id, lock=False)
        return about._replace(contact_id=deal.contact_id)
    if about.lead_id is not None:
        lead = await doing.fetch(Lead, about.lead_id, lock=False)
        return about._replace(contact_id=lead.contact_id)
    if about.contact_id is not None:
        await doing.fetch(Contact, about.contact_id, change=False, lock=False)
    return about


async def plan(doing: Doing, text: str, about: About, *, title: str = "", due_at: datetime | None = None) -> bool:
    """Make a task of words with a time, for whoever says so; ask for what is missing, and return False then.

    `title` and `due_at` are what was said before.

    Raises:
        Forbidden: they may only look. Rejected: there is no title.
    """
    _ = doing.text
    doing.rights.require_change()
    read = times.read(text, now=doing.now, zone=doing.reader.zone)
    if read is None and due_at is None and title:
        said = f"at {text}" if text.strip().isdigit() else text
        read = times.lenient(said, now=doing.now, zone=doing.reader.zone)
    if read is not None:
        due_at = read.at
    elif due_at is not None and due_at <= doing.now:  # it passed while the question waited
        due_at = None
    words = " ".join((read.rest if read is not None else text).split())
    title = (title or words)[:_LONGEST]
    kept = (title, "" if due_at is None else due_at.isoformat(), *("" if part is None else part for part in about))
    if due_at is None:
        hint = _("For example: tomorrow 10:00, or in 2 hours")
        doing.ask("⏰ " + _("When? Answer to this with the time"), "plan", *kept, hint=hint)
        return False
    if not title:
        doing.ask("☑️ " + _("What is to be done? Answer to this"), "plan", *kept)
        return False
    made = await tasks.add(
        doing.session,
        title=title,
        kind=kind_of(title),
        due_at=due_at,
        at=doing.now,
        assignee_id=doing.user.id,
        actor_id=doing.user.id,
        **about._asdict(),
    )
    doing.say(
        Card(
            title="☑️ " + _("Noted: %(task)s", task=title),
            lines=("⏰ " + doing.reader.when(due_at),),
            keys=((key("✅ " + _("Done"), "done", made.id), key("💤 " + _("1 hour"), "snz", "t", made.id, 60)),),
            is_quiet=True,
        ),
        task_id=made.id,
        deal_id=about.deal_id,
    )
    return True
