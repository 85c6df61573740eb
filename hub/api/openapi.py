"""The OpenAPI 3.1 description of the API, made of the same endpoints that answer it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from hub.api.endpoints import Download, Endpoint, Playback
from hub.api.idempotency import HEADER, MAX_LENGTH
from hub.api.problems import MEDIA_TYPE, ProblemDocument
from hub.api.wire import ID_PATTERN, encode, schema_hook

Schema = dict[str, Any]

COOKIE: Final = "switchyard_session"
"""The cookie of a browser session; the same as `hub.auth.COOKIE`, which is not imported for its weight."""

_REF: Final = "#/components/schemas/"

_INTRODUCTION: Final = """\
Whatever a person can do in the workspace can be done here, under the same rights.

**Who**: `Authorization: Bearer swy_…`. A token may be narrowed by scopes: `read`, `write`, `admin`, `<resource>:read`,
`<resource>:write`; without scopes it may do all that its user may. A browser session works as well and sends
`X-CSRF-Token` to change anything.

**Lists** answer `{"items": […], "next": "…"}`. Ask for the next page with `?cursor=` and the value of `next`; null is
the end. A parameter that takes several values is repeated: `?status=open&status=pending`.

**Editing at the same time**: send the `ETag` you have seen as `If-Match` and get 412 if somebody was faster. Without it
the last write wins. `"v<version>"` is an ETag, too.

**Repeating**: a POST with the same `Idempotency-Key` within 24 hours is done once and answered as before.

**Refusals** are problem documents (RFC 9457). `type` is for programs, `detail` for people, `errors` names the fields.

