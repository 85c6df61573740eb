"""The command line: what each subcommand is called with, and which function does it.

Nothing heavy is imported here: a command's module is loaded when the command is run, so that help comes at once.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from core.kernel.errors import HubError

if TYPE_CHECKING:
    from hub.settings import Settings

ROLES = ("owner", "admin", "head", "manager", "specialist", "viewer")
STATES = ("received", "processed", "ignored", "failed", "dead")


def run(arguments: Sequence[str]) -> int:
    """Do what was asked; return 0 (done), 1 (failed), 2 (wrongly used) or 130 (interrupted)."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "command"):
        parser.print_help(sys.stderr)
        return 2
    try:
        from hub.settings import load

        module, _, name = options.command.partition(":")
        return _loop(getattr(import_module(f"hub.commands.{module}"), name), load(), options)
    except HubError as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us has gone; nothing is left to say
        return 1
    except Exception as error:
        from hub.commands.failures import explained

        explanation = explained(error)
        if explanation is None:
            raise
        return _failed(explanation)


def _failed(message: str) -> int:
    print(f"switchyard: {message}", file=sys.stderr)
    return 1


def _loop(command: Any, settings: Settings, options: argparse.Namespace) -> int:
    async def work() -> int:
        awaited: Awaitable[int] = command(settings, options)
        return await awaited

    try:
        import uvloop
    except ImportError:  # not on this platform; asyncio's own loop does
        return asyncio.run(work())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work())


class _Parser(argparse.ArgumentParser):
    """Tells after a mistake where help is."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave with 2."""
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}. More: {self.prog} --help\n")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(
        prog="switchyard",
        description="An omnichannel integration hub with a CRM core.",
        epilog="Settings are SWITCHYARD_* environment variables or lines of the file .env in the current folder.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands")
    _serving(commands)
    _staff(commands)
    _channels(commands)
    _deliveries(commands)
    _upkeep(commands)
    return parser


def _add(commands: Any, name: str, command: str, help_text: str, *, json: bool = False) -> argparse.ArgumentParser:
    """Add a subcommand; `command` is `module:function` below hub.commands."""
    added: argparse.ArgumentParser = commands.add_parser(
        name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".", allow_abbrev=False
    )
    added.set_defaults(command=command)
    if json:
        added.add_argument("--json", action="store_true", help="print JSON")
    return added


def _group(commands: Any, name: str, help_text: str) -> Any:
    group = commands.add_parser(
        name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".", allow_abbrev=False
    )
    return group.add_subparsers(title="commands", required=True)


def _number(text: str, least: int, most: int, what: str) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text!r} is no {what} ({least} to {most})")
    return int(text)


def _port(text: str) -> int:
    return _number(text, 1, 65535, "port")


def _processes(text: str) -> int:
    return _number(text, 1, 256, "number of processes")


def _limit(text: str) -> int:
    return _number(text, 1, 100_000, "number of rows")


def _id(text: str) -> int:
    return _number(text, 1, 2**63 - 1, "id")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"KEY=VALUE is wanted, not {text!r}")
    return name.strip(), value


def _serving(commands: Any) -> None:
    serve = _add(commands, "serve", "serving:serve", "run the hub until Ctrl-C")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    serve.add_argument("--port", type=_port, default=8080, help="port to listen on (8080)")
    serve.add_argument(
        "--role",
        action="append",
        choices=("web", "worker", "listener"),
        metavar="ROLE",
        help="only this part of it: web, worker or listener; may be repeated (all)",
    )
    serve.add_argument(
        "--processes", type=_processes, default=1, metavar="N", help="how many processes share the port (1)"
    )
    serve.add_argument("--shared-port", action="store_true", help=argparse.SUPPRESS)
    migrate = _add(commands, "migrate", "serving:migrate", "bring the database up to this release")
    migrate.add_argument("--dry-run", action="store_true", help="print the SQL instead of running it")


