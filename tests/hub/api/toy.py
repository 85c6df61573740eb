"""A post office as a small API of its own: the framework is tested with it, whatever becomes of the real resources."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core.kernel.clock import MovableClock
from core.kernel.db import Base
from core.kernel.errors import Conflict, Forbidden, NotFound, Rejected, Stale
from hub.api import paging
from hub.api.actors import Actor
from hub.api.dispatch import Surroundings, make_api
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.problems import unauthenticated
from hub.api.wire import Body, Id, Moment, Money, Page, View, as_id
from hub.database import Database, open_database

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class ToyBase(DeclarativeBase):
    """Tables of the toy alone, so that the migrations need not know them."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {int: BigInteger, datetime: DateTime(timezone=True)}


class Shelf(ToyBase):
    __tablename__ = "toy_shelves"

    id: Mapped[int] = mapped_column(primary_key=True)


class Parcel(ToyBase):
    __tablename__ = "toy_parcels"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    label: Mapped[str] = mapped_column(unique=True)
    weight: Mapped[int | None]
    shelf_id: Mapped[int | None] = mapped_column(ForeignKey("toy_shelves.id"))
    status: Mapped[str]
    sent_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(default=1)


Label = Annotated[str, Meta(min_length=1, max_length=40)]


class Size(Body):
    """How large it is, in millimetres."""

    width: Annotated[int, Meta(ge=1, le=2000)]
    height: Annotated[int, Meta(ge=1, le=2000)]


class NewParcel(Body):
    """A parcel handed in."""

    label: Label
    weight: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    shelf_id: Id | None = None
    sizes: tuple[Size, ...] = ()
    value: Money | None = None
    sent_at: Moment | None = None


class ParcelChange(Body):
    """What is to change; what is left out stays."""

    label: Label | UnsetType = UNSET
    weight: Annotated[int, Meta(ge=0, le=100000)] | UnsetType | None = UNSET


class ParcelView(View):
    """A parcel."""

    id: Id
    label: str
    weight: int | None
    shelf_id: Id | None
    status: str
    sent_at: Moment | None
    created_at: Moment
    version: int


class Receipt(View):
    """What is said once."""

    secret: str


class Remark(Body):
    """Something to say about it; nothing need be said."""

    text: str = ""


PARCELS = Listing(
    "parcels",
    unique=Parcel.id,
    sorts={"created_at": Parcel.created_at, "weight": Parcel.weight, "label": Parcel.label, "sent_at": Parcel.sent_at},
    filters={
        "shelf_id": paging.ids(Parcel.shelf_id),
        "status": paging.one_of(Parcel.status, Literal["new", "sent"]),
        "heavy": paging.flag(lambda: Parcel.weight > 1000, "Heavier than a kilogram."),
        "label": paging.matching(str, lambda wanted: Parcel.label.startswith(wanted, autoescape=True), "Begins with."),
        **paging.moments(created_at=Parcel.created_at),
    },
)


def view(parcel: Parcel) -> ParcelView:
    return ParcelView(
        id=Id(parcel.id),
        label=parcel.label,
        weight=parcel.weight,
        shelf_id=as_id(parcel.shelf_id),
        status=parcel.status,
        sent_at=parcel.sent_at,
        created_at=parcel.created_at,
        version=parcel.version,
    )


async def index(call: Call, query: ListQuery) -> Page[ParcelView]:
    """List parcels."""
    found = await PARCELS.page(call.session, select(Parcel), query)
    return Page(items=[view(parcel) for parcel in found.rows], next=found.next)


async def show(call: Call, parcel_id: Id) -> ParcelView:
    """Show a parcel.

    Anybody may look.

    Raises:
        NotFound: there is none.
    """
    return view(await _get(call, parcel_id))


async def add(call: Call, body: NewParcel) -> ParcelView:
    """Hand in a parcel."""
    parcel = Parcel(
        label=body.label,
        weight=body.weight,
        shelf_id=body.shelf_id,
        status="new",
        sent_at=body.sent_at,
        created_at=call.now,
        version=1,
    )
    call.session.add(parcel)
    await call.session.flush()
    if body.label == "refused":
        raise Rejected("We do not take this one", field="label")
    return view(parcel)


async def change(call: Call, parcel_id: Id, body: ParcelChange) -> ParcelView:
    """Change a parcel."""
    parcel = await _get(call, parcel_id)
    call.expects(parcel)
    if body.label is not UNSET:
        parcel.label = body.label
    if body.weight is not UNSET:
        parcel.weight = body.weight
    parcel.version += 1
    return view(parcel)


async def remove(call: Call, parcel_id: Id) -> None:
    """Throw a parcel away."""
    await call.session.delete(await _get(call, parcel_id))


