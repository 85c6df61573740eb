"""Browsers of people who are signed in, and what a day at work leaves in the database."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import select

from core.staff.users import User
from hub import auth
from hub.app import Hub
from hub.http import make_app
from tests.conftest import PASSWORD

HTMX = {"HX-Request": "true"}


@dataclass
class Answer:
    status: int
    headers: Any
    text: str

    @property
    def told(self) -> dict[str, Any]:
        """What the page's scripts are told to do."""
        return json.loads(self.headers.get("HX-Trigger", "{}"))

    @property
    def rows(self) -> list[str]:
        """The ids of the rows that stand on the page, in order."""
        return re.findall(r'id="([\w-]+)"[^>]* data-row=', self.text)


@dataclass
class Browser:
    """Somebody's browser, signed in. `csrf` is what their pages carry."""

    client: TestClient[Any, Any]
    csrf: str

    async def _ask(self, method: str, path: str, headers: dict[str, str], **more: Any) -> Answer:
        answer = await self.client.request(method, path, headers=headers, allow_redirects=False, **more)
        return Answer(answer.status, answer.headers, await answer.text())

    async def get(self, path: str) -> Answer:
        """Open a page."""
        return await self._ask("GET", path, {"Accept": "text/html"})

    async def part(self, path: str) -> Answer:
        """Fetch a part of a page, as htmx does."""
        return await self._ask("GET", path, HTMX)

    async def post(self, path: str, csrf: str | None = None, **form: Any) -> Answer:
        """Send a form or press a button, as htmx does."""
        token = self.csrf if csrf is None else csrf
        return await self._ask("POST", path, HTMX, data={"csrf_token": token, **form})

    async def post_plainly(self, path: str, **form: Any) -> Answer:
        """Send a form without scripts."""
        return await self._ask("POST", path, {"Accept": "text/html"}, data={"csrf_token": self.csrf, **form})


@pytest.fixture
async def browser_of(hub: Hub) -> AsyncIterator[Callable[[User], Awaitable[Browser]]]:
    """Signs somebody who was taken on with a password in: `anna = await browser_of(await take_on("Anna",
    password=True))`.
    """
    opened: list[TestClient[Any, Any]] = []

    async def sign_in(user: User) -> Browser:
        token = await auth.sign_in(hub, email=user.email, password=PASSWORD, client="127.0.0.1", agent="test")
        client: TestClient[Any, Any] = TestClient(TestServer(make_app(hub)), cookies={auth.COOKIE: token})
        await client.start_server()
        opened.append(client)
        text = await (await client.get("/", headers={"Accept": "text/html"})).text()
        found = re.search(r'data-csrf="([^"]+)"', text)
        assert found, text[:2000]
        return Browser(client, found[1])

    yield sign_in
    for client in opened:
        await client.close()


@pytest.fixture
async def all_of(hub: Hub) -> Callable[[Any], Awaitable[list[Any]]]:
    """Reads every record of a kind, oldest first."""

    async def read(model: Any) -> list[Any]:
        async with hub.database.reading() as session:
            return list(await session.scalars(select(model).order_by(model.id)))

    return read
