"""Reading what Mattermost says: events of its WebSocket, outgoing webhooks, pressed buttons. Pure.

From Mattermost's API reference (WebSocket events `posted`, `post_edited`, `post_deleted`, `reaction_added`; the models
of posts and files), "Outgoing webhooks" and "Interactive messages".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from channels.contract import Item, Routed
from channels.fields import Fields, json_of
from core.kernel.addresses import Address
from core.kernel.envelopes import Attachment, Changed, Claim, Event, Incoming, MediaKind, Trust
from webhooks.errors import Malformed
from webhooks.request import RawRequest

SCHEME = "mattermost"
DIRECT = ("D", "G")
"""Types of channels in which everything said is said to us: between two, and among a few."""

CHANGES = {"post_edited": "edit", "post_deleted": "delete"}
REACTIONS = ("reaction_added", "reaction_removed")
REMOVED = "user_removed"
"""The event that tells who was put out of a channel, or left it."""

_MOST_PAIRS = 100
_LONGEST_FORM = 400_000  # a post has at most 16,383 characters of four bytes, each written as %XX


def item(
    event: str,
    us: str,
    data: dict[str, Any],
    channel: str = "",
    *,
    routing: Callable[[RawRequest], Routed] | None = None,
) -> Item:
    """Make something the listener heard into a request; `us` is the id of our bot's user."""
    body = {"event": event, "us": us, "data": data, "broadcast": {"channel_id": channel}}
    request = RawRequest(msgspec.json.encode(body), "LISTEN", {"content-type": "application/json"})
    return Item(request, (routing or route)(request))


def read(request: RawRequest) -> Fields:
    """Return what a request says: JSON, or the form of an outgoing webhook.

    Raises:
        Malformed: it is neither.
    """
    if request.body[:64].lstrip()[:1] == b"{":
        return json_of(request)
    if len(request.body) > _LONGEST_FORM:
        raise Malformed("The form is longer than any of Mattermost's")
    try:
        pairs = parse_qsl(request.body.decode(), max_num_fields=_MOST_PAIRS, keep_blank_values=True)
    except (ValueError, UnicodeDecodeError) as error:
        raise Malformed("The body is neither JSON nor a form, so it is not from Mattermost") from error
    if not pairs:
        raise Malformed("The body is neither JSON nor a form, so it is not from Mattermost")
    return Fields(dict(pairs))


def route(request: RawRequest) -> Routed:
    """Tell what a request is a repeat of: a post is the same whether it was heard, fetched or came by a webhook.

    Raises:
        Malformed: as `read`.
    """
    fields = read(request)
    kind, post = fields.text("event"), post_of(fields)
    peer = post.id("channel_id") or fields.id("broadcast", "channel_id") or fields.id("channel_id")
    key = ""
    if kind == "posted" and post.id("id"):
        key = f"post:{post.id('id')}"
    elif kind in CHANGES and post.id("id"):
        key = f"{CHANGES[kind]}:{post.id('id')}:{post.whole('update_at') or 0}"
    elif not kind and not fields.at("context") and fields.id("post_id"):
        key = f"post:{fields.id('post_id')}"
    if not key:
        key = "content:" + hashlib.blake2b(request.body, digest_size=16).hexdigest()
    return Routed(key[:200], None, peer)


def events(fields: Fields) -> Sequence[Event]:
    """Return the events of a request that `read` has read; none for those that are no concern of ours."""
    kind = fields.text("event")
    if kind == "posted":
        return list(_said(fields))
    if kind in CHANGES:
        return list(_changed(fields, kind))
    if kind in REACTIONS:
        return list(_reacted(fields, kind))
    if fields.at("context"):
        return list(_pressed(fields))
    return list(_hooked(fields))


def post_of(fields: Fields, name: str = "post") -> Fields:
    """Return a post (or another thing) that an event holds as JSON within JSON; nothing where it cannot be read."""
    found = fields.at("data", name).value
    if isinstance(found, str):
        try:
            return Fields(msgspec.json.decode(found.encode("utf-8", "replace")))
        except (msgspec.DecodeError, RecursionError):
            return Fields(None)
    return Fields(found)


