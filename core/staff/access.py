"""Who may see and change what. One function, `visible`, stands between every list, item, count and search and its
reader.

Default rights: owner, admin and viewer see everything (a viewer changes and exports nothing); a head sees and changes
what belongs to the teams they lead, or everything if they lead none in particular; a manager what is their own and
what is unassigned in their teams; a specialist what they have a task on. What somebody may not see does not exist for
them.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Select, Table, and_, exists, false, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from core.kernel.db import Base
from core.kernel.errors import Forbidden, NotFound
from core.staff.teams import TeamMember
from core.staff.users import Role, User

_Statement = TypeVar("_Statement", bound="Select[*tuple[Any, ...]]")
_Model = TypeVar("_Model", bound=Base)


class Reach(StrEnum):
    """How far somebody's eyes and hands go."""

    ALL = "all"
    TEAM = "team"
    OWN = "own"
    TASKS = "tasks"


class Rights(NamedTuple):
    """What one person may do. Made anew for each request, so that a change of role or team counts at once."""

    user_id: int
    role: Role
    reach: Reach
    team_ids: tuple[int, ...]
    """The teams they are in, and whose unassigned records they may take."""
    led_team_ids: tuple[int, ...]
    may_change: bool
    may_export: bool
    may_manage: bool
    """Whether they may touch the settings: people, channels, rules, tokens, deliveries, the audit log."""

    def may_assign(self, owner_id: int | None) -> bool:
        """Whether they may hand over what belongs to `owner_id` (None: to nobody yet).

        A manager hands over their own and takes what is unassigned; a specialist hands over their own.
        """
        if not self.may_change:
            return False
        if self.reach in (Reach.ALL, Reach.TEAM) or owner_id == self.user_id:
            return True
        return owner_id is None and self.reach is Reach.OWN

    def require_assign(self, owner_id: int | None) -> None:
        """Raise Forbidden for somebody who may not hand over what belongs to `owner_id`. See `may_assign`."""
        self.require_change()
        if not self.may_assign(owner_id):
            raise Forbidden("Only its owner, their head or an administrator may give this to somebody else")

    def require_change(self) -> None:
        """Raise Forbidden for somebody who may only look."""
        if not self.may_change:
            raise Forbidden("Your role lets you look but not change anything")

    def require_manage(self) -> None:
        """Raise Forbidden for somebody who may not touch the settings."""
        if not self.may_manage:
            raise Forbidden("Only an owner or an administrator may do this")

    def require_export(self) -> None:
        """Raise Forbidden for somebody who may not take data out."""
        if not self.may_export:
            raise Forbidden("Your role does not let you export data")


async def of(session: AsyncSession, user: User) -> Rights:
    """Return what somebody may do now."""
    rows = list(
        await session.execute(select(TeamMember.team_id, TeamMember.leads).where(TeamMember.user_id == user.id))
    )
    role = Role(user.role)
    led = tuple(row.team_id for row in rows if row.leads)
    reach = {
        Role.OWNER: Reach.ALL,
        Role.ADMIN: Reach.ALL,
        Role.VIEWER: Reach.ALL,
        Role.HEAD: Reach.TEAM if led else Reach.ALL,
        Role.MANAGER: Reach.OWN,
        Role.SPECIALIST: Reach.TASKS,
    }[role]
    return Rights(
        user_id=user.id,
        role=role,
        reach=reach,
        team_ids=tuple(row.team_id for row in rows),
        led_team_ids=led,
        may_change=role is not Role.VIEWER,
        may_export=role in (Role.OWNER, Role.ADMIN, Role.HEAD),
        may_manage=role in (Role.OWNER, Role.ADMIN),
    )


def _table(name: str) -> Table:
    return Base.metadata.tables[name]


def _team(rights: Rights, table: Table, person: str) -> ColumnElement[bool]:
    members = select(TeamMember.user_id).where(TeamMember.team_id.in_(rights.led_team_ids))
    column = table.c[person]
    return or_(column == rights.user_id, column.in_(members), table.c.team_id.in_(rights.led_team_ids))


