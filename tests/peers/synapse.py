"""A real Matrix homeserver: Synapse, with a SQLite database, on the loopback interface only.

It lives in a virtual environment of its own, since its dependencies are not ours; `INSTALL` makes that.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from tests.peers import programs

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".cache" / "synapse" / "bin" / "python"
VERSION = "1.163.2"
INSTALL = (
    ".tools/bin/uv venv .cache/synapse && "
    f".tools/bin/uv pip install -p .cache/synapse/bin/python matrix-synapse=={VERSION}"
)
SERVER = "hub.test"
_SHARED = "registration-secret"
_LOG = """
version: 1
formatters: {plain: {format: '%(asctime)s %(levelname)s %(name)s %(message)s'}}
handlers: {file: {class: logging.FileHandler, filename: FILE, formatter: plain}}
root: {level: WARNING, handlers: [file]}
"""


@dataclass
class Synapse:
    """A homeserver that runs."""

    url: str
    pid: int


@dataclass
class Person:
    """Somebody with an account, who speaks the Client-Server API by hand."""

    session: aiohttp.ClientSession
    url: str
    user: str
    token: str

    async def asks(self, method: str, path: str, *, json: Any = None, data: bytes | None = None, **more: Any) -> Any:
        """Make a call of the Client-Server API and return its answer, which has to be a good one."""
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        async with self.session.request(
            method, self.url + path, json=json, data=data, headers=headers, **more
        ) as answer:
            assert answer.status == 200, (method, path, answer.status, await answer.text())
            return await answer.json()

    async def makes_room(self, *, invite: str = "", **more: Any) -> str:
        """Make a room, invite somebody, and return its id."""
        asked = {"preset": "trusted_private_chat", "is_direct": True, "invite": [invite] if invite else [], **more}
        return str((await self.asks("POST", "/_matrix/client/v3/createRoom", json=asked))["room_id"])

    async def says(self, room: str, content: Any, kind: str = "m.room.message") -> str:
        """Send an event (a text is a message) and return its id."""
        number = base64.urlsafe_b64encode(os.urandom(9)).decode()
        whole = {"msgtype": "m.text", "body": content} if isinstance(content, str) else content
        path = f"/_matrix/client/v3/rooms/{quote(room)}/send/{kind}/{number}"
        return str((await self.asks("PUT", path, json=whole))["event_id"])

    async def uploads(self, content: bytes, name: str, content_type: str) -> str:
        """Upload a file and return its address."""
        query = {"filename": name}
        headers = {"Content-Type": content_type}
        path = "/_matrix/media/v3/upload"
        return str((await self.asks("POST", path, data=content, params=query, headers=headers))["content_uri"])

    async def downloads(self, address: str) -> bytes:
        """Return the bytes of a file."""
        place = address.removeprefix("mxc://")
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.session.get(f"{self.url}/_matrix/client/v1/media/download/{place}", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.read()

    async def sees(self, room: str) -> list[dict[str, Any]]:
        """Return the messages of a room, oldest first."""
        path = f"/_matrix/client/v3/rooms/{quote(room)}/messages"
        found = await self.asks("GET", path, params={"dir": "b", "limit": "100"})
        return [event for event in reversed(found["chunk"]) if event["type"] == "m.room.message"]


@asynccontextmanager
async def running(folder: Path, registration: str) -> AsyncIterator[Synapse]:
    """Run a homeserver in a folder that knows one application service."""
    if not PYTHON.exists():
        pytest.fail(f"There is no Synapse, which these tests speak to. Get it with: {INSTALL}")
    [port] = programs.free_ports(1)
    (folder / "service.yaml").write_text(registration)
    (folder / "log.yaml").write_text(_LOG.replace("FILE", str(folder / "synapse.log")))
    key = base64.b64encode(os.urandom(32)).decode().rstrip("=")
    (folder / "signing.key").write_text(f"ed25519 a_test {key}\n")
    (folder / "homeserver.yaml").write_text(json.dumps(_configuration(folder, port)))  # JSON is YAML
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [str(PYTHON), "-m", "synapse.app.homeserver", "--config-path", str(folder / "homeserver.yaml")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        await _answers(url, process, folder)
        yield Synapse(url, process.pid)
    finally:
        programs.end(process)


async def person(server: Synapse, session: aiohttp.ClientSession, name: str, display_name: str = "") -> Person:
    """Give somebody an account."""
    path = f"{server.url}/_synapse/admin/v1/register"
    async with session.get(path) as answer:
        nonce = (await answer.json())["nonce"]
    said = b"\0".join((nonce.encode(), name.encode(), b"password", b"notadmin"))
    asked = {
        "nonce": nonce,
        "username": name,
        "password": "password",
        "admin": False,
        "mac": hmac.new(_SHARED.encode(), said, hashlib.sha1).hexdigest(),
    }
    if display_name:
        asked["displayname"] = display_name
    async with session.post(path, json=asked) as answer:
        assert answer.status == 200, await answer.text()
        found = await answer.json()
    return Person(session, server.url, found["user_id"], found["access_token"])


async def _answers(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(300):
            if process.poll() is not None:
                break
            try:
                async with session.get(f"{url}/_matrix/client/versions") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    pytest.fail(f"Synapse does not start: {(folder / 'output').read_text()[-2000:]}")


def _configuration(folder: Path, port: int) -> dict[str, Any]:
    often = {"per_second": 1000, "burst_count": 1000}
    return {
        "server_name": SERVER,
        "public_baseurl": f"http://127.0.0.1:{port}/",
        "listeners": [
            {
                "port": port,
                "type": "http",
                "tls": False,
                "bind_addresses": ["127.0.0.1"],
                "resources": [{"names": ["client", "media"], "compress": False}],
            }
        ],
        "database": {"name": "sqlite3", "args": {"database": str(folder / "homeserver.db")}},
        "log_config": str(folder / "log.yaml"),
        "pid_file": str(folder / "homeserver.pid"),
        "media_store_path": str(folder / "media"),
        "signing_key_path": str(folder / "signing.key"),
        "registration_shared_secret": _SHARED,
        "macaroon_secret_key": "a key for tests",
        "form_secret": "another key for tests",
        "report_stats": False,
        "trusted_key_servers": [],
        "suppress_key_server_warning": True,
        "federation_domain_whitelist": [],
        "enable_registration": False,
        "url_preview_enabled": False,
        "app_service_config_files": [str(folder / "service.yaml")],
        "rc_message": often,
        "rc_registration": often,
        "rc_joins": {"local": often, "remote": often},
        "rc_invites": {"per_room": often, "per_user": often},
        "rc_room_creation": often,
    }
