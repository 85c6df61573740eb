"""Lists: their order, filters and cursors."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert, text

from tests.hub.api.toy import START, Parcel, Toy


@pytest.fixture
async def stock(toy: Toy) -> Toy:
    """Ten parcels: weights repeat and are missing on some; two are made each hour."""
    rows = [
        {
            "label": f"{'ab'[number % 2]}{number}",
            "weight": [100, 2000, None][number % 3],
            "shelf_id": [7, 8, None][number % 3],
            "status": ["new", "sent"][number // 5],
            "sent_at": START + timedelta(days=number) if number > 6 else None,
            "created_at": START + timedelta(hours=number // 2),
            "version": 1,
        }
        for number in range(10)
    ]
    async with toy.database.transaction() as session:
        await session.execute(insert(Parcel), rows)
    return toy


async def walk(toy: Toy, query: str, limit: int) -> list[list[str]]:
    pages, cursor = [], ""
    while True:
        page = (await toy.call("GET", f"/parcels?limit={limit}{query}{cursor}")).json
        pages.append([item["label"] for item in page["items"]])
        if page["next"] is None:
            return pages
        cursor = f"&cursor={page['next']}"


@pytest.mark.parametrize(
    ("sort", "labels"),
    [
        ("", "b9 a8 b7 a6 b5 a4 b3 a2 b1 a0"),
        ("created_at", "a0 b1 a2 b3 a4 b5 a6 b7 a8 b9"),
        ("label", "a0 a2 a4 a6 a8 b1 b3 b5 b7 b9"),
        ("weight", "a0 b3 a6 b9 b1 a4 b7 a2 b5 a8"),
        ("-weight", "b7 a4 b1 b9 a6 b3 a0 a8 b5 a2"),
        ("sent_at", "b7 a8 b9 a0 b1 a2 b3 a4 b5 a6"),
        ("-sent_at", "b9 a8 b7 a6 b5 a4 b3 a2 b1 a0"),
    ],
)
@pytest.mark.parametrize("limit", [1, 3, 9, 10])
async def test_pages_together_are_the_whole_list_in_order(stock: Toy, sort, labels, limit):
    pages = await walk(stock, f"&sort={sort}" if sort else "", limit)
    assert [label for page in pages for label in page] == labels.split()
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)


@pytest.mark.parametrize(
    ("query", "labels"),
    [
        ("shelf_id=7", "b9 a6 b3 a0"),
        ("shelf_id=7&shelf_id=8", "b9 b7 a6 a4 b3 b1 a0"),
        ("shelf_id=null", "a8 b5 a2"),
        ("shelf_id=8&shelf_id=null", "a8 b7 b5 a4 a2 b1"),
        ("status=sent", "b9 a8 b7 a6 b5"),
        ("status=sent&status=new&label=b", "b9 b7 b5 b3 b1"),
        ("heavy=true", "b7 a4 b1"),
        ("heavy=false", "b9 a6 b3 a0"),
        ("label=%25", ""),
        ("created_at_from=2026-03-02T12:00:00Z", "b9 a8 b7 a6"),
        ("created_at_to=2026-03-02T10:00:00Z", "b1 a0"),
        ("created_at_from=2026-03-02T13:00:00%2B03:00&created_at_to=2026-03-02T11:00:00Z", "b3 a2"),
    ],
)
async def test_filters_narrow_the_list(stock: Toy, query, labels):
    pages = await walk(stock, f"&{query}", 4)
    assert [label for page in pages for label in page] == labels.split()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("limit=1&limit=2", "limit"),
        ("sort=version", "sort"),
        ("sort=", "sort"),
        ("owner=7", "owner"),
        ("shelf_id=", "shelf_id[0]"),
        ("shelf_id=7&shelf_id=x", "shelf_id[1]"),
        ("shelf_id=7" * 1 + "&shelf_id=7" * 100, "shelf_id"),
        ("status=lost", "status[0]"),
        ("heavy=perhaps", "heavy"),
        ("created_at_from=2026-03-02", "created_at_from"),
        ("created_at_from=1772442000", "created_at_from"),
        ("label=a%00", "label"),
        ("cursor=x", "cursor"),
        ("cursor=%C3%A9", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=" + "A" * 40, "cursor"),
    ],
)
async def test_what_cannot_be_asked_is_refused_by_name(stock: Toy, query, field):
    refused = await stock.call("GET", f"/parcels?{query}")
    assert refused.status == 422
    assert [error["field"] for error in refused.json["errors"]] == [field]


async def test_a_cursor_belongs_to_its_order_and_cannot_be_altered(stock: Toy):
    cursor = (await stock.call("GET", "/parcels?limit=3&sort=weight")).json["next"]
    altered = [cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(len(cursor) - 1)]
    for query in (f"sort=-weight&cursor={cursor}", *(f"sort=weight&cursor={each}" for each in altered)):
        assert (await stock.call("GET", f"/parcels?limit=3&{query}")).status == 422


async def test_rows_that_come_or_go_between_pages_hide_and_repeat_nothing(stock: Toy):
    first = (await stock.call("GET", "/parcels?limit=4")).json
    stock.clock.advance(timedelta(days=1))
    await stock.call("POST", "/parcels", json={"label": "late"})
    await stock.call("DELETE", f"/parcels/{first['items'][1]['id']}")
    second = (await stock.call("GET", f"/parcels?limit=4&cursor={first['next']}")).json
    labels = [item["label"] for page in (first, second) for item in page["items"]]
    assert labels == ["b9", "a8", "b7", "a6", "b5", "a4", "b3", "a2"]


async def test_a_list_of_nothing_is_empty(toy: Toy):
    assert (await toy.call("GET", "/parcels")).json == {"items": [], "next": None}


async def test_a_deep_page_is_read_from_the_index(toy: Toy):
    async with toy.database.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO toy_parcels (label, status, created_at, version) "
                "SELECT 'p' || n, 'new', TIMESTAMPTZ '2026-01-01Z' + n * INTERVAL '1 second', 1 "
                "FROM generate_series(1, 20000) n"
            )
        )
        await session.execute(text("CREATE INDEX ON toy_parcels (created_at, id)"))
        await session.execute(text("ANALYZE toy_parcels"))
        plan = "\n".join(
            await session.scalars(
                text(
                    "EXPLAIN SELECT * FROM toy_parcels WHERE (created_at, id) < ('2026-01-01 01:00Z', 3600) "
                    "ORDER BY created_at DESC, id DESC LIMIT 51"
                )
            )
        )
    assert "Index Scan Backward" in plan
    assert "Sort" not in plan
