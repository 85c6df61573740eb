"""Answering somebody: by which channel, whether it may go, in how many parts; then into the outbox.

The workspace, the API and the desk all answer through here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from channels import rendering
from channels.contract import Button, Capability, Sender, Sending, Template
from channels.rendering import FileToSend
from core.kernel.addresses import EMAIL, PHONE, Address
from core.kernel.errors import NotFound, Rejected
from core.people.contacts import Contact, ContactIdentity
from core.talk import attachments, outbox, templates
from core.talk.attachments import Attachment, FileState, StoredFile
from core.talk.conversations import Conversation, ConversationStatus, Episode, Message
from core.talk.outbox import Planned
from hub.app import Hub
from hub.connections import Live
from hub.files import LINK_LASTS, kind_of

WINDOW = "window_closed"
"""`Rejected.code` of what could only go as a template."""

_CHANNEL = "channel"
"""The field that a refusal of a way to answer is about."""


class Route(NamedTuple):
    """A way to reach somebody.

    conversation   where it would be said; None: one would begin
    refusal        why nothing can go this way just now; None if it can
    needs_template only an approved template may go: the provider's time for free words is over
    """

    live: Live
    sender: Sender
    peer: str
    conversation: Conversation | None
    refusal: Rejected | None = None
    needs_template: bool = False
    replies_until: datetime | None = None

    @property
    def problem(self) -> str:
        """Why nothing can go this way just now, in English; "" if it can."""
        return "" if self.refusal is None else str(self.refusal)

    @property
    def sending(self) -> Sending:
        """What the channel can carry."""
        return self.sender.sending


async def routes(session: AsyncSession, hub: Hub, contact_id: int) -> list[Route]:
    """Return all ways to reach a contact, the one they wrote on last first."""
    theirs = list(
        await session.scalars(
            select(Conversation)
            .where(Conversation.contact_id == contact_id)
            .order_by(Conversation.last_inbound_at.desc().nulls_last(), Conversation.id.desc())
            .limit(200)
        )
    )
    identities = list(
        await session.scalars(
            select(ContactIdentity).where(ContactIdentity.contact_id == contact_id).order_by(ContactIdentity.id)
        )
    )
    blocked = {(row.scheme, row.value): row.blocked_because for row in identities if row.blocked_because}
    found: list[Route] = []
    seen: set[int] = set()
    for conversation in theirs:
        live = hub.switchboard.by_id(conversation.connection_id)
        if live is None or live.sender is None or not conversation.peer or live.id in seen:
            continue
        seen.add(live.id)
        found.append(_judged(hub, live, live.sender, conversation.peer, conversation, blocked))
    order = {EMAIL: 0, PHONE: 1}
    for identity in sorted(identities, key=lambda row: order.get(row.scheme, 2)):
        for live in hub.switchboard.live():
            sender = live.sender
            if sender is None or live.id in seen or identity.scheme not in sender.sending.addresses:
                continue
            peer = sender.peer_of(Address(identity.scheme, identity.value))
            if peer is not None:
                seen.add(live.id)
                found.append(_judged(hub, live, sender, peer, None, blocked))
    return found


def _judged(
    hub: Hub,
    live: Live,
    sender: Sender,
    peer: str,
    conversation: Conversation | None,
    blocked: Mapping[tuple[str, str], str],
) -> Route:
    """Say whether something may go this way now."""
    refusal: Rejected | None = None
    until = conversation.replies_until if conversation is not None else None
    if live.paused_because is not None:
        refusal = Rejected(
            "%(title)s is paused: %(reason)s", title=live.title, reason=live.paused_because, field=_CHANNEL
        )
    address = sender.address_of(peer)
    because = blocked.get((address.scheme, address.value))
    if because == "opted_out":
        refusal = Rejected("They have asked not to be written to here", field=_CHANNEL)
    elif because == "dead":
        refusal = Rejected("This address takes nothing: what was sent came back", field=_CHANNEL)
    has_window = sender.sending.window is not None
    is_over = has_window and (until is None or until <= hub.clock.now())
    if is_over and Capability.TEMPLATES not in sender.sending.capabilities:
        refusal = refusal or Rejected(
            "The time in which this channel lets us answer is over: it begins anew when they write. "
            "Answer on another channel",
            field=_CHANNEL,
        )
    return Route(live, sender, peer, conversation, refusal, is_over, until)


async def choose(
    session: AsyncSession, hub: Hub, conversation: Conversation, *, connection_id: int | None = None
) -> Route:
    """Return the way an answer takes: the channel asked for, else the conversation's own, else the one its channel
    answers through, else any by which the customer can be reached.

    Raises:
        NotFound: the channel asked for is not there. Rejected: they cannot be reached that way, or at all.
    """
    found = await routes(session, hub, conversation.contact_id)
    if connection_id is not None:
        live = hub.switchboard.by_id(connection_id)
        if live is None:
            raise NotFound("channel", connection_id)
        for route in found:
            if route.live.id == connection_id:
                own = route.live.id == conversation.connection_id
                return _in(hub, route, conversation) if own else route
        raise Rejected(
            "They cannot be reached over %(title)s: no address of theirs belongs to it",
            title=live.title,
            field="channel",
        )
    here = hub.switchboard.by_id(conversation.connection_id)
    for route in found:
        if route.live.id == conversation.connection_id and conversation.peer:
            return _in(hub, route, conversation)
    through = here.reply_through if here is not None else None
    for route in sorted(
        found, key=lambda route: (route.live.id != through, route.refusal is not None, route.needs_template)
    ):
        return route
    raise Rejected(
        "There is no way to answer: this channel only receives, and no other reaches an address of theirs. "
        "Connect an e-mail or SMS channel, or call"
    )


def _in(hub: Hub, route: Route, conversation: Conversation) -> Route:
    """Return the same way, but into this very conversation (a person may have several with one channel)."""
    if route.conversation is not None and route.conversation.id == conversation.id:
        return route
    judged = _judged(hub, route.live, route.sender, conversation.peer, conversation, {})
    return judged._replace(refusal=route.refusal or judged.refusal)


async def reply(
    session: AsyncSession,
    hub: Hub,
    conversation: Conversation,
    *,
    author_id: int | None,
    text: str = "",
    subject: str = "",
    attachment_ids: Sequence[int] = (),
    buttons: Sequence[str] = (),
    template: tuple[str, str, Sequence[str]] | None = None,
    reply_to_id: int | None = None,
    send_at: datetime | None = None,
    connection_id: int | None = None,
    is_automatic: bool = False,
) -> Message:
    """Answer in a conversation, now or at `send_at`. It is on its way once the caller commits.

    `template` is its name, language ("" for any) and values. Returns the message, which is in another conversation of
    the same contact where the answer takes another channel.

    Raises:
        Rejected: there is nothing to say or no way to say it; `field` is `text`, `template`, `channel` or `send_at`.
        NotFound: a file, a template or the channel is not there.
    """
    route = await choose(session, hub, conversation, connection_id=connection_id)
    now = hub.clock.now()
    if route.refusal is not None:
        raise route.refusal
    if route.needs_template and template is None and send_at is None:
        raise Rejected(
            "The time in which %(title)s lets us answer freely is over. "
            "Send one of its templates, or answer on another channel",
            title=route.live.title,
            field="template",
        )
    chosen = None
    if template is not None:
        name, language, values = template
        row = await templates.get(session, route.live.id, name, language)
        text = templates.filled(row, values)
        chosen = Template(row.name, row.language, tuple(value.strip() for value in values))
    files = await attachments.uploaded(session, attachment_ids, author_id=author_id)
    rendered = rendering.render(
        route.sending,
        text=text,
        subject=subject,
        files=[await _to_send(session, hub, file) for file in files],
        buttons=[Button(label) for label in buttons if label.strip()],
        template=chosen,
    )
    target = route.conversation or await _begin(session, conversation, route, at=now)
    return await outbox.say(
        session,
        target,
        text=text,
        parts=[_planned(part) for part in rendered.parts],
        at=now,
        author_id=author_id,
        subject=subject or None,
        files=files,
        template=None if chosen is None else {"name": chosen.name, "language": chosen.language},
        dropped=rendered.dropped,
        reply_to_id=reply_to_id,
        send_at=send_at,
        is_automatic=is_automatic,
    )


async def write_to(
    session: AsyncSession, hub: Hub, *, contact_id: int, connection_id: int, number: str, text: str
) -> Message:
    """Write to a contact at one phone number over a given channel, as a program does. On its way once committed.

    Raises:
        Rejected: the channel cannot reach that number, or nothing may go there now.
    """
    live = hub.switchboard.by_id(connection_id)
    sender = None if live is None else live.sender
    peer = None if sender is None or PHONE not in sender.sending.addresses else sender.peer_of(Address(PHONE, number))
    if live is None or sender is None or peer is None:
        raise Rejected("The channel chosen for answers cannot write to a phone number", field="channel")
    blocked = {
        (row.scheme, row.value): row.blocked_because
        for row in await session.scalars(select(ContactIdentity).where(ContactIdentity.contact_id == contact_id))
        if row.blocked_because
    }
    route = _judged(hub, live, sender, peer, None, blocked)
    if route.refusal is not None:
        raise route.refusal
    contact = await session.get_one(Contact, contact_id)
    target = await _begin_with(session, contact, route, at=hub.clock.now())
    rendered = rendering.render(route.sending, text=text)
    return await outbox.say(
        session,
        target,
        text=text,
        parts=[_planned(part) for part in rendered.parts],
        at=hub.clock.now(),
        author_id=None,
        dropped=rendered.dropped,
        is_automatic=True,
    )


def _planned(part: rendering.PlannedPart) -> Planned:
    template = part.template
    return Planned(
        part.text,
        part.html,
        part.subject,
        part.file_ids,
        tuple((button.text, button.payload) for button in part.buttons),
        None
        if template is None
        else {"name": template.name, "language": template.language, "values": list(template.values)},
    )


async def _to_send(session: AsyncSession, hub: Hub, file: Attachment) -> FileToSend:
    if file.state != FileState.STORED or file.file_id is None:
        raise Rejected("%(name)s is not here yet: try again in a moment", name=file.name, field="attachments")
    stored = await session.get_one(StoredFile, file.file_id)
    kind = file.kind if file.kind != "file" else kind_of(stored.content_type)
    link = ""
    if hub.settings.public_url:
        ticket = hub.files.ticket(file.id, until=hub.clock.now() + LINK_LASTS)
        link = f"{hub.public_url}/files/shared/{ticket}"
    return FileToSend(file.id, file.name, stored.content_type, stored.size, kind, link)  # type: ignore[arg-type]


async def _begin(session: AsyncSession, conversation: Conversation, route: Route, *, at: datetime) -> Conversation:
    """Begin a conversation on another channel with the same person, looked after by the same colleague."""
    contact = await session.get_one(Contact, conversation.contact_id)
    return await _begin_with(
        session, contact, route, assignee_id=conversation.assignee_id, team_id=conversation.team_id, at=at
    )


async def _begin_with(
    session: AsyncSession,
    contact: Contact,
    route: Route,
    *,
    assignee_id: int | None = None,
    team_id: int | None = None,
    at: datetime,
) -> Conversation:
    """Return the usual conversation with somebody on a channel, begun if there is none."""
    found = await session.scalar(
        select(Conversation)
        .where(
            Conversation.contact_id == contact.id,
            Conversation.connection_id == route.live.id,
            Conversation.thread == "",
        )
        .with_for_update()
    )
    if found is not None:
        found.peer = found.peer or route.peer
        return found
    begun = Conversation(
        contact_id=contact.id,
        connection_id=route.live.id,
        thread="",
        subject="",
        status=ConversationStatus.OPEN,
        assignee_id=assignee_id if assignee_id is not None else contact.owner_id,
        team_id=team_id if team_id is not None else contact.team_id,
        peer=route.peer,
        context={},
        last_message_at=at,
        created_at=at,
    )
    session.add(begun)
    await session.flush()
    session.add(Episode(conversation_id=begun.id, opened_at=at))
    await session.flush()
    return begun
