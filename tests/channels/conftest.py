from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from channels.contract import Tools
from tests.channels.provider import Provider, playing, tools_for


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A local server that plays the provider: `provider.answers("POST", "/x", json={...})`, `provider.asked`."""
    async with playing() as played:
        yield played


@pytest.fixture
async def tools(provider: Provider) -> AsyncIterator[Tools]:
    """What the hub hands a channel; `provider.url` is trusted."""
    async with tools_for(provider.url) as (made, _):
        yield made
