"""Telling: reads the diary on and decides who is told what in their messenger, each thing once.

It is a lasting reader of its own, so that a messenger that is away holds up nobody. What a person is told privately and
what stands in a team's topic are decided here; how it looks is decided when it is posted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import exists, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from channels.desk_contract import Card, Place
from core.kernel import events
from core.sales.leads import Lead
from core.staff import users
from core.staff.teams import TeamMember
from core.staff.users import User
from core.talk.conversations import Conversation, Direction, Message
from core.work.tasks import Task
from hub.app import Hub
from hub.desk import cards, posts, topics
from hub.desk.reader import reader_for
from hub.desk.records import DeskLink, DeskPost, DeskTeamChat, DeskTopic, links_of

log = structlog.get_logger(__name__)

READER = "desk"
_TOO_OLD = timedelta(hours=12)
"""What happened longer ago is no news: the hub was away, or the desk was connected only now."""

KINDS = {
    "leads": ("lead.created", "lead.assigned"),
    "messages": ("message.received", "message.grown"),
    "tasks": ("task.created", "task.assigned", "task.reminder", "task.overdue", "task.escalated"),
    "calls": ("call.ringing",),
    "handed": ("conversation.assigned", "deal.assigned", "conversation.woken"),
    "trouble": ("connection.trouble",),
}
"""What somebody can switch off in their settings (`events`), and which kinds of the diary that is."""

_GROUP_OF = {kind: group for group, kinds in KINDS.items() for kind in kinds}
_STATES = (
    *("message.sent", "message.delivered", "message.read", "message.failed", "message.uncertain"),
    *("message.canceled", "message.retried", "message.edited", "message.deleted", "message.reacted"),
)
_LEAD_CHANGED = ("lead.assigned", "lead.working", "lead.converted", "lead.disqualified")
_TASK_CHANGED = (
    *("task.assigned", "task.completed", "task.canceled", "task.reopened", "task.postponed", "task.changed"),
    *("task.overdue", "task.escalated"),
)
_CALL_CHANGED = ("call.answered", "call.completed", "call.missed", "call.voicemail", "call.failed", "call.unanswered")
_TOPIC_CHANGED = (
    *("conversation.assigned", "conversation.resolved", "conversation.reopened", "deal.stage_changed", "deal.won"),
    *("deal.lost", "deal.reopened", "lead.assigned", "contact.changed", "contact.merged", "message.received"),
)
_OTHERS = ("message.queued", "message.scheduled", "conversation.noted", "message.echoed")
_ALL = frozenset((*_GROUP_OF, *_STATES, *_LEAD_CHANGED, *_TASK_CHANGED, *_CALL_CHANGED, *_TOPIC_CHANGED, *_OTHERS))


async def take(session: AsyncSession, hub: Hub) -> bool:
    """Read on in the diary and write down what is to be posted; say whether there is more.

    While nobody is linked and no group is worked in, nothing is read; the first who links is told what comes then.
    """
    if not await session.scalar(select(exists(select(DeskLink.id)) | exists(select(DeskTeamChat.id)))):
        await session.execute(text("DELETE FROM cursors WHERE reader = :reader"), {"reader": READER})
        return False
    known = await session.scalar(text("SELECT 1 FROM cursors WHERE reader = :reader"), {"reader": READER})
    if known is None:
        await begin(session)
    lines, more = await events.take(session, READER, kinds=_ALL)
    if lines:
        await _Telling(session, hub).tell(lines)
    return more


async def begin(session: AsyncSession) -> None:
    """Let the desk read the diary from here on, unless it does already."""
    end = await events.end(session)
    await session.execute(
        text(
            "INSERT INTO cursors (reader, transaction, event_id) "
            "VALUES (:reader, CAST(CAST(:transaction AS text) AS xid8), 0) ON CONFLICT DO NOTHING"
        ),
        {"reader": READER, "transaction": str(end.transaction)},
    )


class _Telling:
    """One round of telling: what several lines ask for is gathered, so that each thing is done once."""

    def __init__(self, session: AsyncSession, hub: Hub) -> None:
        self.session, self.hub, self.now = session, hub, hub.clock.now()
        self.posts: list[DeskPost] = []
        self.leads: set[int] = set()
        self.tasks: set[int] = set()
        self.messages: set[int] = set()
        self.calls: set[int] = set()
        self.conversations: set[int] = set()
        self.contacts: set[int] = set()

    async def tell(self, lines: Sequence[Any]) -> None:
        for line in lines:
            self.note_changes(line)
            if self.now - line.at > _TOO_OLD:
                continue
            match line.kind:
                case "lead.created":
                    await self.new_lead(line)
                case "lead.assigned":
                    await self.lead_given(line)
                case "message.received" | "message.grown":
                    await self.message_received(line)
                case "message.queued" | "message.scheduled" | "conversation.noted" | "message.echoed":
                    await self.said_elsewhere(line)
                case "conversation.assigned" | "conversation.woken":
                    await self.conversation_given(line)
                case "task.created" | "task.assigned" | "task.reminder" | "task.overdue" | "task.escalated":
                    await self.task_told(line)
                case "call.ringing":
                    await self.rings(line)
                case "connection.trouble":
                    await self.trouble(line)
                case _:
                    pass
        await posts.add(self.session, self.posts)
        await posts.refresh(
            self.session,
            at=self.now,
            leads=sorted(self.leads),
            tasks=sorted(self.tasks),
            messages=sorted(self.messages),
            calls=sorted(self.calls),
        )
        if self.contacts:
            rows = await self.session.scalars(
                select(Conversation.id)
                .join(DeskTopic, DeskTopic.conversation_id == Conversation.id)
                .where(Conversation.contact_id.in_(self.contacts))
            )
            self.conversations |= set(rows)
        await topics.check(self.session, self.conversations, at=self.now)

    def note_changes(self, line: Any) -> None:
        if line.kind in _LEAD_CHANGED and line.lead_id:
            self.leads.add(line.lead_id)
        if line.kind in _TASK_CHANGED and line.task_id:
            self.tasks.add(line.task_id)
        if line.kind in _STATES and line.message_id:
            self.messages.add(line.message_id)
        if line.kind in _CALL_CHANGED and line.details.get("call_id"):
            self.calls.add(int(line.details["call_id"]))
        if line.kind in _TOPIC_CHANGED:
            if line.conversation_id:
                self.conversations.add(line.conversation_id)
            elif line.contact_id:
                self.contacts.add(line.contact_id)

    # --- to whom ---

    async def reachable(self, user_ids: set[int], kind: str, *, but: int | None = None) -> list[DeskLink]:
        """Return the links of people who want to be told this sort of thing, without the one who did it."""
        found = await links_of(self.session, {user_id for user_id in user_ids if user_id != but})
        active = set(
            await self.session.scalars(
                select(User.id).where(User.id.in_({link.user_id for link in found}), User.is_active)
            )
        )
        group = _GROUP_OF[kind]
        return [link for link in found if link.user_id in active and link.settings.get("events", {}).get(group, True)]

    async def members(self, team_id: int | None) -> set[int]:
        """Return who may take what is nobody's: the team's people, else its heads."""
        inside = await self.session.scalars(select(TeamMember.user_id).where(TeamMember.team_id == team_id))
        return set(inside) | set(await users.heads_for(self.session, team_id))

    async def topic(self, conversation_id: int | None) -> DeskTopic | None:
        conversation = None if conversation_id is None else await self.session.get(Conversation, conversation_id)
        return None if conversation is None else await topics.topic_of(self.session, conversation, at=self.now)

    # --- what ---

    async def new_lead(self, line: Any) -> None:
        if line.details.get("call_id"):
            return  # whose phone rings is told of the call, whoever is to call back of the task
        lead = await self.session.get(Lead, line.lead_id)
        if lead is None:
            return
        said = await cards.first_words(self.session, lead)
        conversation_id = said.conversation_id if said is not None else line.conversation_id
        subjects = {"lead_id": lead.id, "conversation_id": conversation_id, "deal_id": lead.deal_id}
        told = {line.user_id} if line.user_id is not None else await self.members(lead.team_id)
        for link in await self.reachable(told, line.kind, but=line.actor_id):
            self.posts.append(posts.to_link(link, "lead", at=self.now, **subjects))
            if not cards.is_whole(said):
                self.posts.append(
                    posts.to_link(
                        link, "message", at=self.now, conversation_id=conversation_id, message_id=line.message_id
                    )
                )
        if (topic := await self.topic(conversation_id)) is not None:
            self.posts.append(posts.to_topic(topic, "lead", at=self.now, **subjects))
            if said is not None and not cards.is_whole(said):
                self.posts.append(posts.to_topic(topic, "message", at=self.now, message_id=said.id))

    async def lead_given(self, line: Any) -> None:
        lead = await self.session.get(Lead, line.lead_id)
        if lead is None or line.user_id is None:
            return
        has_card = select(DeskPost.id).where(
            DeskPost.lead_id == lead.id, DeskPost.user_id == line.user_id, DeskPost.purpose == "lead"
        )
        if await self.session.scalar(has_card.limit(1)) is not None:
            return  # it is shown anew
        said = await cards.first_words(self.session, lead)
        for link in await self.reachable({line.user_id}, line.kind, but=line.actor_id):
            conversation_id = said.conversation_id if said is not None else None
            self.posts.append(
                posts.to_link(
                    link, "lead", at=self.now, lead_id=lead.id, conversation_id=conversation_id, deal_id=lead.deal_id
                )
            )

    async def message_received(self, line: Any) -> None:
        if line.kind == "message.grown":
            self.messages.add(line.message_id)
            return
        if line.details.get("is_first"):
            return  # the lead's card says it
        conversation = await self.session.get(Conversation, line.conversation_id)
        if conversation is None:
            return
        if (topic := await topics.topic_of(self.session, conversation, at=self.now)) is not None:
            self.posts.append(posts.to_topic(topic, "message", at=self.now, message_id=line.message_id))
            return
        looks_after = conversation.assignee_id if conversation.assignee_id is not None else line.user_id
        told = {looks_after} if looks_after is not None else await self.members(conversation.team_id)
        for link in await self.reachable(told, line.kind):
            self.posts.append(
                posts.to_link(link, "message", at=self.now, conversation_id=conversation.id, message_id=line.message_id)
            )

    async def said_elsewhere(self, line: Any) -> None:
        """Show in a team's topic what a colleague said from the workspace, or noted."""
        row = await self.session.get(Message, line.message_id)
        if row is None or row.direction != Direction.OUTBOUND:
            return
        here = select(DeskPost.id).where(DeskPost.message_id == row.id, DeskPost.purpose.in_(("theirs", "mirror")))
        if await self.session.scalar(here.limit(1)) is not None:
            return
        topic = await self.topic(row.conversation_id)
        if topic is not None:
            self.posts.append(posts.to_topic(topic, "mirror", at=self.now, message_id=row.id))

    async def conversation_given(self, line: Any) -> None:
        conversation = await self.session.get(Conversation, line.conversation_id)
        if conversation is None or conversation.assignee_id is None:
            return
        for link in await self.reachable({conversation.assignee_id}, line.kind, but=line.actor_id):
            self.posts.append(posts.to_link(link, "handed", at=self.now, conversation_id=conversation.id))

    async def task_told(self, line: Any) -> None:
        task = await self.session.get(Task, line.task_id)
        if task is None or line.user_id is None:
            return
        if line.kind == "task.created" and task.lead_id is not None and not line.details.get("call_id"):
            return  # the lead's card is about the same
        for link in await self.reachable({line.user_id}, line.kind, but=line.actor_id):
            self.posts.append(
                posts.to_link(
                    link,
                    "task",
                    at=self.now,
                    task_id=task.id,
                    deal_id=task.deal_id,
                    conversation_id=task.conversation_id or await self.latest_talk(task.contact_id),
                    what={"because": line.kind},
                )
            )

    async def latest_talk(self, contact_id: int | None) -> int | None:
        """Return the conversation an answer about a contact goes into: the one they wrote in last."""
        if contact_id is None:
            return None
        found: int | None = await self.session.scalar(
            select(Conversation.id)
            .where(Conversation.contact_id == contact_id)
            .order_by(Conversation.last_inbound_at.desc().nulls_last(), Conversation.id.desc())
            .limit(1)
        )
        return found

    async def rings(self, line: Any) -> None:
        if line.user_id is None:
            return
        for link in await self.reachable({line.user_id}, line.kind):
            self.posts.append(
                posts.to_link(
                    link,
                    "call",
                    at=self.now,
                    call_id=int(line.details["call_id"]),
                    lead_id=None,
                    conversation_id=await self.latest_talk(line.contact_id),
                )
            )

    async def trouble(self, line: Any) -> None:
        told = set(await users.administrators(self.session))
        for link in await self.reachable(told, line.kind):
            user = await self.session.get(User, link.user_id)
            _ = (await reader_for(self.session, user, now=self.now)).text
            card = Card(
                title="⚠️ " + _("The channel %(title)s has trouble", title=line.details.get("title", "")),
                words=str(line.details.get("detail", "")),
            )
            self.posts.append(posts.said(link.connection_id, Place(link.chat), card, at=self.now, user_id=link.user_id))