def _own(rights: Rights, table: Table, person: str) -> ColumnElement[bool]:
    column = table.c[person]
    mine = column == rights.user_id
    if not rights.team_ids:
        return mine
    return or_(mine, and_(column.is_(None), table.c.team_id.in_(rights.team_ids)))


def _has_task(rights: Rights, link: str, of_id: ColumnElement[int]) -> ColumnElement[bool]:
    tasks = _table("tasks").alias()
    return exists(
        select(tasks.c.id).where(
            tasks.c[link] == of_id,
            tasks.c.assignee_id == rights.user_id,
            tasks.c.status.in_(("todo", "in_progress")),
        )
    )


def _has_own(rights: Rights, name: str, link: str, of_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Something open of this record is within reach."""
    table = _table(name).alias()
    person, is_open = {
        "deals": ("owner_id", table.c.get("outcome") == "open"),
        "leads": ("owner_id", table.c.status.in_(("new", "working")) if "status" in table.c else true()),
        "conversations": ("assignee_id", table.c.status != "resolved" if "status" in table.c else true()),
    }[name]
    inside = _team if rights.reach is Reach.TEAM else _own
    return exists(select(table.c.id).where(table.c[link] == of_id, is_open, inside(rights, table, person)))  # type: ignore[arg-type]


def _deals(rights: Rights, table: Table) -> ColumnElement[bool]:
    with_task = _has_task(rights, "deal_id", table.c.id)
    if rights.reach is Reach.TASKS:
        return with_task
    inside = _team if rights.reach is Reach.TEAM else _own
    return or_(inside(rights, table, "owner_id"), with_task)


def _leads(rights: Rights, table: Table) -> ColumnElement[bool]:
    with_task = _has_task(rights, "lead_id", table.c.id)
    if rights.reach is Reach.TASKS:
        return with_task
    inside = _team if rights.reach is Reach.TEAM else _own
    return or_(inside(rights, table, "owner_id"), with_task)


def _tasks(rights: Rights, table: Table) -> ColumnElement[bool]:
    if rights.reach is Reach.TASKS:
        return table.c.assignee_id == rights.user_id
    deals = _table("deals").alias()
    on_own_deal = exists(select(deals.c.id).where(deals.c.id == table.c.deal_id, deals.c.owner_id == rights.user_id))
    inside = _team if rights.reach is Reach.TEAM else _own
    return or_(inside(rights, table, "assignee_id"), on_own_deal)


def _contacts(rights: Rights, table: Table) -> ColumnElement[bool]:
    with_task = _has_task(rights, "contact_id", table.c.id)
    if rights.reach is Reach.TASKS:
        return with_task
    inside = _team if rights.reach is Reach.TEAM else _own
    return or_(
        inside(rights, table, "owner_id"),
        _has_own(rights, "deals", "contact_id", table.c.id),
        _has_own(rights, "leads", "contact_id", table.c.id),
        _has_own(rights, "conversations", "contact_id", table.c.id),
        with_task,
    )


def _conversations(rights: Rights, table: Table) -> ColumnElement[bool]:
    if rights.reach is Reach.TASKS:
        return _has_task(rights, "contact_id", table.c.contact_id)
    contacts = _table("contacts").alias()
    inside = _team if rights.reach is Reach.TEAM else _own
    of_own_contact = exists(
        select(contacts.c.id).where(contacts.c.id == table.c.contact_id, contacts.c.owner_id == rights.user_id)
    )
    return or_(inside(rights, table, "assignee_id"), of_own_contact)


def _through(parent: str, link: str) -> Callable[[Rights, Table], ColumnElement[bool]]:
    def clause(rights: Rights, table: Table) -> ColumnElement[bool]:
        return _within(rights, parent, table.c[link])

    return clause


def _companies(rights: Rights, table: Table) -> ColumnElement[bool]:
    contacts = _table("contacts").alias()
    with_contact = exists(
        select(contacts.c.id).where(contacts.c.company_id == table.c.id, _contacts(rights, contacts))  # type: ignore[arg-type]
    )
    if rights.reach is Reach.TASKS:
        return with_contact
    inside = _team if rights.reach is Reach.TEAM else _own
    return or_(inside(rights, table, "owner_id"), with_contact)


def _duplicates(rights: Rights, table: Table) -> ColumnElement[bool]:
    return and_(_within(rights, "contacts", table.c.contact_id), _within(rights, "contacts", table.c.other_id))


def _events(rights: Rights, table: Table) -> ColumnElement[bool]:
    """A line of the diary shows if everything it is about does."""
    subjects = {
        "contact_id": "contacts",
        "deal_id": "deals",
        "lead_id": "leads",
        "task_id": "tasks",
        "conversation_id": "conversations",
    }
    within = [or_(table.c[link].is_(None), _within(rights, name, table.c[link])) for link, name in subjects.items()]
    about_a_record = or_(*(table.c[link].is_not(None) for link in subjects))
    return and_(about_a_record, *within)


def _calls(rights: Rights, table: Table) -> ColumnElement[bool]:
    """A call shows to who talked, to whom the caller's contact does, and where it has nobody, to the team's people."""
    of_a_contact = and_(table.c.contact_id.is_not(None), _within(rights, "contacts", table.c.contact_id))
    if rights.reach is Reach.TASKS:
        return or_(table.c.user_id == rights.user_id, of_a_contact)
    inside = _team if rights.reach is Reach.TEAM else _own
    return or_(inside(rights, table, "user_id"), of_a_contact)


def _steps(rights: Rights, table: Table) -> ColumnElement[bool]:
    return _within(rights, "tasks", table.c.task_id)


_CLAUSES: dict[str, Callable[[Rights, Table], ColumnElement[bool]]] = {
    "contacts": _contacts,
    "companies": _companies,
    "identities": _through("contacts", "contact_id"),
    "duplicate_candidates": _duplicates,
    "leads": _leads,
    "deals": _deals,
    "tasks": _tasks,
    "escalation_steps": _steps,
    "conversations": _conversations,
    "messages": _through("conversations", "conversation_id"),
    "episodes": _through("conversations", "conversation_id"),
    "calls": _calls,
    "call_recordings": _through("calls", "call_id"),
    "events": _events,
}

_OPEN_TO_ALL = frozenset(
    {"users", "teams", "team_members", "pipelines", "stages", "stage_rules", "lost_reasons", "absences"}
)
_NOUNS = {"companies": "company", "identities": "identity", "duplicate_candidates": "duplicate"}


def _within(rights: Rights, name: str, of_id: ColumnElement[int]) -> ColumnElement[bool]:
    table = _table(name).alias()
    return exists(select(table.c.id).where(table.c.id == of_id, _CLAUSES[name](rights, table)))  # type: ignore[arg-type]


def visible(rights: Rights, model: type[Base]) -> ColumnElement[bool]:
    """Return the condition under which a row of `model` exists for this person.

    Notifications are everybody's own. Tables of the settings are visible to those who manage; of a table nobody thought
    of, nothing is.
    """
    table = model.__table__
    assert isinstance(table, Table)
    if table.name == "notifications":
        own: ColumnElement[bool] = table.c.user_id == rights.user_id
        return own
    if table.name in _OPEN_TO_ALL:
        return true()
    if table.name in _CLAUSES:
        return true() if rights.reach is Reach.ALL else _CLAUSES[table.name](rights, table)
    return true() if rights.may_manage else false()


def narrow(statement: _Statement, rights: Rights, model: type[Base]) -> _Statement:
    """Return the statement without the rows this person may not see."""
    return statement.where(visible(rights, model))


async def fetch(
    session: AsyncSession,
    rights: Rights,
    model: type[_Model],
    record_id: int,
    *,
    change: bool = False,
    lock: bool = False,
) -> _Model:
    """Return one record this person may see; with `change`, one they may also change.

    Raises:
        NotFound: there is none, or it is none of their business.
        Forbidden: they may see it but not change it.
    """
    table = model.__table__
    assert isinstance(table, Table)
    statement = select(model).where(table.c.id == record_id, visible(rights, model))
    if lock:
        statement = statement.with_for_update(of=model)
    found = await session.scalar(statement)
    if found is None:
        raise NotFound(_NOUNS.get(table.name, table.name.rstrip("s")), record_id)
    if change:
        rights.require_change()
    return found
