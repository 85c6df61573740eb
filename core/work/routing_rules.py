"""Routing rules: which requests go to which team or person. Read by core.work.routing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Integer, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel import events
from core.kernel.db import Base, Edited, Record
from core.kernel.errors import Rejected
from core.staff import users
from core.staff.teams import Team
from core.work.routing_conditions import conditions_from_json, conditions_to_json


class RoutingRule(Base, Record, Edited):
    """One rule; of those whose conditions all hold the first by position decides.

    `conditions` maps a name to the accepted values, as core.work.routing_choice reads them; {} holds always.
    """

    __tablename__ = "routing_rules"
    __table_args__ = (CheckConstraint("(team_id IS NULL) <> (user_id IS NULL)", name="one_target"),)

    title: Mapped[str]
    position: Mapped[int] = mapped_column(Integer)
    conditions: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    is_active: Mapped[bool] = mapped_column(Boolean, default=True, server_default=text("true"))


async def in_order(session: AsyncSession) -> list[RoutingRule]:
    """Return every rule, those not in use included, in the order in which they are asked."""
    return list(await session.scalars(select(RoutingRule).order_by(RoutingRule.position, RoutingRule.id)))


async def add(
    session: AsyncSession,
    *,
    title: str,
    conditions: dict[str, Any],
    at: datetime,
    team_id: int | None = None,
    user_id: int | None = None,
    is_active: bool = True,
    actor_id: int | None = None,
) -> RoutingRule:
    """Add a rule; it is asked last.

    Raises:
        Rejected: the title is empty, a condition makes no sense, or there is not exactly one target that exists.
    """
    values = await _checked(session, {"title": title, "conditions": conditions, "team_id": team_id, "user_id": user_id})
    last = await session.scalar(select(func.max(RoutingRule.position)))
    rule = RoutingRule(**values, position=0 if last is None else last + 1, is_active=is_active, created_at=at)
    session.add(rule)
    await session.flush()
    await _tell(session, "routing_rule.added", rule, at=at, actor_id=actor_id)
    return rule


async def change(
    session: AsyncSession, rule: RoutingRule, *, at: datetime, actor_id: int | None, **values: Any
) -> None:
    """Change a rule: title, conditions, is_active, or its target, for which both team_id and user_id are given.

    Raises:
        Rejected: as `add`.
    """
    for name, value in (await _checked(session, values)).items():
        setattr(rule, name, value)
    rule.version += 1
    await session.flush()
    await _tell(session, "routing_rule.changed", rule, at=at, actor_id=actor_id)


async def move(session: AsyncSession, rule: RoutingRule, *, by: int, at: datetime, actor_id: int | None) -> None:
    """Have a rule asked so many places later, earlier if `by` is negative; the others close ranks."""
    rules = await in_order(session)
    place = rules.index(rule)
    wanted = min(max(place + by, 0), len(rules) - 1)
    if wanted == place:
        return
    rules.insert(wanted, rules.pop(place))
    for position, other in enumerate(rules):
        if other.position != position:
            other.position = position
            other.version += 1
    await session.flush()
    await _tell(session, "routing_rule.changed", rule, at=at, actor_id=actor_id)


async def remove(session: AsyncSession, rule: RoutingRule, *, at: datetime, actor_id: int | None) -> None:
    """Forget a rule; what it decided stays decided."""
    await session.delete(rule)
    await session.flush()
    await _tell(session, "routing_rule.removed", rule, at=at, actor_id=actor_id)


async def _checked(session: AsyncSession, values: dict[str, Any]) -> dict[str, Any]:
    values = dict(values)
    if "title" in values:
        values["title"] = values["title"].strip()
        if not values["title"]:
            raise Rejected("A title is needed", field="title")
    if "conditions" in values:
        values["conditions"] = conditions_to_json(conditions_from_json(values["conditions"]))
    if "team_id" in values or "user_id" in values:
        team_id, user_id = values.get("team_id"), values.get("user_id")
        if (team_id is None) == (user_id is None):
            raise Rejected("Name either a team or a person", field="team_id")
        if team_id is not None and await session.get(Team, team_id) is None:
            raise Rejected("There is no such team", field="team_id")
        if user_id is not None:
            await users.for_work(session, user_id, field="user_id")
    return values


async def _tell(session: AsyncSession, kind: str, rule: RoutingRule, *, at: datetime, actor_id: int | None) -> None:
    await events.record(session, kind, at, actor_id=actor_id, details={"routing_rule_id": rule.id, "title": rule.title})
