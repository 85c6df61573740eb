"""Canned replies: wordings kept for what is said often. Typing `/` and the shortcut puts one into the composer."""

from __future__ import annotations

import re
from datetime import datetime

from sqlalchemy import ForeignKey, Index, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel import events
from core.kernel.db import Base, Edited, Record
from core.kernel.errors import Conflict, NotFound, Rejected

_SHORTCUT = re.compile(r"[\w.-]{1,40}")


class CannedReply(Base, Record, Edited):
    """A wording kept for later. One without a team is everybody's.

    `text` may hold {name} (the contact's first name), {full_name} and {me} (who answers).
    """

    __tablename__ = "canned_replies"
    __table_args__ = (Index("uq_canned_replies_shortcut", "shortcut", unique=True),)

    shortcut: Mapped[str]
    title: Mapped[str]
    text: Mapped[str]
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id", ondelete="SET NULL"))
    author_id: Mapped[int | None]


async def add(
    session: AsyncSession,
    *,
    shortcut: str,
    text: str,
    title: str = "",
    team_id: int | None = None,
    at: datetime,
    actor_id: int | None,
) -> CannedReply:
    """Keep a wording.

    Raises:
        Rejected: there is no text, or the shortcut has blanks or more than 40 letters. Conflict: it is taken.
    """
    checked = await _checked(session, shortcut, text, except_id=None)
    reply = CannedReply(
        shortcut=checked, title=title.strip(), text=text.strip(), team_id=team_id, author_id=actor_id, created_at=at
    )
    session.add(reply)
    await session.flush()
    await events.record(session, "canned_reply.added", at, actor_id=actor_id, details={"shortcut": checked})
    return reply


async def change(
    session: AsyncSession,
    reply: CannedReply,
    *,
    shortcut: str,
    text: str,
    title: str,
    team_id: int | None,
    at: datetime,
    actor_id: int | None,
) -> None:
    """Word it anew.

    Raises:
        As `add`.
    """
    reply.shortcut = await _checked(session, shortcut, text, except_id=reply.id)
    reply.text, reply.title, reply.team_id = text.strip(), title.strip(), team_id
    reply.version += 1
    await events.record(session, "canned_reply.changed", at, actor_id=actor_id, details={"shortcut": reply.shortcut})


async def _checked(session: AsyncSession, shortcut: str, text: str, *, except_id: int | None) -> str:
    spelled = shortcut.strip().lstrip("/").casefold()
    if not _SHORTCUT.fullmatch(spelled):
        raise Rejected("A shortcut is one word of at most 40 letters, digits, dots or dashes", field="shortcut")
    if not text.strip():
        raise Rejected("Say something", field="text")
    taken = await session.scalar(select(CannedReply.id).where(CannedReply.shortcut == spelled))
    if taken is not None and taken != except_id:
        raise Conflict("The shortcut /%(shortcut)s is taken", shortcut=spelled)
    return spelled


async def get(session: AsyncSession, reply_id: int) -> CannedReply:
    """Return a canned reply.

    Raises:
        NotFound: there is none.
    """
    reply = await session.get(CannedReply, reply_id)
    if reply is None:
        raise NotFound("canned reply", reply_id)
    return reply


async def offered(session: AsyncSession, *, team_ids: list[int]) -> list[CannedReply]:
    """Return the canned replies somebody of these teams may use, by shortcut."""
    rows = await session.scalars(
        select(CannedReply)
        .where(or_(CannedReply.team_id.is_(None), CannedReply.team_id.in_(team_ids)))
        .order_by(CannedReply.shortcut)
    )
    return list(rows)


def filled(text: str, *, contact_name: str, user_name: str) -> str:
    """Return a wording with its placeholders filled in; a contact without a name leaves no gap before a comma."""
    first = contact_name.split()[0] if contact_name.split() else ""
    for name, value in (("{name}", first), ("{full_name}", contact_name.strip()), ("{me}", user_name.strip())):
        text = text.replace(name, value) if value else re.sub(rf"[ \t]*{re.escape(name)}", "", text)
    return text
