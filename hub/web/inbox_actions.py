"""What people do with a conversation beside answering: give it away, put it aside, end it, see who else is there."""

from __future__ import annotations

from datetime import datetime, timedelta

from aiohttp import web
from sqlalchemy import or_, select

from core.kernel.errors import Rejected
from core.staff import access
from core.talk import conversations, outbox, viewings
from core.talk.conversations import Conversation, Message
from hub.web import shown, typed
from hub.web.changes import changing, chosen_person
from hub.web.rendering import day_begins, local_date
from hub.web.visits import Visit
from hub.web.words import N_


async def assign(visit: Visit, conversation_id: int) -> web.Response:
    """Give a conversation to somebody, take it (`user_id=me`), or let it be nobody's."""
    found = await changing(visit, Conversation, conversation_id)
    to = await chosen_person(visit, "user_id", found.assignee_id)
    await conversations.assign(visit.session, found, to=to, at=visit.viewer.now, actor_id=visit.user.id)
    await visit.session.flush()
    still_visible = await visit.session.scalar(
        access.narrow(select(Conversation.id), visit.rights, Conversation).where(Conversation.id == found.id)
    )
    if not still_visible:
        return visit.go("/inbox")
    told = (
        N_("It is yours now") if to == visit.user.id else N_("It was handed over") if to else N_("It is nobody's now")
    )
    return visit.done(f"/conversations/{found.id}", told)


async def resolve(visit: Visit, conversation_id: int) -> web.Response:
    """End a conversation for now: the customer's next message takes it up again."""
    found = await changing(visit, Conversation, conversation_id)
    await conversations.resolve(visit.session, found, at=visit.viewer.now, actor_id=visit.user.id)
    return visit.done(f"/conversations/{found.id}", N_("Resolved"), undo=f"/conversations/{found.id}/reopening")


async def reopen(visit: Visit, conversation_id: int) -> web.Response:
    """Take a conversation up again that was resolved or put aside."""
    found = await changing(visit, Conversation, conversation_id)
    await conversations.reopen(visit.session, found, at=visit.viewer.now, actor_id=visit.user.id)
    return visit.done(f"/conversations/{found.id}", N_("It is open again"))


async def snooze(visit: Visit, conversation_id: int) -> web.Response:
    """Put a conversation aside: `until` is `hour`, `tomorrow`, `monday`, or a moment as forms send it (in `at`)."""
    found = await changing(visit, Conversation, conversation_id)
    until = _until(visit)
    await conversations.snooze(visit.session, found, until=until, at=visit.viewer.now, actor_id=visit.user.id)
    return visit.done(f"/conversations/{found.id}", N_("Was put aside"), undo=f"/conversations/{found.id}/reopening")


def _until(visit: Visit) -> datetime:
    preset = visit.field("until")
    nine = timedelta(hours=9)
    if preset == "hour":
        return visit.viewer.now + timedelta(hours=1)
    if preset == "tomorrow":
        return day_begins(visit.viewer, days=1) + nine
    if preset == "monday":
        today = local_date(visit.viewer, visit.viewer.now)
        return day_begins(visit.viewer, days=7 - today.weekday()) + nine
    chosen = typed.moment(visit.field("at"), visit.viewer.time_zone, field="at")
    if chosen is None:
        raise Rejected(visit.translate(N_("Choose a day and a time")), field="at")
    return chosen


async def read(visit: Visit, conversation_id: int) -> web.Response:
    """Note that what is new was seen, in all that is said with this contact, if the person looks after it."""
    found = await access.fetch(visit.session, visit.rights, Conversation, conversation_id)
    if not visit.rights.may_change:
        return web.Response(status=204)
    statement = (
        select(Conversation)
        .where(
            Conversation.contact_id == found.contact_id,
            Conversation.unread > 0,
            or_(Conversation.assignee_id == visit.user.id, Conversation.assignee_id.is_(None)),
        )
        .with_for_update(of=Conversation)
    )
    for theirs in list(await visit.session.scalars(access.narrow(statement, visit.rights, Conversation))):
        await conversations.read(visit.session, theirs, at=visit.viewer.now, actor_id=visit.user.id)
    return web.Response(status=204)


async def be_present(visit: Visit, conversation_id: int) -> web.Response:
    """Note that the person has it open (`writing=1`: and writes), or left it (`left=1`); show who else has."""
    found = await access.fetch(visit.session, visit.rights, Conversation, conversation_id)
    session, now = visit.session, visit.viewer.now
    if visit.field("left"):
        await viewings.leave(session, found.id, visit.user.id)
        return web.Response(status=204)
    await viewings.note(session, found.id, visit.user.id, is_writing=visit.field("writing") == "1", at=now)
    others = await viewings.others(session, found.id, visit.user.id, now=now)
    people = await shown.people(session, [row.user_id for row in others])
    here = [(people[row.user_id], row.is_writing) for row in others if row.user_id in people]
    return visit.page("inbox/_present.html", here=here)


async def retry(visit: Visit, message_id: int) -> web.Response:
    """Send a message once more that failed, or of which nobody knows whether it went."""
    message = await changing(visit, Message, message_id)
    await outbox.retry(visit.session, message, at=visit.viewer.now)
    return visit.done(f"/conversations/{message.conversation_id}", N_("It goes out again"))


async def cancel(visit: Visit, message_id: int) -> web.Response:
    """Take back a message that was to be sent later."""
    message = await changing(visit, Message, message_id)
    await outbox.cancel(visit.session, message, at=visit.viewer.now, actor_id=visit.user.id)
    return visit.done(f"/conversations/{message.conversation_id}", N_("It will not be sent"))
