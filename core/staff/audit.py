"""The audit log: who signed in, read exports, changed or deleted what. Rows are added and never changed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base, Record


class AuditEntry(Base, Record):
    """One thing somebody did, or tried to do."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_created_at", "created_at", "id"),)

    action: Mapped[str] = mapped_column(Text)
    user_id: Mapped[int | None]
    entity: Mapped[str | None]
    entity_id: Mapped[int | None]
    client: Mapped[str] = mapped_column(Text, default="", server_default="")
    details: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")


def note(
    session: AsyncSession,
    action: str,
    *,
    at: datetime,
    user_id: int | None = None,
    entity: str | None = None,
    entity_id: int | None = None,
    client: str = "",
    details: dict[str, Any] | None = None,
) -> None:
    """Write down an action (`session.created`, `deal.changed`, …) in the caller's transaction."""
    session.add(
        AuditEntry(
            action=action,
            user_id=user_id,
            entity=entity,
            entity_id=entity_id,
            client=client,
            details=details or {},
            created_at=at,
        )
    )
