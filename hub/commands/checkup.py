"""The doctor's checks of everything but the database's content."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from hub.commands.probing import Answer
from hub.settings import KEY_FILE, Settings, misspelt

_GIBIBYTE = 1024**3
_WARN_BELOW = 2 * _GIBIBYTE
_FAIL_BELOW = 200 * 1024**2
_WEB = Path(__file__).parents[1] / "web" / "static"
_NEEDED_ASSETS = ("vendor/htmx.min.js", "vendor/icons.svg", "app.css")


class Verdict(StrEnum):
    """How a check went."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(NamedTuple):
    """What a check found, and what to do; `remedy` is "" where there is nothing to do."""

    name: str
    verdict: Verdict
    text: str
    remedy: str = ""


def python(version: tuple[int, ...]) -> Finding:
    """Whether this Python is new enough."""
    text = ".".join(str(part) for part in version)
    if version < (3, 11):
        return Finding(
            "python", Verdict.FAIL, f"Python {text}", "Install Python 3.11 or newer and run `make setup` again"
        )
    return Finding("python", Verdict.OK, f"Python {text}")


def settings_given(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Settings that were misspelt or do not go together."""
    wrong = misspelt(environment)
    for sentence in wrong:
        yield Finding("settings", Verdict.WARN, sentence, "Correct or remove it: it has no effect")
    if not wrong:
        yield Finding("settings", Verdict.OK, "All SWITCHYARD_ variables are known")
    if settings.trusted_proxies and settings.public_url is None:
        yield Finding(
            "public_url",
            Verdict.FAIL,
            "The hub is behind a proxy but does not know its public address: its links and signatures would be wrong",
            "Set SWITCHYARD_PUBLIC_URL=https://… as browsers and providers reach it",
        )
    elif settings.public_url is None:
        yield Finding(
            "public_url",
            Verdict.WARN,
            "Providers on the internet cannot call 127.0.0.1",
            "Set SWITCHYARD_PUBLIC_URL once the hub is reached by a name",
        )
    elif settings.public_url.startswith("http://") and "://127." not in settings.public_url:
        yield Finding(
            "public_url",
            Verdict.WARN,
            f"{settings.public_url} is not encrypted",
            "Put a proxy with a certificate before the hub and use https://",
        )
    else:
        yield Finding("public_url", Verdict.OK, settings.public_url)


def state_folder(settings: Settings) -> Finding:
    """Whether the state folder can be used, and by us alone."""
    folder = settings.state_dir
    if not folder.exists():
        return Finding("state folder", Verdict.OK, f"{folder} will be made when it is needed")
    if not folder.is_dir():
        return Finding(
            "state folder", Verdict.FAIL, f"{folder} is no folder", "Move it away, or set SWITCHYARD_STATE_DIR"
        )
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o022:
        return Finding(
            "state folder", Verdict.FAIL, f"Others may write in {folder} ({mode:04o})", f"chmod go-w {folder}"
        )
    return Finding("state folder", Verdict.OK, f"{folder} ({mode:04o})")


def secret_key(settings: Settings) -> Finding:
    """Whether there is a secret key that nobody else can read."""
    if settings.configured_secret_key is not None:
        return Finding("secret key", Verdict.OK, "Given by SWITCHYARD_SECRET_KEY")
    path = settings.state_dir / KEY_FILE
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text().strip()
    except FileNotFoundError:
        return Finding("secret key", Verdict.OK, "None yet; the first start makes one")
    except OSError as error:
        return Finding("secret key", Verdict.FAIL, f"{path}: {error.strerror}", "Let the user of the hub read it")
    if mode & 0o077:
        return Finding("secret key", Verdict.FAIL, f"Others can read {path} ({mode:04o})", f"chmod 600 {path}")
    if len(text) < 16:
        return Finding("secret key", Verdict.FAIL, f"{path} is damaged", "Restore it from a backup")
    return Finding("secret key", Verdict.OK, f"{path} ({mode:04o})")


def disk(settings: Settings) -> Finding:
    """Whether there is room for what will come in."""
    folder = settings.state_dir
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / _GIBIBYTE:.1f} GiB free at {folder}"
    if free < _FAIL_BELOW:
        return Finding("disk", Verdict.FAIL, text, "Make room now: a full disk stops the database")
    if free < _WARN_BELOW:
        return Finding("disk", Verdict.WARN, text, "Make room, or move SWITCHYARD_STATE_DIR to a larger disk")
    return Finding("disk", Verdict.OK, text)


def assets() -> Finding:
    """Whether what browsers need was fetched."""
    missing = [name for name in _NEEDED_ASSETS if not (_WEB / name).is_file()]
    if missing:
        return Finding("browser assets", Verdict.FAIL, f"{', '.join(missing)} missing", "Run `make setup`")
    return Finding("browser assets", Verdict.OK, "All there")


def catalogues() -> Finding:
    """Whether the translations can be read, and without being compiled at each start."""
    from hub.i18n import LANGUAGES, LOCALES

    stale = []
    for language in LANGUAGES:
        source = LOCALES / language / "LC_MESSAGES" / "switchyard.po"
        compiled = source.with_suffix(".mo")
        if source.exists() and (not compiled.exists() or compiled.stat().st_mtime < source.stat().st_mtime):
            stale.append(language)
    if stale:
        return Finding(
            "translations",
            Verdict.WARN,
            f"Not compiled: {', '.join(stale)}; each start does it anew",
            "Run `make setup`",
        )
    there = [name for name in LANGUAGES if (LOCALES / name / "LC_MESSAGES" / "switchyard.mo").exists()]
    return Finding("translations", Verdict.OK, f"English{''.join(f', {LANGUAGES[name]}' for name in there)}")


async def files(settings: Settings) -> Finding:
    """Whether files can be written where they are kept."""
    from channels.errors import Temporary
    from hub.files import open_files

    where = "the state folder"
    if settings.files_url is not None:
        where = settings.files_url.get_secret_value().partition("?")[0]
    try:
        await open_files(settings).check()
    except (Temporary, OSError, ValueError) as error:
        return Finding(
            "files",
            Verdict.FAIL,
            f"{where}: {str(error)[:300]}",
            "Mend SWITCHYARD_FILES_URL, or the rights of the folder",
        )
    return Finding("files", Verdict.OK, f"Files are kept in {where}")


async def mail(settings: Settings) -> Finding:
    """Whether the mail server takes our letters, as far as it tells before one is handed in."""
    server = settings.mail_server()
    if server is None:
        return Finding(
            "mail",
            Verdict.WARN,
            "No mail server: notifications are shown in the workspace alone",
            "Set SWITCHYARD_SMTP_URL",
        )
    import aiosmtplib

    where = f"{server.host}:{server.port}"
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        use_tls=server.tls,
        username=server.user,
        password=server.password,
        timeout=10,
    )
    try:
        async with client:
            await client.noop()
    except aiosmtplib.SMTPAuthenticationError as error:
        return Finding(
            "mail", Verdict.FAIL, f"{where} refuses us: {error.message}", "Correct the user in SWITCHYARD_SMTP_URL"
        )
    except (aiosmtplib.SMTPException, OSError) as error:
        return Finding("mail", Verdict.FAIL, f"{where} cannot be reached: {error}", "Correct SWITCHYARD_SMTP_URL")
    return Finding("mail", Verdict.OK, f"{where} answers")


def server(answer: Answer, base: str, now: datetime) -> Iterator[Finding]:
    """Whether the hub runs and says that it can do its work."""
    if answer.status is None:
        yield Finding(
            "server",
            Verdict.WARN,
            f"Nothing answers at {base} ({answer.text})",
            "Start it: switchyard serve; or say where it is with --url or SWITCHYARD_PUBLIC_URL",
        )
        return
    said = answer.json()
    if "status" not in said:
        yield Finding(
            "server",
            Verdict.FAIL,
            f"What answers at {base} is no hub ({answer.status})",
            "Is another program on that port, or the proxy set up wrongly?",
        )
        return
    if answer.status != 200:
        reasons = "; ".join(f"{name}: {value}" for name, value in said.items() if name != "status")
        yield Finding("server", Verdict.FAIL, f"{base} is not ready ({reasons})", "Look into the hub's log")
        return
    yield Finding("server", Verdict.OK, f"{base} is ready")
    if answer.date is not None:
        yield skew("its clock", answer.date, now)


def skew(name: str, theirs: datetime, ours: datetime) -> Finding:
    """Whether two clocks agree well enough for deadlines and leases."""
    seconds = abs((theirs - ours).total_seconds())
    text = f"{seconds:.1f} s apart from this machine"
    if seconds > 30:
        return Finding(name, Verdict.FAIL, text, "Set the clocks (NTP): deadlines and leases go by them")
    if seconds > 3:
        return Finding(name, Verdict.WARN, text, "Set the clocks (NTP)")
    return Finding(name, Verdict.OK, text)
