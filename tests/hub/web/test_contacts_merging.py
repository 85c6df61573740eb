"""Merging on pages: the notice, both side by side, swap, undo; a conversation that goes to another person."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select

from core import intake
from core.intake import Received, Source
from core.kernel.addresses import Address
from core.kernel.envelopes import Claim, Incoming, Trust
from core.people.contacts import Contact, ContactIdentity, DuplicateCandidate
from core.people.merging import MergeRecord
from core.staff.users import Role
from core.talk.conversations import Conversation
from hub import connections
from tests.channels.payloads.telegram import TOKEN
from tests.conftest import VERA

ACCOUNT = f"{TOKEN.partition(':')[0]}:77"


@pytest.fixture
async def vera(hub, client, webform, drain):
    """Asks by the form; answers with the contact."""
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    async with hub.database.reading() as session:
        return await session.scalar(select(Contact))


@pytest.fixture
async def other(hub, vera):
    """Somebody the bot knows, who names Vera's e-mail in passing."""
    async with hub.database.transaction() as session:
        bot = await connections.create(
            session,
            hub.vault,
            kind="telegram",
            title="Our bot",
            settings={"token": TOKEN, "secret_token": "s", "base_url": "http://127.0.0.1:9"},
            at=hub.clock.now(),
        )
    await hub.switchboard.refresh()
    here = Claim(Address("telegram", ACCOUNT), "77", Trust.ATTESTED)
    said = Claim(Address("email", VERA["email"]), VERA["email"], Trust.TYPED)
    source = Source(bot.id, "telegram", "Our bot")
    results = []
    for number, claims in enumerate(((here,), (here, said)), 1):
        event = Incoming(claims=claims, text="Me <b>", external_id=f"77:{number}", name="vera_s", peer="77")
        async with hub.database.transaction() as session:
            received = Received(number, hub.clock.now(), source, event)
            results += await intake.receive(session, [received], now=hub.clock.now())
    return results[0]


@pytest.fixture
async def boss(take_on, browser_of):
    return await browser_of(await take_on("Boss", Role.OWNER, password=True))


async def test_who_may_be_one_is_shown_side_by_side_merged_and_taken_apart(boss, vera, other, all_of):
    page = await boss.get(f"/contacts/{vera.id}")
    assert f'href="/contacts/{vera.id}/merge?other={other.contact_id}"' in page.text
    sheet = await boss.part(f"/contacts/{vera.id}/merge?other={other.contact_id}")
    assert sheet.text.index("Вера Соколова") < sheet.text.index("vera_s")
    assert f'href="/contacts/{other.contact_id}/merge?other={vera.id}"' in sheet.text, "the other one can stay instead"
    versions = dict(re.findall(r'name="(version|other_version)" value="(\d+)"', sheet.text))

    done = await boss.post(f"/contacts/{vera.id}/merge", other_id=str(other.contact_id), **versions)
    assert (done.status, done.headers["HX-Redirect"]) == (204, f"/contacts/{vera.id}")
    assert [contact.id for contact in await all_of(Contact)] == [vera.id]
    page = await boss.get(f"/contacts/{vera.id}")
    (record,) = await all_of(MergeRecord)
    assert f'action="/merges/{record.id}/undoing"' in page.text
    assert "Merged with vera_s" in page.text
    assert "Our bot" in page.text and "Website" in page.text, "one timeline, and the channel of each line"
    gone = await boss.get(f"/contacts/{other.contact_id}")
    assert (gone.status, gone.headers["Location"]) == (303, f"/contacts/{vera.id}")

    undone = await boss.post(f"/merges/{record.id}/undoing")
    assert undone.told["toast"]["text"] == "They are two people again"
    assert (await boss.get(f"/contacts/{other.contact_id}")).status == 200
    page = await boss.get(f"/contacts/{vera.id}")
    assert "Taken apart from vera_s" in page.text
    assert "This may be the same person" not in page.text
    assert (await boss.post(f"/merges/{record.id}/undoing")).status == 409


async def test_without_scripts_it_works_too(boss, vera, other, all_of):
    sheet = await boss.get(f"/contacts/{vera.id}/merge?other={other.contact_id}")
    assert "<html" in sheet.text
    merged = await boss.post_plainly(f"/contacts/{vera.id}/merge", other_id=str(other.contact_id))
    assert (merged.status, merged.headers["Location"]) == (303, f"/contacts/{vera.id}")
    (record,) = await all_of(MergeRecord)
    undone = await boss.post_plainly(f"/merges/{record.id}/undoing")
    assert (undone.status, undone.headers["Location"]) == (303, f"/contacts/{vera.id}")


