"""The company itself: its country, currency, time zone, language and working hours. One row."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, Integer, false
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base, Edited
from core.kernel.errors import NotFound


class Workspace(Base, Edited):
    """What holds for everybody unless a person, team or connection says otherwise.

    `schedule` is the business hours as `core.work.hours.from_json` reads them. `setup_token_hash` is set while the
    database is empty: whoever holds the link makes the owner's account.
    """

    __tablename__ = "workspace"
    __table_args__ = (CheckConstraint("id = 1", name="only_one"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    name: Mapped[str]
    country: Mapped[str]
    currency: Mapped[str]
    time_zone: Mapped[str]
    language: Mapped[str]
    schedule: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    setup_token_hash: Mapped[bytes | None]
    setup_token_expires_at: Mapped[datetime | None]
    merges_attested: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    """Whether contacts who prove to be one person by an address their provider vouches for are merged at once."""


async def get(session: AsyncSession) -> Workspace:
    """Return the company.

    Raises:
        NotFound: the migrations have not run.
    """
    workspace = await session.get(Workspace, 1)
    if workspace is None:
        raise NotFound("workspace: run `switchyard migrate` first")
    return workspace


def change(company: Workspace, **values: Any) -> list[str]:
    """Change what is known of the company, checked by the caller; return the names of what is different now, sorted.

    Working hours that were counted in the company's time zone follow it. The caller has locked the row.
    """
    changed = {name: value for name, value in values.items() if getattr(company, name) != value}
    if "time_zone" in changed and company.schedule.get("time_zone") == company.time_zone:
        company.schedule = {**company.schedule, "time_zone": changed["time_zone"]}
    for name, value in changed.items():
        setattr(company, name, value)
    company.version += bool(changed)
    return sorted(changed)
