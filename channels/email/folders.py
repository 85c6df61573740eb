"""Lets the folders of one mailbox be watched side by side, though the hub keeps one position and one state for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from channels.contract import Item, Listening, Tools


class Folders:
    """Shares one `Listening` among several watches.

    The position of the first stands in the cursor itself, as when there is one alone; that of each other one below its
    name.
    """

    def __init__(self, listening: Listening) -> None:
        self._listening = listening
        self._first = dict(listening.cursor)
        self._others: dict[str, Any] = self._first.pop("others", {})
        self._ill: dict[str, str] = {}
        self._well: dict[str, str] = {}
        self._storing = asyncio.Lock()
        self._first_is_well = asyncio.Event()

    def first(self) -> Listening:
        """Return what the first watch is handed."""
        return _Folder(self, "", self._first)

    def other(self, name: str) -> Listening:
        """Return what a further watch is handed."""
        return _Folder(self, name, self._others.get(name, {}))

    async def deliver(self, name: str, items: Sequence[Item], cursor: Mapping[str, Any]) -> None:
        """Store what one watch found, with the positions of all.

        What others find waits until the first has brought all there is: what somebody wrote goes before the answer.
        """
        if name and items:
            await self._first_is_well.wait()
        async with self._storing:  # or the older of two positions might be stored last
            first = self._first if name else dict(cursor)
            others = {**self._others, name: dict(cursor)} if name else self._others
            await self._listening.deliver(items, {**first, "others": others} if others else first)
            self._first, self._others = first, others

    def tell(self, name: str, *, well: str = "", ill: str = "") -> None:
        """Tell how one watch does: the mailbox is well when all are."""
        self._ill.pop(name, None)
        if ill:
            self._ill[name] = ill
        else:
            self._well[name] = well
        if not name and ill:
            self._first_is_well.clear()
        elif not name:
            self._first_is_well.set()
        if self._ill:
            self._listening.is_ill(". ".join(self._ill.values()))
        else:
            self._listening.is_well(self._well.get("", well))

    @property
    def tools(self) -> Tools:
        """What all of them work with."""
        return self._listening.tools


class _Folder:
    """What one watch is handed: `Listening` of the contract."""

    def __init__(self, folders: Folders, name: str, cursor: Mapping[str, Any]) -> None:
        self._folders, self._name = folders, name
        self.cursor = cursor
        self.tools: Tools = folders.tools

    async def deliver(self, items: Sequence[Item], cursor: Mapping[str, Any] | None = None) -> None:
        if cursor is not None:
            self.cursor = dict(cursor)
        await self._folders.deliver(self._name, items, self.cursor)

    def is_well(self, detail: str = "") -> None:
        self._folders.tell(self._name, well=detail)

    def is_ill(self, detail: str) -> None:
        self._folders.tell(self._name, ill=detail)
