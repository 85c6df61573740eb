"""Routing rules: which requests go to which team or person. Read by core.work.routing."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base, Edited, Record


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
