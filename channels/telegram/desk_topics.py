"""Topics of a forum, one for each conversation. Importing this takes seconds: see `channels.telegram.bot`.

https://core.telegram.org/bots/api#createforumtopic and what follows. The documentation leaves the wording of refusals
to the server; it is api.telegram.org's (tdlib/telegram-bot-api).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiogram.methods import CloseForumTopic, CreateForumTopic, EditForumTopic, ReopenForumTopic, TelegramMethod

from channels.contract import Sending, Unit
from channels.desk_contract import Place, PlaceGone
from channels.errors import RecipientGone, Uncertain, Undeliverable
from channels.fields import Fields
from channels.rendering import length, split
from channels.telegram.calls import Api
from channels.telegram.contents import number_at, one_line

LONGEST_NAME = 128

_GONE = ("message thread not found", "topic_deleted", "topic_id_invalid")
_NO_TOPICS = ("not a forum", "forum_missing", "only for supergroup", "forum_disabled")
_NO_RIGHT = ("not enough rights", "chat_admin_required", "right_forbidden")


@contextmanager
def in_a_topic() -> Iterator[None]:
    """Tell a topic that is no more from other refusals.

    Raises:
        PlaceGone: the topic is no more.
    """
    try:
        yield
    except Undeliverable as error:
        if any(sign in str(error).lower() for sign in _GONE):
            raise PlaceGone("This topic is no more", code=error.code) from error
        raise


async def _change(api: Api, method: TelegramMethod[Any]) -> Fields:
    """Call a method that changes topics.

    Raises:
        PlaceGone: the topic is no more. Undeliverable: there can be none, or the bot may not; it says what to do.
    """
    try:
        with in_a_topic():
            return await api(method)
    except (PlaceGone, RecipientGone):
        raise
    except Undeliverable as error:
        told = str(error).lower()
        if "topic_not_modified" in told:
            return Fields(None)
        if any(sign in told for sign in _NO_TOPICS):
            raise Undeliverable(
                "This group has no topics. Its owner switches them on where the group is edited, under Topics",
                code=error.code,
            ) from error
        if any(sign in told for sign in _NO_RIGHT):
            raise Undeliverable(
                f"{error}. Make the bot an administrator of the group who may manage topics", code=error.code
            ) from error
        raise


async def open_topic(api: Api, chat: str, name: str) -> str:
    """Make a topic and return its id.

    Raises:
        Undeliverable: the group has no topics, or the bot may not make any. Uncertain: nobody knows whether it was
        done. ChannelError: it was not done.
    """
    made = await _change(api, CreateForumTopic(chat_id=chat, name=_name(name)))
    if not (topic := number_at(made, "message_thread_id")):
        raise Uncertain("Telegram made a topic, but did not say which it is", code="unreadable")
    return topic


async def change_topic(api: Api, place: Place, *, name: str | None = None, is_open: bool | None = None) -> None:
    """Rename, close or re-open a topic.

    Raises:
        PlaceGone: it is no more. ChannelError: it was not done.
    """
    if not place.thread.isdecimal():
        raise Undeliverable("No topic is named that could be changed", code="topic")
    where: dict[str, Any] = {"chat_id": place.chat, "message_thread_id": int(place.thread)}
    if name is not None:
        await _change(api, EditForumTopic(name=_name(name), **where))
    if is_open is not None:
        await _change(api, ReopenForumTopic(**where) if is_open else CloseForumTopic(**where))


def _name(given: str) -> str:
    """Return a name Telegram takes: on one line, not empty, no longer than it may be."""
    name = one_line(given) or "…"
    if length(name, Unit.UTF16) <= LONGEST_NAME:
        return name
    return split(name, Sending(text=LONGEST_NAME - 1, unit=Unit.UTF16))[0] + "…"
