"""The door over HTTP: a lead or a clear refusal, whatever is sent, and every answer the interface names."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import zlib
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

import aiohttp
import pytest
from aiohttp import FormData
from sqlalchemy import select, text, update

from core.connections import Connection
from core.people.contacts import Contact, ContactIdentity
from core.sales.leads import Lead
from core.talk.attachments import Attachment
from core.talk.conversations import Message
from tests.conftest import VERA, add_webform
from webhooks.deliveries import Delivery

ORIGIN = "https://www.example.com"


async def _all(hub, model):
    async with hub.database.reading() as session:
        return list(await session.scalars(select(model).order_by(model.id)))


async def _count(hub, model):
    return len(await _all(hub, model))


async def _raw(client, head, body=b"", *, hang_up=False):
    """Send bytes as they are; return the status and the head of the answer, None where the line was cut."""
    parts = urlsplit(str(client.make_url("/")))
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    answer = b""
    try:
        writer.write(head.encode("utf-8", "surrogateescape").replace(b"\n", b"\r\n") + b"\r\n\r\n" + body)
        await writer.drain()
        if hang_up:
            writer.write_eof()
        while answer.count(b"\r\n\r\n") <= answer.startswith(b"HTTP/1.1 100"):
            piece = await asyncio.wait_for(reader.read(65536), 10)
            if not piece:
                break
            answer += piece
    finally:
        writer.close()
    return (int(answer.split(b" ", 2)[1]), answer) if answer else (None, b"")


# --- the answers ---


async def test_an_unknown_key_is_not_found(client):
    answer = await client.post("/hooks/nothing", data=VERA)
    assert answer.status == 404
    assert (await answer.json())["ok"] is False


async def test_a_page_of_somebody_else_is_refused_and_nothing_stored(client, hub):
    webform = await add_webform(hub, allowed_origins=ORIGIN)
    answer = await client.post(f"/hooks/{webform.key}", data=VERA, headers={"Origin": "https://evil.example"})
    assert answer.status == 403
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert await _count(hub, Delivery) == 0


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused(client, hub, webform, chunked):
    size = hub.settings.max_body_bytes + 1

    async def pieces():
        for _ in range(size // 65536 + 1):
            yield b"x" * 65536

    data = pieces() if chunked else io.BytesIO(b"m=" + b"x" * (size - 2))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        answer = await client.post(f"/hooks/{webform.key}", data=data, headers=headers)
    except aiohttp.ClientConnectionError:
        pass  # hung up on while still sending
    else:
        assert answer.status == 413
        assert "Nothing was stored" in (await answer.json())["error"]
    assert await _count(hub, Delivery) == 0


async def test_a_lying_content_length_is_refused_before_the_body_is_sent(client, hub, webform):
    status, answer = await _raw(
        client, f"POST /hooks/{webform.key} HTTP/1.1\nHost: x\nContent-Length: 999999999", b"name=Vera"
    )
    assert status == 413
    assert b"Nothing was stored" in answer


async def test_more_than_the_limit_a_minute_is_told_to_wait(client, hub):
    webform = await add_webform(hub, rate_per_minute=3, allowed_origins=ORIGIN)
    statuses = []
    for number in range(5):
        answer = await client.post(
            f"/hooks/{webform.key}", data=VERA | {"message": str(number)}, headers={"Origin": ORIGIN}
        )
        statuses.append(answer.status)
    assert statuses == [200, 200, 200, 429, 429]
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert await _count(hub, Delivery) == 3


async def test_a_paused_channel_stores_nothing_and_says_so(client, hub):
    webform = await add_webform(hub, allowed_origins=ORIGIN)
    async with hub.database.transaction() as session:
        await session.execute(update(Connection).values(paused_because="repairs"))
    await hub.switchboard.refresh()
    answer = await client.post(f"/hooks/{webform.key}", data=VERA, headers={"Origin": ORIGIN})
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert await _count(hub, Delivery) == 0


async def test_a_database_that_refuses_is_a_503_and_the_same_request_passes_later(client, hub, webform):
    async with hub.database.transaction() as session:
        await session.execute(text("ALTER TABLE deliveries RENAME TO deliveries_away"))
    answer = await client.post(f"/hooks/{webform.key}", data=VERA)
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    async with hub.database.transaction() as session:
        await session.execute(text("ALTER TABLE deliveries_away RENAME TO deliveries"))
    assert (await client.post(f"/hooks/{webform.key}", data=VERA)).status == 200
    assert await _count(hub, Delivery) == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "GET"])
async def test_other_methods_are_told_which_ones_there_are(client, hub, webform, method):
    answer = await client.request(method, f"/hooks/{webform.key}")
    assert answer.status == 405
    assert "POST" in answer.headers["Allow"]
    assert await _count(hub, Delivery) == 0


async def test_a_form_may_come_in_the_query_of_a_get(client, hub, webform, drain):
    answer = await client.get(f"/hooks/{webform.key}", params=VERA)
    assert answer.status == 200
    await drain()
    assert (await _all(hub, Contact))[0].name == VERA["name"]


async def test_a_listed_page_may_read_the_answer_and_every_refusal(client, hub):
    webform = await add_webform(hub, allowed_origins=ORIGIN)
    url, headers = f"/hooks/{webform.key}", {"Origin": ORIGIN}
    answers = [
        await client.post(url, data=VERA, headers=headers),
        await client.post(url, data="", headers=headers),
        await client.put(url, data=VERA, headers=headers),
        await client.post(url, data=io.BytesIO(b"x" * (hub.settings.max_body_bytes + 1)), headers=headers),
    ]
    assert [answer.status for answer in answers] == [200, 400, 405, 413]
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.headers["Vary"] == "Origin"
    other = await client.put(url, data=VERA, headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in other.headers


async def test_a_browser_asks_first_and_is_told(client, hub):
    webform = await add_webform(hub, allowed_origins=ORIGIN)
    url = f"/hooks/{webform.key}"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    answer = await client.options(url, headers={"Origin": ORIGIN, **asked})
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    refused = await client.options(url, headers={"Origin": "https://evil.example", **asked})
    assert refused.status == 403
    assert "Access-Control-Allow-Origin" not in refused.headers


async def test_a_browsers_plain_form_is_sent_on_to_an_allowed_page_alone(client, hub):
    webform = await add_webform(hub, redirects="https://www.example.com/thanks")
    headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}
    for target, expected in [
        ("https://www.example.com/thanks", "https://www.example.com/thanks"),
        ("https://evil.example/", None),
        ("//evil.example/", None),
    ]:
        answer = await client.post(
            f"/hooks/{webform.key}", data=VERA | {"redirect": target}, headers=headers, allow_redirects=False
        )
        assert answer.status == 303
        location = answer.headers["Location"]
        assert location == expected or (expected is None and location.startswith("/f/thanks"))


async def test_a_client_that_hangs_up_in_the_middle_leaves_nothing_and_no_fault(client, hub, webform):
    await _raw(client, f"POST /hooks/{webform.key} HTTP/1.1\nHost: x\nContent-Length: 500", b"name=Vera", hang_up=True)
    assert (await client.post(f"/hooks/{webform.key}", data=VERA)).status == 200
    assert await _count(hub, Delivery) == 1


# --- whatever is sent ---


def _multipart(**more):
    form = FormData(quote_fields=False)
    for name, value in {**VERA, **more}.items():
        form.add_field(name, value)
    form.add_field("file", b"%PDF-1.7 \x00\xff", filename="план.pdf", content_type="application/pdf")
    return form


GOOD = {
    "urlencoded": lambda: {"data": VERA},
    "multipart with a file": lambda: {"data": _multipart()},
    "json": lambda: {"json": VERA},
    "json as text": lambda: {"data": json.dumps(VERA), "headers": {"Content-Type": "text/plain"}},
    "windows-1251 urlencoded": lambda: {
        "data": urlencode(VERA, encoding="cp1251"),
        "headers": {"Content-Type": "application/x-www-form-urlencoded; charset=windows-1251"},
    },
    "windows-1251 that does not say so": lambda: {
        "data": urlencode(VERA, encoding="cp1251"),
        "headers": {"Content-Type": "application/x-www-form-urlencoded"},
    },
    "no content type": lambda: {"data": urlencode(VERA).encode(), "headers": {"Content-Type": ""}},
    "gzip": lambda: {
        "data": gzip.compress(urlencode(VERA).encode()),
        "headers": {"Content-Encoding": "gzip", "Content-Type": "application/x-www-form-urlencoded"},
    },
    "deflate": lambda: {
        "data": zlib.compress(urlencode(VERA).encode()),
        "headers": {"Content-Encoding": "deflate", "Content-Type": "application/x-www-form-urlencoded"},
    },
    "duplicate keys": lambda: {"data": [*VERA.items(), ("room", "kitchen"), ("room", "hall")]},
    "200 fields": lambda: {"data": VERA | {f"field {n}": f"value {n}" for n in range(200)}},
    "emoji": lambda: {"data": VERA | {"message": "окна 🪟👩‍👩‍👧 ok"}},
    "NUL bytes": lambda: {
        "data": urlencode(VERA | {"message": "a\x00b", "odd\x00name": "\x00"}).replace("%00", "\x00").encode(),
        "headers": {"Content-Type": "application/x-www-form-urlencoded"},
    },
    "lone surrogates in JSON": lambda: {
        "data": json.dumps(VERA).replace("3 windows", "\\ud83d windows"),
        "headers": {"Content-Type": "application/json"},
    },
    "NUL escapes in JSON": lambda: {
        "data": json.dumps(VERA | {"message": "a\x00b", "n\x00m": "x"}),
        "headers": {"Content-Type": "application/json"},
    },
    "nested JSON": lambda: {"json": VERA | {"items": [{"a": 1, "b": [True, None, 2.5]}], "o": {"p": {"q": "r"}}}},
    "10 MB of a file": lambda: {"data": _with_file(10 * 1024 * 1024)},
    "a header in windows-1251": lambda: {
        "data": VERA,
        "headers": {"X-Name": "Вера".encode("cp1251").decode("latin-1")},
    },
    "right-to-left and combining": lambda: {"data": VERA | {"message": "שלום\u202e é e\u0301 \ufeff"}},
    "long names and values": lambda: {"data": VERA | {"n" * 900: "v" * 60_000}},
}


def _with_file(size):
    form = FormData(VERA)
    form.add_field("photo", io.BytesIO(b"\x89PNG" + b"\x00" * size), filename="photo.png", content_type="image/png")
    return form


@pytest.mark.parametrize("how", GOOD)
async def test_a_form_in_any_encoding_becomes_one_lead(client, hub, webform, take_on, drain, how):
    await take_on("Anna")
    answer = await client.post(f"/hooks/{webform.key}", **GOOD[how]())
    assert answer.status == 200, await answer.text()
    await drain()
    (delivery,) = await _all(hub, Delivery)
    (contact,) = await _all(hub, Contact)
    (lead,) = await _all(hub, Lead)
    (message,) = await _all(hub, Message)
    assert (delivery.state, delivery.error) == ("processed", None)
    assert contact.name == VERA["name"]
    assert {i.value for i in await _all(hub, ContactIdentity)} == {"+79161234567", "vera@example.com"}
    assert lead.attribution == {"utm_source": "google", "utm_campaign": "spring"}
    assert "\x00" not in message.text
    if "file" in how:
        (file,) = await _all(hub, Attachment)
        assert (file.message_id, file.state) == (message.id, "stored")
        assert file.size > 10


GARBAGE = {
    "nothing": (b"", ""),
    "blanks": (b"  \r\n ", "text/plain"),
    "half a JSON": (b'{"name": "Vera", "pho', "application/json"),
    "a JSON number": (b"17", "application/json"),
    "deep JSON": (b"[" * 50_000 + b"]" * 50_000, "application/json"),
    "a huge number in JSON": (b'{"name": ' + b"9" * 5_000 + b"}", "application/json"),
    "multipart without a boundary": (b"--x\r\n\r\n", "multipart/form-data"),
    "broken multipart": (b"--x\r\nContent-Disposition: form-data; name=", "multipart/form-data; boundary=x"),
    "multipart of nothing": (b"--x--\r\n", "multipart/form-data; boundary=x"),
    "random bytes": (bytes(range(256)) * 40, "application/x-www-form-urlencoded"),
    "random bytes as multipart": (bytes(range(256)) * 40, "multipart/form-data; boundary=x"),
    "501 fields": ("&".join(f"a{n}=1" for n in range(501)).encode(), "application/x-www-form-urlencoded"),
    "a value too long": (b"a=" + b"x" * 70_000, "application/x-www-form-urlencoded"),
    "XML": (b"<?xml version='1.0'?><a/>", "application/xml"),
    "a wild content type": (b"a=1", "multipart/form-data; boundary=" + "x" * 5_000),
    "an unknown charset": (b"name=Vera", "application/x-www-form-urlencoded; charset=klingon"),
}


@pytest.mark.parametrize("what", GARBAGE)
async def test_garbage_is_refused_clearly_or_kept_and_never_a_fault(client, hub, webform, take_on, drain, what):
    body, content_type = GARBAGE[what]
    await take_on("Anna")
    answer = await client.post(f"/hooks/{webform.key}", data=body, headers={"Content-Type": content_type})
    assert answer.status in (200, 400, 403, 413, 415, 422)
    if answer.status != 200:
        assert len((await answer.json())["error"]) > 10
    await drain()
    assert {delivery.state for delivery in await _all(hub, Delivery)} <= {"processed", "ignored"}
    assert await _count(hub, Delivery) == (answer.status == 200)


async def test_a_bomb_is_defused(client, hub, webform):
    bomb = gzip.compress(b"m=" + b"x" * 300_000_000, 9)
    answer = await client.post(f"/hooks/{webform.key}", data=bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status == 413
    assert await _count(hub, Delivery) == 0


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Content-Encoding: gzip\nContent-Length: 9", b"name=Vera"),
        ("Content-Encoding: br\nContent-Length: 9", b"name=Vera"),
        ("Content-Encoding: klingon\nContent-Length: 9", b"name=Vera"),
        ("Transfer-Encoding: chunked", b"zz\r\nname=Vera\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", b"9\r\nname=Vera\r\nffffffffffffffffff\r\n"),
        ("Transfer-Encoding: chunked", b"4\r\nname"),
        ("Content-Length: nine", b"name=Vera"),
        ("Content-Length: -1", b"name=Vera"),
        ("Content-Length: 9\nTransfer-Encoding: chunked", b"name=Vera"),
        ("Content-Length: 400", b"name=Vera"),
        ("X-Long: " + "x" * 20_000 + "\nContent-Length: 9", b"name=Vera"),
        ("X\x00Y: 1\nContent-Length: 9", b"name=Vera"),
    ],
)
async def test_http_that_is_broken_is_no_fault_of_ours(client, hub, webform, head, body):
    status, _ = await _raw(
        client, f"POST /hooks/{webform.key} HTTP/1.1\nHost: x\nConnection: close\n{head}", body, hang_up=True
    )
    assert status is None or 400 <= status < 500 or status == 200
    if status != 200:
        assert await _count(hub, Delivery) == 0
    assert (await client.post(f"/hooks/{webform.key}", data=VERA)).status == 200


async def test_bytes_that_are_no_text_in_headers_are_no_fault_and_the_form_is_kept(
    client, hub, webform, take_on, drain
):
    await take_on("Anna")
    odd = "Вера".encode("cp1251").decode("utf-8", "surrogateescape")
    body = urlencode(VERA).encode()
    status, _ = await _raw(
        client,
        f"POST /hooks/{webform.key}?page=%C2%E5%F0%E0 HTTP/1.1\nHost: x\nConnection: close\nUser-Agent: {odd}\n"
        f"Content-Type: application/x-www-form-urlencoded\nContent-Length: {len(body)}",
        body,
    )
    assert status == 200
    await drain()
    (delivery,) = await _all(hub, Delivery)
    (lead,) = await _all(hub, Lead)
    assert delivery.state == "processed"
    assert delivery.request["headers"]["user-agent"] == odd.encode("utf-8", "surrogateescape").decode("latin-1")
    assert lead.fields.get("page") == "Вера"


async def test_a_sender_that_waits_for_100_continue_is_let_through(client, hub, webform):
    body = urlencode(VERA).encode()
    status, answer = await _raw(
        client,
        f"POST /hooks/{webform.key} HTTP/1.1\nHost: x\nConnection: close\nExpect: 100-continue\n"
        f"Content-Type: application/x-www-form-urlencoded\nContent-Length: {len(body)}",
        body,
    )
    assert status == 100
    assert b"HTTP/1.1 200" in answer
    assert await _count(hub, Delivery) == 1


async def test_a_bot_in_the_honeypot_is_thanked_and_ignored(client, hub, webform, drain):
    answer = await client.post(f"/hooks/{webform.key}", data=VERA | {"trap": "buy pills"})
    assert answer.status == 200
    await drain()
    assert [delivery.state for delivery in await _all(hub, Delivery)] == ["ignored"]
    assert await _count(hub, Contact) == 0


async def test_the_body_is_kept_word_for_word(client, hub, webform, drain):
    body = "name=%C2%E5%F0%E0&phone=8 916 123 45 67&x=\xff\x00".encode("latin-1")
    await client.post(f"/hooks/{webform.key}?q=1&q=%D0", data=body, headers={"X-Test": "kept"})
    await drain()
    (delivery,) = await _all(hub, Delivery)
    assert delivery.body == body
    assert delivery.request["query"] == "q=1&q=%D0"
    assert delivery.request["headers"]["x-test"] == "kept"


async def test_the_minute_in_which_equal_content_is_a_repeat_is_the_hubs(client, hub, webform, clock):
    first = await (await client.post(f"/hooks/{webform.key}", data=VERA)).json()
    clock.advance(timedelta(seconds=59, milliseconds=900))
    assert await (await client.post(f"/hooks/{webform.key}", data=VERA)).json() == first
    clock.advance(timedelta(milliseconds=200))
    assert await (await client.post(f"/hooks/{webform.key}", data=VERA)).json() != first
    assert await _count(hub, Delivery) == 2
