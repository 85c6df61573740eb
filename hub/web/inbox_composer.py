"""The composer of the inbox: by which channels one can answer, what each can carry, and wordings kept for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web

from channels.contract import Capability
from core.kernel.errors import Rejected
from core.people.contacts import Contact
from core.staff import access
from core.talk import canned, templates
from core.talk.conversations import Conversation
from hub import replies
from hub.replies import Route
from hub.web.visits import Visit
from hub.web.words import N_

REFUSALS = (
    N_("Say something"),
    N_("Choose a time from now on, within a year"),
    N_("They have asked not to be written to here"),
    N_("This address takes nothing: what was sent came back"),
    N_(
        "The time in which this channel lets us answer is over: it begins anew when they write. "
        "Answer on another channel"
    ),
    N_(
        "There is no way to answer: this channel only receives, and no other reaches an address of theirs. "
        "Connect an e-mail or SMS channel, or call"
    ),
    N_("Only a message that failed can be sent again"),
    N_("It is too late to take it back: it is on its way, or has gone"),
    N_("Your role lets you look but not change anything"),
)
"""What the hub says when something cannot be sent, here so that it is translated."""


@dataclass(frozen=True, slots=True)
class ShownTemplate:
    """A template to choose. `places` are the names of its placeholders."""

    name: str
    language: str
    body: str
    places: list[str]


@dataclass(frozen=True, slots=True)
class Way:
    """A way to answer, with all a composer must know of it. `limit` is the longest part in `unit`."""

    id: int
    kind: str
    title: str
    address: str
    is_default: bool
    problem: str
    needs_template: bool
    replies_until: datetime | None
    unit: str
    limit: int
    has_subject: bool
    templates: list[ShownTemplate]

    @property
    def facts(self) -> str:
        """What the page's scripts count and show by, as JSON."""
        return msgspec.json.encode(
            {
                "id": str(self.id),
                "kind": self.kind,
                "title": self.title,
                "problem": self.problem,
                "needsTemplate": self.needs_template,
                "until": None if self.replies_until is None else self.replies_until.isoformat(),
                "unit": self.unit,
                "limit": self.limit,
                "hasSubject": self.has_subject,
                "templates": [
                    {"name": each.name, "language": each.language, "body": each.body, "places": each.places}
                    for each in self.templates
                ],
            }
        ).decode()


async def composer_of(visit: Visit, conversation: Conversation) -> dict[str, Any]:
    """Return what an empty composer of a conversation needs."""
    return {
        "contact_id": conversation.contact_id,
        "ways": await _ways(visit, conversation) if visit.rights.may_change else [],
        "values": {},
        "errors": {},
        "form_error": "",
    }


async def ways(visit: Visit, conversation_id: int) -> web.Response:
    """Show anew by which channels one can answer."""
    found = await access.fetch(visit.session, visit.rights, Conversation, conversation_id)
    return visit.page("inbox/_ways.html", conversation_id=found.id, **await composer_of(visit, found))


async def _ways(visit: Visit, conversation: Conversation) -> list[Way]:
    """Return the ways to answer: first the one an answer takes by itself, which is the last they wrote on."""
    found = await replies.routes(visit.session, visit.hub, conversation.contact_id)
    try:
        chosen = await replies.choose(visit.session, visit.hub, conversation)
    except Rejected:
        return []
    # Whoever wrote elsewhere last is answered there, unless nothing can be said there.
    first = next((route for route in found if not route.problem), chosen)
    default = first if conversation.last_inbound_at is None or _wrote_later(first, conversation) else chosen
    ordered = sorted(found, key=lambda route: route.live.id != default.live.id)
    return [await _way(visit, route, is_default=route.live.id == default.live.id) for route in ordered]


def _wrote_later(route: Route, conversation: Conversation) -> bool:
    heard = route.conversation.last_inbound_at if route.conversation is not None else None
    return heard is not None and conversation.last_inbound_at is not None and heard > conversation.last_inbound_at


async def _way(visit: Visit, route: Route, *, is_default: bool) -> Way:
    sending = route.sending
    has_templates = Capability.TEMPLATES in sending.capabilities
    known = await templates.of_connection(visit.session, route.live.id) if has_templates else []
    problem = "" if route.refusal is None else route.refusal.said(visit.translate)
    address = route.sender.address_of(route.peer)
    return Way(
        id=route.live.id,
        kind=route.live.kind,
        title=route.live.title,
        address=address.value if address.scheme in ("phone", "email") else "",
        is_default=is_default,
        problem=problem,
        needs_template=route.needs_template,
        replies_until=route.replies_until,
        unit=sending.unit.value,
        limit=sending.text,
        has_subject=Capability.SUBJECT in sending.capabilities,
        templates=[ShownTemplate(row.name, row.language, row.body, templates.placeholders(row.body)) for row in known],
    )


async def canned_replies(visit: Visit, conversation_id: int) -> web.Response:
    """Return the canned replies the person may use, filled in for this contact, for the page's scripts."""
    found = await access.fetch(visit.session, visit.rights, Conversation, conversation_id)
    contact = await visit.session.get_one(Contact, found.contact_id)
    offered = await canned.offered(visit.session, team_ids=list(visit.rights.team_ids))
    body = msgspec.json.encode(
        {
            "items": [
                {
                    "shortcut": reply.shortcut,
                    "title": reply.title,
                    "text": canned.filled(reply.text, contact_name=contact.name, user_name=visit.user.name),
                }
                for reply in offered
            ]
        }
    )
    return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})
