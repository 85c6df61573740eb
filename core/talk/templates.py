"""Templates that a provider has approved: what may be said when the time for free words is over."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, delete, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.kernel.db import Base, Record, insert_rows
from core.kernel.errors import NotFound, Rejected

_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")


class MessageTemplate(Base, Record):
    """A template of one connection, as its provider keeps it. `body` has its placeholders as {{1}}, {{2}}."""

    __tablename__ = "message_templates"
    __table_args__ = (Index("uq_message_templates_name", "connection_id", "name", "language", unique=True),)

    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id", ondelete="CASCADE"))
    name: Mapped[str]
    language: Mapped[str]
    body: Mapped[str]
    category: Mapped[str]
    is_usable: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())


async def replace(session: AsyncSession, connection_id: int, rows: Sequence[dict[str, Any]], *, at: datetime) -> None:
    """Put what the provider lists now in place of what it listed before."""
    await session.execute(delete(MessageTemplate).where(MessageTemplate.connection_id == connection_id))
    await insert_rows(
        session,
        MessageTemplate,
        [{"connection_id": connection_id, **row, "created_at": at} for row in rows],
        suffix="ON CONFLICT DO NOTHING",
    )


async def of_connection(session: AsyncSession, connection_id: int) -> list[MessageTemplate]:
    """Return the templates that may be sent over a connection, by name."""
    rows = await session.scalars(
        select(MessageTemplate)
        .where(MessageTemplate.connection_id == connection_id, MessageTemplate.is_usable)
        .order_by(MessageTemplate.name, MessageTemplate.language)
    )
    return list(rows)


def placeholders(body: str) -> list[str]:
    """Return the names of a body's placeholders, in order, each once."""
    return list(dict.fromkeys(_PLACEHOLDER.findall(body)))


def filled(template: MessageTemplate, values: Sequence[str]) -> str:
    """Return the words the customer will read.

    Raises:
        Rejected: there are not as many values as placeholders, or one is empty.
    """
    names = placeholders(template.body)
    if len(values) != len(names) or any(not value.strip() for value in values):
        raise Rejected("This template needs %(count)s values", count=len(names), field="template")
    given = dict(zip(names, values, strict=True))
    return _PLACEHOLDER.sub(lambda found: given[found[1]].strip(), template.body)


async def get(session: AsyncSession, connection_id: int, name: str, language: str = "") -> MessageTemplate:
    """Return a template by its name; without a language the first there is.

    Raises:
        NotFound: the connection has none of that name.
    """
    wanted = select(MessageTemplate).where(
        MessageTemplate.connection_id == connection_id, MessageTemplate.name == name, MessageTemplate.is_usable
    )
    if language:
        wanted = wanted.where(MessageTemplate.language == language)
    found = await session.scalar(wanted.order_by(MessageTemplate.language).limit(1))
    if found is None:
        raise NotFound("template", name)
    return found
