"""What tests of the hub's own parts share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from hub.database import plain_url
from tests.hub.command_line import Switchyard


@pytest.fixture
def switchyard(tmp_path: Path, database_url: str) -> Switchyard:
    """The command on the test's own database."""
    return Switchyard(tmp_path, database_url)


@pytest.fixture
def sql(database_url: str) -> Callable[..., Awaitable[Any]]:
    """Asks the test's database for one value: `await sql("SELECT count(*) FROM leads")`."""

    async def ask(query: str, *arguments: Any) -> Any:
        connection = await asyncpg.connect(plain_url(database_url))
        try:
            return await connection.fetchval(query, *arguments)
        finally:
            await connection.close()

    return ask
