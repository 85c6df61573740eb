"""Messages and the files that came with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta
from sqlalchemy import select

from core.connections import Connection
from core.kernel.errors import NotFound
from core.people.contacts import Contact
from core.staff import users
from core.talk.conversations import Message
from hub.api import paging, records
from hub.api.endpoints import Call, Download, Endpoint
from hub.api.paging import Listing
from hub.api.wire import Id, Moment, View, as_id
from webhooks import multiparts
from webhooks.deliveries import Delivery

Direction = Literal["inbound", "outbound", "system"]


class AttachmentView(View):
    """A file. `url` serves it for download to whoever may see the message."""

    id: str
    name: str
    content_type: Annotated[str, Meta(description="As declared; it is served as application/octet-stream.")]
    size: int
    url: str


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

    `fields` is what a form said beyond its message. `html_safe` is null where there is nothing but `text`.
    """

    id: Id
    conversation_id: Id
    direction: Direction
    private: bool
    text: str
    html_safe: str | None
    fields: dict[str, Any] | None
    attachments: list[AttachmentView]
    author: Author
    status: str
    error: SendingError | None
    uncertain: bool
    external_ids: list[str]
    delivery_id: Id | None
    sent_at: Moment
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
    return [_view(row, colleagues, contacts) for row in rows]


def _view(message: Message, colleagues: dict[int, str], contacts: dict[int, str]) -> MessageView:
    if message.direction == "inbound":
        author = Author(kind="contact", id=Id(message.contact_id), name=contacts.get(message.contact_id, ""))
    elif message.author_id is not None:
        author = Author(kind="user", id=Id(message.author_id), name=colleagues.get(message.author_id, ""))
    else:
        author = Author(kind="system", id=None, name="")
    # intake makes an id of its own where the sender gives none
    named = message.external_id is not None and not message.external_id.startswith("delivery:")
    return MessageView(
        id=Id(message.id),
        conversation_id=Id(message.conversation_id),
        direction=message.direction,  # type: ignore[arg-type]
        private=bool(message.private),
        text=message.text,
        html_safe=None,
        fields=message.fields,
        attachments=[
            AttachmentView(
                id=str(number),
                name=str(file["name"]),
                content_type=str(file["content_type"]),
                size=int(file["size"]),
                url=f"/api/v1/messages/{message.id}/attachments/{number}",
            )
            for number, file in enumerate(message.attachments or ())
        ],
        author=author,
        status=message.status,
        error=None,
        uncertain=False,
        external_ids=[str(message.external_id)] if named else [],
        delivery_id=as_id(message.delivery_id),
        sent_at=message.occurred_at,
        delivered_at=message.created_at if message.direction == "inbound" else None,
        read_at=None,
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
    files = message.attachments or []
    if not number.isascii() or not number.isdigit() or int(number) >= len(files):
        raise NotFound("attachment", number)
    file = files[int(number)]
    found = (
        await call.session.execute(select(Delivery.request, Delivery.body).where(Delivery.id == message.delivery_id))
    ).first()
    content_type = found.request.get("headers", {}).get("content-type", "") if found else ""
    content = multiparts.read_part(found.body, content_type, int(file["part"])) if found else None
    if content is None:
        raise NotFound("attachment", number)
    return Download(str(file["name"]), content)


ENDPOINTS = (
    Endpoint("GET", "/messages/{message_id}", show),
    Endpoint("GET", "/messages/{message_id}/attachments/{number}", download),
)
