"""Waiting on this process's own loop, in the two places where the standard library's way forgets a cancellation.

`asyncio.wait_for` of Python 3.11 returns what it waited for although it is canceled at the same moment, and the
cancellation is gone (https://github.com/python/cpython/issues/86296). A loop that waits so never ends: nothing here
uses it, and what libraries lose is told them again.
"""

from __future__ import annotations

import asyncio
from typing import Any

_TELLS_AGAIN = 25.0
"""Seconds after which a task that goes on all the same is canceled anew; no task of ours may take that long to end."""


async def woken(event: asyncio.Event, within: float) -> bool:
    """Wait until an event is set, for so many seconds at most; say whether it was."""
    try:
        async with asyncio.timeout(within):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def end(*tasks: asyncio.Task[Any], again: float = _TELLS_AGAIN) -> None:
    """Cancel tasks and return once all have ended; what they end with is of no use any more.

    Args:
        again: seconds until those that go on all the same are canceled anew.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=again)
        for task in ended:
            if not task.cancelled():
                task.exception()  # looked at, so that nobody complains of it
