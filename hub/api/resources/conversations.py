"""Conversations: all that is said with one contact over one connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import or_, select

from core.people import moving as people_moving
from core.people.contacts import Contact
from core.sales.deals import Deal
from core.staff import access, users
from core.talk import conversations
from core.talk.conversations import Conversation, Message
from hub import moving, replies
from hub.api import paging, records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.resources import messages
from hub.api.wire import Body, Id, Moment, Page, View, as_id

Status = Literal["open", "pending", "snoozed", "resolved"]


class ConversationView(View):
    """What is said with a contact over a connection. `waiting_since`: the customer has waited for an answer since then.

    `kind` is the connection's; `deal_ids` are the contact's deals that the caller may see; `unread` counts messages.
    """

    id: Id
    contact_id: Id
    connection_id: Id
    kind: str
    subject: str
    status: Status
    assignee_id: Id | None
    waiting_since: Moment | None
    snoozed_until: Moment | None
    replies_until: Moment | None
    last_message_at: Moment
    last_message_text: str
    unread: int
    deal_ids: list[Id]
    created_at: Moment
    version: int


class Note(Body):
    """Something for colleagues only."""

    text: Annotated[str, Meta(min_length=1, max_length=20_000)]


class Assignment(Body):
    """To whom it goes; null: to nobody for now."""

    assignee_id: Id | None


class Move(Body):
    """Whose it shall be. `with_address`: what comes from the address on its other side next is theirs, too."""

    contact_id: Id
    with_address: bool = True


class TemplateChoice(Body):
    """A template the provider has approved, with the values of its placeholders in order."""

    name: Annotated[str, Meta(min_length=1, max_length=512)]
    language: Annotated[str, Meta(max_length=20)] = ""
    values: Annotated[list[Annotated[str, Meta(max_length=1024)]], Meta(max_length=50)] = msgspec.field(
        default_factory=list
    )


class NewMessage(Body):
    """What to say.

    `attachment_ids` are of files sent to POST /files before. `send_at` sends it later. `connection_id` takes another
    channel than the conversation's own; the message is then in the conversation on that channel.
    """

    text: Annotated[str, Meta(max_length=20_000)] = ""
    subject: Annotated[str, Meta(max_length=500)] = ""
    attachment_ids: Annotated[list[Id], Meta(max_length=20)] = msgspec.field(default_factory=list)
    buttons: Annotated[list[Annotated[str, Meta(min_length=1, max_length=80)]], Meta(max_length=10)] = msgspec.field(
        default_factory=list
    )
    template: TemplateChoice | None = None
    reply_to_id: Id | None = None
    send_at: Moment | None = None
    connection_id: Id | None = None


class Snooze(Body):
    """When the conversation comes back; earlier, if the customer writes."""

    until: Moment


class WayView(View):
    """A way to answer. `problem` says why nothing can go this way now, "" if it can; `needs_template`: only a template.

    `limit` is the longest text of one part in `unit`; `replies_until` is when the time for free words ends.
    """

    connection_id: Id
    kind: str
    title: str
    conversation_id: Id | None
    problem: str
    needs_template: bool
    replies_until: Moment | None
    limit: int
    unit: str


CONVERSATIONS = Listing(
    "conversations",
    unique=Conversation.id,
    sorts={
        "last_message_at": Conversation.last_message_at,
        "waiting_since": Conversation.waiting_since,
        "created_at": Conversation.created_at,
    },
    filters={
        "status": paging.one_of(Conversation.status, Status),
        "contact_id": paging.ids(Conversation.contact_id),
        "connection_id": paging.ids(Conversation.connection_id),
        "assignee_id": paging.ids(Conversation.assignee_id),
        "waiting": paging.flag(
            lambda: Conversation.waiting_since.is_not(None), "Whether the customer waits for an answer."
        ),
        "unread": paging.flag(lambda: Conversation.unread > 0, "Whether there is something unread."),
        **paging.moments(last_message_at=Conversation.last_message_at, created_at=Conversation.created_at),
    },
)


async def views(call: Call, rows: Sequence[Conversation]) -> list[ConversationView]:
    """Make the views of a page; kinds and deals of all of them are read at once."""
    kinds = await messages.kinds_of(call, {row.connection_id for row in rows})
    deals: dict[int, list[Id]] = {}
    theirs = select(Deal.contact_id, Deal.id).where(
        Deal.contact_id.in_({row.contact_id for row in rows}), access.visible(call.rights, Deal)
    )
    for row in await call.session.execute(theirs.order_by(Deal.id)):
        deals.setdefault(row.contact_id, []).append(Id(row.id))
    return [
        ConversationView(
            id=Id(row.id),
            contact_id=Id(row.contact_id),
            connection_id=Id(row.connection_id),
            kind=kinds.get(row.connection_id, ""),
            subject=row.subject,
            status=row.status,  # type: ignore[arg-type]
            assignee_id=as_id(row.assignee_id),
            waiting_since=row.waiting_since,
            snoozed_until=row.snoozed_until,
            replies_until=row.replies_until,
            last_message_at=row.last_message_at,
            last_message_text=row.last_message_text,
            unread=row.unread,
            deal_ids=deals.get(row.contact_id, []),
            created_at=row.created_at,
            version=row.version,
        )
        for row in rows
    ]


async def index(call: Call, query: ListQuery) -> Page[ConversationView]:
    """List conversations, the last ones to be heard of in front."""
    statement = access.narrow(select(Conversation), call.rights, Conversation)
    found = await CONVERSATIONS.page(call.session, statement, query)
    return Page(items=await views(call, found.rows), next=found.next)


async def show(call: Call, conversation_id: Id) -> ConversationView:
    """Show a conversation."""
    return (await views(call, [await records.seen(call, Conversation, conversation_id)]))[0]


async def list_messages(call: Call, conversation_id: Id, query: ListQuery) -> Page[messages.MessageView]:
    """List what was said in a conversation, notes for colleagues included."""
    conversation = await records.seen(call, Conversation, conversation_id)
    statement = access.narrow(select(Message), call.rights, Message).where(Message.conversation_id == conversation.id)
    found = await messages.MESSAGES.page(call.session, statement, query)
    return Page(items=await messages.views(call, found.rows), next=found.next)


async def add_note(call: Call, conversation_id: Id, body: Note) -> messages.MessageView:
    """Write a note for colleagues; nobody outside ever sees it."""
    conversation = await records.changing(call, Conversation, conversation_id)
    note = await conversations.note(call.session, conversation, text=body.text, at=call.now, author_id=call.user_id)
    return (await messages.views(call, [note]))[0]


async def assign(call: Call, conversation_id: Id, body: Assignment) -> ConversationView:
    """Give a conversation to somebody."""
    conversation = await records.changing(call, Conversation, conversation_id)
    if body.assignee_id != conversation.assignee_id:
        call.rights.require_assign(conversation.assignee_id)
        if body.assignee_id is not None:
            await users.for_work(call.session, body.assignee_id, field="assignee_id")
        to = None if body.assignee_id is None else int(body.assignee_id)
        await conversations.assign(call.session, conversation, to=to, at=call.now, actor_id=call.user_id)
    return (await views(call, [conversation]))[0]


async def resolve(call: Call, conversation_id: Id) -> ConversationView:
    """Resolve a conversation: all is said for now. The customer's next message takes it up again."""
    conversation = await records.changing(call, Conversation, conversation_id)
    await conversations.resolve(call.session, conversation, at=call.now, actor_id=call.user_id)
    return (await views(call, [conversation]))[0]


