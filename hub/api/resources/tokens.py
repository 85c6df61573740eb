"""API tokens: who may call the API on whose behalf."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import select

from core.kernel.errors import Forbidden, NotFound
from core.staff import tokens, users
from core.staff.tokens import ApiToken
from core.staff.users import Role
from hub.api import actors, paging, records
from hub.api.endpoints import Call, Endpoint
from hub.api.paging import Listing, ListQuery
from hub.api.problems import Problem
from hub.api.wire import Body, Id, Moment, Page, View


class TokenView(View):
    """A key to the API with its user's rights, narrowed by its scopes (none: all of them). Its secret is not kept."""

    id: Id
    user_id: Id
    name: str
    scopes: list[str]
    created_at: Moment
    last_used_at: Moment | None
    revoked_at: Moment | None


class NewTokenView(TokenView):
    """A token with its secret, which is shown this once."""

    token: str


class NewToken(Body):
    """A token. Without `user_id` it is the caller's own. A token can pass on only scopes it has itself."""

    name: Annotated[str, Meta(max_length=200)] = ""
    scopes: Annotated[tuple[Annotated[str, Meta(max_length=60)], ...], Meta(max_length=100)] = ()
    user_id: Id | UnsetType = UNSET


TOKENS = Listing(
    "tokens",
    unique=ApiToken.id,
    sorts={"created_at": ApiToken.created_at},
    filters={
        "user_id": paging.ids(ApiToken.user_id),
        "revoked": paging.flag(lambda: ApiToken.revoked_at.is_not(None), "Whether it was made useless."),
    },
)


def _members(token: ApiToken) -> dict[str, object]:
    return {
        "id": Id(token.id),
        "user_id": Id(token.user_id),
        "name": token.name,
        "scopes": list(token.scopes),
        "created_at": token.created_at,
        "last_used_at": token.last_used_at,
        "revoked_at": token.revoked_at,
    }


def _view(token: ApiToken) -> TokenView:
    return TokenView(**_members(token))  # type: ignore[arg-type]


async def index(call: Call, query: ListQuery) -> Page[TokenView]:
    """List tokens: one's own, or for an administrator everybody's."""
    statement = select(ApiToken)
    if not call.rights.may_manage:
        statement = statement.where(ApiToken.user_id == call.user_id)
    found = await TOKENS.page(call.session, statement, query)
    return Page(items=[_view(row) for row in found.rows], next=found.next)


async def show(call: Call, token_id: Id) -> TokenView:
    """Show a token, without its secret."""
    return _view(await _own(call, token_id))


async def add(call: Call, body: NewToken) -> NewTokenView:
    """Make a token. Its secret is in the answer and nowhere else."""
    call.rights.require_change()
    user_id = call.user_id if body.user_id is UNSET else int(body.user_id)
    if user_id != call.user_id:
        call.rights.require_manage()
    user = await users.for_work(call.session, user_id, field="user_id")
    if user.id != call.user_id and user.role == Role.OWNER and call.rights.role is not Role.OWNER:
        raise Forbidden("Only an owner may make a token for an owner")
    scopes = actors.read_scopes(body.scopes, call.resources)
    if call.actor.scopes and not actors.includes(call.actor.scopes, scopes):
        raise Problem(403, "scope", "A token can pass on only scopes it has itself; name some of them.")
    token, secret = await tokens.create(
        call.session, user_id=user.id, at=call.now, name=body.name.strip(), scopes=scopes, actor_id=call.user_id
    )
    records.note(call, "token.created", "token", token.id, {"for": user.id, "scopes": sorted(scopes)})
    return NewTokenView(**_members(token), token=secret)  # type: ignore[arg-type]


async def revoke(call: Call, token_id: Id) -> None:
    """Make a token useless at once. It stays in the list."""
    call.rights.require_change()
    token = await _own(call, token_id)
    await tokens.revoke(call.session, token.id, at=call.now, actor_id=call.user_id)
    records.note(call, "token.revoked", "token", token.id)


async def _own(call: Call, token_id: int) -> ApiToken:
    statement = select(ApiToken).where(ApiToken.id == int(token_id))
    if not call.rights.may_manage:
        statement = statement.where(ApiToken.user_id == call.user_id)
    token = await call.session.scalar(statement)
    if token is None:
        raise NotFound("token", int(token_id))
    return token


ENDPOINTS = (
    Endpoint("GET", "/tokens", index, listing=TOKENS, administrative=True),
    Endpoint("POST", "/tokens", add, status=201, administrative=True, secret=True),
    Endpoint("GET", "/tokens/{token_id}", show, administrative=True),
    Endpoint("DELETE", "/tokens/{token_id}", revoke, administrative=True),
)
