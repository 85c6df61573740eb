"""Choices: what somebody wants to be told in their messengers, when it is to be quiet, and which digests they get.

They are kept with each of a colleague's links (`DeskLink.settings`), in all of them the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import time
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel.errors import Conflict, Rejected
from hub.desk.records import DeskLink
from hub.desk.telling import KINDS

MORNING = time(9)
EVENING = time(18)


@dataclass(frozen=True, slots=True)
class Choices:
    """What somebody chose; all times are on their own wall clock, to the minute.

    events           by group of telling.KINDS, whether they are told
    quiet            from when until when nothing makes a sound; None: never
    morning, evening when the digests come; None: not at all. The evening's is for heads
    tells_of_nothing a digest comes even if there is nothing to say
    """

    events: Mapping[str, bool] = field(default_factory=lambda: dict.fromkeys(KINDS, True))
    quiet: tuple[time, time] | None = None
    morning: time | None = MORNING
    evening: time | None = EVENING
    tells_of_nothing: bool = False


def read(settings: Mapping[str, Any]) -> Choices:
    """Return the choices that a link's settings keep; what is missing there, or cannot be read, is as usual."""
    events = settings.get("events")
    events = events if isinstance(events, dict) else {}
    quiet = settings.get("quiet")
    hours = [clock(hour) for hour in quiet] if isinstance(quiet, list) else []
    begins, ends = hours if len(hours) == 2 else (None, None)
    return Choices(
        events={group: bool(events.get(group, True)) for group in KINDS},
        quiet=None if begins is None or ends is None or begins == ends else (begins, ends),
        morning=_at(settings, "morning", MORNING),
        evening=_at(settings, "evening", EVENING),
        tells_of_nothing=bool(settings.get("tells_of_nothing", False)),
    )


def clock(written: object) -> time | None:
    """Read a time of day written HH:MM; None if it is none."""
    if not isinstance(written, str) or len(written) != 5 or written[2] != ":":
        return None
    try:
        return time.fromisoformat(written)
    except ValueError:
        return None


def _at(settings: Mapping[str, Any], name: str, usual: time) -> time | None:
    if name not in settings:
        return usual
    return None if settings[name] is None else clock(settings[name]) or usual


def written(choices: Choices) -> dict[str, Any]:
    """Return choices as a link's settings keep them."""
    return {
        "events": {group: is_told for group, is_told in choices.events.items() if not is_told},
        "quiet": None if choices.quiet is None else [f"{hour:%H:%M}" for hour in choices.quiet],
        "morning": None if choices.morning is None else f"{choices.morning:%H:%M}",
        "evening": None if choices.evening is None else f"{choices.evening:%H:%M}",
        "tells_of_nothing": choices.tells_of_nothing,
    }


def of(links: Sequence[DeskLink]) -> Choices:
    """Return the choices of somebody with these links: those of the newest that keeps any, else the usual ones."""
    kept = [link.settings for link in links if link.settings]
    return read(kept[-1]) if kept else Choices()


async def change(session: AsyncSession, user_id: int, **values: Any) -> Choices:
    """Change some of somebody's choices, by their names in `Choices`, and return all of them. `events` may name a few.

    Raises:
        Conflict: they are linked nowhere, so that there is nothing to choose.
        Rejected: there is no such sort of event, or the quiet hours end when they begin.
    """
    links = list(
        await session.scalars(
            select(DeskLink).where(DeskLink.user_id == user_id).order_by(DeskLink.id).with_for_update()
        )
    )
    if not links:
        raise Conflict("Link a messenger first")
    before = of(links)
    if "events" in values:
        if unknown := set(values["events"]) - set(KINDS):
            raise Rejected("There are no events called %(names)s", names=", ".join(sorted(unknown)), field="events")
        values["events"] = {**before.events, **values["events"]}
    chosen = replace(before, **values)
    if chosen.quiet is not None and chosen.quiet[0] == chosen.quiet[1]:
        raise Rejected("Quiet hours that end when they begin are none", field="quiet")
    for link in links:
        link.settings = {**link.settings, **written(chosen)}
    return chosen
