"""The house rules that a program can check. What each is for stands in ARCHITECTURE.md."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("core", "webhooks", "channels", "hub")  # each may import those before it
MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for layer in LAYERS
    for path in (ROOT / layer).rglob("*.py")
    if "node_modules" not in path.parts
)
LONGEST = 400
MAY_BE_LONGER = {
    "channels/contract.py": "the whole contract on one page",
    "core/intake.py": "the main job, read top to bottom in one place",
    "hub/web/rendering.py": "what every template may call, looked up by name",
}
NO_NAMES = {
    "util",
    "utils",
    "helper",
    "helpers",
    "common",
    "base",
    "manager",
    "managers",
    "service",
    "services",
    "misc",
}
MIGRATIONS = "hub/migrations/versions/"


def _tree(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(), module)


def _imported(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_the_rules_are_checked_against_something():
    assert len(MODULES) > 50
    assert all((ROOT / module).exists() for module in MAY_BE_LONGER), "an exception that is needed no more"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_in_its_first_sentence_what_it_is_for(module):
    said = ast.get_docstring(_tree(module))
    assert said, "give it a docstring"
    assert re.match(r".{10,}?[.:]", said, re.DOTALL), "end its first sentence"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_of_a_size_that_is_read_in_one_go(module):
    if module in MAY_BE_LONGER or module.startswith(MIGRATIONS):
        return
    lines = len((ROOT / module).read_text().splitlines())
    assert lines <= LONGEST, f"{lines} lines: split it by idea, or say in MAY_BE_LONGER why not"


@pytest.mark.parametrize("module", [module for module in MODULES if module.endswith("__init__.py")])
def test_a_package_holds_its_docstring_alone(module):
    assert len(_tree(module).body) == 1


def test_no_module_has_a_name_that_says_nothing():
    assert [module for module in MODULES if NO_NAMES & set(Path(module).with_suffix("").parts)] == []


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    allowed = LAYERS[: LAYERS.index(module.split("/")[0]) + 1]
    wrong = {
        name for name in _imported(_tree(module)) if name.split(".")[0] in LAYERS and name.split(".")[0] not in allowed
    }
    assert wrong == set()


def test_the_contracts_of_import_linter_hold():
    """They see what a module drags in by way of others, too."""
    linted = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout[-3000:]


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith(("core/", "channels/", "webhooks/"))])
def test_only_the_hub_ends_a_transaction(module):
    ended = {
        node.attr
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Attribute) and node.attr in ("commit", "rollback")
    }
    assert ended == set()


@pytest.mark.parametrize("module", [module for module in MODULES if module != "core/kernel/clock.py"])
def test_one_module_alone_asks_what_time_it_is(module):
    asked = []
    for node in ast.walk(_tree(module)):
        if not isinstance(node, ast.Attribute):
            continue
        owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
        if (owner, node.attr) in {
            ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("time", "time"),
            ("func", "now"), ("func", "current_timestamp"), ("func", "localtimestamp"),
        }:  # fmt: skip
            asked.append(f"{owner}.{node.attr} in line {node.lineno}")
    # Migrations have no other clock than the database's, and the check-up compares the two clocks.
    if not module.startswith(MIGRATIONS) and module != "hub/commands/checkup_database.py":
        for node in ast.walk(_tree(module)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _asks_the_database(node.value):
                asked.append(f"SQL in line {node.lineno}")
    assert asked == [], "take `now` or a Clock as an argument"


def _asks_the_database(text: str) -> bool:
    is_sql = re.search(r"\b(SELECT|UPDATE|INSERT|DELETE)\b", text) is not None
    asks = re.search(
        r"(?<![\w.])(now|clock_timestamp|statement_timestamp|transaction_timestamp)\(\)|CURRENT_TIMESTAMP", text
    )
    return is_sql and asks is not None


def test_a_clock_in_sql_would_be_noticed():
    assert _asks_the_database("SELECT 1 FROM jobs WHERE due_at <= now()")
    assert not _asks_the_database("SELECT 1 FROM jobs WHERE due_at <= $1")


@pytest.mark.parametrize("module", MODULES)
def test_nobody_waits_in_a_way_that_forgets_a_cancellation(module):
    waits = [
        node.lineno
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Attribute)
        and node.attr == "wait_for"
        and getattr(node.value, "id", "") in ("asyncio", "tasks")
    ]
    assert waits == [], "see core/kernel/waiting.py"


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("core/")])
def test_the_core_does_no_input_or_output(module):
    used = {name.split(".")[0] for name in _imported(_tree(module))}
    forbidden = {"aiohttp", "asyncpg", "socket", "requests", "httpx", "subprocess", "os", "pathlib", "smtplib"}
    if module == "core/kernel/secrets.py":
        forbidden.remove("os")  # os.urandom, for nonces
    assert used & forbidden == set()


def test_no_table_is_left_out_of_what_migrations_know():
    from core.kernel.db import Base
    from hub import schema

    schema.load()
    defined = set()
    for module in MODULES:
        for node in ast.walk(_tree(module)):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__tablename__":
                defined.add(ast.literal_eval(node.value))
    assert defined == set(Base.metadata.tables)


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_left_to_be_done_later(module):
    source = (ROOT / module).read_text()
    assert re.search(r"# *(TODO|FIXME|XXX)\b", source) is None
    unfinished = [
        node.lineno
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Raise) and node.exc is not None and "NotImplementedError" in ast.dump(node.exc)
    ]
    assert unfinished == []
    assert re.search(r"https?://(pypi\.org|files\.pythonhosted|registry\.npmjs)", source) is None
