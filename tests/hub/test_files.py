"""Files: kept once, whoever sends them how often; they are what their bytes are; served so that they do no harm."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from moto.server import ThreadedMotoServer
from PIL import Image
from pydantic import SecretStr
from sqlalchemy import select

from channels.errors import Temporary
from core.talk.attachments import Attachment, FileState, StoredFile
from hub import files
from hub.app import Hub
from hub.files import Files, TooBig, open_files
from hub.settings import Settings


def picture(width: int = 1200, height: int = 800, kind: str = "JPEG") -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 60)).save(written, kind)
    return written.getvalue()


async def pieces(content: bytes, size: int = 70_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """An S3 server with a bucket; the address of a prefix in it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    names = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
    }
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    import urllib.request

    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/switchyard", method="PUT"), timeout=10).close()
    yield "s3://switchyard/files"
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    if request.param == "folder":
        return open_files(Settings(state_dir=tmp_path))
    return open_files(Settings(state_dir=tmp_path, files_url=SecretStr(request.getfixturevalue("s3"))))


async def test_what_is_kept_comes_back_whole_and_in_parts(store):
    content = bytes(range(256)) * 40_000  # 10 MB
    kept = await store.keep(pieces(content))
    assert (kept.size, kept.content_type) == (len(content), "application/octet-stream")
    assert b"".join([piece async for piece in store.read(kept.path)]) == content
    assert b"".join([piece async for piece in store.read(kept.path, start=5, end=300)]) == content[5:300]
    assert b"".join([piece async for piece in store.read(kept.path, start=len(content) - 7)]) == content[-7:]


async def test_the_same_content_is_kept_once_under_any_name(store):
    first = await store.keep(pieces(b"%PDF-1.7 offer"), name="offer.pdf")
    second = await store.keep(pieces(b"%PDF-1.7 offer"), name="another.bin", declared="image/png")
    assert first == second
    assert first.content_type == "application/pdf"


async def test_a_picture_gets_a_small_one_made_of_its_pixels(store):
    kept = await store.keep(pieces(picture()))
    assert (kept.content_type, kept.width, kept.height) == ("image/jpeg", 1200, 800)
    assert kept.preview is not None
    with Image.open(io.BytesIO(await store.whole(kept.preview))) as small:
        assert (small.format, small.size) == ("WEBP", (480, 320))


async def test_what_is_not_there_is_told(store):
    with pytest.raises(Temporary):
        await store.whole("no/such")


async def test_a_file_beyond_the_limit_is_refused_and_not_kept(store):
    with pytest.raises(TooBig, match="1 MB"):
        await store.keep(pieces(b"x" * 1_200_000), most=1_000_000)


@pytest.mark.parametrize(
    ("content", "name", "declared", "expected"),
    [
        (b"<html><script>alert(1)</script>", "a.png", "image/png", "application/octet-stream"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "a.svg", "image/svg+xml", "octet"),
        (b"%PDF-1.4", "x", "text/html", "application/pdf"),
        (picture(10, 10, "PNG"), "virus.exe", "", "image/png"),
        ("имя;телефон\n".encode(), "base.csv", "text/csv", "text/"),
        (b"", "empty.txt", "text/plain", "application/octet-stream"),
        (b"\x00\x01\x02", "x.txt", "text/plain", "application/octet-stream"),
    ],
)
async def test_a_file_is_what_its_bytes_are(tmp_path, content, name, declared, expected):
    kept = await open_files(Settings(state_dir=tmp_path)).keep(pieces(content), name=name, declared=declared)
    assert expected in kept.content_type
    assert kept.content_type not in ("text/html", "image/svg+xml")


@pytest.mark.parametrize("broken", [b"\xff\xd8\xff\xe0broken", picture()[:900], b"GIF89a" + b"\x00" * 50])
async def test_a_broken_picture_is_kept_without_a_preview_or_with_what_can_be_seen(tmp_path, broken):
    kept = await open_files(Settings(state_dir=tmp_path)).keep(pieces(broken))
    assert kept.size == len(broken)


async def test_a_picture_that_is_a_bomb_is_not_unpacked(tmp_path):
    bomb = picture(9_000, 9_000, "PNG")
    kept = await open_files(Settings(state_dir=tmp_path)).keep(pieces(bomb))
    assert kept.preview is None


def test_a_link_opens_one_file_for_a_while(tmp_path, clock):
    store = open_files(Settings(state_dir=tmp_path))
    ticket = store.ticket(42, until=clock.now() + timedelta(hours=1))
    assert store.admitted(ticket, now=clock.now()) == 42
    assert store.admitted(ticket, now=clock.now() + timedelta(hours=2)) is None
    assert store.admitted(ticket.replace("42.", "43.", 1), now=clock.now()) is None
    for forged in ("", "42", "42.9999999999.x", "…", "a.b.c", ticket[:-1]):
        assert store.admitted(forged, now=clock.now()) is None
    assert open_files(Settings(state_dir=tmp_path / "other")).admitted(ticket, now=clock.now()) is None


@pytest.fixture
async def upload(client: Any, take_on: Any, token_of: Any) -> Any:
    anna = await take_on("Anna")
    headers = await token_of(anna)

    async def send(content: bytes, name: str, **more: Any) -> Any:
        form = FormData(quote_fields=False)
        form.add_field("file", content, filename=name, content_type="application/octet-stream")
        return await client.post("/api/v1/files", data=form, headers={**headers, **more})

    return send


async def test_an_upload_is_kept_and_named(hub: Hub, upload):
    answer = await upload(picture(), "../../план\\дома.jpg")
    assert answer.status == 201
    told = await answer.json()
    assert (told["name"], told["content_type"], told["kind"]) == ("дома.jpg", "image/jpeg", "image")
    async with hub.database.reading() as session:
        row = await session.get_one(Attachment, int(told["id"]))
        stored = await session.get_one(StoredFile, row.file_id)
    assert (row.state, row.message_id, stored.preview is not None) == (FileState.STORED, None, True)


async def test_nobody_uploads_without_a_name_or_a_right(client, hub):
    form = FormData()
    form.add_field("file", b"x", filename="x")
    assert (await client.post("/api/v1/files", data=form)).status == 404
    async with hub.database.reading() as session:
        assert list(await session.scalars(select(Attachment))) == []


async def test_a_shared_link_serves_a_file_in_parts_and_sandboxed(hub: Hub, client, upload):
    told = await (await upload(b"<script>alert(1)</script>", "x.html")).json()
    ticket = hub.files.ticket(int(told["id"]), until=hub.clock.now() + timedelta(hours=1))
    whole = await client.get(f"/files/shared/{ticket}")
    assert (whole.status, await whole.read()) == (200, b"<script>alert(1)</script>")
    assert whole.headers["Content-Type"] == "application/octet-stream"
    assert whole.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in whole.headers["Content-Security-Policy"]
    part = await client.get(f"/files/shared/{ticket}", headers={"Range": "bytes=1-6"})
    assert (part.status, await part.read(), part.headers["Content-Range"]) == (206, b"script", "bytes 1-6/25")
    beyond = await client.get(f"/files/shared/{ticket}", headers={"Range": "bytes=99-"})
    assert beyond.status == 416
    assert (await client.get("/files/shared/1.2.3")).status == 404


async def test_notes_of_one_content_share_a_row(hub: Hub):
    kept = await hub.files.keep(files.once(b"hello"))
    async with hub.database.transaction() as session:
        first = await files.note(session, kept, at=hub.clock.now())
        second = await files.note(session, kept, at=hub.clock.now())
    assert first.id == second.id
