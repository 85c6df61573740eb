"""What every command stands on: the database, migrated, the clock, and how to speak to people and to programs."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel.clock import SystemClock
from core.kernel.errors import Conflict
from core.kernel.jobs import WORKER_LOCKS
from hub import logs, schema, serve
from hub.database import Database, open_database
from hub.settings import Settings

CLOCK = SystemClock()
CLIENT = "command line"
"""What the audit log calls us in place of an address."""
LOCAL_URL = "http://127.0.0.1:8080"


def say(message: str) -> None:
    """Tell a person how it goes, apart from what the command prints for programs."""
    print(message, file=sys.stderr, flush=True)


def show(value: Any) -> None:
    """Print a value as JSON; ids are strings and times RFC 3339, as in the REST API."""
    print(json.dumps(value, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> str:
    return moment(value) if isinstance(value, datetime) else str(value)


def moment(value: datetime | None) -> str:
    """Write a moment down to the second, in UTC; "" for None."""
    return "" if value is None else value.strftime("%Y-%m-%dT%H:%M:%SZ")


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, nothing: str) -> None:
    """Print rows in columns for people, or the sentence `nothing` if there are none."""
    if not rows:
        say(nothing)
        return
    lines = [[*head], *([" ".join(str(cell).split()) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def base_url(settings: Settings) -> str:
    """Return where the hub is reached, without a final slash: as the settings say, else where it last listened."""
    return settings.public_url or serve.last_address(settings) or LOCAL_URL


@asynccontextmanager
async def workplace(settings: Settings) -> AsyncIterator[Database]:
    """Open the database of the settings, migrated; an embedded one is started if it does not run."""
    async with opened_url(settings) as url, open_database(url, pool_size=2) as database:
        yield database


@asynccontextmanager
async def opened_url(settings: Settings) -> AsyncIterator[str]:
    """Have the database of the settings running and migrated, and yield its address."""
    logs.configure(settings.log_format, level=logging.WARNING)
    schema.load()
    if settings.database_url is None and not settings.state_dir.exists():
        say(f"There is no database yet: making one in {settings.state_dir} (SWITCHYARD_STATE_DIR names another place)")
    async with serve.database_for(settings, say) as url:
        await serve.migrated(url, say)
        yield url


async def require_no_hub(session: AsyncSession) -> None:
    """Check that no hub runs on the database: each holds an advisory lock by which others see that it lives.

    Raises:
        Conflict: one does.
    """
    running = await session.scalar(
        text(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 "
            "AND classid = CAST(:locks AS int)::oid "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ),
        {"locks": WORKER_LOCKS},
    )
    if running:
        raise Conflict("A hub is running on this database. Stop it, try again, and start it afterwards")
