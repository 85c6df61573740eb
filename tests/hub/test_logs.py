"""Logs: one event a line, ids on each, and nothing secret in any, faults included."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hub.logs import redact

ROOT = Path(__file__).parents[2]

PROGRAM = """
import logging, sys, structlog
from hub import logs

logs.configure(sys.argv[1])
log = structlog.get_logger("test")
structlog.contextvars.bind_contextvars(request_id="r-17")
log.info("plain", password="hunter2", count=3)
log.info("by_look", text="token swy_abcdefghijklmnopqrstuvwxyz012345 here")

def sign_in(password):
    raise ValueError("no")

try:
    sign_in("hunter2")
except ValueError:
    log.exception("failed")
logging.getLogger("some.library").warning("to postgresql://hub:hunter2@127.0.0.1/db")
"""


def _lines(style):
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, style], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout == ""
    return ran.stderr


@pytest.mark.parametrize("style", ["console", "json"])
def test_nothing_secret_is_logged_not_even_by_a_fault_or_a_library(style):
    told = _lines(style)
    assert "hunter2" not in told
    assert "swy_abc" not in told
    assert "ValueError: no" in told
    assert "some.library" in told or "postgresql://" in told


def test_json_is_one_object_a_line_with_the_requests_id():
    lines = [json.loads(line) for line in _lines("json").splitlines()]
    assert [line["event"] for line in lines][:3] == ["plain", "by_look", "failed"]
    assert {line.get("request_id") for line in lines[:3]} == {"r-17"}
    assert {"level", "timestamp"} <= lines[0].keys()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"event": "x", "password": "a"}, {"event": "x", "password": "[hidden]"}),
        (
            {"event": "x", "api_key": "a", "Authorization": "b"},
            {"event": "x", "api_key": "[hidden]", "Authorization": "[hidden]"},
        ),
        ({"event": "password_reset"}, {"event": "password_reset"}),
        ({"event": "x", "token": ""}, {"event": "x", "token": ""}),
        ({"event": "x", "url": "postgresql://hub:pw@h/db"}, {"event": "x", "url": "postgresql://[hidden]@h/db"}),
        ({"event": "x", "path": "/setup?token=abc&x=1"}, {"event": "x", "path": "/setup?token=[hidden]&x=1"}),
        ({"event": "x", "head": "Bearer abc.def"}, {"event": "x", "head": "Bearer [hidden]"}),
        (
            {"event": "x", "url": "https://api.telegram.org/bot1234567:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/getMe"},
            {"event": "x", "url": "https://api.telegram.org/bot[hidden]/getMe"},
        ),
        (
            {"event": "x", "count": 17, "text": "call 8 916 123-45-67"},
            {"event": "x", "count": 17, "text": "call 8 916 123-45-67"},
        ),
    ],
)
def test_what_is_secret_by_its_name_or_look_is_hidden(given, kept):
    assert redact(None, "info", given) == kept
