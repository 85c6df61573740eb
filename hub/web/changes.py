"""How pages change records: found by what the person may change, in the version they had before their eyes."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import select

from core.kernel.db import Base
from core.kernel.errors import Stale
from core.staff import access, users
from core.staff.users import User
from hub.web import typed
from hub.web.visits import Visit
from hub.web.words import N_

T = TypeVar("T", bound=Base)


async def changing(visit: Visit, model: type[T], record_id: int) -> T:
    """Return a record the person is about to change, locked. A form that carries a `version` is held to it.

    Raises:
        NotFound, Forbidden: as core.staff.access.fetch.
        Stale: somebody changed it since the form was made.
    """
    record = await access.fetch(visit.session, visit.rights, model, record_id, change=True, lock=True)
    version = visit.field("version")
    if version and version != str(getattr(record, "version", version)):
        raise Stale(
            visit.translate(
                N_("Somebody changed this meanwhile. Nothing of yours was saved: look again, then repeat it")
            )
        )
    return record


async def chosen_person(visit: Visit, field: str, owner_id: int | None) -> int | None:
    """Return who was chosen in a form to have what `owner_id` has now; None for nobody.

    Raises:
        Forbidden: the person may not hand it over.
        Rejected: nobody works here by that id.
    """
    typed_id = visit.field(field)
    to = visit.user.id if typed_id == "me" else typed.record_id(typed_id, field=field)
    if to != owner_id:
        visit.rights.require_assign(owner_id)
        if to is not None:
            await users.for_work(visit.session, to, field=field)
    return to


async def colleagues(visit: Visit, *, owner_id: int | None = None, new: bool = False) -> list[tuple[int, str]]:
    """Return who may be given a record, as (id, name) by name; nobody where the person may not hand it over.

    With `new` the record is about to be made, and anybody who may change things chooses freely.
    """
    if not visit.rights.may_change:
        return []
    if not new and not visit.rights.may_assign(owner_id):
        return []
    rows = await visit.session.execute(
        select(User.id, User.name).where(User.is_active.is_(True)).order_by(User.name, User.id)
    )
    return [(row.id, row.name) for row in rows]
