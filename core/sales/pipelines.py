"""Pipelines: the stages a deal goes through, and what each stage asks of somebody as a deal enters it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Index, Integer, Text, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base, Edited, Record
from core.kernel.errors import NotFound


class Category(StrEnum):
    """What being in a stage means for the deal."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"


class Pipeline(Base, Record, Edited):
    """A way of selling. The default one takes what no connection sends elsewhere."""

    __tablename__ = "pipelines"
    __table_args__ = (
        Index("uq_pipelines_name", "name", unique=True),
        Index("uq_pipelines_default", "is_default", unique=True, postgresql_where=text("is_default")),
    )

    name: Mapped[str]
    is_default: Mapped[bool] = mapped_column(Boolean, default=False, server_default=text("false"))


class Stage(Base, Record, Edited):
    """A step of a pipeline."""

    __tablename__ = "stages"
    __table_args__ = (Index("ix_stages_pipeline_id", "pipeline_id", "position"),)

    pipeline_id: Mapped[int] = mapped_column(ForeignKey("pipelines.id", ondelete="CASCADE"))
    name: Mapped[str]
    position: Mapped[int] = mapped_column(Integer)
    category: Mapped[str] = mapped_column(Text, default=Category.OPEN, server_default="open")


class StageRule(Base, Record):
    """On entering a stage somebody gets a task.

    due_minutes       working minutes from entering to the deadline
    reminder_minutes  working minutes from entering to the reminder; None: none
    escalation        what happens when nobody acts, in order: [{"after": working minutes past the deadline,
                      "to": "next" (in the team) | "head"}]
    assignee_id       who gets it; None: the deal's owner
    """

    __tablename__ = "stage_rules"
    __table_args__ = (CheckConstraint("due_minutes > 0", name="due_minutes_positive"),)

    stage_id: Mapped[int] = mapped_column(ForeignKey("stages.id", ondelete="CASCADE"), index=True)
    title: Mapped[str]
    kind: Mapped[str]
    due_minutes: Mapped[int] = mapped_column(Integer)
    reminder_minutes: Mapped[int | None] = mapped_column(Integer)
    escalation: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    assignee_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    priority: Mapped[str] = mapped_column(Text, default="normal", server_default="normal")


class LostReason(Base, Record):
    """Why deals are lost, as the company words it."""

    __tablename__ = "lost_reasons"

    name: Mapped[str]
    position: Mapped[int] = mapped_column(Integer, default=0, server_default="0")


async def default(session: AsyncSession) -> Pipeline:
    """Return the pipeline that takes what nobody sends elsewhere.

    Raises:
        NotFound: there is none.
    """
    found = await session.scalar(select(Pipeline).order_by(Pipeline.is_default.desc(), Pipeline.id).limit(1))
    if found is None:
        raise NotFound("pipeline")
    return found


async def stages_of(session: AsyncSession, pipeline_id: int) -> list[Stage]:
    """Return a pipeline's stages in order."""
    return list(
        await session.scalars(select(Stage).where(Stage.pipeline_id == pipeline_id).order_by(Stage.position, Stage.id))
    )


async def stage(session: AsyncSession, stage_id: int) -> Stage:
    """Return a stage.

    Raises:
        NotFound: there is no such stage.
    """
    found = await session.get(Stage, stage_id)
    if found is None:
        raise NotFound("stage", stage_id)
    return found