async def reopen(call: Call, conversation_id: Id) -> ConversationView:
    """Take a resolved conversation up again."""
    conversation = await records.changing(call, Conversation, conversation_id)
    await conversations.reopen(call.session, conversation, at=call.now, actor_id=call.user_id)
    return (await views(call, [conversation]))[0]


async def say(call: Call, conversation_id: Id, body: NewMessage) -> messages.MessageView:
    """Answer the customer, now or later. The message is queued; its `status` tells how far it has come."""
    conversation = await records.changing(call, Conversation, conversation_id)
    if body.reply_to_id is not None:
        await records.referred(call, Message, body.reply_to_id, field="reply_to_id")
    message = await replies.reply(
        call.session,
        call.hub,
        conversation,
        author_id=call.user_id,
        text=body.text,
        subject=body.subject,
        attachment_ids=[int(attachment_id) for attachment_id in body.attachment_ids],
        buttons=body.buttons,
        template=None
        if body.template is None
        else (body.template.name, body.template.language, tuple(body.template.values)),
        reply_to_id=None if body.reply_to_id is None else int(body.reply_to_id),
        send_at=body.send_at,
        connection_id=None if body.connection_id is None else int(body.connection_id),
    )
    return (await messages.views(call, [message]))[0]


async def ways(call: Call, conversation_id: Id) -> Page[WayView]:
    """List the ways to answer the customer, the one they wrote on last first."""
    conversation = await records.seen(call, Conversation, conversation_id)
    found = await replies.routes(call.session, call.hub, conversation.contact_id)
    return Page(
        items=[
            WayView(
                connection_id=Id(route.live.id),
                kind=route.live.kind,
                title=route.live.title,
                conversation_id=None if route.conversation is None else Id(route.conversation.id),
                problem=route.problem,
                needs_template=route.needs_template,
                replies_until=route.replies_until,
                limit=route.sending.text,
                unit=route.sending.unit.value,
            )
            for route in found
        ],
        next=None,
    )


