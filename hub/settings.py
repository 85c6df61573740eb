"""What differs between one installation and another. Read once, at the start.

Anything an administrator changes while the hub runs (connections, pipelines, rules) lives in the database instead.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from email.utils import parseaddr
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core.kernel.errors import HubError

PREFIX = "SWITCHYARD_"
KEY_FILE = "secret_key"
MEBIBYTE = 1024 * 1024


class BadSettings(HubError):
    """The settings cannot be used; the message has one line for each that has to change."""


@dataclass(frozen=True)
class MailServer:
    """Where notification e-mail is handed in. `tls` is TLS from the first byte; otherwise STARTTLS where offered."""

    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None = field(repr=False)


def _url(*schemes: str) -> AfterValidator:
    def check(value: Any) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        try:
            parts = urlsplit(text)
            _ = parts.port
        except ValueError as error:
            raise ValueError(f"is no usable URL ({error})") from None
        if parts.scheme not in schemes or not (parts.netloc or (parts.scheme == "file" and parts.path)):
            raise ValueError("must begin with " + " or ".join(f"{scheme}://" for scheme in schemes))
        return value

    return AfterValidator(check)


class Settings(BaseSettings):
    """Settings from `SWITCHYARD_*` environment variables or the file `.env`; the environment wins.

    Make it with `load`, which explains what is wrong. What may hold a password is a `SecretStr`, so that printing
    the settings shows none.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    database_url: SecretStr | None = None
    """`postgresql+asyncpg://…` of a PostgreSQL 15 or newer. None: the embedded one. See `_speaks_asyncpg`."""

    state_dir: Path = Path(".state")
    """Where everything is kept that is not in an external database. Absolute once loaded."""

    public_url: Annotated[str, _url("http", "https")] | None = None
    """How browsers and providers reach us, without a final slash. None: the address we listen on."""

    configured_secret_key: SecretStr | None = Field(default=None, alias="SWITCHYARD_SECRET_KEY", min_length=16)
    """The key as somebody set it. Use `secret_key()`."""

    nats_url: Annotated[SecretStr, _url("nats", "tls")] | None = None
    """NATS JetStream as the front log. None: PostgreSQL alone."""

    files_url: Annotated[SecretStr, _url("s3", "file")] | None = None
    """Where attachments and recordings go. None: the state folder."""

    desk_telegram_token: SecretStr | None = None
    """Token of the Telegram bot our own people talk to. None: no desk in Telegram."""

    telegram_api: Annotated[str, _url("http", "https")] = "https://api.telegram.org"
    """The Bot API server, without a final slash."""

    log_format: Literal["console", "json"] = "console"
    """For people, or one JSON object a line."""

    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()
    """Networks whose `X-Forwarded-*` we believe. Written with commas: `10.0.0.0/8, ::1`."""

    smtp_url: Annotated[SecretStr, _url("smtp", "smtps")] | None = None
    """`smtp://user:password@host:port`, or `smtps://`. None: no notification e-mail. Use `mail_server()`."""

    smtp_sender: str | None = None
    """From whom notification e-mail comes: `sales@example.com` or `Switchyard <sales@example.com>`."""

    ingress_buffer_requests: int = Field(default=5_000, ge=1)
    """Inbound requests that may wait for the next commit; more are told to come again (503)."""

    ingress_buffer_bytes: int = Field(default=64 * MEBIBYTE, ge=MEBIBYTE)
    """The same limit in bytes of their bodies."""

    max_body_bytes: int = Field(default=12 * MEBIBYTE, ge=1024)
    """The longest request body taken, in bytes; a longer one is refused (413)."""

    pool_size: int = Field(default=10, ge=2, le=500)
    """Database connections a process may hold."""

    pg_bindir: Path | None = None
    """Folder with the programs of another PostgreSQL for the embedded server. None: see `hub.embedded`."""

    pg_user: str | None = None
    """Whom the embedded server runs as when the hub is started by root. None: `nobody`."""

    pg_port: int = Field(default=0, ge=0, le=65535)
    """Port of the embedded server on 127.0.0.1; 0: a free one, remembered in the state folder."""

    @field_validator("database_url")
    @classmethod
    def _speaks_asyncpg(cls, value: SecretStr | None) -> SecretStr | None:
        """Accept the spellings other programs use, so that a provider's URL can be pasted as it is."""
        return None if value is None else SecretStr(asyncpg_url(value.get_secret_value()))

    @field_validator("state_dir", "pg_bindir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("public_url", "telegram_api")
    @classmethod
    def _without_final_slash(cls, value: str | None) -> str | None:
        return value.rstrip("/") if value else value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(ip_network(part.strip(), strict=False) for part in value.split(",") if part.strip())

    @field_validator("smtp_sender")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and "@" not in parseaddr(value)[1]:
            raise ValueError("must be an e-mail address, like sales@example.com or Switchyard <sales@example.com>")
        return value

    @model_validator(mode="after")
    def _mail_has_a_sender(self) -> Settings:
        server = self.mail_server()
        if server is not None and self.smtp_sender is None and "@" not in (server.user or ""):
            raise ValueError(f"{PREFIX}SMTP_SENDER: is needed with {PREFIX}SMTP_URL, like sales@example.com")
        return self

    def provider_urls(self) -> dict[str, str]:
        """Return providers' addresses that the installation sets for all its connections, by kind."""
        standard = type(self).model_fields["telegram_api"].default
        kinds = ("telegram", "desk_telegram")
        return {} if self.telegram_api == standard else dict.fromkeys(kinds, self.telegram_api)

    def mail_server(self) -> MailServer | None:
        """Return where to hand in notification e-mail, or None when none is to be sent."""
        if self.smtp_url is None:
            return None
        parts = urlsplit(self.smtp_url.get_secret_value())
        tls = parts.scheme == "smtps"
        return MailServer(
            host=parts.hostname or "localhost",
            port=parts.port or (465 if tls else 587),
            tls=tls,
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )

    def mail_sender(self) -> str | None:
        """Return the From of notification e-mail; None exactly when `mail_server` is None."""
        server = self.mail_server()
        return None if server is None else self.smtp_sender or server.user

    def secret_key(self) -> bytes:
        """Return the 32 bytes from which every other key is derived.

        They come from `SWITCHYARD_SECRET_KEY`, else from a file in the state folder that the first process to ask
        makes. The file's text may be moved to the setting: the key stays the same.

        Raises:
            BadSettings: the file cannot be made or read, or is damaged.
        """
        if self.configured_secret_key is not None:
            text = self.configured_secret_key.get_secret_value()
        else:
            path = self.state_dir / KEY_FILE
            try:
                text = _kept_once(path)
            except OSError as error:
                raise BadSettings(
                    f"The secret key cannot be kept in {path}: {error.strerror}. "
                    f"Let this user write there, or set {PREFIX}STATE_DIR or {PREFIX}SECRET_KEY."
                ) from error
            if len(text) < 16:
                raise BadSettings(
                    f"{path} is damaged. Restore it from a backup: without it the stored secrets of the connections "
                    "cannot be read. In an installation with none, delete it."
                )
        return hashlib.sha256(text.encode()).digest()


def load(env_file: Path | str | None = ".env") -> Settings:
    """Read the settings.

    Raises:
        BadSettings: a value cannot be used. No value is repeated in the message, as it may be a secret.
    """
    try:
        return Settings(_env_file=env_file)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors(include_url=False, include_input=False)]
    raise BadSettings("These settings (environment or .env) cannot be used:\n  " + "\n  ".join(lines))


