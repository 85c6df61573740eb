"""Reading what Slack sends: events, pressed buttons, slash commands. Pure; `channels.slack` is the channel itself.

From Slack's reference of the Events API (`message` and its subtypes, `reaction_added`, `tokens_revoked`), of
interaction payloads (`block_actions`), of slash commands, and of how text is escaped ("Formatting text for app
surfaces").
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from channels.contract import Routed
from channels.fields import Fields, json_of
from core.kernel.addresses import Address
from core.kernel.envelopes import Attachment, Changed, Claim, Event, Incoming, MediaKind, Problem, Trust
from webhooks import charsets, urlencoded
from webhooks.errors import Malformed
from webhooks.request import RawRequest

SCHEME = "slack"
LOOK_UP = "file:"
"""Begins the reference of a file whose address has to be asked for first: those shared from other workspaces."""

SAID = frozenset({"", "file_share", "me_message", "thread_broadcast", "bot_add_reply"})
_REVOKED = frozenset({"app_uninstalled", "tokens_revoked"})
_MOST_PAIRS = 200
_MARK = re.compile(r"<([^<>|]*)(?:\|([^<>]*))?>")


def read(request: RawRequest) -> Fields:
    """Return what a request says: an event's JSON, the JSON in a form's `payload`, or the fields of a slash command.

    Raises:
        Malformed: it is none of them.
    """
    start = request.body[:64].lstrip()[:1]
    if start == b"{":
        return json_of(request)
    try:
        form = dict(urlencoded.pairs(request.body.decode(), most=_MOST_PAIRS))
    except UnicodeDecodeError as error:
        raise Malformed("The body is neither JSON nor a form, so it is not from Slack") from error
    if "payload" in form:
        try:
            found = msgspec.json.decode(form["payload"].encode("utf-8", "replace"))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed("The form's `payload` is no JSON") from error
        if isinstance(found, dict):
            return Fields(found)
    elif "command" in form or "ssl_check" in form:
        return Fields(form)
    raise Malformed("The form holds neither a `payload` nor a `command`, so it is not from Slack")


def route(request: RawRequest) -> Routed:
    """Tell what a request is a repeat of: a retried event has the same `event_id`, whatever `X-Slack-Retry-Num` says.

    Raises:
        Malformed: as `read`.
    """
    fields = read(request)
    for name in ("event_id", "trigger_id"):
        if found := fields.id(name):
            key = f"{name}:{found}"[:200]
            break
    else:
        key = "content:" + hashlib.blake2b(request.body, digest_size=16).hexdigest()
    return Routed(key, None, _peer(fields))


def events(fields: Fields) -> Sequence[Event]:
    """Return the events of a request that `read` has read; none for those that are no concern of ours."""
    if "command" in fields:
        return list(_command(fields))
    if fields.text("type") == "block_actions":
        return list(_actions(fields))
    if fields.text("type") == "event_callback":
        return list(_callback(fields))
    return []


def plain(text: str, us: str = "") -> str:
    """Return Slack's text as a person reads it: names for mentions, addresses for links, `&` for `&amp;`.

    `us` is the id of our bot; a mention of it at the beginning is how people call it, not what they say.
    """
    if us and text.lstrip().startswith(f"<@{us}"):
        text = text.lstrip().partition(">")[2].lstrip(" :,")
    text = _MARK.sub(_unmarked, text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def escaped(text: str) -> str:
    """Return a text as Slack wants it, so that nothing in it calls anybody or becomes a link it is not."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _unmarked(found: re.Match[str]) -> str:
    target, label = found[1], found[2] or ""
    if target.startswith("@"):
        return f"@{label or target[1:]}"
    if target.startswith("#"):
        return f"#{label or target[1:]}"
    if target.startswith("!"):
        return label or f"@{target[1:].partition('^')[0]}"
    address = target.removeprefix("mailto:").removeprefix("tel:")
    return address if not label or label == address else f"{label} ({address})"


def _peer(fields: Fields) -> str:
    if "command" in fields:
        return _person(fields.id("team_id"), fields.id("user_id"))
    event = fields.at("event")
    return (
        event.id("channel")
        or event.id("item", "channel")
        or fields.id("channel", "id")
        or fields.id("container", "channel_id")
    )


def _person(team: str, user: str) -> str:
    return f"{team}:{user}"[:200] if team and user else ""


def _claims(team: str, user: str) -> tuple[Claim, ...]:
    person = _person(team, user)
    return (Claim(Address(SCHEME, person), user, Trust.ATTESTED),) if person else ()


def _callback(fields: Fields) -> Iterator[Event]:
    event, team = fields.at("event"), fields.id("team_id")
    kind = event.text("type")
    us = fields.id("authorizations", 0, "user_id") if fields.flag("authorizations", 0, "is_bot") else ""
    if kind in ("message", "app_mention"):
        yield from _message(event, team, us, fields)
    elif kind in ("reaction_added", "reaction_removed"):
        channel, stamp = event.id("item", "channel"), event.id("item", "ts")
        if channel and stamp and event.id("user") != us:
            emoji = f":{event.id('reaction')}:" if kind == "reaction_added" else ""
            yield Changed(
                peer=channel,
                occurred_at=moment(event.id("event_ts")),
                external_id=_named(channel, stamp),
                change="reaction",
                text=emoji,
            )
    elif kind in _REVOKED:
        yield Problem(
            kind="auth",
            detail="The app was removed from the Slack workspace, or its token revoked. Install it again and enter the "
            "new bot token",
        )


