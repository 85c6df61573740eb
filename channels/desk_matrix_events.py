"""What our own people say to the desk on Matrix, as the line hands it over, and read. Pure.

From the Matrix specification, Client-Server API: `m.room.message`, `m.room.member`, "Event replacements", "Rich
replies", "Threading".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from channels.contract import Item, Routed
from channels.desk_contract import DeskEvent, DeskGone, DeskSaid, DeskStarted
from channels.desk_posts import commanding, ticket_of
from channels.fields import Fields, object_of
from channels.matrix_events import said, without_quote
from webhooks.request import RawRequest

METHOD = "LISTEN"
"""Marks what the line brought: nothing is received at the hook."""

MET = "met"
"""Somebody and the bot have come together in a room of their own; `person` is who that is."""

PARTED = "parted"
"""The bot was put out of a room, or is alone there."""

SAID = "said"
"""Something was said."""


def item(
    kind: str, event: Fields, *, room: str, us: str, person: str = "", name: str = "", is_private: bool = False
) -> Item:
    """Make an event of a room into a request.

    `us` is the bot's user, `person` who it is about, `name` what they call themself there, `is_private` whether there
    is nobody else in the room.
    """
    body = {
        "kind": kind,
        "room": room,
        "us": us,
        "person": person,
        "name": name,
        "is_private": is_private,
        "event": event.value,
    }
    request = RawRequest(_encoded(body), METHOD, {"content-type": "application/json"})
    return Item(request, route(request))


def route(request: RawRequest) -> Routed:
    """Tell an event by its id; in a room of many its thread has an order of its own.

    Raises:
        Malformed: it is nothing the line makes.
    """
    fields = object_of(request)
    room, event = fields.id("room"), fields.at("event")
    relation = event.at("content", "m.relates_to")
    thread = relation.id("event_id") if relation.text("rel_type") == "m.thread" else ""
    peer = f"{room}:{thread}"[:250] if thread and not fields.flag("is_private") else room
    return Routed(f"event:{event.id('event_id')}", None, peer)


def events(fields: Fields) -> Sequence[DeskEvent]:
    """Return what an item of the line's means; nothing for what is no concern of ours."""
    event, room, person = fields.at("event"), fields.id("room"), fields.id("person")
    name, ref = fields.text("name"), event.id("event_id")
    if not room or not ref:
        return []
    when, is_private = event.at("origin_server_ts").moment(), fields.flag("is_private")
    kind = fields.text("kind")
    if kind == SAID:
        return list(_said(fields))
    if kind == MET and person:
        return [
            DeskStarted(
                peer=room,
                occurred_at=when,
                key=f"met:{ref}",
                person=person,
                name=name,
                handle=person,
                is_private=is_private,
            )
        ]
    if kind == PARTED:
        return [DeskGone(peer=room, occurred_at=when, key=f"gone:{ref}", person=person, is_private=is_private)]
    return []


def _said(fields: Fields) -> Iterator[DeskEvent]:
    event, room = fields.at("event"), fields.id("room")
    content, sender, ref = event.at("content"), event.id("sender"), event.id("event_id")
    if event.text("type") not in ("m.room.message", "m.sticker") or not sender or sender == fields.id("us"):
        return
    if content.text("msgtype") == "m.notice":
        return  # a program wrote it
    relation, is_private = content.at("m.relates_to"), fields.flag("is_private")
    is_edit = relation.text("rel_type") == "m.replace"
    thread = relation.id("event_id") if relation.text("rel_type") == "m.thread" else ""
    answered = relation.id("m.in_reply_to", "event_id")
    if thread and (relation.flag("is_falling_back") or not answered):
        answered = thread
    text, files = (content.text("m.new_content", "body"), ()) if is_edit else said(event, content)
    if answered:
        text = without_quote(text)
    if is_edit:
        ref = relation.id("event_id")
    if not ref or (not text and not files):
        return
    when, key = event.at("origin_server_ts").moment(), f"said:{event.id('event_id')}"
    name = fields.text("name")
    ticket = ticket_of(text) if is_private and not answered and not is_edit else ""
    if ticket:
        yield DeskStarted(peer=room, occurred_at=when, key=key, person=sender, name=name, handle=sender, ticket=ticket)
        return
    yield DeskSaid(
        peer=room,
        occurred_at=when,
        key=key,
        person=sender,
        name=name,
        handle=sender,
        thread=thread,
        is_private=is_private,
        ref=ref,
        text=commanding(text),
        attachments=files,
        reply_to=answered,
        is_edit=is_edit,
    )


def _encoded(body: dict[str, Any]) -> bytes:
    return msgspec.json.encode(body)
