"""Companies: the organisations that contacts work for."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import select

from core.people import companies
from core.people.contacts import Company
from core.staff import access, users
from hub.api import paging, records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.wire import Body, Custom, Id, Moment, Page, View, as_id

Name = Annotated[str, Meta(min_length=1, max_length=300)]


class CompanyView(View):
    """An organisation."""

    id: Id
    name: str
    owner_id: Id | None
    custom: dict[str, Any]
    created_at: Moment
    version: int


class NewCompany(Body):
    """An organisation. Without `owner_id` it is the caller's own."""

    name: Name
    owner_id: Id | UnsetType | None = UNSET
    custom: Custom = msgspec.field(default_factory=dict)


class CompanyChange(Body):
    """What is to change; what is left out stays."""

    name: Name | UnsetType = UNSET
    owner_id: Id | UnsetType | None = UNSET
    custom: Custom | UnsetType = UNSET


COMPANIES = Listing(
    "companies",
    unique=Company.id,
    sorts={"created_at": Company.created_at, "name": Company.name},
    filters={
        "q": paging.matching(str, lambda text: Company.name.icontains(text, autoescape=True), "Part of the name."),
        "owner_id": paging.ids(Company.owner_id),
        **paging.moments(created_at=Company.created_at),
    },
)


def view(company: Company) -> CompanyView:
    """Make the view of a company."""
    return CompanyView(
        id=Id(company.id),
        name=company.name,
        owner_id=as_id(company.owner_id),
        custom=company.custom,
        created_at=company.created_at,
        version=company.version,
    )


async def index(call: Call, query: ListQuery) -> Page[CompanyView]:
    """List companies."""
    found = await COMPANIES.page(call.session, access.narrow(select(Company), call.rights, Company), query)
    return Page(items=[view(row) for row in found.rows], next=found.next)


async def show(call: Call, company_id: Id) -> CompanyView:
    """Show a company."""
    return view(await records.seen(call, Company, company_id))


async def add(call: Call, body: NewCompany) -> CompanyView:
    """Enter a company."""
    call.rights.require_change()
    owner_id = call.user_id if body.owner_id is UNSET else body.owner_id
    if owner_id is not None:
        await users.for_work(call.session, owner_id, field="owner_id")
    return view(
        await companies.add(
            call.session,
            name=body.name,
            at=call.now,
            owner_id=owner_id,
            team_id=next(iter(call.rights.team_ids), None),
            custom=body.custom,
        )
    )


async def change(call: Call, company_id: Id, body: CompanyChange) -> CompanyView:
    """Change a company."""
    company = await records.changing(call, Company, company_id)
    values = records.given(body)
    if values.get("owner_id", company.owner_id) != company.owner_id:
        call.rights.require_assign(company.owner_id)
        if values["owner_id"] is not None:
            await users.for_work(call.session, values["owner_id"], field="owner_id")
    await companies.change(call.session, company, **values)
    return view(company)


ENDPOINTS = (
    Endpoint("GET", "/companies", index, listing=COMPANIES),
    Endpoint("POST", "/companies", add, status=201),
    Endpoint("GET", "/companies/{company_id}", show),
    Endpoint("PATCH", "/companies/{company_id}", change),
)
