"""Signing in: browser sessions kept on the server, and the brake on guessing passwords."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base
from core.kernel.errors import NotFound
from core.staff.users import User

LASTS = timedelta(days=30)
"""How long a browser stays signed in without being used."""

TRIES = 8
TRIES_WITHIN = timedelta(minutes=15)


class Session(Base):
    """A browser in which somebody is signed in. Only the hash of its cookie is kept."""

    __tablename__ = "sessions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    csrf_token: Mapped[str]
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    client: Mapped[str]
    agent: Mapped[str]


class FailedSignIn(Base):
    """A wrong password, remembered for a while by address and by client."""

    __tablename__ = "failed_sign_ins"
    __table_args__ = (Index("ix_failed_sign_ins_subject", "subject", "at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    subject: Mapped[str]
    at: Mapped[datetime]


def _subject(email: str) -> str:
    """Name an address as it was typed, without what PostgreSQL cannot keep: this is what programs send that guess."""
    return "email:" + printable(email).strip().casefold()[:200]


def printable(text: str) -> str:
    """Return a text from outside without control characters and broken surrogates, which PostgreSQL refuses."""
    return "".join(character for character in text if character.isprintable())


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def start(session: AsyncSession, user: User, *, at: datetime, client: str, agent: str) -> tuple[Session, str]:
    """Sign somebody in; return the session and the secret for its cookie, which is not kept."""
    token = secrets.token_urlsafe(32)
    started = Session(
        token_hash=_digest(token),
        user_id=user.id,
        csrf_token=secrets.token_urlsafe(24),
        created_at=at,
        seen_at=at,
        expires_at=at + LASTS,
        client=client[:100],
        agent=printable(agent)[:300],
    )
    session.add(started)
    await session.flush()
    return started, token


async def resume(session: AsyncSession, token: str, *, at: datetime) -> tuple[Session, User] | None:
    """Return who is signed in with this cookie; None if it is unknown, expired, or its owner was dismissed.

    The expiry moves on with use, at most once an hour, so that reading pages does not write.
    """
    row = (
        await session.execute(
            select(Session, User)
            .join(User, User.id == Session.user_id)
            .where(Session.token_hash == _digest(token), Session.expires_at > at, User.is_active.is_(True))
        )
    ).first()
    if row is None:
        return None
    found: Session = row[0]
    if at - found.seen_at > timedelta(hours=1):
        found.seen_at, found.expires_at = at, at + LASTS
    return found, row[1]


async def end(session: AsyncSession, session_id: int, *, user_id: int) -> None:
    """Sign a browser out.

    Raises:
        NotFound: the person has no such session.
    """
    ended = await session.execute(
        delete(Session).where(Session.id == session_id, Session.user_id == user_id).returning(Session.id)
    )
    if ended.first() is None:
        raise NotFound("session", session_id)


async def end_all(session: AsyncSession, user_id: int) -> None:
    """Sign somebody out everywhere, as when they are dismissed or change their password."""
    await session.execute(delete(Session).where(Session.user_id == user_id))


async def end_others(session: AsyncSession, kept: Session) -> None:
    """Sign somebody out everywhere but in one browser."""
    await session.execute(delete(Session).where(Session.user_id == kept.user_id, Session.id != kept.id))


async def of_user(session: AsyncSession, user_id: int) -> list[Session]:
    """Return the browsers in which somebody is signed in, last used first."""
    return list(
        await session.scalars(select(Session).where(Session.user_id == user_id).order_by(Session.seen_at.desc()))
    )


async def wait_before_trying(session: AsyncSession, *, email: str, client: str, at: datetime) -> int:
    """Return how many seconds to wait before another password may be tried; 0: now.

    Counted by address and by client, so that neither one account nor one machine can be used to guess.
    """
    since = at - TRIES_WITHIN
    subjects = {_subject(email): TRIES, f"client:{client}": TRIES * 4}
    rows = await session.execute(
        select(FailedSignIn.subject, func.count(), func.min(FailedSignIn.at))
        .where(FailedSignIn.subject.in_(list(subjects)), FailedSignIn.at > since)
        .group_by(FailedSignIn.subject)
    )
    waits = [
        int((first + TRIES_WITHIN - at).total_seconds()) + 1
        for subject, tries, first in rows
        if tries >= subjects[subject]
    ]
    return max(waits, default=0)


async def note_failure(session: AsyncSession, *, email: str, client: str, at: datetime) -> None:
    """Remember a wrong password, and forget old ones."""
    session.add_all(
        [
            FailedSignIn(subject=_subject(email), at=at),
            FailedSignIn(subject=f"client:{client}", at=at),
        ]
    )
    await session.execute(delete(FailedSignIn).where(FailedSignIn.at < at - 2 * TRIES_WITHIN))
