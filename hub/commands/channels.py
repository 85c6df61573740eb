"""`switchyard connection`: adding, listing, testing and pausing channels."""

from __future__ import annotations

import argparse
import logging
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from channels.contract import Checker
from core import connections as stored
from core.connections import Connection
from core.kernel.secrets import Vault
from core.staff import audit, workspace
from hub import care, channel_forms, channel_upkeep, connections, logs
from hub.channel_forms import FormField, KindForm
from hub.commands import channel_settings
from hub.commands.probing import Answer, asked
from hub.commands.workplace import CLIENT, CLOCK, base_url, moment, say, show, table, workplace
from hub.connections import Live, Switchboard
from hub.settings import Settings
from hub.web_client import open_web, tools_for
from webhooks.deliveries import Delivery, DeliveryState


async def add(settings: Settings, options: argparse.Namespace) -> int:
    """Connect a channel and print its id, key and hook URL as JSON."""
    given = channel_settings.checked_names(options.kind, options.set)
    vault = Vault(settings.secret_key())
    async with workplace(settings) as database, database.transaction() as session:
        common, typed = await channel_settings.split(session, given)
        own = channel_settings.read(options.kind, typed)
        connection = await connections.create(
            session,
            vault,
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
        kept = {**connection.settings, **channel_upkeep.opened(vault, connection)}
    show(shown)
    _say_once(channel_forms.form_of(options.kind), shown["hook_url"], own, kept)
    return 0


def _say_once(form: KindForm, hook_url: str, own: dict[str, Any], kept: dict[str, Any]) -> None:
    """Tell the administrator, apart from the JSON, which secrets were made: they are never told again."""
    made = channel_forms.made_at_random(form, own, kept)
    if made:
        say("Made at random, and shown this once. What the provider asks for, enter there:")
    for name, value in made.items():
        say(f"  {name}: {value}")
    if (address := channel_forms.hook_with_token(form, hook_url, made)) is not None:
        say(f"The hook's address with its token: {address}")


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
    """Check a channel: as it is stored, with its provider, and at its hook; 1 if something is wrong."""
    vault = Vault(settings.secret_key())
    async with workplace(settings) as database:
        async with database.reading() as session:
            connection = await stored.get(session, options.id)
            deliveries = await _deliveries(session, connection.id)
            company = await workspace.get(session)
        findings = [_secrets(connection, vault), _health(connection)]
        base = (options.url or base_url(settings)).rstrip("/")
        if findings[0][0] == "ok":
            live = Switchboard(database, vault, base_urls=settings.provider_urls()).build(connection, company)
            findings.append(await _provider(live, base))
    findings += deliveries
    findings.append(_hook(await asked(f"{base}/hooks/{connection.key}"), base))
    failed = any(verdict == "wrong" for verdict, _ in findings)
    if options.json:
        checks = [{"status": verdict, "text": sentence} for verdict, sentence in findings]
        show({"id": str(connection.id), "kind": connection.kind, "ok": not failed, "checks": checks})
    else:
        for verdict, sentence in findings:
            print(f"{verdict:6}{sentence}")
    return 1 if failed else 0


def _secrets(connection: Connection, vault: Vault) -> tuple[str, str]:
    if (reason := connections.trouble(vault, connection)) is not None:
        return "wrong", reason
    return "ok", "Its settings are complete and its secrets can be opened"


async def _provider(live: Live, base: str) -> tuple[str, str]:
    """Ask the provider whether our account works. Nothing is sent to anybody, and nothing is stored."""
    if not isinstance(live.channel, Checker):
        return "note", "Its provider cannot be asked: send something to see it work"
    async with open_web() as web:
        finding = await care.asked(live, tools_for(web, live, now=CLOCK.now, public_url=base))
    facts = ", ".join(f"{name}: {value}" for name, value in finding.facts.items() if value)
    sentence = f"{finding.detail} ({facts})" if facts else finding.detail
    return "ok" if finding.is_well else "wrong", sentence


def _health(connection: Connection) -> tuple[str, str]:
    if connection.paused_because is None and connection.health == stored.Health.ACTIVE:
        return "ok", f"It is {connection.health}"
    if connection.paused_because is None:
        return "note", f"It is {connection.health}: {connection.trouble or 'the hub is looking into it'}"
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
        at = CLOCK.now()
        await channel_upkeep.resume(session, Vault(settings.secret_key()), connection, at=at, actor_id=None)
        _note(session, "connection.resumed", connection.id)
        title = connection.title
    print(f"{title} takes and sends again")
    return 0


async def kinds(settings: Settings, options: argparse.Namespace) -> int:
    """Show each kind with the settings it takes."""
    logs.configure(settings.log_format, level=logging.WARNING)
    forms = channel_forms.all_forms()
    if options.json:
        listed = [
            {"kind": form.kind, "title": form.title, "group": form.group, "settings": channel_settings.described(form)}
            for form in forms
        ]
        common = [{"name": name, "about": about} for name, about in channel_settings.COMMON.items()]
        show({"kinds": listed, "common": common})
        return 0
    for form in forms:
        print(f"{form.kind}  {form.title}")
        for field in form.fields:
            print(f"    {field_line(field)}")
    print("\nEvery kind also takes:")
    for name, about in channel_settings.COMMON.items():
        print(f"    {name:22}{about}")
    print("\n* is kept sealed and never shown again. Settings in (brackets) few people need")
    return 0


def field_line(field: FormField) -> str:
    """Word a kind's setting for people, in one line."""
    name = field.name + ("*" if field.kind == "secret" else "")
    if field.is_required:
        need = "needed"
    elif field.is_made:
        need = "made at random if left out"
    elif field.choices:
        need = " or ".join(field.choices) + f"; default {field.default}"
    else:
        need = f"default {field.default}" if field.default else "may be left out"
    shown = f"({name})" if field.is_advanced else name
    return f"{shown:22}{field.title}: {need}"


def _note(session: AsyncSession, action: str, connection_id: int) -> None:
    audit.note(session, action, at=CLOCK.now(), entity="connection", entity_id=connection_id, client=CLIENT)
