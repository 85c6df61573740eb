"""The board: the stages of a pipeline with what stands in each, counted, summed and, up to a limit, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, true
from sqlalchemy.orm import aliased

from core.sales.deals import Deal, Outcome
from core.sales.pipelines import Category, Stage
from core.staff import access
from hub.web import shown
from hub.web.shown import Money, ShownDeal
from hub.web.visits import Visit

CARDS = 25
"""Cards of a column; the rest is in the table."""

CLOSED_FOR = timedelta(days=30)
"""How long a won or lost deal stays on the board."""


@dataclass(frozen=True, slots=True)
class Column:
    """One stage. `sums` has an amount for each currency its deals are in."""

    stage: Stage
    count: int
    sums: Sequence[Money]
    deals: Sequence[ShownDeal]
    more_url: str | None


async def columns(visit: Visit, stages: Sequence[Stage], *conditions: ColumnElement[bool]) -> list[Column]:
    """Return the columns of a pipeline: one statement counts, two find the newest open and closed deals of every
    stage.
    """
    is_open = Deal.outcome == Outcome.OPEN
    just_closed = and_(Deal.outcome != Outcome.OPEN, Deal.closed_at >= visit.viewer.now - CLOSED_FOR)
    here = (Deal.pipeline_id == stages[0].pipeline_id, or_(is_open, just_closed), *conditions)
    counted = await visit.session.execute(
        access.narrow(select(Deal.stage_id, Deal.currency, func.count(), func.sum(Deal.amount)), visit.rights, Deal)
        .where(*here)
        .group_by(Deal.stage_id, Deal.currency)
    )
    counts: dict[int, int] = {}
    sums: dict[int, list[Money]] = {}
    for stage_id, currency, count, total in counted:
        counts[stage_id] = counts.get(stage_id, 0) + count
        if total:
            sums.setdefault(stage_id, []).append(Money(int(total), currency))
    drawn: dict[int, list[ShownDeal]] = {}
    # Two, since PostgreSQL has an index for either, and none for both.
    opened = await _newest(
        visit, [stage.id for stage in stages if stage.category == Category.OPEN], is_open, *conditions
    )
    closed = await _newest(
        visit, [stage.id for stage in stages if stage.category != Category.OPEN], just_closed, *conditions
    )
    for deal in await shown.deal_rows(visit, [*opened, *closed]):
        drawn.setdefault(deal.stage.id, []).append(deal)
    return [
        Column(
            stage=stage,
            count=counts.get(stage.id, 0),
            sums=sums.get(stage.id, []),
            deals=drawn.get(stage.id, []),
            more_url=_more(stage) if counts.get(stage.id, 0) > CARDS else None,
        )
        for stage in stages
    ]


async def _newest(visit: Visit, stage_ids: Sequence[int], *conditions: ColumnElement[bool]) -> list[Deal]:
    """Return the newest deals of each stage: a walk along the index of each, not a sort of them all."""
    of_stage = (
        access.narrow(select(Deal), visit.rights, Deal)
        .where(Deal.stage_id == Stage.id, *conditions)
        .order_by(Deal.id.desc())
        .limit(CARDS)
        .correlate(Stage)
        .lateral("newest")
    )
    deal: Any = aliased(Deal, of_stage)
    statement = (
        select(deal).select_from(Stage).join(of_stage, true()).where(Stage.id.in_(stage_ids)).order_by(deal.id.desc())
    )
    return list(await visit.session.scalars(statement))


def _more(stage: Stage) -> str:
    return f"/deals?view=table&pipeline={stage.pipeline_id}&stage={stage.id}" + (
        "" if stage.category == Category.OPEN else f"&outcome={stage.category}"
    )
