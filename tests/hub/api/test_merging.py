"""Merging contacts, taking them apart, and giving a conversation to somebody else, over the API."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from core import intake
from core.intake import Received, Source
from core.kernel.addresses import Address
from core.kernel.envelopes import Claim, Incoming, Trust
from core.people import contacts
from core.people.contacts import Contact
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.staff.users import Role
from core.talk.conversations import Conversation
from hub import connections
from tests.channels.payloads.telegram import TOKEN
from tests.conftest import VERA


@pytest.fixture
async def vera(hub, client, webform, drain):
    """Asks by the form; answers with ids."""
    await client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    async with hub.database.reading() as session:
        return await session.scalar(select(Contact.id))


@pytest.fixture
async def other(hub, vera):
    """Somebody the bot knows as 77: contact and conversation."""
    async with hub.database.transaction() as session:
        bot = await connections.create(
            session,
            hub.vault,
            kind="telegram",
            title="Bot",
            settings={"token": TOKEN, "secret_token": "s", "base_url": "http://127.0.0.1:9"},
            at=hub.clock.now(),
        )
    await hub.switchboard.refresh()
    value = f"{TOKEN.partition(':')[0]}:77"
    heard = Incoming(
        claims=(Claim(Address("telegram", value), "77", Trust.ATTESTED),),
        text="Me",
        external_id="77:1",
        name="vera_s",
        peer="77",
    )
    async with hub.database.transaction() as session:
        source = Source(bot.id, "telegram", "Bot")
        (result,) = await intake.receive(session, [Received(1, hub.clock.now(), source, heard)], now=hub.clock.now())
    return result


async def _problem(caller, method, path, body=None, **headers):
    answer = await caller.send(method, path, body, **headers)
    return answer.status, answer.json["detail"] if answer.body else ""


async def test_two_contacts_become_one_and_two_again(api, take_on, vera, other):
    boss = await api(await take_on("Boss", Role.OWNER))
    kept = await boss.post(f"/contacts/{vera}/merge", {"other_id": str(other.contact_id)})
    assert (kept["id"], kept["name"]) == (str(vera), "Вера Соколова")
    assert {identity["scheme"] for identity in kept["identities"]} == {"phone", "email", "telegram"}
    assert (await boss.send("GET", f"/contacts/{other.contact_id}")).status == 404
    (talk,) = [t for t in (await boss.get(f"/conversations?contact_id={vera}"))["items"] if t["kind"] == "telegram"]
    assert talk["id"] == str(other.conversation_id)
    (record,) = (await boss.get(f"/contacts/{vera}/merges"))["items"]
    assert (record["name"], record["reason"], record["undone_at"]) == ("vera_s", "by_hand", None)

    undone = await boss.post(f"/contacts/{vera}/unmerge", {})
    assert (undone["id"], undone["gone_id"]) == (record["id"], str(other.contact_id))
    assert undone["undone_at"] is not None
    back = await boss.get(f"/contacts/{other.contact_id}")
    assert [identity["scheme"] for identity in back["identities"]] == ["telegram"]
    assert (await boss.get(f"/contacts/{vera}/merges?undone=false"))["items"] == []
    assert len((await boss.get(f"/contacts/{vera}/merges?undone=true"))["items"]) == 1


async def test_a_merge_names_the_version_that_was_seen(api, take_on, vera, other):
    boss = await api(await take_on("Boss", Role.OWNER))
    body = {"other_id": str(other.contact_id)}
    assert (await boss.send("POST", f"/contacts/{vera}/merge", body, **{"If-Match": '"v99"'})).status == 412
    tag = (await boss.send("GET", f"/contacts/{vera}")).headers["ETag"]
    assert (await boss.send("POST", f"/contacts/{vera}/merge", body, **{"If-Match": tag})).status == 200
    assert (await boss.send("POST", f"/contacts/{vera}/unmerge", {}, **{"If-Match": tag})).status == 412


async def test_what_cannot_be_merged_or_taken_apart_says_why(api, take_on, vera, other):
    boss = await api(await take_on("Boss", Role.OWNER))
    status, said = await _problem(boss, "POST", f"/contacts/{vera}/merge", {"other_id": str(vera)})
    assert (status, said) == (422, "That is the same contact")
    status, said = await _problem(boss, "POST", f"/contacts/{vera}/merge", {"other_id": "1"})
    assert (status, said) == (422, "There is no contact 1")
    status, said = await _problem(boss, "POST", f"/contacts/{vera}/unmerge", {})
    assert (status, said) == (422, "Nothing was merged into this contact that could be undone")
    status, _ = await _problem(boss, "POST", "/contacts/1/unmerge", {})
    assert status == 404


async def test_a_merge_of_a_merge_says_what_to_undo_first(api, take_on, vera, other):
    boss = await api(await take_on("Boss", Role.OWNER))
    third = await boss.post("/contacts", {"name": "Third"})
    await boss.post(f"/contacts/{other.contact_id}/merge", {"other_id": third["id"]})
    await boss.post(f"/contacts/{vera}/merge", {"other_id": str(other.contact_id)})
    status, said = await _problem(boss, "POST", f"/contacts/{other.contact_id}/unmerge", {})
    assert (status, said) == (409, f"This contact was itself merged into contact {vera} since. Undo that first")
    await boss.post(f"/contacts/{vera}/unmerge", {})
    await boss.post(f"/contacts/{other.contact_id}/unmerge", {})
    assert (await boss.get(f"/contacts/{third['id']}"))["name"] == "Third"


async def test_only_who_sees_both_merges_them_and_a_viewer_changes_nothing(hub, api, take_on, vera, other):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    async with hub.database.transaction() as session:
        for contact_id, owner in ((vera, anna), (other.contact_id, boris)):
            contact = await contacts.get(session, contact_id)
            await contacts.assign(session, contact, to=owner.id, at=hub.clock.now(), actor_id=None)
            for model, person in ((Conversation, "assignee_id"), (Lead, "owner_id"), (Deal, "owner_id")):
                await session.execute(update(model).where(model.contact_id == contact_id).values({person: owner.id}))
    as_anna = await api(anna)
    status, said = await _problem(as_anna, "POST", f"/contacts/{vera}/merge", {"other_id": str(other.contact_id)})
    assert (status, said) == (422, f"There is no contact {other.contact_id}")
    viewer = await api(await take_on("Viewer", Role.VIEWER))
    assert (await viewer.send("POST", f"/contacts/{vera}/merge", {"other_id": str(other.contact_id)})).status == 403
    assert (await viewer.send("POST", f"/contacts/{vera}/unmerge", {})).status == 403
    move = {"contact_id": str(vera)}
    assert (await viewer.send("POST", f"/conversations/{other.conversation_id}/contact", move)).status == 403
    assert (await as_anna.send("POST", f"/conversations/{other.conversation_id}/contact", move)).status == 404


async def test_duplicates_are_listed_until_somebody_says_that_they_are_two(hub, api, take_on, vera, other, webform):
    claims = tuple(
        Claim(Address(scheme, value), value, Trust.TYPED)
        for scheme, value in (("email", VERA["email"]), ("telegram", f"{TOKEN.partition(':')[0]}:77"))
    )
    async with hub.database.transaction() as session:
        received = Received(
            2, hub.clock.now(), Source(webform.id, "webform", "Site"), Incoming(claims=claims, external_id="2")
        )
        await intake.receive(session, [received], now=hub.clock.now())
    boss = await api(await take_on("Boss", Role.OWNER))
    (pair,) = (await boss.get("/duplicates"))["items"]
    assert {pair["contact_id"], pair["other_id"]} == {str(vera), str(other.contact_id)}
    assert len((await boss.get(f"/duplicates?contact_id={other.contact_id}"))["items"]) == 1
    assert (await boss.get("/duplicates?contact_id=1"))["items"] == []
    assert (await boss.post(f"/duplicates/{pair['id']}/dismissal", None))["dismissed"] is True
    assert (await boss.get("/duplicates"))["items"] == []
    assert len((await boss.get("/duplicates?dismissed=true"))["items"]) == 1


@pytest.mark.parametrize(("with_address", "whose"), [(True, "vera"), (False, "other")])
async def test_a_conversation_goes_to_another_contact(api, take_on, vera, other, with_address, whose):
    boss = await api(await take_on("Boss", Role.OWNER))
    path = f"/conversations/{other.conversation_id}"
    tag = (await boss.send("GET", path)).headers["ETag"]
    body = {"contact_id": str(vera), "with_address": with_address}
    answer = await boss.send("POST", f"{path}/contact", body, **{"If-Match": tag})
    assert (answer.status, answer.json["contact_id"]) == (200, str(vera))
    assert (await boss.send("POST", f"{path}/contact", body, **{"If-Match": tag})).status == 412
    assert await _problem(boss, "POST", f"{path}/contact", body) == (422, "It is theirs already")
    (identity,) = (await boss.get("/identities?scheme=telegram"))["items"]
    assert identity["contact_id"] == str(vera if whose == "vera" else other.contact_id)
    (deal,) = (await boss.get(f"/deals?contact_id={vera}&sort=-created_at"))["items"][:1]
    assert deal["contact_id"] == str(vera)


async def test_the_rule_of_merging_is_the_companys_to_switch_on(api, take_on):
    boss, anna = await api(await take_on("Boss", Role.OWNER)), await api(await take_on("Anna"))
    assert (await boss.get("/workspace"))["merges_attested"] is False
    assert (await boss.send("PATCH", "/workspace", {"merges_attested": True})).json["merges_attested"] is True
    assert (await anna.send("PATCH", "/workspace", {"merges_attested": False})).status == 403
