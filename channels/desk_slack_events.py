"""Reading what our own people do in Slack: posts, edits, pressed buttons. Pure; `channels.desk_slack` is the channel.

From Slack's reference of the Events API (`message` and its subtypes, `channel_left`, `member_left_channel`,
`channel_archive`), of interaction payloads (`block_actions`) and of slash commands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from channels import slack_events
from channels.contract import Routed
from channels.desk_contract import DeskEvent, DeskGone, DeskPressed, DeskSaid, DeskStarted
from channels.desk_posts import commanding, ticket_of
from channels.fields import Fields
from channels.slack_events import SAID, files_of, moment, plain
from webhooks.request import RawRequest

_LEFT = frozenset(
    {"channel_left", "group_left", "channel_archive", "group_archive", "channel_deleted", "group_deleted"}
)


def route(request: RawRequest) -> Routed:
    """Tell what a request is a repeat of, and its chat; in a channel of many the thread as well.

    A card and what is written under it are one thread. A chat with one person is one, whatever its threads: there the
    next word may belong to the press before it.

    Raises:
        Malformed: it cannot be read.
    """
    routed, fields = slack_events.route(request), slack_events.read(request)
    chat = routed.peer
    if "command" in fields or not chat or _is_direct(fields.at("event"), chat):
        return routed
    event = fields.at("event")
    thread = (
        event.id("thread_ts")
        or event.id("message", "thread_ts")
        or fields.id("message", "thread_ts")
        or fields.id("message", "ts")
    )
    return routed._replace(peer=f"{chat}:{thread}"[:250]) if thread else routed


def events(fields: Fields) -> Sequence[DeskEvent]:
    """Return the events of a request that `slack_events.read` has read; none for those that are no concern of ours."""
    if "command" in fields:
        return list(_command(fields))
    if fields.text("type") == "block_actions":
        return list(_actions(fields))
    if fields.text("type") == "event_callback":
        return list(_callback(fields))
    return []


def _callback(fields: Fields) -> Iterator[DeskEvent]:
    event = fields.at("event")
    kind, chat = event.text("type"), event.id("channel")
    us = fields.id("authorizations", 0, "user_id") if fields.flag("authorizations", 0, "is_bot") else ""
    if not chat:
        return
    if kind in ("message", "app_mention"):
        yield from _message(event, chat, us)
    elif kind in _LEFT or (kind == "member_left_channel" and us and event.id("user") == us):
        yield DeskGone(
            peer=chat,
            occurred_at=moment(event.id("event_ts")),
            key=f"gone:{chat}:{event.id('event_ts') or fields.id('event_id')}",
            is_private=_is_direct(event, chat),
        )


def _message(event: Fields, chat: str, us: str) -> Iterator[DeskEvent]:
    subtype = event.text("subtype")
    if subtype == "message_changed":
        before, message = event.at("previous_message"), event.at("message")
        # Slack also says "changed" when it adds a preview, or when the first message of a thread goes.
        if message.text("subtype") not in SAID or message.text("text") == before.text("text"):
            return
        changed = message.id("edited", "ts") or event.id("event_ts")
        yield from _said(message, event, chat, us, f"edit:{chat}:{message.id('ts')}:{changed}", changed)
    elif subtype in SAID:
        yield from _said(event, event, chat, us, f"said:{chat}:{event.id('ts')}", event.id("ts"))


def _said(message: Fields, event: Fields, chat: str, us: str, key: str, when: str) -> Iterator[DeskEvent]:
    ref, user, thread = message.id("ts"), message.id("user"), message.id("thread_ts")
    if not ref or not user or user == us or message.id("bot_id"):
        return
    files, links = files_of(message)
    text = "\n".join(line for line in (plain(message.text("text"), us), *links) if line)
    if not text and not files:
        return
    is_private, is_edit = _is_direct(event, chat), message.value is not event.value
    profile = message.at("user_profile")
    name, handle = profile.text("real_name") or profile.text("display_name"), profile.text("name")
    ticket = ticket_of(text) if is_private and not thread and not is_edit else ""
    if ticket:
        yield DeskStarted(
            peer=chat, occurred_at=moment(when), key=key, person=user, name=name, handle=handle, ticket=ticket
        )
        return
    yield DeskSaid(
        peer=chat,
        occurred_at=moment(when),
        key=key,
        person=user,
        name=name,
        handle=handle,
        thread=thread,
        is_private=is_private,
        ref=ref,
        text=commanding(text),
        attachments=files,
        reply_to=thread if thread != ref else "",
        is_edit=is_edit,
    )


def _actions(fields: Fields) -> Iterator[DeskEvent]:
    chat = fields.id("channel", "id") or fields.id("container", "channel_id")
    ref = fields.id("message", "ts") or fields.id("container", "message_ts")
    thread = fields.id("message", "thread_ts") or fields.id("container", "thread_ts")
    user = fields.id("user", "id")
    for number, action in enumerate(fields.items("actions")):
        data, stamp = action.text("value"), action.id("action_ts") or fields.id("trigger_id")
        if not (chat and ref and user and data and stamp):
            continue  # a button that opens an address brings back nothing
        yield DeskPressed(
            peer=chat,
            occurred_at=moment(stamp),
            key=f"press:{chat}:{stamp}:{number}",
            person=user,
            name=fields.text("user", "name"),
            handle=fields.text("user", "username") or fields.text("user", "name"),
            thread=thread,
            is_private=_is_direct(fields, chat),
            ref=ref,
            data=data,
            press=" ".join((chat, user, thread)).strip(),
        )


def _command(fields: Fields) -> Iterator[DeskEvent]:
    """Read a slash command, for apps that have some; where it was typed in a thread Slack does not say."""
    chat, user, trigger = fields.id("channel_id"), fields.id("user_id"), fields.id("trigger_id")
    text = " ".join(word for word in (fields.text("command"), plain(fields.text("text"))) if word)
    if not (chat and user and trigger and text):
        return
    name, is_private = fields.text("user_name"), _is_direct(fields, chat)
    key, ticket = f"command:{trigger}"[:250], ticket_of(text) if is_private else ""
    if ticket:
        yield DeskStarted(peer=chat, key=key, person=user, name=name, handle=name, ticket=ticket)
    else:
        yield DeskSaid(
            peer=chat, key=key, person=user, name=name, handle=name, is_private=is_private, ref=trigger, text=text
        )


def _is_direct(event: Fields, chat: str) -> bool:
    """Tell whether a chat is somebody's alone with the bot: Slack's ids of such begin with a D."""
    kind = event.text("channel_type")
    return kind == "im" or (not kind and chat.startswith("D"))
