"""What every command stands on: the database, migrated, and the clock."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from core.kernel.clock import SystemClock
from hub import schema, serve
from hub.database import Database, open_database
from hub.settings import Settings

CLOCK = SystemClock()


def say(message: str) -> None:
    """Tell a person how it goes, apart from what the command prints for programs."""
    print(message, file=sys.stderr, flush=True)


def show(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, ensure_ascii=False, default=str))


@asynccontextmanager
async def workplace(settings: Settings) -> AsyncIterator[Database]:
    """Open the database of the settings, migrated; an embedded one is started if it does not run."""
    schema.load()
    async with serve.database_for(settings, say) as url:
        await serve.migrated(url, say)
        async with open_database(url, pool_size=2) as database:
            yield database
