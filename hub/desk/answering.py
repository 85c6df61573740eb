"""Answering: what a colleague writes under a card or in a topic goes to the customer, and its ticks come back."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from channels.desk_contract import Card, DeskSaid, Key
from core.kernel.errors import Conflict, DomainError, Forbidden, NotFound, Rejected
from core.people.contacts import Contact
from core.sales import leads
from core.sales.leads import Lead
from core.staff import users
from core.talk import conversations, outbox
from core.talk.conversations import Conversation, Message
from core.talk.outbox import MessagePart, PartState
from core.work import routing
from hub import replies
from hub.desk import cards, posts
from hub.desk.cards import key
from hub.desk.doing import Doing
from hub.desk.records import DeskPost, DeskTopic, name_post, post_named

NOTE_SIGNS = ("//", "!!")
"""What begins a note for colleagues only."""

_OFFERED = 4


async def answer(doing: Doing, event: DeskSaid, text: str) -> None:
    """Send what somebody wrote to the customer it is about; or note it, or ask whom it is for."""
    if doing.conversation_id is None:
        await _ask_whom(doing, event, text)
        return
    try:
        conversation = await doing.fetch(Conversation, doing.conversation_id)
    except NotFound as hidden:
        raise await _whose(doing, doing.conversation_id, hidden) from hidden
    if text.startswith(NOTE_SIGNS):
        await note(doing, conversation, text[2:])
        return
    await send(doing, conversation, text, ref=event.ref)


async def _whose(doing: Doing, conversation_id: int, hidden: NotFound) -> DomainError:
    """Return why somebody may not answer in a topic that they read all the same: a colleague looks after it."""
    found = None if doing.topic_id is None else await doing.session.get(Conversation, conversation_id)
    names = await users.names(doing.session, {found.assignee_id}) if found is not None else {}
    if found is None or found.assignee_id not in names:
        return hidden
    name = names[found.assignee_id]
    return Forbidden(doing.text("%(name)s looks after this conversation. Nothing was sent", name=name))


async def send(doing: Doing, conversation: Conversation, text: str, *, ref: str) -> Message:
    """Send an answer to the customer of a conversation; `ref` is the post that said it.

    Whoever answers first looks after it, and after what was nobody's of the same person.

    Raises:
        Rejected: there is nothing to say, or no way to say it.
    """
    answered_id = doing.about.message_id if doing.about is not None and doing.about.purpose == "message" else None
    message = await replies.reply(
        doing.session,
        doing.hub,
        conversation,
        author_id=doing.user.id,
        text=text,
        attachment_ids=doing.files,
        reply_to_id=answered_id,
    )
    await take_what_is_nobodys(doing.session, conversation, user_id=doing.user.id, at=doing.now)
    await remember(doing, message, ref)
    state = DeskPost(
        lane=posts.lane_of(doing.live.id, doing.event.peer, doing.topic_id),
        connection_id=doing.live.id,
        chat=doing.event.peer,
        thread="" if doing.topic_id is not None else doing.event.thread,
        topic_id=doing.topic_id,
        purpose="state",
        what={"connection_id": conversation.connection_id},
        user_id=doing.user.id,
        conversation_id=conversation.id,
        message_id=message.id,
        reply_to=ref,
        due_at=doing.now,
        created_at=doing.now,
    )
    doing.posts.append(state)
    await _mirror(doing, message)
    return message


async def remember(doing: Doing, message: Message, ref: str) -> None:
    """Note which post of a colleague's became which message, so that answers to it and edits of it find their way."""
    theirs = DeskPost(
        lane=posts.lane_of(doing.live.id, doing.event.peer, doing.topic_id),
        connection_id=doing.live.id,
        chat=doing.event.peer,
        thread=doing.event.thread,
        topic_id=doing.topic_id,
        purpose="theirs",
        user_id=doing.user.id,
        conversation_id=message.conversation_id,
        message_id=message.id,
        due_at=None,
        posted_at=doing.now,
        created_at=doing.now,
    )
    doing.session.add(theirs)
    await doing.session.flush()
    if ref:
        await name_post(doing.session, theirs, [ref])


async def _mirror(doing: Doing, message: Message) -> None:
    """Show an answer that was given privately in the conversation's topic too: the team sees one thread."""
    if doing.topic_id is not None:
        return
    rows = await doing.session.scalars(select(DeskTopic).where(DeskTopic.conversation_id == message.conversation_id))
    doing.posts += [posts.to_topic(topic, "mirror", at=doing.now, message_id=message.id) for topic in rows]


