"""What an endpoint of the REST API is: a plain async function, and a line that says where it answers.

    Endpoint("PATCH", "/deals/{deal_id}", deals.change)

    async def change(call: Call, deal_id: Id, body: DealChange) -> DealView:
        '''Change a deal. …'''

The function's signature is the rest of the declaration: what is called `body` is read from the request's body, `query`
from its query string, the others from its path; what it returns is the answer. Its docstring is the documentation.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, get_type_hints

import msgspec
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from core.staff.access import Rights
from hub.api.actors import SAFE_METHODS, Actor
from hub.api.paging import Listing
from hub.api.problems import Problem
from hub.api.versions import matches, tag
from hub.api.wire import Id

JSON_LIMIT = 1024 * 1024
"""The largest JSON body we take, in bytes."""


class Versioned(Protocol):
    """A record that people edit."""

    version: Any


class Download(NamedTuple):
    """A file as an answer: never shown in place, and without any rights if somebody manages to show it after all."""

    name: str
    content: bytes | AsyncIterator[bytes]


class Playback(NamedTuple):
    """Sound as an answer, which a player may ask for piece by piece (RFC 9110 §14).

    `write` answers the request; it is called once the transaction is committed, for a recording may take its time.
    """

    write: Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Call:
    """One request, as its handler sees it.

    The session's transaction is opened before and committed after the handler; what the handler raises undoes it.
    A handler may be run again from the start when its transaction clashed with another one. `client` is the caller's
    network address; `resources` are those of the whole API, which scopes may name; `piece` is the Range header, "" for
    the whole.
    """

    session: AsyncSession
    actor: Actor
    now: datetime
    hub: Any
    request_id: str
    client: str
    resources: frozenset[str] = frozenset()
    if_match: str | None = None
    compared: bool = False
    method: str = "GET"
    piece: str = ""

    @property
    def rights(self) -> Rights:
        """What the caller may see and do. Every select goes through `core.staff.access` with these."""
        assert self.actor.rights is not None
        return self.actor.rights

    @property
    def user_id(self) -> int:
        """Who calls."""
        return self.rights.user_id

    def expects(self, record: Versioned) -> None:
        """Refuse to change a record that is no longer the version the caller has seen. Without If-Match: go on.

        Call it before the first change, on a record read `FOR UPDATE`.

        Raises:
            Problem: 412, with the record's ETag.
        """
        self.compared = True
        if self.if_match is not None and not matches(self.if_match, record.version):
            detail = "Somebody changed this record after you read it. Nothing was changed; read it again."
            raise Problem(412, "stale", detail, headers={"ETag": tag(record.version)})


Handler = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a handler's signature says."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    body: type[msgspec.Struct] | None
    query: type[msgspec.Struct] | None
    answer: Any


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a handler answers, and what the signature cannot say.

    path            under /api/v1, with `{names}` for the handler's parameters
    status          of success; 0: 204 for a handler that returns nothing, else 200
    listing         how the list is sorted, filtered and paged; its query takes the place of `ListQuery`
    resource        whose scopes are asked for; "": the first part of the path
    administrative  that the general scopes `read` and `write` do not reach it
    refuses         statuses of refusals beyond those every endpoint has, for the documentation
    secret          that the answer holds a secret, which is not kept for a repeat with the same Idempotency-Key
    commits         that the handler ends its transaction itself, so as to wait for somebody outside without one; an
                    Idempotency-Key is of no effect, and repeating the call must do no harm
    """

    method: str
    path: str
    handler: Handler
    status: int = 0
    listing: Listing | None = None
    resource: str = ""
    administrative: bool = False
    refuses: tuple[int, ...] = ()
    secret: bool = False
    commits: bool = False
    limit: int = JSON_LIMIT
    shape: Shape = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _read_signature(self))
        object.__setattr__(self, "resource", self.resource or self.path.split("/")[1])
        if not self.status:
            object.__setattr__(self, "status", 204 if self.shape.answer is None else 200)

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.method not in SAFE_METHODS

    @property
    def is_versioned(self) -> bool:
        """Whether its answer carries an ETag."""
        kind = self.shape.answer
        return isinstance(kind, type) and issubclass(kind, msgspec.Struct) and "version" in kind.__struct_fields__

    @property
    def name(self) -> str:
        """The operation's id, such as `deals_change`."""
        return f"{self.handler.__module__.rpartition('.')[2]}_{self.handler.__name__}"

    @property
    def documentation(self) -> tuple[str, str]:
        """The docstring as a summary line and a description, without what is for programmers."""
        text = inspect.getdoc(self.handler) or ""
        summary, _, rest = text.partition("\n")
        return summary.strip().rstrip("."), rest.split("Raises:")[0].strip()


def _read_signature(endpoint: Endpoint) -> Shape:
    handler = endpoint.handler
    hints = get_type_hints(handler, include_extras=True)
    names = list(inspect.signature(handler).parameters)[1:]
    in_path = [name for name in names if name not in ("body", "query")]
    if set(in_path) != set(re.findall(r"{(\w+)}", endpoint.path)):
        raise TypeError(f"{handler.__qualname__} takes {in_path}, but its path is {endpoint.path}")
    if wrong := [name for name in in_path if hints[name] not in (Id, str)]:
        raise TypeError(f"{handler.__qualname__}: {wrong} must be Id or str")
    answer = hints["return"]
    return Shape(
        ids=tuple(name for name in in_path if hints[name] is Id),
        texts=tuple(name for name in in_path if hints[name] is str),
        body=hints.get("body"),
        query=endpoint.listing.query if endpoint.listing else hints.get("query"),
        answer=None if answer is type(None) else answer,
    )
