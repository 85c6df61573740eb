"""`switchyard connection`: adding, listing, testing and pausing channels."""

from __future__ import annotations

import argparse
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from channels import registry
from core import connections as stored
from core.connections import Connection
from core.kernel.errors import HubError
from core.kernel.secrets import Vault
from core.staff import audit
from hub import connections
from hub.commands import channel_settings
from hub.commands.probing import Answer, asked
from hub.commands.workplace import CLIENT, CLOCK, base_url, moment, show, table, workplace
from hub.settings import Settings
from webhooks.deliveries import Delivery, DeliveryState


async def add(settings: Settings, options: argparse.Namespace) -> int:
    """Connect a channel and print its id, key and hook URL as JSON."""
    given = channel_settings.checked_names(options.kind, options.set)
    async with workplace(settings) as database, database.transaction() as session:
        common, own = await channel_settings.split(session, given)
        connection = await connections.create(
            session,
            Vault(settings.secret_key()),
            kind=options.kind,
            title=options.title,
            settings=own,
            at=CLOCK.now(),
            **common,
        )
        _note(session, "connection.added", connection.id)
        shown = {
            "id": str(connection.id),
            "key": connection.key,
            "hook_url": f"{base_url(settings)}/hooks/{connection.key}",
        }
    show(shown)
    return 0


async def list_all(settings: Settings, options: argparse.Namespace) -> int:
    """Show the channels and how they are doing."""
    base = base_url(settings)
    async with workplace(settings) as database, database.reading() as session:
        rows = await stored.all_of(session)
        last = await _last_received(session)
    if options.json:
        show(
            [
                {
                    "id": str(row.id),
                    "kind": row.kind,
                    "title": row.title,
                    "key": row.key,
                    "hook_url": f"{base}/hooks/{row.key}",
                    "health": row.health,
                    "paused_because": row.paused_because,
                    "last_received_at": last.get(row.id),
                    "settings": row.settings,
                }
                for row in rows
            ]
        )
        return 0
    table(
        ("ID", "KIND", "TITLE", "HEALTH", "LAST RECEIVED", "HOOK"),
        [
            (
                row.id,
                row.kind,
                row.title,
                f"{row.health}: {row.paused_because}" if row.paused_because else row.health,
                moment(last.get(row.id)) or "never",
                f"{base}/hooks/{row.key}",
            )
            for row in rows
        ],
        nothing="There are no channels. Add one: switchyard connection add webform --title Website",
    )
    return 0


async def _last_received(session: AsyncSession) -> dict[int, datetime]:
    rows = await session.execute(
        select(Delivery.connection_id, func.max(Delivery.received_at)).group_by(Delivery.connection_id)
    )
    return {row[0]: row[1] for row in rows}


async def test(settings: Settings, options: argparse.Namespace) -> int:
    """Check what can be checked of a channel without its provider; 1 if something is wrong."""
    async with workplace(settings) as database, database.reading() as session:
        connection = await stored.get(session, options.id)
        findings = [
            _secrets(connection, settings),
            _health(connection),
            *await _deliveries(session, connection.id),
        ]
    base = (options.url or base_url(settings)).rstrip("/")
    findings.append(_hook(await asked(f"{base}/hooks/{connection.key}"), base))
    failed = any(verdict == "wrong" for verdict, _ in findings)
    if options.json:
        checks = [{"status": verdict, "text": sentence} for verdict, sentence in findings]
        show({"id": str(connection.id), "kind": connection.kind, "ok": not failed, "checks": checks})
    else:
        for verdict, sentence in findings:
            print(f"{verdict:6}{sentence}")
    return 1 if failed else 0


def _secrets(connection: Connection, settings: Settings) -> tuple[str, str]:
    try:
        secrets = Vault(settings.secret_key()).open(connection.sealed, belongs_to=f"connection:{connection.key}")
        registry.build(connection.kind, {**connection.settings, **secrets})
    except HubError as error:
        return "wrong", str(error)
    return "ok", "Its settings are complete and its secrets can be opened"


