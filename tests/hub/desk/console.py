"""A messenger at the edge of the network that keeps what it is asked to post."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from channels.contract import ChannelSettings, Group, OutgoingFile, Tools
from channels.desk_contract import Abilities, Card, Place


class ConsoleDesk:
    """Has buttons and topics."""

    kind: ClassVar[str] = "desk_console"
    title: ClassVar[str] = "Desk: console"
    group: ClassVar[Group] = "desk"
    account = ""
    abilities: ClassVar[Abilities] = Abilities(topics=True)

    class Settings(ChannelSettings):
        """Needs none."""

    def __init__(self, settings: Settings) -> None:
        self.posted: list[tuple[Place, Card]] = []

    async def post(
        self, place: Place, card: Card, tools: Tools, *, files: Sequence[OutgoingFile] = (), reply_to: str = ""
    ) -> tuple[str, ...]:
        self.posted.append((place, card))
        return (f"p{len(self.posted)}",)

    async def edit(self, place: Place, ref: str, card: Card, tools: Tools) -> None:
        self.posted.append((place, card))

    async def confirm(self, press: str, tools: Tools, *, text: str = "", is_alert: bool = False) -> None:
        return None

    def link(self, ticket: str, account: str) -> str:
        return f"link {ticket}"

    async def open_topic(self, chat: str, name: str, tools: Tools) -> str:
        return name

    async def change_topic(
        self, place: Place, tools: Tools, *, name: str | None = None, is_open: bool | None = None
    ) -> None:
        return None


class PlainDesk(ConsoleDesk):
    """Has neither buttons nor topics."""

    kind: ClassVar[str] = "desk_plain"
    title: ClassVar[str] = "Desk: plain console"
    abilities: ClassVar[Abilities] = Abilities(buttons=False, topics=False, edits=False)
