"""The page that documents the API, as a browser gets it."""

from __future__ import annotations

import re
from urllib.parse import urljoin


async def test_all_that_the_page_loads_is_there(client):
    page = await client.get("/api/docs")
    assert page.status == 200
    loaded = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', await page.text())
    assert len(loaded) >= 3
    answers = {place: (await client.get(urljoin(str(page.url.path), place))).status for place in loaded}
    assert set(answers.values()) == {200}, answers
