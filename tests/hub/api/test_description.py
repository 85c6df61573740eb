"""The OpenAPI document and its page."""

from __future__ import annotations

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from hub.api.endpoints import Call, Endpoint
from hub.api.openapi import describe
from hub.api.wire import Id
from tests.hub.api.toy import ENDPOINTS, Toy, add, show

DESCRIPTION = describe(ENDPOINTS, server="/api/v1", version="9.9")


def operation(method: str, path: str):
    return DESCRIPTION["paths"][path][method]


def test_the_description_is_valid_openapi_3_1():
    OpenAPIV31SpecValidator(DESCRIPTION).validate()
    assert DESCRIPTION["openapi"].startswith("3.1.")


def test_every_endpoint_is_described():
    described = {(m.upper(), path) for path, operations in DESCRIPTION["paths"].items() for m in operations}
    assert described == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}


def test_a_docstring_is_the_documentation_without_what_is_for_programmers():
    told = operation("get", "/parcels/{parcel_id}")
    assert told["summary"] == "Show a parcel"
    assert told["description"] == "Anybody may look.\n\nScope: `parcels:read`"


def test_a_list_says_how_it_is_sorted_filtered_and_paged():
    parameters = {each["name"]: each["schema"] for each in operation("get", "/parcels")["parameters"]}
    named = "limit cursor sort shelf_id status heavy label created_at_from created_at_to"
    assert " ".join(parameters) == named
    assert (parameters["limit"]["minimum"], parameters["limit"]["maximum"], parameters["limit"]["default"]) == (
        1,
        200,
        50,
    )
    assert parameters["sort"]["default"] == "-created_at"
    assert {"weight", "-weight"} <= set(parameters["sort"]["enum"])
    assert parameters["shelf_id"]["type"] == "array"
    assert set(parameters["status"]["items"]["enum"]) == {"new", "sent"}
    assert parameters["created_at_from"]["format"] == "date-time"


def test_headers_are_offered_where_they_mean_something():
    def headers(method: str, path: str) -> list[str]:
        return [each["$ref"].rpartition("/")[2] for each in operation(method, path)["parameters"] if "$ref" in each]

    assert headers("get", "/parcels") == []
    assert headers("post", "/parcels") == ["IdempotencyKey"]
    assert headers("get", "/parcels/{parcel_id}") == ["IfNoneMatch"]
    assert headers("patch", "/parcels/{parcel_id}") == ["IfMatch"]


def test_bodies_and_answers_are_described_by_name():
    made = operation("post", "/parcels")
    schemas = DESCRIPTION["components"]["schemas"]
    assert made["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/NewParcel"}
    assert set(made["responses"]) >= {"201", "400", "401", "403", "409", "413", "415", "422", "429", "500", "503"}
    assert schemas["NewParcel"]["additionalProperties"] is False
    assert schemas["ParcelView"]["properties"]["id"]["type"] == "string"
    assert schemas["ParcelView"]["properties"]["created_at"]["format"] == "date-time"
    assert not [name for name in schemas if name.endswith("Query")]


async def lost(call: Call, parcel_id: Id) -> None:
    """Take what the path does not have."""


async def untyped(call: Call, parcel_id: int) -> None:
    """Take a number that is no id."""


@pytest.mark.parametrize(
    ("path", "handler"), [("/parcels", lost), ("/parcels/{id}", lost), ("/p/{parcel_id}", untyped)]
)
def test_a_handler_that_does_not_fit_its_path_is_noticed_at_the_start(path, handler):
    with pytest.raises(TypeError, match=handler.__name__):
        Endpoint("GET", path, handler)


@pytest.mark.parametrize(
    "twins",
    [
        (Endpoint("POST", "/parcels", add), Endpoint("POST", "/letters", add)),
        (Endpoint("GET", "/parcels/{parcel_id}", show), Endpoint("GET", "/parcels/{parcel_id}", lost)),
    ],
)
def test_two_endpoints_with_one_name_or_address_are_noticed_at_the_start(twins):
    with pytest.raises(ValueError, match="two endpoints"):
        describe(twins, server="/api/v1", version="1")


async def test_the_description_and_its_page_are_served_to_everybody(toy: Toy):
    described = await toy.call("GET", "/openapi.json", token=None)
    assert (described.status, described.json["paths"].keys()) == (200, DESCRIPTION["paths"].keys())
    known = {"If-None-Match": described.headers["ETag"]}
    assert (await toy.call("GET", "/openapi.json", token=None, headers=known)).status == 304
    async with toy.client.get("/api/docs") as page:
        text = await page.text()
        policy = page.headers["Content-Security-Policy"]
    assert page.status == 200
    assert "unsafe" not in policy
    assert "'none'" in policy
    assert 'src="/static/vendor/swagger-ui-bundle.js"' in text
    assert "<script>" not in text
    assert "://" not in text
    async with toy.client.get("/api/docs.js") as script:
        assert (script.status, script.content_type) == (200, "text/javascript")