Times are RFC 3339 in UTC, ids are integers as strings, money is in minor units (cents) with its currency.
In a PATCH, a member left out stays as it is; null empties it.
"""

_HEADERS: Final[dict[str, Schema]] = {
    "IdempotencyKey": {
        "name": HEADER,
        "in": "header",
        "description": "Any string, new for every new request: a repeat with the same one is done once.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH, "pattern": "^[!-~][ -~]*$"},
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": "The ETag that was seen; 412 if the record was changed since.",
        "schema": {"type": "string"},
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The ETag of the answer at hand; 304 if it is still the same.",
        "schema": {"type": "string"},
    },
    "Range": {
        "name": "Range",
        "in": "header",
        "description": "The piece that is wanted, as `bytes=0-65535`; what cannot be read as one is answered whole.",
        "schema": {"type": "string", "pattern": "^bytes=[0-9]{0,15}-[0-9]{0,15}$"},
    },
}

_REFUSALS: Final = {
    400: "The request cannot be read.",
    401: "Nobody we know: the token or session is missing, wrong or revoked.",
    403: "The user's role or the token's scopes do not allow it.",
    404: "There is no such record, or it is none of this user's business.",
    405: "This address does not take this method.",
    409: "It clashes with what is there already.",
    412: "The record was changed since it was read.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "Fields are wrong, or a business rule says no.",
    429: "Too many requests; see Retry-After.",
    500: "Our mistake; it is in the log under the request id.",
    503: "The database is away or busy; see Retry-After.",
}

_ALWAYS: Final = (401, 403, 422, 429, 500, 503)


def describe(endpoints: Sequence[Endpoint], *, server: str, version: str) -> Schema:
    """Describe all endpoints.

    Raises:
        ValueError: two of them have the same name or address.
    """
    _refuse_twins(endpoint.name for endpoint in endpoints)
    _refuse_twins(f"{endpoint.method} {endpoint.path}" for endpoint in endpoints)
    kinds = list(dict.fromkeys(_kinds(endpoints)))
    found, schemas = msgspec.json.schema_components(kinds, schema_hook=schema_hook, ref_template=_REF + "{name}")
    schemas = msgspec.json.decode(encode(schemas))  # what is a tuple here is a list there
    by_kind = dict(zip(kinds, found, strict=True))
    queries: dict[Any, Schema] = {}
    for endpoint in endpoints:
        if (kind := endpoint.shape.query) is not None:
            queries[kind] = schemas[_name_of(by_kind[kind])]
    paths: dict[str, dict[str, Schema]] = {}
    for endpoint in endpoints:
        operation = _operation(endpoint, by_kind, queries.get(endpoint.shape.query, {}))
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    for kind in queries:
        schemas.pop(_name_of(by_kind[kind]), None)  # parameters are written out where they belong
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Switchyard API",
            "version": version,
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "tags": [{"name": tag} for tag in dict.fromkeys(_tag(endpoint) for endpoint in endpoints)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": _HEADERS,
            "headers": {"ETag": {"description": "The version of what was answered.", "schema": {"type": "string"}}},
            "responses": {f"Problem{status}": _refusal(status) for status in _REFUSALS},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API token, `swy_…`."},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "A browser session."},
            },
        },
    }


def _kinds(endpoints: Sequence[Endpoint]) -> Iterator[Any]:
    yield ProblemDocument
    for endpoint in endpoints:
        shape = endpoint.shape
        yield from (kind for kind in (shape.body, shape.query, shape.answer) if kind not in (None, Download, Playback))


def _operation(endpoint: Endpoint, by_kind: dict[Any, Schema], query: Schema) -> Schema:
    summary, description = endpoint.documentation
    scope = f"{endpoint.resource}:{'write' if endpoint.writes else 'read'}"
    operation: Schema = {
        "operationId": endpoint.name,
        "tags": [_tag(endpoint)],
        "summary": summary,
        "description": f"{description}\n\nScope: `{scope}`".strip(),
        "security": [{"bearer": []}, {"session": []}],
        "parameters": [*_parameters(endpoint, query)],
        "responses": _responses(endpoint, by_kind),
    }
    if (body := endpoint.shape.body) is not None:
        required = any(field.required for field in msgspec.structs.fields(body))
        operation["requestBody"] = {"required": required, "content": {"application/json": {"schema": by_kind[body]}}}
    return operation


def _parameters(endpoint: Endpoint, query: Schema) -> Iterator[Schema]:
    for name in endpoint.shape.ids:
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": ID_PATTERN}}
    for name in endpoint.shape.texts:
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    for name, schema in query.get("properties", {}).items():
        parameter: Schema = {"name": name, "in": "query", "schema": schema}
        if "description" in schema:
            parameter["description"] = schema["description"]
        if name in query.get("required", ()):
            parameter["required"] = True
        yield parameter
    if endpoint.method == "POST" and not endpoint.commits:
        yield {"$ref": "#/components/parameters/IdempotencyKey"}
    if endpoint.shape.answer is Playback:
        yield {"$ref": "#/components/parameters/Range"}
    if endpoint.is_versioned and endpoint.shape.ids:
        yield {"$ref": f"#/components/parameters/{'IfMatch' if endpoint.writes else 'IfNoneMatch'}"}


def _responses(endpoint: Endpoint, by_kind: dict[Any, Schema]) -> dict[str, Schema]:
    done: Schema = {"description": HTTPStatus(endpoint.status).phrase}
    if endpoint.shape.answer is Download:
        done["content"] = {"application/octet-stream": {}}
    elif endpoint.shape.answer is Playback:
        done["content"] = {"audio/*": {}, "application/octet-stream": {}}
    elif endpoint.shape.answer is not None:
        done["content"] = {"application/json": {"schema": by_kind[endpoint.shape.answer]}}
    if endpoint.is_versioned:
        done["headers"] = {"ETag": {"$ref": "#/components/headers/ETag"}}
    responses = {str(endpoint.status): done}
    if endpoint.is_versioned and not endpoint.writes:
        responses["304"] = {"description": "Not changed since."}
    if endpoint.shape.answer is Playback:
        responses["206"] = {**done, "description": HTTPStatus.PARTIAL_CONTENT.phrase}
        responses["416"] = {"description": "It is not as long as that."}
    refused = {*_ALWAYS, *endpoint.refuses}
    if endpoint.shape.ids or endpoint.shape.texts:
        refused |= {404}
    if endpoint.writes:
        refused |= {400, 412, 413}
    if endpoint.shape.body is not None:
        refused |= {415}
    if endpoint.secret:
        refused |= {409}
    for status in sorted(refused):
        responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    return responses


def _refusal(status: int) -> Schema:
    refusal: Schema = {
        "description": _REFUSALS[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"{_REF}{ProblemDocument.__name__}"}}},
    }
    if status in (429, 503):
        refusal["headers"] = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
    return refusal


def _tag(endpoint: Endpoint) -> str:
    return endpoint.path.split("/")[1]


def _name_of(reference: Schema) -> str:
    return str(reference.get("$ref", "")).removeprefix(_REF)


def _refuse_twins(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"two endpoints are called {name}")
        seen.add(name)