def misspelt(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that looks like a setting of ours and is none."""
    known = [_variable(name) for name in Settings.model_fields]
    sentences = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known and not name.startswith(PREFIX + "TEST_"):
            near = get_close_matches(name, known, n=1)
            sentences.append(f"{name} is no setting" + (f"; did you mean {near[0]}?" if near else "."))
    return sentences


def asyncpg_url(url: str) -> str:
    """Return a PostgreSQL URL in the spelling SQLAlchemy's asyncpg dialect takes: its scheme, and `ssl` for `sslmode`.

    Raises:
        ValueError: it is no PostgreSQL URL with a database name.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql+asyncpg", "postgresql", "postgres"):
        raise ValueError("must be like postgresql://user:password@host:5432/database")
    if not parts.path.strip("/"):
        raise ValueError("names no database; it must be like postgresql://user:password@host:5432/database")
    query = [("ssl" if name == "sslmode" else name, value) for name, value in parse_qsl(parts.query)]
    return urlunsplit(("postgresql+asyncpg", parts.netloc, parts.path, urlencode(query), ""))


def libpq_url(url: str) -> str:
    """Return the same database in the spelling that asyncpg without SQLAlchemy, `psql` and `pg_dump` take."""
    parts = urlsplit(url)
    query = [("sslmode" if name == "ssl" else name, value) for name, value in parse_qsl(parts.query)]
    return urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(query), ""))


def prepare_state_dir(state_dir: Path) -> None:
    """Make the state folder if it is missing.

    Others may pass through (the embedded server runs as another user when root starts the hub) but not look around.
    A folder that exists is left as it is.
    """
    if not state_dir.is_dir():
        state_dir.mkdir(parents=True, exist_ok=True)
        state_dir.chmod(0o711)


def _kept_once(path: Path) -> str:
    """Return the file's text, made at random by whichever process comes first; never a half-written one."""
    prepare_state_dir(path.parent)
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(32))
                file.flush()
                os.fsync(file.fileno())
            # A hard link appears with its whole content, or fails because another process was first.
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink()
    return path.read_text().strip()


def _variable(name: str) -> str:
    return Settings.model_fields[name].alias or PREFIX + name.upper()


def _explain(problem: Any) -> str:
    said = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:
        return said
    name = str(problem["loc"][0])
    return f"{_variable(name) if name in Settings.model_fields else name}: {said}"
