"""Doing: who does something at the desk, where, with what rights; handed to every command and button."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from channels.desk_contract import Card, DeskEvent, Key, Place
from core.kernel.db import Base
from core.staff import access
from core.staff.access import Rights
from core.staff.users import User
from hub.app import Hub
from hub.connections import Live
from hub.desk import posts
from hub.desk.cards import Desk
from hub.desk.reader import Reader
from hub.desk.records import DeskLink, DeskPost

_Model = TypeVar("_Model", bound=Base)


@dataclass
class Doing:
    """One thing a colleague does, in one transaction.

    about     the post that was answered, or under which the button stands; None where there is none
    topic_id  the topic it happens in, if that is a conversation's
    """

    session: AsyncSession
    hub: Hub
    live: Live
    link: DeskLink
    user: User
    rights: Rights
    reader: Reader
    event: DeskEvent
    now: datetime
    about: DeskPost | None = None
    topic_id: int | None = None
    conversation_id: int | None = None
    posts: list[DeskPost] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def text(self, message: str, **values: object) -> str:
        """Return a message in the colleague's language."""
        return self.reader.text(message, **values)

    @property
    def desk(self) -> Desk:
        """What making a card for them needs."""
        return Desk(self.session, self.hub, self.reader)

    @property
    def place(self) -> Place:
        """Where it happens."""
        return Place(self.event.peer, self.event.thread)

    async def fetch(self, model: type[_Model], record_id: int, *, change: bool = True, lock: bool = True) -> _Model:
        """Return a record they may see, and with `change` also change. See `core.staff.access.fetch`.

        Raises:
            NotFound, Forbidden: they may not.
        """
        return await access.fetch(self.session, self.rights, model, record_id, change=change, lock=lock)

    def say(
        self,
        card: Card,
        *,
        reply_to: str = "",
        what: dict[str, Any] | None = None,
        **subjects: Any,
    ) -> DeskPost:
        """Post something where this happens, in answer to what was written unless told otherwise."""
        ref = reply_to or getattr(self.event, "ref", "")
        post = posts.said(
            self.live.id,
            self.place,
            card,
            at=self.now,
            topic_id=self.topic_id,
            reply_to=ref,
            what=what,
            **{"conversation_id": self.conversation_id, **subjects},
        )
        self.posts.append(post)
        return post

    def ask(
        self, question: str, verb: str, *parts: Any, hint: str = "", keys: tuple[tuple[Key, ...], ...] = ()
    ) -> None:
        """Ask for words: what is answered to the post is given to the verb of hub.desk.questions."""
        lines = (hint,) if hint else ()
        self.say(
            Card(title=question, lines=lines, keys=keys), what={"ask": verb, "parts": [str(part) for part in parts]}
        )


@dataclass(frozen=True)
class Answer:
    """What a press came to, said in passing; `is_alert` wants to be put away."""

    text: str = ""
    is_alert: bool = False


Verb = Callable[[Doing, list[str]], Awaitable[Answer]]
"""What a button does: `done:184` calls the verb `done` with ["184"]."""

Command = Callable[[Doing, str], Awaitable[None]]
"""What a command does: `/won` with what was written after it."""

Question = Callable[[Doing, list[str], str], Awaitable[None]]
"""What is done with the words that answer a question."""


def id_at(parts: list[str], place: int = 0) -> int:
    """Return the record that a button's word names.

    Raises:
        ValueError, IndexError: it names none.
    """
    value = int(parts[place])
    if not 0 < value < 2**63:
        raise ValueError(parts[place])
    return value
