"""Migrations and models say the same, in both directions, and never hold up a busy database for long."""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.dialects import postgresql

from core.kernel.events import TransactionId
from hub import migrate, revision, schema
from hub.database import open_database, plain_url

VERSIONS = sorted((Path(migrate.__file__).parent / "migrations" / "versions").glob("[0-9]*.py"))


# PostgreSQL's xid8, which SQLAlchemy does not know by itself.
postgresql.base.ischema_names["xid8"] = TransactionId


def _differences(connection):
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return compare_metadata(context, schema.load())


async def _tables(database):
    async with database.reading() as session:
        return set(await session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")))


async def test_migrations_make_exactly_what_the_models_say(database):
    async with database.engine.connect() as connection:
        assert await connection.run_sync(_differences) == []


async def test_every_step_can_be_taken_back_and_taken_again(database):
    before = await _tables(database)
    steps = [path.name.partition("_")[0] for path in VERSIONS]
    for target in [*reversed(steps[:-1]), "base"]:
        await migrate.downgrade(database.engine, target)
    assert await _tables(database) <= {"alembic_version"}
    for target in steps:
        await migrate.upgrade(database.engine, target)
        assert await revision.present(database.engine) == target
    assert await _tables(database) == before
    async with database.engine.connect() as connection:
        assert await connection.run_sync(_differences) == []


async def test_the_revision_needed_is_told_without_alembic_and_is_its_head(database):
    assert revision.needed() == ScriptDirectory.from_config(migrate.config()).get_current_head()
    assert await revision.present(database.engine) == revision.needed()


async def test_an_empty_database_has_no_revision(server_url, database_url):
    connection = await asyncpg.connect(plain_url(database_url))
    try:
        await connection.execute("DROP TABLE alembic_version")
    finally:
        await connection.close()
    async with open_database(database_url, pool_size=2) as database:
        assert await revision.present(database.engine) is None


async def test_migrating_again_changes_nothing(database):
    async with database.reading() as session:
        before = await session.scalar(text("SELECT count(*) FROM stages"))
    await migrate.upgrade(database.engine)
    async with database.reading() as session:
        assert await session.scalar(text("SELECT count(*) FROM stages")) == before


def test_the_files_are_numbered_without_a_gap():
    assert [path.name.partition("_")[0] for path in VERSIONS] == [f"{n:04}" for n in range(1, len(VERSIONS) + 1)]


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_a_migration_gives_up_rather_than_wait_long_for_a_lock(path):
    source = path.read_text()
    upgrade = source[source.index("def upgrade()") :]
    changes_tables = re.search(
        r"op\.(?!execute|get_bind)\w+|ALTER |CREATE |DROP ", upgrade.partition("def downgrade")[0]
    )
    assert not changes_tables or "SET LOCAL lock_timeout" in upgrade, f"{path.name}: set lock_timeout first"
