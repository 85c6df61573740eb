"""Teams: who works together, who leads, and whose turn it is."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Boolean, ForeignKey, Index, Text, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base, Edited, Record
from core.kernel.errors import NotFound


class Team(Base, Record, Edited):
    """People who share a queue of work.

    `turn` counts the choices made for the team; a member's own `turn` is the count at which they were last chosen, so
    the smallest is next, across restarts and nodes. `joined_by_role` names the role whose new users join by
    themselves.
    """

    __tablename__ = "teams"
    __table_args__ = (Index("uq_teams_name", "name", unique=True),)

    name: Mapped[str]
    turn: Mapped[int] = mapped_column(default=0, server_default="0")
    joined_by_role: Mapped[str | None] = mapped_column(Text)


class TeamMember(Base):
    """Somebody's place in a team."""

    __tablename__ = "team_members"

    team_id: Mapped[int] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True)
    leads: Mapped[bool] = mapped_column(Boolean, default=False, server_default=text("false"))
    turn: Mapped[int] = mapped_column(default=0, server_default="0")


async def default_teams(session: AsyncSession, role: str) -> list[int]:
    """Return the teams that new users of this role join."""
    return list(await session.scalars(select(Team.id).where(Team.joined_by_role == role).order_by(Team.id)))


async def by_name(session: AsyncSession, name: str) -> Team:
    """Return a team by its name, however its capitals are written.

    Raises:
        NotFound: there is none; the message names those there are.
    """
    teams: Sequence[Team] = list(await session.scalars(select(Team).order_by(Team.name)))
    for team in teams:
        if team.name.casefold() == name.strip().casefold():
            return team
    raise NotFound(f"team called {name!r} (there is: {', '.join(t.name for t in teams) or 'none'})")
