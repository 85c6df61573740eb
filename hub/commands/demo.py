"""`switchyard demo`: two weeks in the life of a company, lived through in seconds.

Nothing is written past the program: requests go through the door into the queue and are understood by the exchange, and
people act through the same functions as in the workspace, while the clock runs from two weeks ago until now. So
deadlines, reminders, escalations, turns and notifications are what they would have been.
"""

from __future__ import annotations

import argparse
import heapq
import secrets
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.connections import Connection
from core.kernel.clock import MovableClock
from core.kernel.errors import Conflict
from core.people.contacts import Contact
from core.sales.deals import Deal
from core.sales.leads import Lead
from core.staff import users
from core.talk.conversations import Message
from core.work.notifications import Notification
from core.work.tasks import Task
from hub.app import Hub, open_hub
from hub.commands.demo_company import PEOPLE
from hub.commands.demo_play import Play
from hub.commands.workplace import CLOCK, base_url, opened_url, require_no_hub, say, show
from hub.database import open_database
from hub.settings import Settings
from webhooks.deliveries import Delivery


async def fill(settings: Settings, options: argparse.Namespace) -> int:
    """Fill an empty database and print how to sign in."""
    password = "-".join(secrets.token_hex(2) for _ in range(4))
    # The letters of the past must not be sent.
    settings = settings.model_copy(update={"smtp_url": None})
    now = CLOCK.now()
    async with opened_url(settings) as url:
        async with open_database(url, pool_size=2) as database, database.reading() as session:
            await _require_empty(session)
        clock = MovableClock(now)
        async with open_hub(settings, url, clock=clock, public_url=base_url(settings)) as hub:
            say("The company lives through two weeks…")
            play = Play(hub, clock, now, seed=options.seed)
            await play.prepare(password)
            await run(play, until=now)
            summary = await _summary(hub)
    address = base_url(settings)
    if options.json:
        show({"url": address, "password": password, "users": _sign_ins(), "records": summary})
        return 0
    print("The demo company is there: " + ", ".join(f"{count} {name}" for name, count in summary.items()))
    print(f"Start it with `switchyard serve` (or `make run`) and sign in at {address}\n")
    for user in _sign_ins():
        print(f"  {user['email']:22} {user['role']:11} {user['name']}")
    print(f"\nThe password of each is  {password}")
    return 0


async def run(play: Play, *, until: datetime) -> None:
    """Let everything planned happen at its time, with what falls due between, up to the moment `until`."""
    while play.planned and play.planned[0].at <= until:
        step = heapq.heappop(play.planned)
        await play.pass_time(step.at)
        await step.act()
        await play.settle()
    await play.pass_time(until)


async def _require_empty(session: AsyncSession) -> None:
    """Check that nothing can be spoiled.

    Raises:
        Conflict: there is something in the database, or a hub works on it, which would take the past for the present.
    """
    await require_no_hub(session)
    if await users.count(session):
        raise Conflict(
            "Somebody works with this database already, and a demo company would mix with it. Nothing was changed. "
            "Name an empty one: SWITCHYARD_DATABASE_URL, or SWITCHYARD_STATE_DIR with a new folder"
        )
    for model in (Contact, Connection, Delivery):
        if await session.scalar(select(model.id).limit(1)) is not None:
            raise Conflict(
                f"There are {model.__tablename__} in this database already. Nothing was changed. Name an empty one: "
                "SWITCHYARD_DATABASE_URL, or SWITCHYARD_STATE_DIR with a new folder"
            )


def _sign_ins() -> list[dict[str, str]]:
    """Return with which addresses one can sign in."""
    return [{"email": f"{person.key}@example.com", "name": person.name, "role": person.role.value} for person in PEOPLE]


async def _summary(hub: Hub) -> dict[str, int]:
    """Count what there is."""
    models = {
        "contacts": Contact,
        "leads": Lead,
        "deals": Deal,
        "tasks": Task,
        "messages": Message,
        "notifications": Notification,
        "channels": Connection,
    }
    async with hub.database.reading() as session:
        return {
            name: int(await session.scalar(select(func.count()).select_from(model)) or 0)
            for name, model in models.items()
        }
