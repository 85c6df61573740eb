"""How handlers come by a record the caller may see, change or manage: always through `core.staff.access`."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from core.kernel.db import Base
from core.kernel.errors import NotFound, Rejected
from core.staff import access, audit
from hub.api.endpoints import Call

T = TypeVar("T", bound=Base)


async def seen(call: Call, model: type[T], record_id: int) -> T:
    """Return a record the caller may see.

    Raises:
        NotFound: there is none, or it is none of their business.
    """
    return await access.fetch(call.session, call.rights, model, int(record_id))


async def referred(call: Call, model: type[T], record_id: int, *, field: str) -> T:
    """Return a record that a body refers to.

    Raises:
        Rejected: there is none, or it is none of the caller's business; `field` is where it was named.
    """
    try:
        return await access.fetch(call.session, call.rights, model, int(record_id))
    except NotFound as error:
        raise Rejected(str(error), field=field) from None


async def changing(call: Call, model: type[T], record_id: int) -> T:
    """Return a record the caller is about to change, locked, in the version they have seen.

    Raises:
        NotFound: there is none, or it is none of their business.
        Forbidden: they may see it but not change it.
        Problem: 412, somebody was faster.
    """
    record = await access.fetch(call.session, call.rights, model, int(record_id), change=True, lock=True)
    if hasattr(record, "version"):
        call.expects(record)
    return record


async def managing(call: Call, model: type[T], record_id: int) -> T:
    """Return a record of the settings the caller is about to change, locked, in the version they have seen.

    Raises:
        Forbidden: they may not touch the settings.
        NotFound: there is none.
        Problem: 412, somebody was faster.
    """
    call.rights.require_manage()
    return await changing(call, model, record_id)


def given(body: msgspec.Struct) -> dict[str, Any]:
    """Return the members of a PATCH that were sent; ids become plain integers."""
    sent = ((name, getattr(body, name)) for name in body.__struct_fields__)
    return {
        name: int(value) if type(value) is not bool and isinstance(value, int) else value
        for name, value in sent
        if value is not UNSET
    }


def note(call: Call, action: str, entity: str, entity_id: int | None, details: dict[str, Any] | None = None) -> None:
    """Write a change of the settings into the audit log."""
    audit.note(
        call.session,
        action,
        at=call.now,
        user_id=call.user_id,
        entity=entity,
        entity_id=None if entity_id is None else int(entity_id),
        client=call.client,
        details=details,
    )
