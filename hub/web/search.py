"""Search on pages: people by name, company, phone or e-mail, and deals by title."""

from __future__ import annotations

from aiohttp import web
from sqlalchemy import select

from core.people import contacts
from core.people.contacts import Contact
from core.sales.deals import Deal
from core.staff import access
from hub.web import shown
from hub.web.contacts import rows
from hub.web.visits import Visit

MOST = 20
"""People, and deals, found at once."""


async def search(visit: Visit) -> web.Response:
    """Find people and deals: `?q=…`. A deal is found by its title, or by its person."""
    text = visit.request.query.get("q", "").strip()[:200]
    people: list[Contact] = []
    deals: list[Deal] = []
    if text:
        matches = contacts.found_by(text, visit.company.country)
        found = select(Contact).where(matches).order_by(Contact.id.desc()).limit(MOST)
        people = list(await visit.session.scalars(access.narrow(found, visit.rights, Contact)))
        titled = select(Deal).where(Deal.title.icontains(text, autoescape=True)).order_by(Deal.id.desc()).limit(MOST)
        deals = list(await visit.session.scalars(access.narrow(titled, visit.rights, Deal)))
        seen = {deal.id for deal in deals}
        theirs = select(Deal).where(Deal.contact_id.in_([person.id for person in people])).order_by(Deal.id.desc())
        if people and len(deals) < MOST:
            more = await visit.session.scalars(access.narrow(theirs.limit(MOST), visit.rights, Deal))
            deals += [deal for deal in more if deal.id not in seen][: MOST - len(deals)]
    return visit.page(
        "search.html",
        search_text=text,
        contacts=await rows(visit, people),
        deals=await shown.deal_rows(visit, deals, next_tasks=False),
    )