def _message(event: Fields, team: str, us: str, outer: Fields) -> Iterator[Event]:
    subtype, channel = event.text("subtype"), event.id("channel")
    if not channel:
        return
    if subtype == "message_changed":
        yield from _changed(event, channel, us)
        return
    if subtype == "message_deleted":
        deleted = event.id("deleted_ts") or event.id("previous_message", "ts")
        if deleted and not event.id("previous_message", "bot_id"):
            yield _deletion(event, channel, deleted)
        return
    stamp, user = event.id("ts") or event.id("event_ts"), event.id("user")
    known_as = _named(channel, stamp) if stamp else outer.id("event_id")
    if subtype not in SAID or event.id("bot_id") or not user or user == us or not known_as:
        return
    is_direct = event.text("channel_type") == "im" or (not event.text("channel_type") and channel.startswith("D"))
    thread = event.id("thread_ts")
    files, links = files_of(event)
    text = "\n".join(line for line in (plain(event.text("text"), us), *links) if line)
    if not text and not files:
        return
    yield Incoming(
        peer=channel,
        occurred_at=moment(stamp or outer.id("event_time")),
        external_id=known_as,
        claims=_claims(team, user),
        text=text,
        thread="" if is_direct else thread,
        reply_to=_named(channel, thread) if thread and thread != stamp else "",
        attachments=files,
    )


def _changed(event: Fields, channel: str, us: str) -> Iterator[Event]:
    """Read an edit. Slack also says "changed" when it adds a preview, or when the first message of a thread goes."""
    message, before = event.at("message"), event.at("previous_message")
    stamp = message.id("ts")
    if not stamp or message.id("bot_id") or (us and message.id("user") == us):
        return
    if message.text("subtype") == "tombstone":
        yield _deletion(event, channel, stamp)
    elif message.text("text") != before.text("text") and ("edited" in message or before):
        yield Changed(
            peer=channel,
            occurred_at=moment(message.id("edited", "ts") or event.id("event_ts")),
            external_id=_named(channel, stamp),
            change="edited",
            text=plain(message.text("text"), us),
        )


def _deletion(event: Fields, channel: str, stamp: str) -> Changed:
    return Changed(
        peer=channel,
        occurred_at=moment(event.id("event_ts") or event.id("ts")),
        external_id=_named(channel, stamp),
        change="deleted",
    )


def _actions(fields: Fields) -> Iterator[Event]:
    channel = fields.id("channel", "id") or fields.id("container", "channel_id")
    team, user = fields.id("team", "id") or fields.id("user", "team_id"), fields.id("user", "id")
    asked = fields.id("message", "ts") or fields.id("container", "message_ts")
    is_direct = channel.startswith("D")
    for number, action in enumerate(fields.items("actions")):
        chosen = action.at("selected_option")
        text = plain(action.text("text", "text") or chosen.text("text", "text"))
        payload = action.text("value") or chosen.text("value")
        stamp = action.id("action_ts") or fields.id("trigger_id")
        if not stamp or not channel or not (text or payload):
            continue
        yield Incoming(
            peer=channel,
            occurred_at=moment(stamp),
            external_id=_named(channel, stamp if number == 0 else f"{stamp}.{number}"),
            claims=_claims(team, user),
            name=fields.text("user", "name") or fields.text("user", "username"),
            text=text or payload,
            thread="" if is_direct else fields.id("message", "thread_ts"),
            reply_to=_named(channel, asked) if asked else "",
            fields={"payload": payload} if payload and payload != text else {},
        )


def _command(fields: Fields) -> Iterator[Event]:
    """Read a slash command. It may be typed where our bot is not, so the answer goes to the person."""
    team, user = fields.id("team_id"), fields.id("user_id")
    if not _person(team, user):
        return
    said = " ".join(word for word in (fields.text("command"), plain(fields.text("text"))) if word)
    yield Incoming(
        peer=_person(team, user),
        external_id=_named(fields.id("channel_id"), fields.id("trigger_id")) if fields.id("trigger_id") else "",
        claims=_claims(team, user),
        name=fields.text("user_name"),
        text=said,
    )


def files_of(event: Fields) -> tuple[tuple[Attachment, ...], list[str]]:
    """Return the files Slack holds, and the addresses of those it only links to (a document elsewhere)."""
    files, links = [], []
    for file in event.items("files"):
        address = file.text("url_private_download") or file.text("url_private")
        if file.text("mode") == "external":
            links.append(file.text("url_private") or file.text("permalink"))
            continue
        if file.text("file_access") == "check_file_info" and file.id("id"):
            address = LOOK_UP + file.id("id")
        if not address:
            continue  # deleted, or beyond what a free workspace keeps
        content_type = file.id("mimetype").lower()
        files.append(
            Attachment(
                name=" ".join((file.text("name") or file.text("title")).split())[:255] or file.id("id"),
                content_type=content_type,
                size=max(0, file.whole("size") or 0),
                reference=address,
                kind=_media_kind(content_type, file.text("subtype")),
            )
        )
    return tuple(files), [link for link in links if link]


def _media_kind(content_type: str, subtype: str) -> MediaKind:
    if subtype == "slack_audio":
        return "voice"
    kinds: dict[str, MediaKind] = {"image": "image", "audio": "audio", "video": "video"}
    return kinds.get(content_type.partition("/")[0], "file")


def _named(channel: str, stamp: str) -> str:
    """Name a message: a time stamp is unique only within its channel."""
    return f"{channel}:{stamp}"[:200]


def moment(stamp: str) -> datetime | None:
    """Return the moment a time stamp names, `1355517523.000005`; None if it is none."""
    seconds, _, rest = stamp.partition(".")
    found = Fields(charsets.clean(seconds)).moment() if seconds.isdecimal() else None
    if found is None or not rest[:6].isdecimal():
        return found
    return found + timedelta(microseconds=int(rest[:6].ljust(6, "0")))
