"""The doctor's checks of the database and of what is in it. Nothing is changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core import connections
from core.connections import Health
from core.kernel import jobs
from core.kernel.errors import HubError
from core.kernel.secrets import Vault
from core.staff.audit import AuditEntry
from core.staff.teams import Team, TeamMember
from core.staff.users import Role, User
from hub import revision
from hub.commands import checkup_desk
from hub.commands.checkup import Finding, Verdict, skew
from hub.database import Database
from hub.programs import OLDEST_MAJOR
from hub.settings import Settings
from webhooks.deliveries import Delivery, DeliveryState

_SLOW = 60
_STUCK = 600
_BACKUP_DAYS = 8


async def examine(database: Database, settings: Settings, now: Callable[[], datetime]) -> AsyncIterator[Finding]:
    """Check the server, the schema and, if that is the one of this release, what people and channels are like."""
    async with database.reading() as session:
        async for finding in _server(session, settings, now):
            yield finding
    present, needed = await revision.present(database.engine), revision.needed()
    if present != needed:
        yield _behind(present, needed)
        return
    yield Finding("migrations", Verdict.OK, f"The schema is {present}")
    async with database.reading() as session:
        yield await _queue(session, now())
        yield await _dead_letters(session)
        async for finding in _people(session):
            yield finding
        async for finding in _channels(session, settings):
            yield finding
        async for finding in checkup_desk.examine(session, now()):
            yield finding
        yield await _backups(session, now())


async def _server(session: AsyncSession, settings: Settings, now: Callable[[], datetime]) -> AsyncIterator[Finding]:
    found = (
        await session.execute(
            text(
                "SELECT current_setting('server_version_num')::int AS number, "
                "current_setting('server_version') AS version, "
                "current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes, "
                "pg_encoding_to_char(encoding) AS encoding, clock_timestamp() AS at, "
                "EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm') AS has_trigrams, "
                "EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') AS knows_trigrams "
                "FROM pg_database WHERE datname = current_database()"
            )
        )
    ).one()
    ours = now()
    place = "embedded" if settings.database_url is None else "external"
    if found.number < OLDEST_MAJOR * 10_000:
        yield Finding(
            "database", Verdict.FAIL, f"PostgreSQL {found.version} is too old", f"Update it to {OLDEST_MAJOR} or newer"
        )
    else:
        yield Finding("database", Verdict.OK, f"PostgreSQL {found.version}, {place}")
    if found.encoding != "UTF8":
        yield Finding("encoding", Verdict.FAIL, f"The database is {found.encoding}", "Create it anew with UTF8")
    if found.fsync != "on" or found.full_page_writes != "on":
        yield Finding(
            "durability",
            Verdict.FAIL,
            f"fsync is {found.fsync}, full_page_writes {found.full_page_writes}: acknowledged requests can be lost",
            "Set both to on in postgresql.conf and reload",
        )
    else:
        yield Finding("durability", Verdict.OK, "What is acknowledged is on the disk (fsync)")
    if found.has_trigrams:
        yield Finding("search", Verdict.OK, "The extension pg_trgm is there")
    elif found.knows_trigrams:
        yield Finding(
            "search", Verdict.FAIL, "The extension pg_trgm is not in the database", "Run `switchyard migrate`"
        )
    else:
        yield Finding(
            "search", Verdict.FAIL, "The server has no extension pg_trgm", "Install PostgreSQL's contrib modules"
        )
    yield skew("clock", found.at, ours)


def _behind(present: str | None, needed: str) -> Finding:
    if present is None:
        return Finding("migrations", Verdict.FAIL, "The database is empty", "Run `switchyard migrate`")
    if present > needed:
        text_ = f"The database is at {present}, newer than this release ({needed})"
        return Finding("migrations", Verdict.FAIL, text_, "Update the program")
    return Finding(
        "migrations", Verdict.FAIL, f"The database is at {present}, {needed} is needed", "Run `switchyard migrate`"
    )


async def _queue(session: AsyncSession, now: datetime) -> Finding:
    oldest = None
    for table in ("deliveries", jobs.Job.__tablename__):
        due = await session.scalar(text(f"SELECT min(due_at) FROM {table} WHERE due_at IS NOT NULL"))  # noqa: S608
        oldest = min(filter(None, (oldest, due)), default=None)
    age = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
    if age < _SLOW:
        return Finding("queue", Verdict.OK, "Nothing waits" if oldest is None else f"The oldest has waited {age:.0f} s")
    verdict = Verdict.FAIL if age > _STUCK else Verdict.WARN
    return Finding(
        "queue",
        verdict,
        f"Something has waited for {age / 60:.0f} min",
        "Does a worker run? Start one: switchyard serve",
    )


async def _dead_letters(session: AsyncSession) -> Finding:
    rows = await session.execute(
        select(Delivery.state, func.count())
        .where(Delivery.state.in_((DeliveryState.FAILED, DeliveryState.DEAD)))
        .group_by(Delivery.state)
    )
    found = {str(row[0]): int(row[1]) for row in rows}
    if not found:
        return Finding("deliveries", Verdict.OK, "All that came in was understood")
    if dead := found.get("dead"):
        return Finding(
            "deliveries",
            Verdict.FAIL,
            f"{dead} could not be understood and wait for you",
            "switchyard delivery list --state dead; when that is mended: switchyard delivery replay --state dead",
        )
    return Finding(
        "deliveries",
        Verdict.WARN,
        f"{found['failed']} failed and will be tried again",
        "switchyard delivery list --state failed",
    )


async def _people(session: AsyncSession) -> AsyncIterator[Finding]:
    active = list(await session.scalars(select(User).where(User.is_active.is_(True))))
    if not active:
        yield Finding(
            "people",
            Verdict.FAIL,
            "Nobody works here yet",
            "Open the link that `switchyard serve` prints, or: switchyard user add EMAIL --name NAME --role owner",
        )
        return
    if not any(user.role == Role.OWNER for user in active):
        yield Finding(
            "people",
            Verdict.FAIL,
            "There is no owner: nobody may change everything, and escalations may find nobody",
            "switchyard user add EMAIL --name NAME --role owner",
        )
    else:
        yield Finding("people", Verdict.OK, f"{len(active)} people work here")
    locked_out = sum(1 for user in active if user.password_hash is None)
    if locked_out:
        yield Finding(
            "passwords", Verdict.WARN, f"{locked_out} of them cannot sign in", "switchyard user password EMAIL"
        )
    team = await session.scalar(select(Team).order_by(Team.id).limit(1))
    members = (
        ()
        if team is None
        else await session.scalars(
            select(TeamMember.user_id)
            .join(User, User.id == TeamMember.user_id)
            .where(TeamMember.team_id == team.id, User.is_active.is_(True))
        )
    )
    if not list(members):
        yield Finding(
            "team",
            Verdict.FAIL,
            f"Nobody is in the team {team.name}: requests stay unassigned" if team else "There is no team",
            "switchyard user add EMAIL --name NAME --role manager",
        )
    else:
        yield Finding("team", Verdict.OK, f"Somebody in the team {team.name if team else ''} can be given work")


async def _channels(session: AsyncSession, settings: Settings) -> AsyncIterator[Finding]:
    rows = await connections.all_of(session)
    if not rows:
        yield Finding(
            "channels", Verdict.WARN, "Nothing can come in yet", "switchyard connection add webform --title Website"
        )
        return
    vault, unhealthy = Vault(settings.secret_key()), False
    for row in rows:
        try:
            vault.open(row.sealed, belongs_to=f"connection:{row.key}")
        except HubError as error:
            unhealthy = True
            yield Finding("channels", Verdict.FAIL, f"{row.title} ({row.id}): {error}")
            continue
        if row.health != Health.ACTIVE:
            unhealthy = True
            verdict = Verdict.FAIL if row.health == Health.REAUTHORISE else Verdict.WARN
            why = f": {row.paused_because}" if row.paused_because else ""
            remedy = f"switchyard connection test {row.id}; then: switchyard connection resume {row.id}"
            yield Finding("channels", verdict, f"{row.title} ({row.id}) is {row.health}{why}", remedy)
    if not unhealthy:
        yield Finding("channels", Verdict.OK, f"{len(rows)} take and send")


async def _backups(session: AsyncSession, now: datetime) -> Finding:
    last = await session.scalar(
        select(func.max(AuditEntry.created_at)).where(AuditEntry.action == "database.backed_up")
    )
    remedy = "switchyard backup FILE, every night, to another disk; keep the secret key too"
    if last is None:
        return Finding("backup", Verdict.WARN, "`switchyard backup` was never used here", remedy)
    days = (now - last).days
    verdict = Verdict.OK if days < _BACKUP_DAYS else Verdict.WARN
    return Finding("backup", verdict, f"The last is {days} days old", "" if verdict is Verdict.OK else remedy)
