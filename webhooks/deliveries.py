"""Deliveries: every request from outside, kept word for word, with what became of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base
from webhooks.request import RawRequest


class DeliveryState(StrEnum):
    """What became of a delivery."""

    RECEIVED = "received"
    PROCESSED = "processed"
    IGNORED = "ignored"
    FAILED = "failed"  # tried, will be tried again
    DEAD = "dead"  # will not be tried again unless somebody says so


class Delivery(Base):
    """A raw request. It is also its own place in the queue (core.kernel.jobs): due while `due_at` is set, in order
    within `lane`.

    dedupe_key    unique within the connection. Where equal content counts as a repeat only for a while, `repeat_until`
                  is set, and the key is given up when that has passed and the same content comes again
    reference     what the sender was given to name the request by
    events        what it was understood to be: [{"kind", "contact_id", "lead_id", …}]
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("uq_deliveries_dedupe_key", "connection_id", "dedupe_key", unique=True),
        Index("ix_deliveries_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_deliveries_lane", "lane", "id", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_deliveries_trouble", "state", "id", postgresql_where=text("state IN ('failed', 'dead')")),
    )

    id: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('record_ids')"), primary_key=True)
    connection_id: Mapped[int]
    dedupe_key: Mapped[str]
    repeat_until: Mapped[datetime | None]
    reference: Mapped[str]
    lane: Mapped[str]
    state: Mapped[str] = mapped_column(Text, default=DeliveryState.RECEIVED, server_default="received")
    received_at: Mapped[datetime]
    due_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    error: Mapped[str | None]
    events: Mapped[list[Any] | None]
    request: Mapped[dict[str, Any]]
    """Method, headers, path, query, suffix, url and client address; secrets in headers are not kept."""
    body: Mapped[bytes]


def request_of(meta: dict[str, Any], body: bytes) -> RawRequest:
    """Return the request as it came in."""
    return RawRequest(body=body, **meta)
