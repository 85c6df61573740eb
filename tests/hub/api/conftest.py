"""A PostgreSQL with the toy's tables and the toy served from it; and callers of the real API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from core.staff.users import User
from hub.embedded import running_in_background
from tests.hub.api.toy import Toy, open_toy


@pytest.fixture(scope="session")
def toy_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_in_background(tmp_path_factory.mktemp("toy-state")) as url:
        yield url


@pytest.fixture
async def toy(toy_postgres: str) -> AsyncIterator[Toy]:
    async with open_toy(toy_postgres) as running:
        yield running


@dataclass
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Caller:
    """Somebody who calls the API with a token of theirs."""

    client: TestClient[Any, Any]
    headers: dict[str, str]

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        more = {} if body is None else {"json": body}
        async with self.client.request(method, f"/api/v1{path}", headers=self.headers | headers, **more) as response:
            return Answer(response.status, response.headers, await response.read())

    async def _done(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.send(method, path, body)
        assert answer.status < 300, (method, path, answer.status, answer.body)
        return answer.json if answer.body else None

    async def get(self, path: str) -> Any:
        return await self._done("GET", path)

    async def items(self, path: str) -> list[Any]:
        return (await self.get(path))["items"]

    async def post(self, path: str, body: Any = None) -> Any:
        return await self._done("POST", path, body)

    async def patch(self, path: str, body: Any) -> Any:
        return await self._done("PATCH", path, body)


@pytest.fixture
async def api(client: TestClient[Any, Any], token_of: Any) -> Callable[..., Awaitable[Caller]]:
    """Makes somebody a caller of the API: `anna = await api(await take_on("Anna"))`."""

    async def make(user: User, *scopes: str) -> Caller:
        return Caller(client, await token_of(user, *scopes))

    return make