async def snooze(call: Call, conversation_id: Id, body: Snooze) -> ConversationView:
    """Put a conversation aside until a moment. It comes back then, or when the customer writes."""
    conversation = await records.changing(call, Conversation, conversation_id)
    await conversations.snooze(call.session, conversation, until=body.until, at=call.now, actor_id=call.user_id)
    return (await views(call, [conversation]))[0]


async def wake(call: Call, conversation_id: Id) -> ConversationView:
    """Take a snoozed conversation up again."""
    conversation = await records.changing(call, Conversation, conversation_id)
    await conversations.wake(call.session, conversation, at=call.now, actor_id=call.user_id)
    return (await views(call, [conversation]))[0]


async def move(call: Call, conversation_id: Id, body: Move) -> ConversationView:
    """Give a conversation to another contact, with all that was said and asked for in it."""
    await people_moving.begin(call.session)
    conversation = await records.changing(call, Conversation, conversation_id)
    await records.seen(call, Contact, Id(conversation.contact_id))
    contact = await records.referred(call, Contact, body.contact_id, field="contact_id")
    await moving.move_conversation(
        call.session,
        call.hub,
        conversation,
        contact,
        with_address=body.with_address,
        at=call.now,
        actor_id=call.user_id,
    )
    return (await views(call, [conversation]))[0]


def found_by(text: str) -> object:
    """Return the condition under which a conversation is found by its subject or its last message."""
    return or_(
        Conversation.subject.icontains(text, autoescape=True),
        Conversation.last_message_text.icontains(text, autoescape=True),
    )


ENDPOINTS = (
    Endpoint("GET", "/conversations", index, listing=CONVERSATIONS),
    Endpoint("GET", "/conversations/{conversation_id}", show),
    Endpoint("GET", "/conversations/{conversation_id}/messages", list_messages, listing=messages.MESSAGES),
    Endpoint("POST", "/conversations/{conversation_id}/messages", say, status=201),
    Endpoint("GET", "/conversations/{conversation_id}/channels", ways),
    Endpoint("POST", "/conversations/{conversation_id}/snooze", snooze),
    Endpoint("DELETE", "/conversations/{conversation_id}/snooze", wake),
    Endpoint("POST", "/conversations/{conversation_id}/notes", add_note, status=201),
    Endpoint("POST", "/conversations/{conversation_id}/assignment", assign),
    Endpoint("POST", "/conversations/{conversation_id}/contact", move),
    Endpoint("POST", "/conversations/{conversation_id}/resolution", resolve),
    Endpoint("DELETE", "/conversations/{conversation_id}/resolution", reopen),
)