async def send(call: Call, parcel_id: Id, body: Remark) -> ParcelView:
    """Send a parcel."""
    parcel = await _get(call, parcel_id)
    parcel.status, parcel.sent_at, parcel.version = "sent", call.now, parcel.version + 1
    return view(parcel)


async def reveal(call: Call, parcel_id: Id) -> Receipt:
    """Say what is inside, once."""
    await _get(call, parcel_id)
    return Receipt(secret="a pony")


async def fail(call: Call, how: str) -> None:
    """Fail in a chosen way."""
    match how:
        case "conflict":
            raise Conflict("Two cannot be first")
        case "stale":
            raise Stale("It was changed")
        case "forbidden":
            raise Forbidden("Not you")
        case "divide":
            await call.session.execute(text("SELECT 1 / 0"))
        case "deadlock":
            await call.session.execute(text("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$"))
        case "clash":
            # a sequence remembers what a transaction that is undone forgets
            await call.session.execute(
                text("DO $$ BEGIN IF nextval('toy_tries') < 3 THEN RAISE SQLSTATE '40001'; END IF; END $$")
            )
            return
        case "stopping":
            await call.session.execute(text("DO $$ BEGIN RAISE SQLSTATE '57P01'; END $$"))
    raise RuntimeError("password=hunter2")


async def _get(call: Call, parcel_id: int) -> Parcel:
    parcel = await call.session.get(Parcel, int(parcel_id), with_for_update=True)
    if parcel is None:
        raise NotFound("parcel", parcel_id)
    return parcel


ENDPOINTS = (
    Endpoint("GET", "/parcels", index, listing=PARCELS),
    Endpoint("POST", "/parcels", add, status=201, refuses=(409,)),
    Endpoint("GET", "/parcels/{parcel_id}", show),
    Endpoint("PATCH", "/parcels/{parcel_id}", change),
    Endpoint("DELETE", "/parcels/{parcel_id}", remove),
    Endpoint("POST", "/parcels/{parcel_id}/sending", send),
    Endpoint("POST", "/parcels/{parcel_id}/secret", reveal, secret=True, administrative=True),
    Endpoint("GET", "/failures/{how}", fail),
)

TOKENS = {
    "all": Actor(user="vera", caller="token:1"),
    "other": Actor(user="oleg", caller="token:2"),
    "reader": Actor(user="vera", caller="token:3", scopes=frozenset({"read"})),
    "writer": Actor(user="vera", caller="token:4", scopes=frozenset({"write"})),
    "parcels-reader": Actor(user="vera", caller="token:5", scopes=frozenset({"parcels:read"})),
    "admin": Actor(user="vera", caller="token:6", scopes=frozenset({"admin"})),
}
SESSION = Actor(user="vera", caller="session:1", csrf_token="c5rf")


async def authenticate(request: web.Request, session: AsyncSession) -> Actor:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme == "Bearer":
        if token not in TOKENS:
            raise unauthenticated("This token is not known.", error="invalid_token")
        return TOKENS[token]
    if request.cookies.get("session") == "signed-in":
        return SESSION
    raise unauthenticated("Show a token, or sign in.")


@dataclass
class Toy:
    """The running toy."""

    client: TestClient[web.Request, web.Application]
    database: Database
    clock: MovableClock

    async def call(self, method: str, path: str, *, token: str | None = "all", **more: Any) -> Answered:
        """Call the API; `token` None shows none."""
        headers = dict(more.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with self.client.request(method, f"/api/v1{path}", headers=headers, **more) as response:
            is_json = "json" in response.content_type
            body = await response.json(content_type=None) if is_json else await response.text()
            return Answered(response.status, body, response.headers)


@dataclass
class Answered:
    status: int
    json: Any
    headers: Any


@asynccontextmanager
async def open_toy(url: str, **more: Any) -> AsyncIterator[Toy]:
    """Serve the toy on an empty set of its tables."""
    clock = MovableClock(START)
    async with open_database(url) as database:
        async with database.engine.begin() as connection:
            await connection.execute(text("DROP TABLE IF EXISTS toy_parcels, toy_shelves"))
            await connection.run_sync(ToyBase.metadata.create_all)
            await connection.run_sync(Base.metadata.create_all, tables=[Base.metadata.tables["idempotency_keys"]])
            await connection.execute(text("DROP SEQUENCE IF EXISTS toy_tries"))
            await connection.execute(text("CREATE SEQUENCE toy_tries"))
            await connection.execute(text("TRUNCATE idempotency_keys"))
            await connection.execute(text("INSERT INTO toy_shelves VALUES (7), (8)"))
        around = Surroundings(authenticate=authenticate, transaction=database.transaction, clock=clock)
        app = web.Application()
        app.add_subapp("/api", make_api(ENDPOINTS, replace(around, **more)))
        async with TestClient(TestServer(app)) as client:
            yield Toy(client, database, clock)
