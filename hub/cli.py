"""The command line: what each subcommand is called with, and which function does it."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from core.kernel.errors import HubError
from hub.settings import Settings, load

Command = Callable[[Settings, argparse.Namespace], Awaitable[int]]


def run(arguments: Sequence[str]) -> int:
    """Do what was asked; return 0 (done), 1 (failed) or 2 (wrongly used)."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    command: Command | None = getattr(options, "command", None)
    if command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        settings = load()
        return _loop(command(settings, options))
    except HubError as error:
        print(f"switchyard: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1


def _loop(work: Awaitable[int]) -> int:
    try:
        import uvloop
    except ImportError:  # not on this platform; asyncio's own loop does
        return asyncio.run(_awaited(work))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_awaited(work))


async def _awaited(work: Awaitable[int]) -> int:
    return await work


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="switchyard", description="An omnichannel integration hub with a CRM core.", allow_abbrev=False
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _serving(commands)
    _staff(commands)
    _channels(commands)
    return parser


def _add(commands: Any, name: str, command: Command, help_text: str, *, json: bool = False) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = commands.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)
    added.set_defaults(command=command)
    if json:
        added.add_argument("--json", action="store_true", help="print JSON")
    return added


def _group(commands: Any, name: str, help_text: str) -> Any:
    group = commands.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)
    return group.add_subparsers(title="commands", metavar="COMMAND", required=True)


def _serving(commands: Any) -> None:
    from hub.commands import serving

    serve = _add(commands, "serve", serving.serve, "run the hub until Ctrl-C")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    serve.add_argument("--port", type=int, default=8080, help="port to listen on (8080)")
    serve.add_argument(
        "--role", action="append", choices=("web", "worker", "listener"), help="only this part; may be repeated (all)"
    )
    serve.add_argument("--processes", type=int, default=1, help="how many processes share the port (1)")
    serve.add_argument("--shared-port", action="store_true", help=argparse.SUPPRESS)
    migrate = _add(commands, "migrate", serving.migrate, "bring the database up to this release")
    migrate.add_argument("--dry-run", action="store_true", help="print the SQL instead of running it")


def _staff(commands: Any) -> None:
    from hub.commands import staff

    user = _group(commands, "user", "people who work here")
    add = _add(user, "add", staff.add_user, "take somebody on", json=True)
    add.add_argument("email", metavar="EMAIL")
    add.add_argument("--name", required=True)
    add.add_argument("--role", required=True, choices=("owner", "admin", "head", "manager", "specialist", "viewer"))
    add.add_argument("--team", action="append", help="a team by its name; without it, that of the role")
    add.add_argument("--extension", help="their telephone extension")
    add.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    token = _group(commands, "token", "keys to the REST API")
    create = _add(token, "create", staff.create_token, "make a token and print it, once", json=True)
    create.add_argument("--user", required=True, metavar="EMAIL")
    create.add_argument("--scope", action="append", help="narrow the token; may be repeated (all its user may do)")
    create.add_argument("--name", default="", help="what it is for")


def _channels(commands: Any) -> None:
    from hub.commands import channels

    connection = _group(commands, "connection", "configured channels")
    add = _add(connection, "add", channels.add, "connect a channel", json=True)
    add.add_argument("kind", metavar="KIND")
    add.add_argument("--title", required=True)
    add.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting; may be repeated")
