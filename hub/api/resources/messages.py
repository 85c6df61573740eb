"""Messages and the files that came with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta
from sqlalchemy import select

from channels.contract import Parted
from core.connections import Connection
from core.kernel.errors import Conflict, NotFound
from core.people.contacts import Contact
from core.staff import users
from core.talk import attachments, outbox
from core.talk.attachments import Attachment, StoredFile
from core.talk.conversations import Message, MessageId
from core.talk.outbox import ProviderExchange
from hub.api import paging, records
from hub.api.endpoints import Call, Download, Endpoint
from hub.api.paging import Listing
from hub.api.wire import Id, Moment, Page, View, as_id
from webhooks.deliveries import Delivery, request_of

Direction = Literal["inbound", "outbound", "system"]


class AttachmentView(View):
    """A file. `url` serves it for download to whoever may see the message.

    `state` is `pending` while it is fetched, `failed` where it could not be had (`error` says why).
    """

    id: str
    name: str
    content_type: Annotated[str, Meta(description="What its bytes are; as declared while it is fetched.")]
    size: int
    url: str
    kind: str
    state: Literal["pending", "stored", "failed"]
    error: str | None


class Author(View):
    """Who said it: `contact`, `user` or `system` (then `id` is null)."""

    kind: Literal["contact", "user", "system"]
    id: Id | None
    name: str


class SendingError(View):
    """Why a message could not be sent."""

    code: str
    text: str


class MessageView(View):
    """Something that was said. A private one is a note for colleagues.

    `fields` is what a form said beyond its message. `html_safe` is null where there is nothing but `text`. `quoted` is
    what was quoted below the words. `uncertain`: it may have been sent. `dropped` says what the channel could not
    carry. `error` also says what a queued message waits for.
    """

    id: Id
    conversation_id: Id
    direction: Direction
    private: bool
    text: str
    html_safe: str | None
    subject: str | None
    quoted: str | None
    reply_to_id: Id | None
    connection_id: Id
    is_automatic: bool
    dropped: list[str]
    reactions: dict[str, int]
    edited_at: Moment | None
    deleted_at: Moment | None
    send_at: Moment | None
    fields: dict[str, Any] | None
    attachments: list[AttachmentView]
    author: Author
    status: str
    error: SendingError | None
    uncertain: bool
    external_ids: list[str]
    delivery_id: Id | None
    sent_at: Moment | None
    delivered_at: Moment | None
    read_at: Moment | None
    created_at: Moment


MESSAGES = Listing(
    "messages",
    unique=Message.id,
    sorts={"created_at": Message.id},  # ids grow with time, and the index is by them
    filters={
        "direction": paging.one_of(Message.direction, Direction),
        "private": paging.flag(lambda: Message.private.is_(True), "Whether it is a note for colleagues."),
        **paging.moments(created_at=Message.created_at),
    },
)


async def kinds_of(call: Call, connection_ids: Iterable[int]) -> dict[int, str]:
    """Return the kinds of several connections at once."""
    wanted = select(Connection.id, Connection.kind).where(Connection.id.in_(set(connection_ids)))
    return {row[0]: row[1] for row in await call.session.execute(wanted)}


async def views(call: Call, rows: Sequence[Message]) -> list[MessageView]:
    """Make the views of a page; the names of all authors are read at once."""
    colleagues = await users.names(call.session, {row.author_id for row in rows})
    asked = select(Contact.id, Contact.name).where(Contact.id.in_({row.contact_id for row in rows}))
    contacts = {row[0]: row[1] for row in await call.session.execute(asked)}
    ids = {row.id for row in rows}
    files = await attachments.of_messages(call.session, ids)
    named: dict[int, list[str]] = {}
    known = select(MessageId.message_id, MessageId.external_id).where(MessageId.message_id.in_(ids))
    for row in await call.session.execute(known.order_by(MessageId.message_id, MessageId.position)):
        named.setdefault(row.message_id, []).append(row.external_id)
    return [_view(row, colleagues, contacts, files.get(row.id, []), named.get(row.id, [])) for row in rows]


def _view(
    message: Message,
    colleagues: dict[int, str],
    contacts: dict[int, str],
    files: Sequence[Attachment],
    named: Sequence[str],
) -> MessageView:
    if message.direction == "inbound":
        author = Author(kind="contact", id=Id(message.contact_id), name=contacts.get(message.contact_id, ""))
    elif message.author_id is not None:
        author = Author(kind="user", id=Id(message.author_id), name=colleagues.get(message.author_id, ""))
    else:
        author = Author(kind="system", id=None, name="")
    # intake makes an id of its own where the sender gives none
    own = message.external_id if message.external_id and not message.external_id.startswith("delivery:") else None
    is_inbound = message.direction == "inbound"
    return MessageView(
        id=Id(message.id),
        conversation_id=Id(message.conversation_id),
        direction=message.direction,  # type: ignore[arg-type]
        private=bool(message.private),
        text=message.text,
        html_safe=message.html,
        subject=message.subject,
        quoted=message.quoted,
        reply_to_id=as_id(message.reply_to_id),
        connection_id=Id(message.connection_id),
        is_automatic=message.is_automatic,
        dropped=[str(said) for said in message.dropped or ()],
        reactions=dict(message.reactions or {}),
        edited_at=message.edited_at,
        deleted_at=message.deleted_at,
        send_at=message.send_at,
        fields=message.fields,
        attachments=[
            AttachmentView(
                id=str(file.id),
                name=file.name,
                content_type=file.content_type,
                size=file.size,
                url=f"/api/v1/messages/{message.id}/attachments/{file.position}",
                kind=file.kind,
                state=file.state,  # type: ignore[arg-type]
                error=file.error,
            )
            for file in files
        ],
        author=author,
        status=message.status,
        error=SendingError(code=message.error_code or "", text=message.error_text) if message.error_text else None,
        uncertain=message.uncertain,
        external_ids=list(dict.fromkeys([*([own] if own else []), *named])),
        delivery_id=as_id(message.delivery_id),
        sent_at=message.occurred_at if is_inbound or message.private else message.sent_at,
        delivered_at=message.created_at if is_inbound else message.delivered_at,
        read_at=message.read_at,
        created_at=message.created_at,
    )


async def show(call: Call, message_id: Id) -> MessageView:
    """Show a message."""
    return (await views(call, [await records.seen(call, Message, message_id)]))[0]


async def download(call: Call, message_id: Id, number: str) -> Download:
    """Download a file that came with a message.

    It is never shown in place: whatever it claims to be, it is served as a file to be saved.
    """
    message = await records.seen(call, Message, message_id)
    files = (await attachments.of_messages(call.session, [message.id])).get(message.id, [])
    file = next((file for file in files if str(file.position) == number), None)
    if file is None:
        raise NotFound("attachment", number)
    if file.file_id is not None:
        stored = await call.session.get_one(StoredFile, file.file_id)
        return Download(file.name, call.hub.files.read(stored.path))
    content = await _in_delivery(call, message, file)
    if content is None:
        raise Conflict(file.error or "The file is still on its way; try again in a moment")
    return Download(file.name, content)


async def _in_delivery(call: Call, message: Message, file: Attachment) -> bytes | None:
    """Return a file that still lies in the request it came with."""
    live = call.hub.switchboard.by_id(message.connection_id)
    if file.part is None or live is None or not isinstance(live.channel, Parted):
        return None
    found = (
        await call.session.execute(select(Delivery.request, Delivery.body).where(Delivery.id == file.delivery_id))
    ).first()
    return live.channel.read_part(request_of(found.request, found.body), file.part) if found else None


async def retry(call: Call, message_id: Id) -> MessageView:
    """Send a message that failed, or may not have gone, once more. What of it has gone stays gone."""
    message = await records.changing(call, Message, message_id)
    await outbox.retry(call.session, message, at=call.now)
    return (await views(call, [message]))[0]


async def cancel(call: Call, message_id: Id) -> MessageView:
    """Take back a message that is to be sent later, or has not been sent yet."""
    message = await records.changing(call, Message, message_id)
    await outbox.cancel(call.session, message, at=call.now, actor_id=call.user_id)
    return (await views(call, [message]))[0]


class ExchangeView(View):
    """What was said to the provider about a message, and what it answered. Secrets are masked; `took` is in ms."""

    id: Id
    at: Moment
    method: str
    url: str
    sent: str
    status: int | None
    answered: str
    problem: str
    took: int


async def exchanges(call: Call, message_id: Id) -> Page[ExchangeView]:
    """List what was said to the provider about a message, oldest first; kept for two weeks."""
    message = await records.seen(call, Message, message_id)
    rows = await call.session.scalars(
        select(ProviderExchange)
        .where(ProviderExchange.message_id == message.id)
        .order_by(ProviderExchange.id)
        .limit(200)
    )
    return Page(
        items=[
            ExchangeView(
                id=Id(row.id),
                at=row.at,
                method=row.method,
                url=row.url,
                sent=row.sent,
                status=row.status,
                answered=row.answered,
                problem=row.problem,
                took=row.took,
            )
            for row in rows
        ],
        next=None,
    )


ENDPOINTS = (
    Endpoint("GET", "/messages/{message_id}", show),
    Endpoint("GET", "/messages/{message_id}/attachments/{number}", download, refuses=(409,)),
    Endpoint("POST", "/messages/{message_id}/retry", retry, refuses=(409,)),
    Endpoint("POST", "/messages/{message_id}/cancellation", cancel, refuses=(409,)),
    Endpoint("GET", "/messages/{message_id}/exchanges", exchanges),
)
