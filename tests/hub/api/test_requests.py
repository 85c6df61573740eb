"""What the API takes, and how it says that it does not."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from io import BytesIO

import pytest
from aiohttp import ClientSession

from core.kernel.clock import MovableClock
from hub.api.throttling import Throttle
from tests.hub.api.toy import START, Toy, open_toy

JSON = {"Content-Type": "application/json"}


async def test_what_is_handed_in_can_be_read_back(toy: Toy):
    made = await toy.call(
        "POST",
        "/parcels",
        json={"label": "Книги 📚", "weight": 900, "shelf_id": "7", "sent_at": "2026-01-01T02:30:00+03:00"},
    )
    assert made.status == 201
    assert made.json == {
        "id": "1",
        "label": "Книги 📚",
        "weight": 900,
        "shelf_id": "7",
        "status": "new",
        "sent_at": "2025-12-31T23:30:00Z",
        "created_at": "2026-03-02T09:00:00Z",
        "version": 1,
    }
    assert made.headers["Location"] == "/api/v1/parcels/1"
    shown = await toy.call("GET", "/parcels/1")
    assert (shown.status, shown.json) == (200, made.json)


async def test_all_that_is_wrong_with_a_body_is_told_at_once(toy: Toy):
    refused = await toy.call(
        "POST",
        "/parcels",
        json={
            "weight": -3,
            "shelf_id": 7,
            "sizes": [{"width": 0}, 5, {"width": 1, "height": 1, "depth": 1}],
            "value": {"amount": "1", "currency": "eur"},
            "sent_at": "yesterday",
            "labels": "a",
        },
    )
    assert refused.status == 422
    assert refused.json["type"] == "urn:switchyard:problem:invalid"
    assert {error["field"]: error["message"] for error in refused.json["errors"]} == {
        "labels": "There is no such member here",
        "label": "Is needed",
        "weight": "Expected int >= 0",
        "shelf_id": "Expected an id: a string of digits",
        "sizes[0].width": "Expected int >= 1",
        "sizes[0].height": "Is needed",
        "sizes[1]": "Expected object, got int",
        "sizes[2].depth": "There is no such member here",
        "value.amount": "Expected int, got str",
        "value.currency": "Expected str matching regex '^[A-Z]{3}$'",
        "sent_at": "Invalid RFC3339 encoded datetime",
    }


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (b'{"label": "a"} x', 400, None),
        (b'{"label": NaN}', 400, None),
        (b'{"label": "\xff"}', 400, None),
        (b'{"label": "\\ud800"}', 400, None),
        (b"[" * 100_000, 400, None),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400, None),
        (b"[]", 422, "the body"),
        (b"null", 422, "the body"),
        (b'{"label": "a\\u0000b"}', 422, "label"),
        (b'{"label": "a", "shelf_id": "0"}', 422, "shelf_id"),
        (b'{"label": "a", "shelf_id": "9223372036854775808"}', 422, "shelf_id"),
        ('{"label": "a", "shelf_id": "٧"}'.encode(), 422, "shelf_id"),
        (b'{"label": "a", "shelf_id": "99"}', 422, "shelf_id"),
        (b'{"label": "a", "weight": 1e400}', 400, None),
        (b'{"label": "a", "value": {"amount": 9007199254740993, "currency": "EUR"}}', 422, "value.amount"),
        (b'{"label": "a", "sent_at": "2026-01-01T00:00:00"}', 422, "sent_at"),
        (b'{"label": "a", "sent_at": "0001-01-01T00:00:00+14:00"}', 422, "sent_at"),
        (b'{"label": "refused"}', 422, "label"),
    ],
    ids=lambda value: value[:24] if isinstance(value, bytes) else None,
)
async def test_a_body_that_cannot_be_taken_is_refused_in_words(toy: Toy, body, status, field):
    refused = await toy.call("POST", "/parcels", data=body, headers=JSON)
    assert refused.status == status
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in refused.json.get("errors", [])] == ([field] if field else [])
    assert refused.json["detail"]
    assert (await toy.call("GET", "/parcels")).json["items"] == [], "nothing is kept of what was refused"


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json; charset=UTF-8", 201),
        ("application/merge-patch+json", 201),
        ("application/json; charset=windows-1251", 415),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain", 415),
        ("", 415),
    ],
)
async def test_only_json_is_taken(toy: Toy, content_type, status):
    answered = await toy.call("POST", "/parcels", data=b'{"label": "a"}', headers={"Content-Type": content_type})
    assert answered.status == status


async def test_bodies_are_limited_before_and_after_decompression(toy: Toy):
    large = json.dumps({"label": "a", "junk": "x" * 1024 * 1024}).encode()

    async def in_pieces():
        for start in range(0, len(large), 65536):
            yield large[start : start + 65536]

    bomb = {**JSON, "Content-Encoding": "gzip"}
    assert (await toy.call("POST", "/parcels", data=BytesIO(large), headers=JSON)).status == 413
    assert (await toy.call("POST", "/parcels", data=in_pieces(), headers=JSON)).status == 413
    assert (await toy.call("POST", "/parcels", data=gzip.compress(large), headers=bomb)).status == 413
    small = gzip.compress(b'{"label": "zipped"}')
    assert (await toy.call("POST", "/parcels", data=small, headers=bomb)).status == 201


async def test_a_body_may_be_left_out_where_nothing_in_it_is_needed(toy: Toy):
    await toy.call("POST", "/parcels", json={"label": "a"})
    assert (await toy.call("POST", "/parcels/1/sending")).json["status"] == "sent"


async def test_null_empties_a_field_and_silence_keeps_it(toy: Toy):
    await toy.call("POST", "/parcels", json={"label": "a", "weight": 5})
    kept = await toy.call("PATCH", "/parcels/1", json={"label": "b"})
    emptied = await toy.call("PATCH", "/parcels/1", json={"weight": None})
    assert (kept.json["weight"], emptied.json["weight"], emptied.json["label"]) == (5, None, "b")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/parcels/", 404),
        ("GET", "/parcels/2", 404),
        ("GET", "/parcels/abc", 404),
        ("GET", "/parcels/01", 404),
        ("GET", "/parcels/%D9%A7", 404),
        ("GET", "/parcels/99999999999999999999", 404),
        ("GET", "/failures/%00", 404),
        ("PUT", "/parcels/1", 405),
        ("GET", "/failures/conflict", 409),
        ("GET", "/failures/stale", 412),
        ("GET", "/failures/forbidden", 403),
        ("GET", "/failures/divide", 422),
        ("GET", "/failures/deadlock", 503),
        ("GET", "/failures/stopping", 503),
        ("GET", "/failures/surprise", 500),
    ],
)
async def test_every_refusal_is_a_problem_document(toy: Toy, method, path, status):
    refused = await toy.call(method, path, headers={"X-Request-Id": "mine-1"})
    assert refused.status == refused.json["status"] == status
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["X-Request-Id"] == refused.json["request_id"] == "mine-1"
    assert refused.json["type"].startswith("urn:switchyard:problem:")
    assert refused.json["title"]
    assert "hunter2" not in json.dumps(refused.json)
    assert ("Retry-After" in refused.headers) == (status == 503)
    assert ("Allow" in refused.headers) == (status == 405)


async def test_another_record_with_the_same_value_is_a_conflict(toy: Toy):
    await toy.call("POST", "/parcels", json={"label": "a"})
    assert (await toy.call("POST", "/parcels", json={"label": "a"})).status == 409


@pytest.mark.parametrize("sent", ["", "x" * 65, "a b", "é"])
async def test_an_odd_request_id_is_replaced(toy: Toy, sent):
    answered = await toy.call("GET", "/parcels", headers={"X-Request-Id": sent})
    assert len(answered.headers["X-Request-Id"]) == 32


async def test_an_unknown_expectation_is_a_problem_document(toy: Toy):
    # aiohttp's own client closes the connection afterwards, so this one is asked last and apart
    async with ClientSession() as client:
        url = toy.client.make_url("/api/v1/parcels")
        async with client.post(url, data=b"{}", headers={**JSON, "Expect": "dancing"}) as refused:
            assert (refused.status, refused.content_type) == (417, "application/problem+json")
        async with client.post(url, data=b"{}", headers=JSON, expect100=True) as refused:
            assert refused.status == 401


@pytest.mark.parametrize(
    ("token", "challenge"),
    [(None, 'Bearer realm="Switchyard"'), ("forged", 'Bearer realm="Switchyard", error="invalid_token"')],
)
async def test_nobody_we_know_gets_a_challenge_and_learns_nothing_else(toy: Toy, token, challenge):
    refused = await toy.call("POST", "/parcels", data=b"{", headers=JSON, token=token)
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"] == challenge


@pytest.mark.parametrize(
    ("token", "method", "path", "allowed"),
    [
        ("reader", "GET", "/parcels", True),
        ("reader", "POST", "/parcels", False),
        ("writer", "GET", "/parcels", True),
        ("writer", "POST", "/parcels", True),
        ("writer", "POST", "/parcels/1/secret", False),
        ("parcels-reader", "GET", "/parcels", True),
        ("parcels-reader", "GET", "/failures/conflict", False),
        ("parcels-reader", "POST", "/parcels", False),
        ("admin", "POST", "/parcels/1/secret", True),
        ("all", "POST", "/parcels/1/secret", True),
    ],
)
async def test_a_token_does_what_its_scopes_allow(toy: Toy, token, method, path, allowed):
    answered = await toy.call(method, path, token=token)
    assert (answered.status != 403) == allowed
    assert ("insufficient_scope" in answered.headers.get("WWW-Authenticate", "")) != allowed


@pytest.mark.parametrize(
    ("method", "csrf", "status"),
    [("GET", None, 200), ("POST", None, 403), ("POST", "wrong", 403), ("POST", "c5rf", 201)],
)
async def test_a_browser_session_shows_its_csrf_token_to_change_anything(toy: Toy, method, csrf, status):
    headers = {"Cookie": "session=signed-in"} | ({"X-CSRF-Token": csrf} if csrf else {})
    body = {"json": {"label": "a"}} if method == "POST" else {}
    assert (await toy.call(method, "/parcels", token=None, headers=headers, **body)).status == status


async def test_a_token_that_calls_too_often_waits_and_others_do_not(toy: Toy, toy_postgres):
    throttle = Throttle(toy.clock, per_minute=6, burst=3)
    async with open_toy(toy_postgres, throttle=throttle) as limited:
        spent = [(await limited.call("GET", "/parcels")).status for _ in range(3)]
        refused = await limited.call("GET", "/parcels")
        other = await limited.call("GET", "/parcels", token="other")
    assert (spent, refused.status, refused.headers["Retry-After"], other.status) == ([200] * 3, 429, "10", 200)


def test_a_token_may_call_again_after_as_long_as_it_was_told():
    clock = MovableClock(START)
    throttle = Throttle(clock, per_minute=6, burst=1, remember=2)
    assert throttle.take("a") == 0
    assert throttle.take("a") == 10
    clock.advance(timedelta(seconds=9))
    assert throttle.take("a") == pytest.approx(1)
    clock.advance(timedelta(seconds=1))
    assert throttle.take("a") == 0
    throttle.take("b")
    throttle.take("c")
    assert throttle.take("a") == 0, "those not heard of for longest are forgotten"
