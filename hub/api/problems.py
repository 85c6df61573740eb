"""Refusals as RFC 9457 problem documents, and the one place where errors become statuses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.orm.exc import StaleDataError

from core.kernel.errors import Conflict, DomainError, Forbidden, NotFound, Rejected, Stale

MEDIA_TYPE: Final = "application/problem+json"
SECONDS_TO_RECOVER: Final = 2
"""What Retry-After says when the database is away: a restart takes about that long."""


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field; `field` is its path, such as `identities[0].value`."""

    field: str
    message: str


class ProblemDocument(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An RFC 9457 problem: `type` for programs, `detail` for people, `errors` for the fields of a form."""

    type: str
    title: str
    status: int
    detail: str | None = None
    errors: list[FieldError] = []
    request_id: str | None = None


class Problem(Exception):
    """A request that is refused by the API itself, before or beside the business rules.

    `kind` ends the problem's `type`, `urn:switchyard:problem:<kind>`; clients may tell refusals apart by it.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or kind)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})

    def response(self, request_id: str | None) -> web.Response:
        """Write it down for the caller."""
        document = ProblemDocument(
            type=f"urn:switchyard:problem:{self.kind}",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            errors=self.errors,
            request_id=request_id,
        )
        return web.Response(
            status=self.status, body=msgspec.json.encode(document), content_type=MEDIA_TYPE, headers=self.headers
        )


def invalid(errors: Sequence[FieldError]) -> Problem:
    """Refuse what was sent because of its fields."""
    return Problem(422, "invalid", "; ".join(f"{e.field}: {e.message}" for e in errors[:5]), errors=errors)


def unauthenticated(detail: str, *, error: str | None = None) -> Problem:
    """Ask who this is (RFC 6750 §3); `error` is given only to somebody who did show a token."""
    challenge = 'Bearer realm="Switchyard"' + (f', error="{error}"' if error else "")
    return Problem(401, "unauthenticated", detail, headers={"WWW-Authenticate": challenge})


_DOMAIN: Final[tuple[tuple[type[DomainError], int, str], ...]] = (
    (NotFound, 404, "not-found"),
    (Conflict, 409, "conflict"),
    (Stale, 412, "stale"),
    (Forbidden, 403, "forbidden"),
    (Rejected, 422, "rejected"),
)

_ROUTER: Final = {
    400: ("malformed", "The request cannot be read."),
    404: ("not-found", "There is nothing at this address. See /api/docs for what there is."),
    405: ("method-not-allowed", "This address does not take this method; the Allow header names those it takes."),
    413: ("too-large", "The body is larger than this address takes; nothing was stored."),
    415: ("unsupported-media-type", "This address does not take this type of content."),
}

_AWAY: Final = frozenset({"53300", "57P01", "57P02", "57P03"})
"""Too many connections, or the server is stopping or starting (PostgreSQL, appendix A)."""

_CLASHED: Final = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock not available: the transaction may be tried again as it was."""


def from_error(error: BaseException) -> Problem | None:
    """Tell what the caller is answered when this was raised; None: it was not to be expected, a 500.

    Never shows the text of anything but a DomainError, which is written for whoever asked.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, DomainError):
        return _from_domain(error)
    if isinstance(error, web.HTTPException):
        kind, detail = _ROUTER.get(error.status, ("refused", None))
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return Problem(error.status, kind, detail, headers=allowed)
    if is_clash(error):
        return Problem(503, "busy", "Others are changing the same records; try again.", headers=_retry())
    if _is_outage(error):
        detail = "The database cannot be reached just now. Nothing was changed; try again."
        return Problem(503, "unavailable", detail, headers=_retry())
    if isinstance(error, DBAPIError):
        return _from_constraint(error)
    return None


def is_clash(error: BaseException) -> bool:
    """Tell whether a transaction failed only because of its neighbours, so that it may be tried again."""
    return isinstance(error, StaleDataError) or (isinstance(error, DBAPIError) and _sqlstate(error) in _CLASHED)


def _from_domain(error: DomainError) -> Problem:
    for cls, status, kind in _DOMAIN:
        if isinstance(error, cls):
            field = error.field if isinstance(error, Rejected) else None
            errors = [FieldError(field, str(error))] if field else []
            return Problem(status, kind, str(error), errors=errors)
    return Problem(422, "rejected", str(error))


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, DBAPIError):
        state = _sqlstate(error)
        return error.connection_invalidated or state in _AWAY or state.startswith("08")
    return isinstance(error, PoolExhausted | ConnectionError)


def _from_constraint(error: DBAPIError) -> Problem | None:
    """The net under the rules of the core: what the database alone has seen is refused in words, too."""
    state = _sqlstate(error)
    if state == "23503":
        explained = getattr(getattr(error.orig, "__cause__", None), "detail", None) or ""
        field = re.search(r"Key \((\w+)\)=", explained)
        message = "There is no such record"
        return invalid([FieldError(field.group(1), message)]) if field else Problem(422, "invalid", message)
    if state == "23505":
        return Problem(409, "conflict", "Another record has the same values already; nothing was changed.")
    if state.startswith("22"):
        return Problem(422, "invalid", "A value cannot be stored: a number or time is out of range.")
    return None


def _sqlstate(error: DBAPIError) -> str:
    state = getattr(error.orig, "sqlstate", None)
    return state if isinstance(state, str) else ""


def _retry() -> dict[str, str]:
    return {"Retry-After": str(SECONDS_TO_RECOVER)}