async def test_somebody_else_is_looked_for_by_name_phone_or_address(boss, vera, other):
    path = f"/contacts/{vera.id}/merge"
    assert "Whoever you find" in (await boss.part(path)).text
    assert "Nobody found" in (await boss.part(f"{path}?q=nobody")).text
    found = (await boss.part(f"{path}?q=vera_s")).text
    assert f'href="/contacts/{vera.id}/merge?other={other.contact_id}"' in found
    assert f'?other={vera.id}"' not in (await boss.part(f"{path}?q=Соколова")).text, "nobody is merged with themselves"


async def test_what_changed_meanwhile_is_not_merged_blindly(boss, vera, other, all_of):
    for form in (
        {"other_id": str(other.contact_id), "version": "99"},
        {"other_id": str(other.contact_id), "other_version": "99"},
        {"other_id": str(vera.id)},
    ):
        refused = await boss.post(f"/contacts/{vera.id}/merge", **form)
        assert 'role="alert"' in refused.text, form
    assert (await boss.post(f"/contacts/{vera.id}/merge")).status == 404
    assert len(await all_of(Contact)) == 2
    assert await all_of(MergeRecord) == []


async def test_a_merge_of_a_merge_says_what_to_undo_first(boss, vera, other, all_of):
    await boss.post("/contacts", name="Third")
    third = (await all_of(Contact))[-1]
    await boss.post(f"/contacts/{other.contact_id}/merge", other_id=str(third.id))
    await boss.post(f"/contacts/{vera.id}/merge", other_id=str(other.contact_id))
    first, second = await all_of(MergeRecord)
    refused = await boss.post(f"/merges/{first.id}/undoing")
    assert (refused.status, "Undo that first" in refused.text) == (409, True)
    assert (await boss.get(f"/contacts/{third.id}")).headers["Location"] == f"/contacts/{vera.id}"
    await boss.post(f"/merges/{second.id}/undoing")
    assert (await boss.post(f"/merges/{first.id}/undoing")).status == 204
    assert len(await all_of(Contact)) == 3


async def test_a_conversation_is_given_to_another_person(boss, vera, other, all_of):
    sheet = await boss.part(f"/conversations/{other.conversation_id}/move?q=Соколова")
    assert "Вера Соколова" in sheet.text
    assert ACCOUNT in sheet.text, "the address it comes from is named"
    nobody = await boss.post(f"/conversations/{other.conversation_id}/contact")
    assert "Choose a person" in nobody.text
    moved = await boss.post(
        f"/conversations/{other.conversation_id}/contact", contact_id=str(vera.id), with_address="yes"
    )
    assert moved.headers["HX-Redirect"] == f"/conversations/{other.conversation_id}"
    assert {talk.contact_id for talk in await all_of(Conversation)} == {vera.id}
    assert {identity.contact_id for identity in await all_of(ContactIdentity)} == {vera.id}
    again = await boss.post(f"/conversations/{other.conversation_id}/contact", contact_id=str(vera.id))
    assert "theirs already" in again.text
    assert "A conversation was moved to" in (await boss.get(f"/contacts/{other.contact_id}")).text
    assert "A conversation was moved to" in (await boss.get(f"/contacts/{vera.id}")).text


async def test_an_address_stays_behind_where_that_is_wished(boss, vera, other, all_of):
    await boss.post(f"/conversations/{other.conversation_id}/contact", contact_id=str(vera.id))
    owners = {identity.scheme: identity.contact_id for identity in await all_of(ContactIdentity)}
    assert owners["telegram"] == other.contact_id


async def test_a_viewer_is_offered_none_of_it_and_a_stranger_sees_nobody(hub, take_on, browser_of, vera, other, all_of):
    viewer = await browser_of(await take_on("Viewer", Role.VIEWER, password=True))
    page = (await viewer.get(f"/contacts/{vera.id}")).text
    assert "/merge" not in page and "/move" not in page
    paths = (f"/contacts/{vera.id}/merge", f"/conversations/{other.conversation_id}/move")
    assert [(await viewer.get(path)).status for path in paths] == [403, 403]
    assert (await viewer.post(paths[0], other_id=str(other.contact_id))).status == 403
    fitter = await browser_of(await take_on("Fitter", Role.SPECIALIST, password=True))
    assert [(await fitter.get(path)).status for path in paths] == [404, 404]
    assert (await fitter.post(paths[0], other_id=str(other.contact_id))).status == 404
    (pair,) = await all_of(DuplicateCandidate)
    assert pair.dismissed is False
    boss = await browser_of(await take_on("Boss", Role.OWNER, password=True))
    await boss.post(paths[0], other_id=str(other.contact_id))
    (record,) = await all_of(MergeRecord)
    assert (await fitter.get(f"/contacts/{other.contact_id}")).status == 404
    assert (await fitter.post(f"/merges/{record.id}/undoing")).status == 404
    assert (await viewer.post(f"/merges/{record.id}/undoing")).status == 403
    assert "/undoing" not in (await viewer.get(f"/contacts/{vera.id}")).text
