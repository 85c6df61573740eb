"""A PostgreSQL with the toy's tables, and the toy served from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

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
