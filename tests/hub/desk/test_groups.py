"""A team's group that cannot be posted in: what waited there reaches people instead."""

from __future__ import annotations

import pytest

from channels.desk_contract import DeskGone
from channels.errors import RecipientGone, Undeliverable
from core.talk.conversations import Conversation, Message
from hub.desk import hearing, posts, topics
from hub.desk.posting import Poster
from hub.desk.records import DeskPost, DeskTeamChat
from tests.conftest import MONDAY_TEN as NOW
from tests.hub.desk.console import ConsoleDesk
from tests.hub.desk.test_commands import GROUP, anna, asked, at_desk, desk, kinds, read

__all__ = ["anna", "asked", "at_desk", "desk", "kinds", "read"]


@pytest.fixture
async def waits(hub, desk, asked, read) -> Message:
    """What Vera said, on its way into the topic of a group of all teams."""
    talk, said = await read(Conversation), await read(Message)
    async with hub.database.transaction() as session:
        session.add(DeskTeamChat(connection_id=desk.live.id, chat=GROUP, title="Sales", created_at=NOW))
        topic = await topics.topic_of(session, await session.get_one(Conversation, talk.id), at=NOW)
        await posts.add(session, [posts.to_topic(topic, "message", at=NOW, message_id=said.id)])
    return said


async def test_what_waits_for_a_group_is_told_to_people_when_the_bot_is_put_out(waits, hub, desk, read):
    async with hub.database.transaction() as session:
        await hearing.do(session, hub, desk.live, DeskGone(key="gone", peer=GROUP, is_private=False))
    post = await read(DeskPost, DeskPost.purpose == "message")
    assert (post.chat, post.user_id, post.message_id, post.due_at) == (desk.chat, desk.user.id, waits.id, NOW)
    assert await read(DeskTeamChat) is None


@pytest.mark.parametrize("error", [Undeliverable("The bot may make no topics"), RecipientGone("It was put out")])
async def test_what_a_group_does_not_take_is_told_to_people(waits, hub, desk, monkeypatch, error):
    async def open_topic(*_: object) -> str:
        raise error

    monkeypatch.setattr(ConsoleDesk, "open_topic", open_topic)
    poster = Poster(hub)
    while await poster.work():
        pass
    ((place, card),) = [shown for shown in desk.live.channel.posted if "quote" in shown[1].words]
    assert (place.chat, card.words) == (desk.chat, "3 windows, quote please")
