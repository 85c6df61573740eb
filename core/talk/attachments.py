"""Files that came with messages or go with them: each content is kept once, whoever sends it how often."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, Text, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base
from core.kernel.errors import NotFound, Rejected

FETCH = "attachment.fetch"
"""The job that brings a file from where it lies to where files are kept."""

MOST_FILES = 20
"""Files one message of ours may have."""


class FileState(StrEnum):
    """Where a file is."""

    PENDING = "pending"  # still with the provider, or in the delivery
    STORED = "stored"
    FAILED = "failed"  # it could not be had; `error` says why


class StoredFile(Base):
    """A content, kept once. `path` is where it lies in the store, `preview` a small picture of it.

    content_type is what the bytes are, not what somebody said of them.
    """

    __tablename__ = "files"
    __table_args__ = (Index("uq_files_sha256", "sha256", unique=True),)

    id: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('record_ids')"), primary_key=True)
    sha256: Mapped[str]
    size: Mapped[int]
    content_type: Mapped[str]
    path: Mapped[str]
    preview: Mapped[str | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    created_at: Mapped[datetime]


class Attachment(Base):
    """A file of a message, by its `position`. One that was uploaded and not sent yet has no message, but an author.

    `part` and `reference` say where a pending one lies (see core.kernel.envelopes.Attachment).
    """

    __tablename__ = "attachments"
    __table_args__ = (
        Index("uq_attachments_position", "message_id", "position", unique=True),
        Index("ix_attachments_file_id", "file_id"),
        Index("ix_attachments_unsent", "created_at", postgresql_where=text("message_id IS NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('record_ids')"), primary_key=True)
    message_id: Mapped[int | None] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    author_id: Mapped[int | None]
    name: Mapped[str]
    content_type: Mapped[str]
    size: Mapped[int]
    kind: Mapped[str] = mapped_column(Text, default="file", server_default="file")
    content_id: Mapped[str | None]
    delivery_id: Mapped[int | None]
    part: Mapped[int | None]
    reference: Mapped[str | None]
    state: Mapped[str] = mapped_column(Text, default=FileState.PENDING, server_default="pending")
    file_id: Mapped[int | None] = mapped_column(ForeignKey("files.id"))
    error: Mapped[str | None]
    created_at: Mapped[datetime]


async def of_messages(session: AsyncSession, message_ids: Iterable[int]) -> dict[int, list[Attachment]]:
    """Return the files of several messages, each in their order."""
    found: dict[int, list[Attachment]] = {}
    rows = await session.scalars(
        select(Attachment)
        .where(Attachment.message_id.in_(set(message_ids)))
        .order_by(Attachment.message_id, Attachment.position)
    )
    for row in rows:
        assert row.message_id is not None
        found.setdefault(row.message_id, []).append(row)
    return found


async def uploaded(session: AsyncSession, ids: Sequence[int], *, author_id: int | None) -> list[Attachment]:
    """Return files somebody uploaded to be sent, in the order asked for, locked until they are.

    Raises:
        NotFound: one is not there, is somebody else's, or was sent already. Rejected: they are too many.
    """
    if len(ids) > MOST_FILES:
        raise Rejected("A message takes at most %(most)s files", most=MOST_FILES, field="attachments")
    rows = await session.scalars(
        select(Attachment)
        .where(Attachment.id.in_(ids), Attachment.message_id.is_(None), Attachment.author_id == author_id)
        .with_for_update()
    )
    found = {row.id: row for row in rows}
    for wanted in ids:
        if wanted not in found:
            raise NotFound("uploaded file", wanted)
    return [found[wanted] for wanted in dict.fromkeys(ids)]
