"""What is said: albums and long SMS joined, answers put where they belong, programs and our own side told apart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from core import intake
from core.connections import Connection
from core.intake import Received, Result, Source
from core.kernel.addresses import Address
from core.kernel.envelopes import Attachment as File
from core.kernel.envelopes import Attribution, Claim, Incoming, Signal, Trust
from core.people.contacts import Contact
from core.sales.leads import Lead
from core.talk import changes
from core.talk.attachments import Attachment
from core.talk.conversations import Conversation, Message, resolve
from hub.app import Hub

Hearing = Callable[..., Awaitable[Result]]
_numbers = iter(range(1, 10**6))


@pytest.fixture
async def hear(hub: Hub, webform: Connection, take_on: Any) -> Hearing:
    """Has intake hear something: `await hear("words", peer="vera")`, of somebody known as `peer`."""
    await take_on("Anna")

    async def say(text: str = "", *, peer: str = "vera", **more: Any) -> Result:
        number = next(_numbers)
        claims = more.pop("claims", (Claim(Address("telegram", peer), peer, Trust.ATTESTED),))
        event = Incoming(external_id=more.pop("external_id", f"m{number}"), peer=peer, text=text, claims=claims, **more)
        source = Source(webform.id, "telegram", "Telegram")
        async with hub.database.transaction() as session:
            received = Received(number, hub.clock.now(), source, event)
            (result,) = await intake.receive(session, [received], now=hub.clock.now())
        return result

    return say


async def rows(hub: Hub, model: Any) -> list[Any]:
    async with hub.database.reading() as session:
        return list(await session.scalars(select(model).order_by(model.id)))


def piece(number: int, of: int = 3) -> dict[str, Any]:
    return {"group": "concat:7", "context": {"concat_part": str(number), "concat_parts": str(of)}}


async def test_the_pieces_of_a_long_sms_join_in_their_order_whichever_way_they_come(hub, hear):
    await hear("day ", **piece(2))
    await hear("tomorrow", **piece(3))
    await hear("Good ", **piece(1))
    (message,) = await rows(hub, Message)
    assert message.text == "Good day tomorrow"
    assert len(await rows(hub, Lead)) == 1
    (conversation,) = await rows(hub, Conversation)
    assert conversation.context == {}, "where a piece belongs is nothing an answer needs"


async def test_a_piece_that_comes_twice_changes_nothing(hub, hear):
    await hear("Good ", external_id="a", **piece(1))
    await hear("day", external_id="b", **piece(2))
    again = await hear("day", external_id="b", **piece(2))
    assert again.is_repeat
    assert [message.text for message in await rows(hub, Message)] == ["Good day"]


async def test_the_same_reference_an_hour_later_is_another_message(hub, hear, clock):
    await hear("old", **piece(1))
    clock.advance(timedelta(hours=2))
    await hear("new", **piece(1))
    assert [message.text for message in await rows(hub, Message)] == ["old", "new"]


async def test_two_people_s_pieces_of_one_reference_stay_apart(hub, hear):
    await hear("Vera", peer="vera", **piece(1))
    await hear("Igor", peer="igor", **piece(1))
    assert [message.text for message in await rows(hub, Message)] == ["Vera", "Igor"]


async def test_the_files_of_an_album_keep_their_order_over_several_batches(hub, hear):
    for number in range(4):
        file = File(f"{number}.jpg", "image/jpeg", 10, reference=f"r{number}", kind="image")
        await hear("caption" if number == 1 else "", group="album", attachments=(file,))
    (message,) = await rows(hub, Message)
    files = await rows(hub, Attachment)
    assert [(file.name, file.position, file.message_id) for file in files] == [
        (f"{number}.jpg", number, message.id) for number in range(4)
    ]
    assert message.text == "caption"


async def test_a_program_s_words_are_kept_but_make_no_work_and_open_nothing(hub, hear):
    first = await hear("Please call")
    async with hub.database.transaction() as session:
        conversation = await session.get_one(Conversation, first.conversation_id)
        await resolve(session, conversation, at=hub.clock.now(), actor_id=None)
    await hear("Out of office", is_automatic=True)
    await hear("Newsletter", peer="shop", is_automatic=True)
    vera, shop = await rows(hub, Conversation)
    assert (vera.status, vera.unread, vera.waiting_since) == ("resolved", 0, None)
    assert (shop.status, shop.unread, shop.waiting_since) == ("resolved", 0, None)
    assert len(await rows(hub, Lead)) == 1
    assert [message.is_automatic for message in await rows(hub, Message)] == [False, True, True]


async def test_what_our_own_side_wrote_elsewhere_ends_the_wait(hub, hear):
    await hear("Hello?")
    await hear("Yes?", is_ours=True)
    (conversation,) = await rows(hub, Conversation)
    assert (conversation.waiting_since, conversation.last_message_text) == (None, "Yes?")
    assert [message.direction for message in await rows(hub, Message)] == ["inbound", "outbound"]


async def test_what_our_own_side_wrote_finds_its_conversation_by_the_other_side_alone(hub, hear):
    await hear("Hello?")
    found = await hear("Yes?", is_ours=True, claims=())
    assert len(await rows(hub, Conversation)) == 1
    assert not found.is_repeat
    nobody = await hear("Hi", peer="a stranger", is_ours=True, claims=())
    assert nobody.is_repeat
    assert len(await rows(hub, Contact)) == 1


async def test_an_answer_joins_the_conversation_it_answers_but_only_its_own_person_s(hub, hear):
    first = await hear("A letter", external_id="<1@x>", thread="t1")
    joined = await hear("Another", external_id="<2@x>", thread="t2", reply_to="<1@x>")
    assert joined.conversation_id == first.conversation_id
    by_reference = await hear("Third", external_id="<3@x>", thread="t3", context={"references": "<1@x> <9@x>"})
    assert by_reference.conversation_id == first.conversation_id
    stranger = await hear("Mine!", peer="mallory", external_id="<4@x>", thread="t4", reply_to="<1@x>")
    assert stranger.conversation_id != first.conversation_id
    answers = {message.external_id: message.reply_to_id for message in await rows(hub, Message)}
    assert answers["<2@x>"] == first.message_id


async def test_the_link_somebody_came_by_is_their_first_request_s_attribution(hub, hear, webform):
    signal = Signal(kind="started", peer="vera", attribution=Attribution(reference="spring", utm_source="vk"))
    async with hub.database.transaction() as session:
        await changes.heed(session, webform.id, signal, now=hub.clock.now())
    await hear("Hello")
    (lead,) = await rows(hub, Lead)
    assert lead.attribution == {"reference": "spring", "utm_source": "vk"}


async def test_the_window_of_a_channel_moves_with_each_message(hub, hear, clock):
    until = clock.now() + timedelta(hours=24)
    await hear("one", replies_until=until)
    await hear("two", replies_until=until - timedelta(hours=1))
    (conversation,) = await rows(hub, Conversation)
    assert conversation.replies_until == until, "a message that comes late closes nothing"
