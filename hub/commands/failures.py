"""What goes wrong outside of the hub, told to the person at the keyboard in place of a traceback."""

from __future__ import annotations

import errno
import socket

import asyncpg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from core.kernel.errors import HubError

CHECK = "Is PostgreSQL running, and is SWITCHYARD_DATABASE_URL right?"


class PortTaken(HubError):
    """The hub cannot listen where it was told to."""


def cannot_listen(error: OSError, host: str, port: int) -> PortTaken | None:
    """Return what to tell if it was the opening of our port that failed; None if it was something else."""
    if "bind" not in str(error) and not isinstance(error, socket.gaierror):
        return None
    if error.errno == errno.EADDRINUSE:
        return PortTaken(f"Port {port} is taken by another program. Choose one with --port (make run PORT={port + 1})")
    if error.errno in (errno.EACCES, errno.EPERM):
        return PortTaken(f"Port {port} is open to root alone. Choose one above 1023 with --port")
    return PortTaken(f"The hub cannot listen on {host}: {error}. Choose an address of this machine with --host")


def explained(error: BaseException) -> str | None:
    """Return what to tell about an expected failure; None for one that is a fault of ours and wants its traceback."""
    cause: BaseException | None = error
    while cause is not None:
        if (text := _explained(cause)) is not None:
            return text
        cause = getattr(cause, "orig", None) or cause.__cause__
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return f"The database has gone away. Nothing was changed. {CHECK}"
    return None


def _explained(error: BaseException) -> str | None:
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return f"The database does not let us in: {error}. Correct SWITCHYARD_DATABASE_URL"
        case asyncpg.InvalidCatalogNameError():
            return f"{str(error).capitalize()} on the server. Create it (createdb), or correct SWITCHYARD_DATABASE_URL"
        case asyncpg.InsufficientPrivilegeError():
            return f"The database does not let us do that: {error}. Give the role of SWITCHYARD_DATABASE_URL that right"
        case asyncpg.CannotConnectNowError() | asyncpg.TooManyConnectionsError():
            return f"The database takes nobody just now: {error}. Try again in a moment"
        case asyncpg.DiskFullError():
            return f"The disk of the database is full: {error}. Nothing was changed"
        case asyncpg.PostgresConnectionError() | asyncpg.InterfaceError():
            return f"The database has gone away: {error}. {CHECK}"
        case TimeoutError() | ConnectionError() | socket.gaierror():
            return f"The database cannot be reached: {error or 'it does not answer'}. {CHECK}"
        case OSError() if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH) or "Connect call failed" in str(error):
            return f"The database cannot be reached: {error}. {CHECK}"
        case OSError() if error.filename is not None:
            return f"{error.filename}: {error.strerror}"
    if type(error).__module__.startswith("alembic") and "revision" in str(error):
        return "The database was made by a newer release than this one. Update the program; nothing was changed"
    return None


def is_about_the_database(error: BaseException) -> bool:
    """Whether an error came from the database or the way to it."""
    return isinstance(error, OSError | TimeoutError | SQLAlchemyError | asyncpg.PostgresError | asyncpg.InterfaceError)
