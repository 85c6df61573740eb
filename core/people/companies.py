"""Companies: the organisations that contacts work for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel.errors import Rejected
from core.people import contacts
from core.people.contacts import Company, Contact


async def add(
    session: AsyncSession,
    *,
    name: str,
    at: datetime,
    owner_id: int | None = None,
    team_id: int | None = None,
    custom: Mapping[str, Any] | None = None,
) -> Company:
    """Enter an organisation.

    Raises:
        Rejected: the name is empty.
    """
    if not name.strip():
        raise Rejected("A name is needed", field="name")
    company = Company(name=name.strip(), owner_id=owner_id, team_id=team_id, custom=dict(custom or {}), created_at=at)
    session.add(company)
    await session.flush()
    return company


async def change(session: AsyncSession, company: Company, **values: Any) -> None:
    """Change what is known of an organisation: name, owner_id, custom. Its contacts are found by the new name at once.

    Raises:
        Rejected: the name would be empty.
    """
    if "name" in values:
        values["name"] = values["name"].strip()
        if not values["name"]:
            raise Rejected("A name is needed", field="name")
    changed = {key: value for key, value in values.items() if getattr(company, key) != value}
    if not changed:
        return
    for key, value in changed.items():
        setattr(company, key, value)
    company.version += 1
    if "name" in changed:
        for contact in await session.scalars(select(Contact).where(Contact.company_id == company.id)):
            await contacts.refresh_search(session, contact)
