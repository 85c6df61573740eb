"""What our own people and the desk say to each other in Mattermost, read and written. Pure.

From Mattermost's API reference (WebSocket events `posted`, `post_edited`, `user_removed`), "Interactive messages",
"Message attachments" and "Formatting text". What a backslash keeps from being markup is as in the marked library, on
which their programs' Markdown is built.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator, Sequence
from typing import Any

from channels import mattermost_posts
from channels.contract import Routed
from channels.desk_contract import Card, DeskEvent, DeskGone, DeskPressed, DeskSaid, DeskStarted, Key, Place
from channels.desk_posts import Piece, commanding, runs, ticket_of
from channels.fields import Fields
from channels.mattermost_posts import REMOVED, files_of, post_of
from webhooks.request import RawRequest

_MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!>~|])")
_CALL = re.compile(r"(?<![^\W_])@(?=\w)")
_UNDERLINE = re.compile(r"^(?= *=+ *$)", re.MULTILINE)
_JOINER = "\u2060"  # has no width; a name behind it is no mention, a line that begins with it no rule
_DIRECT = re.compile(r"[a-z0-9]{26}__[a-z0-9]{26}")


# --- what they say ---


def route(request: RawRequest) -> Routed:
    """Tell what a request is a repeat of, and its chat; in a channel of many the thread as well.

    A card and what is written under it are one thread. A chat with one person is one, whatever its threads: there the
    next word may belong to the press before it.

    Raises:
        Malformed: it cannot be read.
    """
    routed, fields = mattermost_posts.route(request), mattermost_posts.read(request)
    if not routed.peer or _is_direct(fields):
        return routed
    thread = post_of(fields).id("root_id") or fields.id("context", "thread") or fields.id("post_id")
    return routed._replace(peer=f"{routed.peer}:{thread}"[:250]) if thread else routed


def events(fields: Fields) -> Sequence[DeskEvent]:
    """Return the events of a request that `mattermost_posts.read` has read; none for what is no concern of ours."""
    kind = fields.text("event")
    if kind in ("posted", "post_edited"):
        return list(_said(fields, is_edit=kind == "post_edited"))
    if kind == REMOVED:
        return list(_gone(fields))
    return list(_pressed(fields)) if not kind and fields.at("context") else []


def _said(fields: Fields, *, is_edit: bool) -> Iterator[DeskEvent]:
    post, us = post_of(fields), fields.id("us")
    user, channel, name = post.id("user_id"), post.id("channel_id"), post.id("id")
    if not (user and channel and name) or user == us or post.text("type").startswith("system_"):
        return
    if post.flag("props", "from_bot") or post.flag("props", "from_webhook"):
        return
    files, text = files_of(post), post.text("message")
    if not text and not files:
        return
    thread, is_private, handle = post.id("root_id"), _is_direct(fields), _handle(fields)
    when = post.at("edit_at" if is_edit else "create_at").moment() or post.at("update_at").moment()
    key = f"edit:{name}:{post.whole('update_at') or 0}" if is_edit else f"said:{name}"
    ticket = ticket_of(text) if is_private and not thread and not is_edit else ""
    if ticket:
        yield DeskStarted(
            peer=channel, occurred_at=when, key=key, person=user, name=handle, handle=handle, ticket=ticket
        )
        return
    yield DeskSaid(
        peer=channel,
        occurred_at=when,
        key=key,
        person=user,
        name=handle,
        handle=handle,
        thread=thread,
        is_private=is_private,
        ref=name,
        text=commanding(text),
        attachments=files,
        reply_to=thread,
        is_edit=is_edit,
    )


def _gone(fields: Fields) -> Iterator[DeskEvent]:
    channel, when = fields.id("broadcast", "channel_id"), fields.at("data", "at")
    if channel:
        key = f"gone:{channel}:{when.whole() or 0}"
        yield DeskGone(peer=channel, occurred_at=when.moment(), key=key, is_private=False)


def _pressed(fields: Fields) -> Iterator[DeskEvent]:
    """Read a pressed button; `trigger_id` is another for every time it is pressed."""
    user, channel, post = fields.id("user_id"), fields.id("channel_id"), fields.id("post_id")
    data, thread = fields.text("context", "data"), fields.id("context", "thread")
    if not (user and channel and post and data):
        return
    pressed = hashlib.blake2b(fields.text("trigger_id").encode("utf-8", "replace"), digest_size=12).hexdigest()
    yield DeskPressed(
        peer=channel,
        key=f"press:{post}:{pressed}"[:250],
        person=user,
        name=fields.text("user_name"),
        handle=fields.text("user_name"),
        thread=thread,
        is_private=_is_direct(fields),
        ref=post,
        data=data,
        press=" ".join((channel, user, thread)).strip(),
    )


def _handle(fields: Fields) -> str:
    return fields.text("data", "sender_name").removeprefix("@")


def _is_direct(fields: Fields) -> bool:
    """Tell whether a channel is somebody's alone with the bot; a pressed button tells it by the channel's name only."""
    if "event" in fields:
        return fields.text("data", "channel_type") == "D"
    return _DIRECT.fullmatch(fields.text("channel_name")) is not None


# --- what we say ---


def proof(token: str, channel: str, thread: str, data: str) -> str:
    """Return what shows that a button is ours and was put there by us: it comes back when the button is pressed."""
    key = hashlib.sha256(f"desk button\0{token}".encode("utf-8", "replace")).digest()
    said = "\0".join((channel, thread, data)).encode("utf-8", "replace")
    return hmac.new(key, said, hashlib.sha256).hexdigest()


def escaped(text: str) -> str:
    """Return a text that is shown as it is: no markup, nobody called; addresses of pages stay what they are."""
    found = []
    for run, is_address in runs(_UNDERLINE.sub(_JOINER, text)):
        found.append(run if is_address else _CALL.sub(f"@{_JOINER}", _MARKUP.sub(r"\\\1", run)))
    return "".join(found)


def written(piece: Piece) -> str:
    """Return a piece of a card in Markdown, its title bold."""
    title, rest = piece.text[: piece.bold], piece.text[piece.bold :]
    return (f"**{escaped(title)}**" if title.strip() else title) + escaped(rest)


def attachments(card: Card, place: Place, *, token: str, hook_url: str) -> list[dict[str, Any]]:
    """Return the buttons under a post, a row in each attachment; an address to open is a link above its row.

    Without `hook_url` a pressed one could not tell us so, and there are links alone.
    """
    found = []
    for number, row in enumerate(card.keys):
        links = " · ".join(_link(key) for key in row if key.url)
        actions = [
            {
                # An id of letters and digits alone: with others a press is not passed on.
                "id": f"key{number}x{place_in_row}",
                "type": "button",
                "name": key.text,
                "integration": {"url": hook_url, "context": _context(key, place, token)},
            }
            for place_in_row, key in enumerate(row)
            if key.data and not key.url and hook_url
        ]
        if links or actions:
            shown = {"text": links} if links else {}
            fallback = ", ".join(key.text for key in row)
            found.append({"fallback": fallback, **shown, **({"actions": actions} if actions else {})})
    return found


def _context(key: Key, place: Place, token: str) -> dict[str, str]:
    made = proof(token, place.chat, place.thread, key.data)
    return {"data": key.data, "thread": place.thread, "proof": made}


def _link(key: Key) -> str:
    address = key.url.replace("(", "%28").replace(")", "%29").replace(" ", "%20")
    return f"[{escaped(key.text)}]({address})"
