"""Idempotency-Key: a POST repeated with the same key is answered as before and done once.

The answer is kept in the transaction that does the work, so either both are there or neither. A POST that failed left
no trace, and its key may be used again. After draft-ietf-httpapi-idempotency-key-header; there a concurrent repeat is
refused, here it waits for the first and gets the same answer.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta

from sqlalchemy import DateTime, LargeBinary, SmallInteger, delete, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base
from hub.api.problems import FieldError, Problem, invalid

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
KEPT_FOR = timedelta(hours=24)
MAX_LENGTH = 255

_is_key = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,254}").fullmatch


class IdempotencyKey(Base):
    """A key a caller used, with the answer they got. `body` is None where the answer held a secret."""

    __tablename__ = "idempotency_keys"

    caller: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int | None] = mapped_column(SmallInteger)
    headers: Mapped[dict[str, str] | None] = mapped_column(JSONB)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)


def check_key(key: str) -> None:
    """Refuse a key we could not keep.

    Raises:
        Problem: 422.
    """
    if not _is_key(key):
        raise invalid([FieldError(HEADER, f"Must be 1 to {MAX_LENGTH} visible ASCII characters")])


def fingerprint(method: str, path: str, body: bytes) -> bytes:
    """Digest what was asked, so that a key used for something else is noticed."""
    return hashlib.sha256(f"{method} {path}\n".encode() + body).digest()


async def claim(
    session: AsyncSession, *, caller: str, key: str, fingerprint: bytes, now: datetime
) -> IdempotencyKey | None:
    """Take a key; None: it is ours, so do the work and `keep` the answer. Else what was answered before.

    Waits while another transaction does the same work.

    Raises:
        Problem: 422, the key was used for something else; 409, it was used, and the answer is not kept.
    """
    taken = insert(IdempotencyKey).values(caller=caller, key=key, fingerprint=fingerprint, created_at=now)
    renewed = taken.on_conflict_do_update(
        index_elements=["caller", "key"],
        set_={"fingerprint": taken.excluded.fingerprint, "created_at": now, "status": None, "body": None},
        where=IdempotencyKey.created_at <= now - KEPT_FOR,
    ).returning(IdempotencyKey.key)
    if (await session.execute(renewed)).first() is not None:
        return None
    earlier = (await session.scalars(select(IdempotencyKey).filter_by(caller=caller, key=key))).one()
    if earlier.fingerprint != fingerprint:
        raise Problem(
            422, "idempotency-key-reused", f"This {HEADER} was used for another request; use a new one for this."
        )
    if earlier.body is None:
        raise Problem(
            409, "answered-once", "This was done already. Its answer held a secret, which is shown only once."
        )
    return earlier


async def keep(
    session: AsyncSession, *, caller: str, key: str, status: int, headers: dict[str, str], body: bytes | None
) -> None:
    """Keep the answer beside the work, in the same transaction."""
    await session.execute(
        update(IdempotencyKey)
        .where(IdempotencyKey.caller == caller, IdempotencyKey.key == key)
        .values(status=status, headers=headers, body=body)
        .execution_options(synchronize_session=False)
    )


async def forget_old(session: AsyncSession, now: datetime) -> int:
    """Delete the answers that have been kept long enough; return how many they were."""
    gone = await session.execute(
        delete(IdempotencyKey)
        .where(IdempotencyKey.created_at <= now - KEPT_FOR)
        .returning(IdempotencyKey.key)
        .execution_options(synchronize_session=False)
    )
    return len(gone.all())
