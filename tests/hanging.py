"""What a test that hangs was waiting for: shown a little before its process is ended (`faulthandler_timeout`)."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key  # where stderr leads past what is captured

_SHOWN_AFTER = 280.0
"""Seconds; less than `faulthandler_timeout`, which shows threads, and no task of a loop."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Watch over each test."""
    watch = threading.Timer(_SHOWN_AFTER, _show, [item.nodeid, item.config.stash[fault_handler_stderr_fd_key]])
    watch.daemon = True
    watch.start()
    try:
        return (yield)
    finally:
        watch.cancel()


def _show(test: str, stderr: int) -> None:
    lines = [f"{test} hangs. What waits in it, outermost first:"]
    for task in [one for one in gc.get_objects() if isinstance(one, asyncio.Task)]:
        if not task.done():
            lines += ["", task.get_name(), *_awaited(task.get_coro())]
    os.write(stderr, ("\n".join(lines) + "\n").encode())  # in one piece: another worker writes there too


def _awaited(coroutine: Any) -> Iterator[str]:
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            yield f"  {coroutine!r}"
            return
        yield f"  {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}"
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
