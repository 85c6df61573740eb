"""Asking twice: Idempotency-Key, ETag, If-Match, and transactions that are tried again."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from hub.api import idempotency
from tests.hub.api.toy import Parcel, Toy


async def count(toy: Toy) -> int:
    async with toy.database.transaction() as session:
        return await session.scalar(select(func.count()).select_from(Parcel))


def key(value: str = "k-1") -> dict[str, str]:
    return {"Idempotency-Key": value}


async def test_a_repeated_post_is_done_once_and_answered_as_before(toy: Toy):
    first = await toy.call("POST", "/parcels", json={"label": "a"}, headers=key())
    await toy.call("PATCH", "/parcels/1", json={"label": "b"})
    second = await toy.call("POST", "/parcels", json={"label": "a"}, headers=key())
    assert (second.status, second.json) == (first.status, first.json) == (201, first.json)
    assert [answered.headers.get("Idempotency-Replayed") for answered in (first, second)] == [None, "true"]
    assert second.headers["ETag"] == first.headers["ETag"]
    assert second.headers["Location"] == "/api/v1/parcels/1"
    assert await count(toy) == 1


async def test_twenty_repeats_at_once_make_one_record_and_get_one_answer(toy: Toy):
    answers = await asyncio.gather(
        *(toy.call("POST", "/parcels", json={"label": "a"}, headers=key()) for _ in range(20))
    )
    assert {answered.status for answered in answers} == {201}
    assert {answered.json["id"] for answered in answers} == {answers[0].json["id"]}
    assert Counter(answered.headers.get("Idempotency-Replayed") for answered in answers) == {"true": 19, None: 1}
    assert await count(toy) == 1


@pytest.mark.parametrize(
    ("path", "body"), [("/parcels", {"label": "b"}), ("/parcels/1/sending", {"text": ""}), ("/parcels/1/sending", None)]
)
async def test_a_key_used_for_something_else_is_refused(toy: Toy, path, body):
    await toy.call("POST", "/parcels", json={"label": "a"}, headers=key())
    refused = await toy.call("POST", path, json=body, headers=key())
    assert (refused.status, refused.json["type"]) == (422, "urn:switchyard:problem:idempotency-key-reused")


async def test_two_callers_may_use_the_same_key(toy: Toy):
    await toy.call("POST", "/parcels", json={"label": "a"}, headers=key())
    await toy.call("POST", "/parcels", json={"label": "b"}, headers=key(), token="other")
    assert await count(toy) == 2


async def test_a_refused_post_leaves_its_key_free(toy: Toy):
    refused = await toy.call("POST", "/parcels", json={"label": "refused"}, headers=key())
    made = await toy.call("POST", "/parcels", json={"label": "a"}, headers=key())
    assert (refused.status, made.status, await count(toy)) == (422, 201, 1)


async def test_a_key_is_forgotten_after_a_day(toy: Toy):
    await toy.call("POST", "/parcels", json={"label": "a"}, headers=key("old"))
    toy.clock.advance(timedelta(hours=23))
    await toy.call("POST", "/parcels", json={"label": "b"}, headers=key("young"))
    toy.clock.advance(timedelta(hours=1))
    again = await toy.call("POST", "/parcels", json={"label": "c"}, headers=key("old"))
    assert (again.status, again.json["label"]) == (201, "c"), "a day later it is a new request"
    toy.clock.advance(timedelta(hours=23))
    async with toy.database.transaction() as session:
        assert await idempotency.forget_old(session, toy.clock.now()) == 1
    replayed = await toy.call("POST", "/parcels", json={"label": "c"}, headers=key("old"))
    assert replayed.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("bad", ["", "é", "x" * 256])
async def test_a_key_that_cannot_be_kept_is_refused(toy: Toy, bad):
    refused = await toy.call("POST", "/parcels", json={"label": "a"}, headers=key(bad))
    assert (refused.status, await count(toy)) == (422, 0)


async def test_a_secret_is_shown_once_and_not_kept(toy: Toy):
    await toy.call("POST", "/parcels", json={"label": "a"})
    first = await toy.call("POST", "/parcels/1/secret", headers=key())
    second = await toy.call("POST", "/parcels/1/secret", headers=key())
    assert (first.status, first.json, second.status) == (200, {"secret": "a pony"}, 409)
    async with toy.database.transaction() as session:
        assert (await session.scalars(select(idempotency.IdempotencyKey.body))).all() == [None]


async def test_only_who_saw_the_last_version_may_change_it(toy: Toy):
    made = await toy.call("POST", "/parcels", json={"label": "a"})
    seen = made.headers["ETag"]
    mine = await toy.call("PATCH", "/parcels/1", json={"label": "b"}, headers={"If-Match": seen})
    theirs = await toy.call("PATCH", "/parcels/1", json={"label": "c"}, headers={"If-Match": seen})
    assert (mine.status, theirs.status) == (200, 412)
    assert (theirs.json["type"], theirs.headers["ETag"]) == ("urn:switchyard:problem:stale", '"v2"')
    assert (await toy.call("GET", "/parcels/1")).json["label"] == "b"
    retried = await toy.call("PATCH", "/parcels/1", json={"label": "c"}, headers={"If-Match": theirs.headers["ETag"]})
    assert retried.json["version"] == 3


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        (None, 200),
        ("*", 200),
        ('"v1"', 200),
        ('W/"v1-abc"', 200),
        ('"x", "v1"', 200),
        ('"v2"', 412),
        ('"v11"', 412),
        ("v1", 412),
        ('"1"', 412),
        ("", 412),
    ],
)
async def test_if_match_compares_versions(toy: Toy, if_match, status):
    await toy.call("POST", "/parcels", json={"label": "a"})
    headers = {} if if_match is None else {"If-Match": if_match}
    assert (await toy.call("PATCH", "/parcels/1", json={"label": "b"}, headers=headers)).status == status


async def test_if_match_is_never_ignored(toy: Toy):
    await toy.call("POST", "/parcels", json={"label": "a"})
    refused = await toy.call("DELETE", "/parcels/1", headers={"If-Match": '"v1"'})
    assert (refused.status, await count(toy)) == (412, 1), "a parcel is removed without looking at its version"


async def test_twenty_changes_at_once_with_the_same_tag_make_one_change(toy: Toy):
    await toy.call("POST", "/parcels", json={"label": "a"})
    answers = await asyncio.gather(
        *(
            toy.call("PATCH", "/parcels/1", json={"weight": number}, headers={"If-Match": '"v1"'})
            for number in range(20)
        )
    )
    assert Counter(answered.status for answered in answers) == {200: 1, 412: 19}


async def test_a_transaction_that_clashes_is_tried_again_before_anybody_hears_of_it(toy: Toy):
    assert (await toy.call("GET", "/failures/clash")).status == 204


async def test_what_is_known_already_is_not_sent_again(toy: Toy):
    await toy.call("POST", "/parcels", json={"label": "a"})
    shown = await toy.call("GET", "/parcels/1")
    known = {"If-None-Match": f'"other", {shown.headers["ETag"]}'}
    again = await toy.call("GET", "/parcels/1", headers=known)
    assert (again.status, again.json, again.headers["ETag"]) == (304, "", shown.headers["ETag"])
    await toy.call("PATCH", "/parcels/1", json={"label": "b"})
    assert (await toy.call("GET", "/parcels/1", headers=known)).status == 200


async def test_head_tells_the_tag_without_the_body(toy: Toy):
    await toy.call("POST", "/parcels", json={"label": "a"})
    shown = await toy.call("GET", "/parcels/1")
    headed = await toy.call("HEAD", "/parcels/1")
    assert (headed.status, headed.headers["ETag"], headed.json) == (200, shown.headers["ETag"], None)


async def test_nothing_private_is_kept_by_caches(toy: Toy):
    await toy.call("POST", "/parcels", json={"label": "a"})
    kept = [(await toy.call("GET", path)).headers["Cache-Control"] for path in ("/parcels", "/parcels/1", "/nothing")]
    assert kept == ["no-store", "private, no-cache", "no-store"]
