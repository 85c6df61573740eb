"""Logs: one event a line, with the id of the request or job on each, and nothing secret in any."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_NAMES = re.compile(r"password|secret|token|authorization|cookie|api_?key|sealed", re.IGNORECASE)
_SECRET_VALUES = re.compile(
    r"swy_[\w-]{20,}"  # our own tokens
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # user and password in a URL
    r"|(?<=[?&]token=)[^&\s]+"
    r"|(?<=Bearer )\S+"
    r"|(?<![0-9])\d{6,12}:[\w-]{30,}"  # a Telegram bot's token, which stands in its URLs
)
_HIDDEN = "[hidden]"


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide values that are secret by their name or by their look. The last step before a line is written."""
    for name, value in event.items():
        if name != "event" and _SECRET_NAMES.search(name) and value:
            event[name] = _HIDDEN
        elif isinstance(value, str):
            event[name] = _SECRET_VALUES.sub(_HIDDEN, value)
    return event


def configure(style: str, *, level: int = logging.INFO) -> None:
    """Have everything, the libraries' logs included, written to standard error, for people or as JSON."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last: Any = (
        structlog.processors.JSONRenderer()
        if style == "json"
        # A plain traceback: the rich one shows the local variables, and with them passwords and whole requests.
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    if style != "json":
        shared.remove(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, redact, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
