"""API tokens: who may call the REST API on whose behalf. Only their hashes are kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel import events
from core.kernel.db import Base, Record
from core.kernel.errors import NotFound
from core.staff.users import User

PREFIX = "swy_"
"""What every token starts with, so that a leaked one is recognised by scanners and redacted by our logs."""


class ApiToken(Base, Record):
    """A key to the API with its owner's rights, narrowed by its scopes (none: all of them)."""

    __tablename__ = "api_tokens"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


def digest(token: str) -> bytes:
    """Return what is stored of a token. It has 256 random bits, so a plain SHA-256 cannot be guessed back."""
    return hashlib.sha256(token.encode()).digest()


async def create(
    session: AsyncSession,
    *,
    user_id: int,
    at: datetime,
    name: str = "",
    scopes: Iterable[str] = (),
    actor_id: int | None = None,
) -> tuple[ApiToken, str]:
    """Make a token and return it with its secret, which is shown this once."""
    secret = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken(user_id=user_id, name=name, token_hash=digest(secret), scopes=sorted(set(scopes)), created_at=at)
    session.add(token)
    await session.flush()
    await events.record(session, "token.created", at, user_id=user_id, actor_id=actor_id, details={"name": name})
    return token, secret


async def authenticate(session: AsyncSession, secret: str) -> tuple[ApiToken, User] | None:
    """Return whose token this is; None for one that is unknown, revoked, or of somebody dismissed."""
    row = (
        await session.execute(
            select(ApiToken, User)
            .join(User, User.id == ApiToken.user_id)
            .where(ApiToken.token_hash == digest(secret), ApiToken.revoked_at.is_(None), User.is_active.is_(True))
        )
    ).first()
    return None if row is None else (row[0], row[1])


async def revoke(session: AsyncSession, token_id: int, *, at: datetime, actor_id: int | None = None) -> None:
    """Make a token useless at once.

    Raises:
        NotFound: there is no such token.
    """
    token = await session.get(ApiToken, token_id)
    if token is None:
        raise NotFound("token", token_id)
    token.revoked_at = token.revoked_at or at
    await events.record(session, "token.revoked", at, user_id=token.user_id, actor_id=actor_id)
