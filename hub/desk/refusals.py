"""Refusals: a letter that was not sent to a customer is noted, and told to the colleague in whose name it came.

It is told at the address we know and never to whoever sent it. Of what the colleague wrote each is told, since they
believe it sent; of strangers' letters, one an hour and conversation.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import parseaddr
from typing import NamedTuple

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from channels.email.desk import DeskLetter
from core.kernel import jobs
from core.people.contacts import Contact
from core.staff import audit
from core.staff.audit import AuditEntry
from core.staff.users import User
from core.talk.conversations import Conversation
from hub import mail
from hub.app import Hub
from hub.desk import answerable, cards
from hub.desk.answerable import Named
from hub.desk.cards import Desk
from hub.desk.reader import reader_for
from hub.i18n import translator_for

REFUSAL = "desk.refusal"
"""The job that tells a colleague that nothing was sent."""

REFUSED = "desk.letter_refused"
"""What the audit log says of a letter that was refused."""

STRANGERS_ARE_TOLD_EVERY = timedelta(hours=1)


class Refusal(NamedTuple):
    """Why nothing was sent, as a message to be translated.

    is_theirs  the colleague wrote it, as far as can be told: they are told of each. Of a stranger's, once in a while
    """

    code: str
    message: str
    values: dict[str, str]
    is_theirs: bool = True


async def refuse(
    session: AsyncSession,
    hub: Hub,
    refusal: Refusal,
    named: Named,
    user: User | None,
    *,
    letter: DeskLetter,
    digest: str,
) -> None:
    """Note a refusal in the audit log and tell the colleague, if they still work here. The caller has locked them.

    `digest` stands for the letter: what is said of it has the same Message-ID at a repeat.
    """
    now = hub.clock.now()
    is_told = (
        user is not None
        and user.is_active
        and hub.settings.mail_server() is not None
        and (refusal.is_theirs or not await _told_lately(session, named.conversation_id, now))
    )
    audit.note(
        session,
        REFUSED,
        at=now,
        user_id=named.user_id,
        entity="conversation",
        entity_id=named.conversation_id,
        details={
            "why": refusal.code,
            "from": letter.sender,
            "detail": refusal.message % refusal.values if refusal.values else refusal.message,
            "is_stranger": not refusal.is_theirs,
            "is_told": is_told,
        },
    )
    if is_told:
        await jobs.enqueue(
            session,
            REFUSAL,
            at=now,
            lane=f"mail:{named.user_id}",
            user_id=named.user_id,
            conversation_id=named.conversation_id,
            message=refusal.message,
            values=refusal.values,
            letter=digest,
            answers=letter.message_id if refusal.is_theirs else "",
        )


async def _told_lately(session: AsyncSession, conversation_id: int, now: datetime) -> bool:
    """Whether a stranger's letter for this conversation was told within the hour."""
    return bool(
        await session.scalar(
            select(
                exists().where(
                    AuditEntry.created_at > now - STRANGERS_ARE_TOLD_EVERY,
                    AuditEntry.action == REFUSED,
                    AuditEntry.entity == "conversation",
                    AuditEntry.entity_id == conversation_id,
                    AuditEntry.details["is_stranger"].as_boolean(),
                    AuditEntry.details["is_told"].as_boolean(),
                )
            )
        )
    )


async def tell_refused(
    hub: Hub,
    *,
    user_id: int,
    conversation_id: int,
    message: str,
    values: dict[str, str],
    letter: str,
    answers: str,
) -> None:
    """Tell a colleague that a letter of theirs, or in their name, was not sent, and why.

    Raises:
        Temporary, Undeliverable: as `mail.hand_over`.
    """
    server, sender = hub.settings.mail_server(), hub.settings.mail_sender()
    if server is None or sender is None:
        return
    async with hub.database.reading() as session:
        user = await session.get(User, user_id)
        if user is None or not user.is_active:
            return
        conversation = await session.get(Conversation, conversation_id)
        name = ""
        if conversation is not None:
            reader = await reader_for(session, user, now=hub.clock.now())
            contact = await session.get_one(Contact, conversation.contact_id)
            name = await cards.name_of(Desk(session, hub, reader), contact)
    _ = translator_for(user.language)
    subject = _("Nothing was sent to %(name)s") % {"name": name or _("Somebody")}
    root = answerable.root_of(conversation) if conversation is not None else ""
    told = mail.begin(hub, sender, user, subject, name=f"refused-{letter}", root=root)
    domain = parseaddr(sender)[1].rpartition("@")[2]
    if answers.isascii() and 0 < len(answers) < 250 and answers.isprintable():
        del told["In-Reply-To"], told["References"]
        told["In-Reply-To"] = answers
        told["References"] = f"<{root}@{domain}> {answers}" if root else answers
    reason = _(message)
    lines = [subject, reason % values if values else reason]
    lines.append(_("Answer here: %(url)s") % {"url": f"{hub.public_url}/conversations/{conversation_id}"})
    told.set_content("\n\n".join(lines) + "\n")
    await mail.hand_over(server, told)