def proof(secret: str, text: str, payload: str) -> str:
    """Return what shows that a button is ours: it comes back when the button is pressed."""
    return hmac.new(secret.encode(), f"{text}\0{payload}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _said(fields: Fields) -> Iterator[Event]:
    post, us = post_of(fields), fields.id("us")
    user, channel, name = post.id("user_id"), post.id("channel_id"), post.id("id")
    if not (user and channel and name) or post.text("type").startswith("system_"):
        return
    is_ours, is_direct = bool(us) and user == us, fields.text("data", "channel_type") == "D"
    files, text = files_of(post), post.text("message")
    if not text and not files:
        return
    yield Incoming(
        peer=channel,
        occurred_at=post.at("create_at").moment(),
        external_id=name,
        claims=() if is_ours else _claims(user),
        # Of somebody we are alone with the server is asked the whole name.
        name="" if is_direct or is_ours else fields.text("data", "sender_name").removeprefix("@"),
        text=text,
        thread="" if is_direct else post.id("root_id"),
        reply_to=post.id("root_id"),
        attachments=files,
        is_ours=is_ours,
        is_automatic=not is_ours and (post.flag("props", "from_bot") or post.flag("props", "from_webhook")),
    )


def _changed(fields: Fields, kind: str) -> Iterator[Event]:
    post = post_of(fields)
    user, channel, name = post.id("user_id"), post.id("channel_id"), post.id("id")
    if not (channel and name) or (user and user == fields.id("us")):
        return
    is_edit = kind == "post_edited"
    yield Changed(
        peer=channel,
        occurred_at=post.at("edit_at" if is_edit else "delete_at").moment() or post.at("update_at").moment(),
        external_id=name,
        change="edited" if is_edit else "deleted",
        text=post.text("message") if is_edit else "",
    )


def _reacted(fields: Fields, kind: str) -> Iterator[Event]:
    reaction = post_of(fields, "reaction")
    channel = fields.id("broadcast", "channel_id") or reaction.id("channel_id")
    if not reaction.id("post_id") or not channel or reaction.id("user_id") == fields.id("us"):
        return
    yield Changed(
        peer=channel,
        occurred_at=reaction.at("create_at").moment(),
        external_id=reaction.id("post_id"),
        change="reaction",
        text=f":{reaction.id('emoji_name')}:" if kind == "reaction_added" else "",
    )


def _hooked(fields: Fields) -> Iterator[Event]:
    """Read an outgoing webhook."""
    user, channel, name = fields.id("user_id"), fields.id("channel_id"), fields.id("post_id")
    if not (user and channel and name):
        return
    files = tuple(
        Attachment(name=file, content_type="", size=0, reference=file)
        for file in fields.id("file_ids").split(",")
        if file
    )
    text = fields.text("text")
    if text or files:
        yield Incoming(
            peer=channel,
            occurred_at=fields.at("timestamp").moment(),
            external_id=name,
            claims=_claims(user),
            name=fields.text("user_name"),
            text=text,
            attachments=files,
        )


def _pressed(fields: Fields) -> Iterator[Event]:
    """Read a pressed button; `trigger_id` is another for every time it is pressed."""
    user, channel = fields.id("user_id"), fields.id("channel_id")
    text, payload = fields.text("context", "text"), fields.text("context", "payload")
    if not (user and channel and (text or payload)):
        return
    pressed = hashlib.blake2b(fields.text("trigger_id").encode("utf-8", "replace"), digest_size=12).hexdigest()
    yield Incoming(
        peer=channel,
        external_id=f"{fields.id('post_id')}:{pressed}",
        claims=_claims(user),
        name=fields.text("user_name"),
        text=text or payload,
        reply_to=fields.id("post_id"),
        fields={"payload": payload} if payload and payload != text else {},
    )


def _claims(user: str) -> tuple[Claim, ...]:
    return (Claim(Address(SCHEME, user), user, Trust.ATTESTED),)


def files_of(post: Fields) -> tuple[Attachment, ...]:
    """Return the files of a post, described if the server says more than their ids."""
    described = {file.id("id"): file for file in post.items("metadata", "files")}
    names = list(described) or [file.id() for file in post.items("file_ids")]
    return tuple(_file(name, described.get(name, Fields(None))) for name in names if name)


def _file(name: str, file: Fields) -> Attachment:
    content_type = file.id("mime_type").lower()
    kinds: dict[str, MediaKind] = {"image": "image", "audio": "audio", "video": "video"}
    return Attachment(
        name=" ".join(file.text("name").split())[:255] or name,
        content_type=content_type,
        size=max(0, file.whole("size") or 0),
        reference=name,
        kind=kinds.get(content_type.partition("/")[0], "file"),
    )
