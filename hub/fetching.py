"""What is fetched once a message is safe: its files, the name of its sender, and what a provider only hinted at."""

from __future__ import annotations

from datetime import datetime

import msgspec
import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from channels.contract import Enricher, Fetcher, Parted, Profiler
from channels.errors import ChannelError, Misconfigured, Temporary, Undeliverable
from core.kernel import events
from core.kernel.envelopes import Pending
from core.people import contacts, merging
from core.people.contacts import Contact, DuplicateCandidate
from core.talk.attachments import Attachment, FileState
from core.talk.conversations import Message
from hub import files
from hub.app import Hub
from hub.connections import Live
from hub.understanding import Heard, understand
from hub.web_client import tools_for
from webhooks.deliveries import Delivery, request_of

log = structlog.get_logger(__name__)


async def fetch_attachment(hub: Hub, *, attachment_id: int) -> None:
    """Bring a file from where it lies, the delivery or the provider, to where files are kept.

    Raises:
        Temporary: it cannot be had just now.
    """
    async with hub.database.reading() as session:
        row = await session.get(Attachment, attachment_id)
        if row is None or row.state == FileState.STORED:
            return
        message = await session.get(Message, row.message_id) if row.message_id else None
        delivery = await session.get(Delivery, row.delivery_id) if row.part is not None and row.delivery_id else None
    live = None if message is None else hub.switchboard.by_id(message.connection_id)
    try:
        kept = await _fetch(hub, row, live, delivery)
    except Undeliverable as error:
        await _give_up(hub, attachment_id, str(error))
        return
    async with hub.database.transaction() as session:
        locked = await session.get(Attachment, attachment_id, with_for_update=True)
        if locked is None:
            return
        stored = await files.note(session, kept, at=hub.clock.now())
        locked.file_id, locked.size, locked.content_type = stored.id, stored.size, stored.content_type
        locked.state, locked.error = FileState.STORED, None
        if locked.kind == "file" and stored.preview is not None:
            locked.kind = files.kind_of(stored.content_type)
        if message is not None:
            await _tell(session, message, hub.clock.now())


async def _fetch(hub: Hub, row: Attachment, live: Live | None, delivery: Delivery | None) -> files.Kept:
    if live is None:
        raise Undeliverable("The channel it came over is no more")
    if row.part is not None:
        channel = live.channel
        content = None
        if delivery is not None and isinstance(channel, Parted):
            content = channel.read_part(request_of(delivery.request, delivery.body), row.part)
        if content is None:
            raise Undeliverable("It is not in the request any more")
        return await hub.files.keep(files.once(content), name=row.name, declared=row.content_type)
    if not isinstance(live.channel, Fetcher) or not row.reference:
        raise Undeliverable("The channel cannot fetch files")
    tools = tools_for(hub.web, live, now=hub.clock.now, public_url=hub.public_url)
    try:
        fetched = await live.channel.fetch_media(row.reference, tools)
        return await hub.files.keep(
            fetched.chunks, name=row.name or fetched.name, declared=fetched.content_type or row.content_type
        )
    except (Temporary, Undeliverable):
        raise
    except ChannelError as error:
        raise Temporary(str(error), 600 if isinstance(error, Misconfigured) else None) from error


async def _give_up(hub: Hub, attachment_id: int, reason: str) -> None:
    async with hub.database.transaction() as session:
        row = await session.get(Attachment, attachment_id, with_for_update=True)
        if row is None:
            return
        row.state, row.error = FileState.FAILED, reason[:500]
        if row.message_id is not None and (message := await session.get(Message, row.message_id)) is not None:
            await _tell(session, message, hub.clock.now())


async def _tell(session: AsyncSession, message: Message, at: datetime) -> None:
    await events.record(
        session,
        "message.file_fetched",
        at,
        contact_id=message.contact_id,
        conversation_id=message.conversation_id,
        message_id=message.id,
    )


async def ask_name(hub: Hub, *, contact_id: int, connection_id: int, peer: str) -> None:
    """Ask a provider who somebody is, and note their name if nobody has given them one meanwhile.

    Raises:
        Temporary: try again.
    """
    live = hub.switchboard.by_id(connection_id)
    if live is None or not isinstance(live.channel, Profiler):
        return
    tools = tools_for(hub.web, live, now=hub.clock.now, public_url=hub.public_url)
    try:
        profile = await live.channel.profile(peer, tools)
    except Temporary:
        raise
    except ChannelError as error:  # a name is a nicety; what is wrong shows where it matters
        log.info("profile_refused", connection_id=connection_id, error=str(error)[:200])
        return
    if profile is None or not profile.name.strip():
        return
    async with hub.database.transaction() as session:
        contact = await session.get(Contact, contact_id, with_for_update=True)
        if contact is None or contact.name:
            return
        values = {"name": profile.name.strip()[:300]}
        if profile.language and not contact.language:
            values["language"] = profile.language[:20]
        await contacts.change(session, contact, at=hub.clock.now(), actor_id=None, **values)


async def merge_attested(hub: Hub, *, kept_id: int, gone_id: int) -> None:
    """Merge two contacts whom their provider vouches to be one, unless that has happened, or somebody said no."""
    async with hub.database.transaction() as session:
        kept, gone = await session.get(Contact, kept_id), await session.get(Contact, gone_id)
        if kept is None or gone is None:
            return
        pair = await session.scalar(
            select(DuplicateCandidate).where(
                DuplicateCandidate.contact_id == min(kept_id, gone_id),
                DuplicateCandidate.other_id == max(kept_id, gone_id),
            )
        )
        if pair is not None and pair.dismissed:
            return
        await merging.merge(session, kept, gone, reason="attested", at=hub.clock.now(), actor_id=None)


async def enrich(hub: Hub, *, connection_id: int, delivery_id: int, received_at: str, event: dict[str, object]) -> None:
    """Ask for what a provider only told the existence of, and understand it as if it had come by itself.

    Raises:
        Temporary: try again. Undeliverable: it is gone; the delivery says so.
    """
    live = hub.switchboard.by_id(connection_id)
    if live is None or not isinstance(live.channel, Enricher):
        raise Undeliverable("The channel it came over is no more")
    pending = msgspec.convert(event, Pending)
    tools = tools_for(hub.web, live, now=hub.clock.now, public_url=hub.public_url)
    try:
        found = await live.channel.enrich(pending, tools)
    except (Temporary, Undeliverable) as error:
        await _note_error(hub, delivery_id, str(error))
        raise
    except ChannelError as error:
        await _note_error(hub, delivery_id, str(error))
        raise Temporary(str(error), 600) from error
    heard = [Heard(delivery_id, datetime.fromisoformat(received_at), live, item) for item in found]
    async with hub.database.transaction() as session:
        told = await understand(session, hub.switchboard, heard, now=hub.clock.now())
        delivery = await session.scalar(select(Delivery).where(Delivery.id == delivery_id).with_for_update())
        if delivery is not None:
            kept = [item for item in delivery.events or [] if item.get("reference") != pending.reference]
            delivery.events, delivery.error = [*kept, *told], None


async def _note_error(hub: Hub, delivery_id: int, error: str) -> None:
    async with hub.database.transaction() as session:
        delivery = await session.get(Delivery, delivery_id)
        if delivery is not None:
            delivery.error = f"Its content could not be asked for: {error}"[:1000]
