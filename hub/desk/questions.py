"""Questions: what is done with the words that answer one."""

from __future__ import annotations

from hub.desk.doing import Doing
from hub.desk.records import DeskPost


async def answer(doing: Doing, about: DeskPost, text: str) -> None:
    """Do what a question was asked for."""