def _health(connection: Connection) -> tuple[str, str]:
    if connection.paused_because is None:
        return "ok", f"It is {connection.health}"
    hint = f"switchyard connection resume {connection.id}"
    return "wrong", f"It is paused: {connection.paused_because}. When that is mended: {hint}"


async def _deliveries(session: AsyncSession, connection_id: int) -> list[tuple[str, str]]:
    rows = await session.execute(
        select(Delivery.state, func.count(), func.max(Delivery.received_at))
        .where(Delivery.connection_id == connection_id)
        .group_by(Delivery.state)
    )
    found = {row[0]: (row[1], row[2]) for row in rows}
    if not found:
        return [("note", "Nothing has come in yet")]
    count, last = sum(number for number, _ in found.values()), max(moment for _, moment in found.values())
    findings = [("ok", f"{count} requests came in, the last on {moment(last)}")]
    for state in (DeliveryState.FAILED, DeliveryState.DEAD):
        if state in found:
            hint = f"switchyard delivery list --state {state}"
            findings.append(("wrong", f"{found[state][0]} of them are {state}. Look at them: {hint}"))
    return findings


def _hook(answer: Answer, base: str) -> tuple[str, str]:
    """Judge what the hook says to a bare GET, which no kind takes for a delivery."""
    if answer.status is None:
        return "note", f"The hub does not answer at {base} ({answer.text}): start it, or say where it is with --url"
    if answer.status == 404:
        return "wrong", f"What answers at {base} does not know this channel: is it another hub, or on another database?"
    if answer.status >= 500:
        return "wrong", f"Its hook answers {answer.status}: {answer.text[:200]}"
    return "ok", f"Its hook answers at {base}"


async def pause(settings: Settings, options: argparse.Namespace) -> int:
    """Stop a channel; senders are told to come again."""
    async with workplace(settings) as database, database.transaction() as session:
        connection = await stored.get(session, options.id)
        await stored.pause(session, connection, options.because.strip() or "Paused by an administrator")
        _note(session, "connection.paused", connection.id)
        title = connection.title
    print(f"{title} is paused: senders are told to come again, nothing is stored")
    return 0


async def resume(settings: Settings, options: argparse.Namespace) -> int:
    """Let a channel take and send again."""
    async with workplace(settings) as database, database.transaction() as session:
        connection = await stored.get(session, options.id)
        await stored.resume(session, connection)
        _note(session, "connection.resumed", connection.id)
        title = connection.title
    print(f"{title} takes and sends again")
    return 0


async def kinds(settings: Settings, options: argparse.Namespace) -> int:
    """Show each kind with the settings it takes."""
    listed = []
    for kind in sorted(registry.KINDS):
        fields = channel_settings.described(registry.settings_class(kind))
        listed.append({"kind": kind, "title": registry.channel_class(kind).title, "settings": fields})
    if options.json:
        common = [{"name": name, "about": about} for name, about in channel_settings.COMMON.items()]
        show({"kinds": listed, "common": common})
        return 0
    for entry in listed:
        print(f"{entry['kind']}  {entry['title']}")
        for field in fields_lines(entry["settings"]):
            print(f"    {field}")
    print("\nEvery kind also takes:")
    for name, about in channel_settings.COMMON.items():
        print(f"    {name:17}{about}")
    print("\n* is kept sealed and never shown again")
    return 0


def fields_lines(fields: object) -> list[str]:
    """Word a kind's settings for people, a line each."""
    assert isinstance(fields, list)
    return [
        f"{field['name'] + ('*' if field['secret'] else ''):17}"
        + ("needed" if field["required"] else f"default {field['default']}" if field["default"] else "may be left out")
        for field in fields
    ]


def _note(session: AsyncSession, action: str, connection_id: int) -> None:
    audit.note(session, action, at=CLOCK.now(), entity="connection", entity_id=connection_id, client=CLIENT)
