"""Channels: secrets of our own choice, shown once, when they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from channels import registry
from core.connections import Connection
from core.staff import access
from hub import channel_forms, channel_upkeep
from hub.channel_forms import FormField
from hub.web import telephony_guides
from hub.web.channel_guides import guide_of, is_called
from hub.web.settings_forms import note
from hub.web.visits import Visit


@dataclass(frozen=True, slots=True)
class ShownSecret:
    """A secret that was made a moment ago."""

    name: str
    title: str
    hint: str
    value: str


async def renew(visit: Visit, connection_id: int, name: str) -> web.StreamResponse:
    """Make a secret anew and show it, this once."""
    connection = await access.fetch(visit.session, visit.rights, Connection, connection_id, change=True, lock=True)
    hub = visit.hub
    made = await channel_upkeep.renew_secret(
        visit.session, hub.vault, connection, name, at=hub.clock.now(), actor_id=visit.user.id
    )
    note(visit, "connection.changed", "connection", connection.id, {"fields": [name]})
    return once(visit, connection, {name: made}, is_new=False)


def once(visit: Visit, connection: Connection, made: Mapping[str, str], *, is_new: bool) -> web.Response:
    """Show secrets that were made just now, with the addresses they belong to. They are never shown again."""
    form = channel_forms.form_of(connection.kind)
    hook_url = f"{visit.hub.public_url}/hooks/{connection.key}"
    shown = [
        ShownSecret(field.name, visit.translate(field.title), hint(visit, field), made[field.name])
        for field in form.fields
        if field.name in made
    ]
    return visit.page(
        "settings/channel_made.html",
        connection=connection,
        is_new=is_new,
        is_told=hasattr(registry.channel_class(connection.kind), "setup"),
        secrets=shown,
        hook_url=hook_url if is_called(connection.kind, connection.settings) else None,
        hook_with_token=channel_forms.hook_with_token(form, hook_url, made),
        registration=registration(visit, connection, hook_url),
        is_public=is_public(hook_url),
        steps=[visit.translate(step) for step in guide_of(connection.kind).steps],
        samples=[
            sample._replace(title=visit.translate(sample.title))
            for sample in telephony_guides.samples(
                connection, hook_url, token=made.get("token") or made.get("secret") or ""
            )
        ],
    )


def hint(visit: Visit, field: FormField) -> str:
    """Return what is said below a field, in the person's language; marks of code are of no use on a page."""
    return visit.translate(field.description).replace("`", "") if field.description else ""


def registration(visit: Visit, connection: Connection, hook_url: str) -> str | None:
    """Return the file a Matrix homeserver has to be given; None for other kinds. It holds both tokens."""
    if connection.kind != "matrix":
        return None
    settings = {**connection.settings, **channel_upkeep.opened(visit.hub.vault, connection)}
    channel = registry.build(connection.kind, settings)
    text: str = channel.registration(hook_url)  # type: ignore[attr-defined]  # Matrix alone has one
    return text


def is_public(hook_url: str) -> bool:
    """Whether a provider out there could call an address: it has to be https, and none of the own network."""
    parts = urlsplit(hook_url)
    host = parts.hostname or ""
    try:
        return parts.scheme == "https" and ip_address(host).is_global
    except ValueError:
        return parts.scheme == "https" and "." in host