async def take_what_is_nobodys(
    session: AsyncSession, conversation: Conversation, *, user_id: int, at: datetime
) -> None:
    """Whoever answers first looks after what the same person asked for and nobody has."""
    lead = await session.scalar(
        select(Lead)
        .where(
            Lead.contact_id == conversation.contact_id,
            Lead.owner_id.is_(None),
            Lead.status.in_(leads.OPEN_STATUSES),
        )
        .order_by(Lead.id.desc())
        .limit(1)
        .with_for_update()
    )
    if lead is not None:
        await routing.take(session, lead, user_id=user_id, at=at, actor_id=user_id)


async def note(doing: Doing, conversation: Conversation, text: str) -> None:
    """Write down something for colleagues only.

    Raises:
        Rejected: there is no text.
    """
    written = await conversations.note(doing.session, conversation, text=text, at=doing.now, author_id=doing.user.id)
    await remember(doing, written, getattr(doing.event, "ref", ""))
    doing.say(Card(footer="📝 " + doing.text("Noted, for colleagues only"), is_quiet=True))
    await _mirror(doing, written)


async def _ask_whom(doing: Doing, event: DeskSaid, text: str) -> None:
    """Ask whom something is for: it was written to the bot, in answer to nothing."""
    _ = doing.text
    if not text and not doing.files:
        return
    rows = list(
        await doing.session.scalars(
            select(Conversation)
            .join(DeskPost, DeskPost.conversation_id == Conversation.id)
            .where(
                DeskPost.user_id == doing.user.id,
                DeskPost.connection_id == doing.live.id,
                DeskPost.chat == event.peer,
                DeskPost.posted_at.is_not(None),
            )
            .group_by(Conversation.id)
            .order_by(Conversation.last_message_at.desc())
            .limit(_OFFERED)
        )
    )
    offered: list[tuple[Key, ...]] = []
    for conversation in rows:
        contact = await doing.session.get_one(Contact, conversation.contact_id)
        offered.append((key(f"↩️ {await cards.name_of(doing.desk, contact)}", "to", conversation.id),))
    lines = (
        (_("Choose, or answer to their card."),)
        if offered
        else (_("Answer to a card, and it goes to that customer. /help shows what else can be done."),)
    )
    doing.say(
        Card(title="❔ " + _("Whom is this for? Nothing was sent."), lines=lines, keys=tuple(offered)),
        what={"text": text, "files": doing.files, "ref": event.ref},
    )


async def correct(doing: Doing, event: DeskSaid) -> None:
    """Take over a changed wording where that is still possible; else say so, and offer to send it as well."""
    _ = doing.text
    theirs = await post_named(doing.session, doing.live.id, event.peer, event.ref)
    if theirs is None or theirs.message_id is None or theirs.purpose != "theirs":
        return
    message = await doing.fetch(Message, theirs.message_id)
    text = event.text.strip()
    if message.private:
        message.text = text.removeprefix("//").removeprefix("!!").strip() or message.text
        message.edited_at = doing.now
        return
    if not text or text == message.text:
        return
    parts = list(
        await doing.session.scalars(
            select(MessagePart).where(MessagePart.message_id == message.id).order_by(MessagePart.position)
        )
    )
    untouched = message.status in ("queued", "scheduled") and all(part.state == PartState.WAITING for part in parts)
    if untouched:
        conversation = await doing.session.get_one(Conversation, message.conversation_id)
        try:
            await outbox.cancel(doing.session, message, at=doing.now, actor_id=doing.user.id)
        except Conflict:
            untouched = False
        else:
            if parts and any(part.content.get("file_ids") for part in parts):
                raise Rejected("The message has files and cannot be changed any more; it was taken back. Send it anew")
            fresh = await send(doing, conversation, text, ref=event.ref)
            await doing.session.flush()
            theirs.message_id = fresh.id
            return
    doing.conversation_id = message.conversation_id
    doing.say(
        Card(
            title="✏️ " + _("It was sent already: the customer has the earlier wording."),
            keys=((key("📨 " + _("Send the new wording"), "fix", message.id),),),
        ),
        what={"text": text, "ref": event.ref},
        message_id=message.id,
    )


async def send_kept(doing: Doing, conversation_id: int) -> Message:
    """Send what was written before anybody knew whom it was for, or as a corrected wording; once.

    Raises:
        NotFound: it was sent already.
    """
    asked = doing.about
    if asked is None or asked.what.get("sent") or ("text" not in asked.what):
        raise NotFound("text to send")
    conversation = await doing.fetch(Conversation, conversation_id)
    asked.what = {**asked.what, "sent": True}
    doing.files = [int(file) for file in asked.what.get("files", ())]
    doing.about = None
    return await send(doing, conversation, str(asked.what["text"]), ref=str(asked.what.get("ref", "")))
