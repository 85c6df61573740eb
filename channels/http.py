"""The way out to providers: one HTTP client that notes what was said, with the secrets masked, and tells what went
wrong in the words of the contract.

A provider that cannot be reached has done nothing (`Temporary`); a connection that breaks once the request is on its
way may have done everything (`Uncertain`). The difference decides whether a customer gets a message twice.
"""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import aiohttp
import msgspec

from channels.errors import ChannelError, Temporary, Throttled, Unauthorised, Uncertain, Undeliverable
from webhooks.guard import is_forbidden

TIMEOUT = 30.0
"""Seconds a provider is waited for, unless a channel says otherwise."""

MASK = "•••"
_EXCERPT = 4_000
_MOST_ANSWER = 8 * 1024 * 1024
_SHORTEST_SECRET = 5  # masking every "1" would leave nothing to read


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request to a provider and its answer, as they may be shown: secrets masked, long bodies cut.

    `status` is None where no answer came, `problem` says why then. `took` is in milliseconds.
    """

    method: str
    url: str
    sent: str
    status: int | None
    answered: str
    problem: str
    took: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_fine(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text; what is not UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body, decoded.

        Raises:
            Uncertain: it is no JSON, so that nobody knows what the provider did.
        """
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Uncertain(f"The provider's answer ({self.status}) cannot be read: {self.text[:200]!r}") from error

    def object(self) -> dict[str, Any]:
        """Return the body, which has to be a JSON object.

        Raises:
            Uncertain: as `json`.
        """
        found = self.json()
        if not isinstance(found, dict):
            raise Uncertain(f"The provider's answer ({self.status}) makes no sense: {self.text[:200]!r}")
        return found

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait as the header Retry-After says it (RFC 9110 §10.2.3); None if it does not."""
        value = self.headers.get("Retry-After", "").strip()
        try:
            return max(0.0, float(value))
        except ValueError:
            pass
        try:
            # by the provider's clock, which says both
            now = parsedate_to_datetime(self.headers.get("Date", ""))
            return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
        except (TypeError, ValueError):
            return None

    def failure(self, said: str = "", *, code: str = "") -> ChannelError:
        """Return what a status means where the provider has no better way to say it.

        401 and 403: the credentials; 408, 425 and 5xx: try again; 429: too fast; anything else: never.
        """
        text = said or f"The provider answered {self.status}: {self.text[:200].strip() or 'nothing'}"
        code = code or str(self.status)
        if self.status == 429:
            return Throttled(text, self.retry_after, code=code)
        if self.status in (401, 403):
            return Unauthorised(text, code=code)
        if self.status in (408, 425) or self.status >= 500:
            return Temporary(text, self.retry_after, code=code)
        return Undeliverable(text, code=code)


class Http:
    """Talks to one connection's provider.

    `session` is for addresses that stand in our code or the connection's settings; `guarded` for those that come from
    outside (a file's URL in a message): it refuses addresses of the own network. `trusted` are origins
    (`https://host:port`) that settings name, and which need no guard. `secrets` are masked wherever they turn up.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        guarded: aiohttp.ClientSession,
        *,
        once: aiohttp.ClientSession | None = None,
        secrets: Iterable[str] = (),
        trusted: Iterable[str] = (),
        note: Callable[[Exchange], None] | None = None,
    ) -> None:
        self._session = session
        self._guarded = guarded
        self._once = once or session
        self._trusted = frozenset(origin for origin in (origin_of(url) for url in trusted) if origin)
        self._masked = _spellings(secrets)
        self._note = note

    async def call(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        form: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        body: bytes | aiohttp.FormData | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float = TIMEOUT,
        repeatable: bool = False,
        once: bool = False,
        private: bool = False,
    ) -> Answer:
        """Make a request and return its answer, whatever its status.

        `repeatable`: doing it twice does no harm, so that a broken connection is `Temporary`; so it is for GET. `once`:
        not for this GET, which sends something; it goes over a line of its own, and aiohttp is kept from making it
        again by itself where the line breaks. `private`: what is said holds secrets nobody knows yet (a fresh access
        token), so that only address and status are noted.

        Raises:
            Temporary: it did not reach the provider. Uncertain: it may have been done.
        """
        started, sent = time.monotonic(), _shown_body(json, form, body)
        more: dict[str, Any] = {}
        if json is not None:
            more["data"] = msgspec.json.encode(json)
            headers = {"Content-Type": "application/json", **(headers or {})}
        elif form is not None:
            more["data"] = aiohttp.FormData(list(form.items()) if isinstance(form, Mapping) else list(form))()
            headers = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        elif body is not None:
            more["data"] = body
        if auth is not None:
            headers = {"Authorization": _basic(auth), **(headers or {})}
        session = self._once if once else self._session
        if once:
            more["middlewares"] = (_unrepeated,)
        status: int | None = None
        answered = problem = ""
        try:
            async with session.request(
                method,
                url,
                params=query,
                headers=headers,
                allow_redirects=method == "GET",
                timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=10),
                **more,
            ) as response:
                status = response.status
                found = await _read(response)
                answered = found[:_EXCERPT].decode("utf-8", "replace")
                return Answer(status, dict(response.headers), found)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = f"{type(error).__name__}: {error}"
            raise self._trouble(error, url, not once and (repeatable or method == "GET")) from error
        finally:
            took = int((time.monotonic() - started) * 1000)
            if private:
                sent = answered = MASK
            self._keep(Exchange(method, url + _shown_query(query), sent, status, answered, problem, took))

    @asynccontextmanager
    async def open(
        self, url: str, *, headers: Mapping[str, str] | None = None, auth: tuple[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open a file for reading. Credentials are not taken along to another host.

        Raises:
            Temporary: try again. Undeliverable: it is gone, refused, or on an address nobody outside may name.
        """
        session = self._session if origin_of(url) in self._trusted else self._guarded
        started, status, problem = time.monotonic(), None, ""
        if auth is not None:
            headers = {"Authorization": _basic(auth), **(headers or {})}
        try:
            async with session.get(
                url,
                headers=headers,
                max_redirects=5,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30),
            ) as response:
                status = response.status
                if status in (408, 425, 429) or status >= 500:
                    raise Temporary(f"The file cannot be had just now: {status}", code=str(status))
                if status != 200:
                    raise Undeliverable(f"The file is not to be had: {status}", code=str(status))
                yield response
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
            raise Undeliverable(f"This is no address of a file: {self.masked(url)[:200]}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = f"{type(error).__name__}: {error}"
            if is_forbidden(error):
                raise Undeliverable("The file lies at an address of the own network, which is not fetched") from error
            raise Temporary(f"The file cannot be had just now: {self.masked(problem)[:200]}") from error
        finally:
            took = int((time.monotonic() - started) * 1000)
            self._keep(Exchange("GET", url, "", status, "", problem, took))

    async def stream(
        self, url: str, *, headers: Mapping[str, str] | None = None, auth: tuple[str, str] | None = None
    ) -> tuple[AsyncIterator[bytes], str, int]:
        """Open a file and return its bytes in pieces, its content type, and its size (0: not said).

        Raises:
            As `open`; Temporary also while it is read.
        """
        opened = self.open(url, headers=headers, auth=auth)
        response = await opened.__aenter__()

        async def pieces() -> AsyncIterator[bytes]:
            error: BaseException | None = None
            try:
                async for piece in response.content.iter_chunked(65_536):
                    yield piece
            except BaseException as caught:
                error = caught
                raise
            finally:
                if error is None or isinstance(error, GeneratorExit):
                    await opened.__aexit__(None, None, None)
                else:
                    await opened.__aexit__(type(error), error, error.__traceback__)

        return pieces(), response.content_type, response.content_length or 0

    def masked(self, text: str) -> str:
        """Return a text without our secrets, however they are spelled in it."""
        for spelling in self._masked:
            text = text.replace(spelling, MASK)
        return text

    def note(self, method: str, url: str, sent: str, *, status: int | None, answered: str, took: int = 0) -> None:
        """Note an exchange made by other means than HTTP (a letter, an SMPP unit)."""
        self._keep(Exchange(method, url, sent[:_EXCERPT], status, answered[:_EXCERPT], "", took))

    def _keep(self, exchange: Exchange) -> None:
        if self._note is None:
            return
        self._note(
            Exchange(
                exchange.method,
                self.masked(exchange.url)[:2_000],
                self.masked(exchange.sent),
                exchange.status,
                self.masked(exchange.answered),
                self.masked(exchange.problem)[:500],
                exchange.took,
            )
        )

    def _trouble(self, error: Exception, url: str, is_repeatable: bool) -> ChannelError:
        host = urlsplit(url).hostname or "the provider"
        said = self.masked(str(error))[:200] or type(error).__name__
        if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
            return Undeliverable(f"{self.masked(url)[:200]!r} is no address")
        unreached = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
        if unreached or is_repeatable:
            return Temporary(f"{host} cannot be reached: {said}", code="unreachable")
        return Uncertain(f"{host} broke off before it answered ({said}), so the message may have gone", code="broken")


class _BrokenOff(aiohttp.ClientError):
    """The line broke after the request was begun."""


async def _unrepeated(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Call a broken line something else: aiohttp makes a GET again by itself when it sees one, whatever it did."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # nothing was sent, and nothing is repeated
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _BrokenOff(str(error) or type(error).__name__) from error


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address in one spelling; "" if it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}:{port}" if parts.hostname and port else ""


def _basic(auth: tuple[str, str]) -> str:
    """Return HTTP's basic authentication (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{auth[0]}:{auth[1]}".encode()).decode()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    async for piece in response.content.iter_chunked(65_536):
        found += piece
        if len(found) > _MOST_ANSWER:
            raise aiohttp.ClientPayloadError("the answer is larger than 8 MB")
    return bytes(found)


def _spellings(secrets: Iterable[str]) -> tuple[str, ...]:
    """Return the ways in which secrets may be spelled in a request, longest first."""
    found: set[str] = set()
    for secret in secrets:
        if len(secret) < _SHORTEST_SECRET:
            continue
        found |= {secret, quote(secret, safe=""), quote_plus(secret), base64.b64encode(secret.encode()).decode()}
        found.add(msgspec.json.encode(secret).decode()[1:-1])
    return tuple(sorted(found, key=len, reverse=True))


def _shown_query(query: Mapping[str, str] | None) -> str:
    return "?" + "&".join(f"{quote(k)}={quote(v)}" for k, v in query.items()) if query else ""


def _shown_body(json: Any, form: Any, body: Any) -> str:
    if json is not None:
        return msgspec.json.encode(json)[:_EXCERPT].decode("utf-8", "replace")
    if form is not None:
        pairs = form.items() if isinstance(form, Mapping) else form
        return "&".join(f"{key}={value}" for key, value in pairs)[:_EXCERPT]
    if isinstance(body, bytes):
        return f"({len(body)} bytes)"
    return "" if body is None else "(a form with files)"
