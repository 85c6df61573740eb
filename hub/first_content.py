"""What an empty workspace begins with, put into the company's language when it is set up.

The migration wrote it in English (`migrations/versions/0002_first_content.py`), since nobody had been asked yet.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.sales.pipelines import LostReason, Pipeline, Stage, StageRule
from core.staff.teams import Team
from hub.i18n import translator_for
from hub.web.words import N_

_TEXTS: Final = frozenset(
    {
        N_("Sales"),
        N_("First call"),
        N_("Qualified"),
        N_("Proposal"),
        N_("Payment"),
        N_("Won"),
        N_("Lost"),
        N_("Call back"),
        N_("Too expensive"),
        N_("Chose somebody else"),
        N_("Not now"),
        N_("Could not be reached"),
        N_("Other"),
    }
)
_WHERE: Final = ((Team, "name"), (Pipeline, "name"), (Stage, "name"), (StageRule, "title"), (LostReason, "name"))


async def translate(session: AsyncSession, language: str) -> None:
    """Put the first content into a language; what somebody has renamed already stays as it is."""
    say = translator_for(language)
    for model, column in _WHERE:
        rows = await session.scalars(select(model).where(getattr(model, column).in_(_TEXTS)))
        for row in rows:
            setattr(row, column, say(getattr(row, column)))
    await session.flush()