def _staff(commands: Any) -> None:
    user = _group(commands, "user", "people who work here")
    add = _add(user, "add", "staff:add_user", "take somebody on", json=True)
    add.add_argument("email", metavar="EMAIL")
    add.add_argument("--name", required=True)
    add.add_argument("--role", required=True, choices=ROLES, metavar="ROLE", help=", ".join(ROLES))
    add.add_argument(
        "--team", action="append", metavar="NAME", help="a team to join; may be repeated (that of the role)"
    )
    add.add_argument("--extension", help="their telephone extension")
    add.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    _add(user, "list", "staff:list_users", "show who works here", json=True)
    password = _add(user, "password", "staff:set_password", "give somebody a new password and sign them out everywhere")
    password.add_argument("email", metavar="EMAIL")
    password.add_argument("--password-stdin", action="store_true", help="read it from standard input (asked for)")
    deactivate = _add(user, "deactivate", "staff:deactivate_user", "dismiss somebody: no sign-in, no tokens, no work")
    deactivate.add_argument("email", metavar="EMAIL")

    token = _group(commands, "token", "keys to the REST API")
    create = _add(token, "create", "staff:create_token", "make a token and print it, once", json=True)
    create.add_argument("--user", required=True, metavar="EMAIL")
    create.add_argument(
        "--scope", action="append", help="what it may: read, write, deals:read, …; may be repeated (all its user may)"
    )
    create.add_argument("--name", default="", help="what it is for")
    _add(token, "list", "staff:list_tokens", "show the tokens there are", json=True)
    revoke = _add(token, "revoke", "staff:revoke_token", "make a token useless at once")
    revoke.add_argument("id", type=_id, metavar="ID")


def _channels(commands: Any) -> None:
    connection = _group(commands, "connection", "configured channels")
    add = _add(connection, "add", "channels:add", "connect a channel and print its id, key and hook address as JSON")
    add.add_argument("kind", metavar="KIND", help="see: switchyard connection kinds")
    add.add_argument("--title", required=True, help="what people call it")
    add.add_argument(
        "--set", action="append", type=_pair, default=[], metavar="KEY=VALUE", help="a setting; may be repeated"
    )
    add.add_argument("--json", action="store_true", help=argparse.SUPPRESS)  # it prints JSON anyway
    _add(connection, "list", "channels:list_all", "show the channels and how they are doing", json=True)
    test = _add(connection, "test", "channels:test", "check a channel and ask its provider how it is", json=True)
    test.add_argument("id", type=_id, metavar="ID")
    test.add_argument("--url", help="where the hub answers (SWITCHYARD_PUBLIC_URL, else http://127.0.0.1:8080)")
    pause = _add(connection, "pause", "channels:pause", "stop taking and sending until it is resumed")
    pause.add_argument("id", type=_id, metavar="ID")
    pause.add_argument("--because", default="", metavar="REASON", help="what colleagues are shown")
    resume = _add(connection, "resume", "channels:resume", "take and send again")
    resume.add_argument("id", type=_id, metavar="ID")
    _add(connection, "kinds", "channels:kinds", "show the kinds of channel there are and their settings", json=True)


def _deliveries(commands: Any) -> None:
    delivery = _group(commands, "delivery", "requests from outside, word for word")
    list_all = _add(delivery, "list", "deliveries:list_all", "show what came in, newest first", json=True)
    list_all.add_argument("--state", choices=STATES, metavar="STATE", help="only " + ", ".join(STATES))
    list_all.add_argument("--limit", type=_limit, default=50, metavar="N", help="how many at most (50)")
    show = _add(delivery, "show", "deliveries:show_one", "show a request and what became of it", json=True)
    show.add_argument("id", type=_id, metavar="ID")
    replay = _add(delivery, "replay", "deliveries:replay", "have requests read again as if they were new", json=True)
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("ids", type=_id, nargs="*", default=[], metavar="ID")
    which.add_argument(
        "--state", choices=("failed", "dead", "ignored"), metavar="STATE", help="all that are failed, dead or ignored"
    )


def _upkeep(commands: Any) -> None:
    demo = _add(commands, "demo", "demo:fill", "fill an empty database with a living demo company", json=True)
    demo.add_argument("--seed", type=int, default=7, help=argparse.SUPPRESS)
    doctor = _add(commands, "doctor", "doctor:examine", "check everything and say what to do", json=True)
    doctor.add_argument("--url", help="where the hub answers (SWITCHYARD_PUBLIC_URL, else http://127.0.0.1:8080)")
    backup = _add(commands, "backup", "backups:backup", "write the whole database to a file")
    backup.add_argument("file", metavar="FILE")
    backup.add_argument("--force", action="store_true", help="replace the file if it is there")
    restore = _add(commands, "restore", "backups:restore", "put a backup into an empty database")
    restore.add_argument("file", metavar="FILE")
    restore.add_argument("--force", action="store_true", help="replace what the database holds now")
