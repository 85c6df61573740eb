"""Two contacts who are one person: put together, with a journal, so that a day's work later they can be taken apart."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base, Record


class MergeRecord(Base, Record):
    """A merge: `gone_id` was put into `kept_id`. `gone` is the row of the contact that went, as it was."""

    __tablename__ = "merges"
    __table_args__ = (
        Index("ix_merges_kept_id", "kept_id", "id"),
        Index("ix_merges_gone_id", "gone_id"),
    )

    kept_id: Mapped[int]
    gone_id: Mapped[int]
    reason: Mapped[str]
    actor_id: Mapped[int | None]
    kept: Mapped[dict[str, Any]]
    gone: Mapped[dict[str, Any]]
    undone_at: Mapped[datetime | None]
    undone_by: Mapped[int | None]


class MergedRow(Base):
    """A row that a merge moved, and what was in it before: `before` holds the columns that were changed, or the whole
    row where it was taken away.
    """

    __tablename__ = "merged_rows"
    __table_args__ = (Index("ix_merged_rows_merge_id", "merge_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('record_ids')"), primary_key=True)
    merge_id: Mapped[int] = mapped_column(ForeignKey("merges.id", ondelete="CASCADE"))
    table: Mapped[str] = mapped_column("table_name", Text)
    row_id: Mapped[int]
    action: Mapped[str]
    """`moved`, `changed` or `removed`."""
    before: Mapped[dict[str, Any]]
