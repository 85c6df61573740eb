"""What the channels of Meta have in common: one app, one address, one signature for all of its accounts.

An app has a single callback for its WhatsApp numbers, Pages and Instagram accounts. So a request at the hook of any
connection may hold events of several others, of other kinds even: all of them come out, each with the `account` it is
for, and the hub finds the connection.

Set up    developers.facebook.com → the app → Webhooks: the hook's address and the verify token, for each of the objects
          `whatsapp_business_account`, `page` and `instagram`; then subscribe to the fields named in each channel
Calls us  GET with `hub.challenge` when the address is entered, then POST with JSON
Checks    `X-Hub-Signature-256`: HMAC-SHA256 over the raw bytes with the app secret. Meta signs `\\u041f`, not the
          letter: a body that was decoded and encoded again has another signature
Repeats   the same bytes are the same delivery; an event that comes again in another one is known by its own id
Quirks    any answer but 200 is repeated for days, and in the end switches the webhook off
Source    Meta, "Graph API: Webhooks, Getting Started"
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, quote

import aiohttp
from pydantic import ConfigDict, Field, SecretStr

from channels import messenger_events, whatsapp_events
from channels.contract import MANY, ChannelSettings, Checked, ParseContext, Routed, Tools
from channels.errors import Misconfigured, Temporary, Uncertain
from channels.fields import Fields, object_of
from channels.http import TIMEOUT, Answer
from channels.meta_errors import failure
from channels.shared_secret import same
from core.kernel.envelopes import Event
from webhooks.errors import BadSignature, NotConfigured, Refused
from webhooks.request import RawRequest, Reply

GRAPH = "https://graph.facebook.com"
INSTAGRAM_GRAPH = "https://graph.instagram.com"
VERSION = "v25.0"
UPLOAD_TIMEOUT = 180.0
_LONGEST_CHALLENGE = 1_000


class MetaSettings(ChannelSettings):
    """What an administrator fills in for every channel of Meta's."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True, str_strip_whitespace=True)

    app_secret: SecretStr = Field(
        title="App secret",
        description="In the app, under App settings → Basic. Meta signs what it sends us with it.",
    )
    verify_token: SecretStr = Field(
        SecretStr(""),
        title="Verify token",
        description="Enter it beside the hook's address when you add the webhook in the app.",
        json_schema_extra={"made": True},
    )
    access_token: SecretStr = Field(
        title="Access token",
        description="One that does not expire, of a system user or of the Page.",
    )
    api_version: str = Field(
        VERSION,
        title="Version of the Graph API",
        pattern=r"^v\d{1,3}\.\d{1,2}$",
        json_schema_extra={"advanced": True},
    )


class MetaApp:
    """The inbound half of every channel of Meta's, and its way to the Graph API."""

    account = ""

    def __init__(self, settings: MetaSettings) -> None:
        self._app_secret = settings.app_secret
        self._verify_token = settings.verify_token
        self._access_token = settings.access_token
        self._api = f"{(settings.base_url or self._home(settings)).rstrip('/')}/{settings.api_version}"

    @property
    def app(self) -> str:
        """Stands for the app: whoever can sign for one may not speak for the accounts of another."""
        secret = self._app_secret.get_secret_value()
        return hashlib.blake2b(secret.encode(), digest_size=16).hexdigest() if secret else ""

    def handshake(self, request: RawRequest) -> Reply | None:
        """Answer Meta's question whether the address is ours.

        Raises:
            Refused: it does not know the verify token. NotConfigured: there is none.
        """
        asked = _query(request)
        if request.method not in ("GET", "HEAD") or asked.get("hub.mode") != "subscribe":
            return None
        expected = self._verify_token.get_secret_value()
        if not expected:
            raise NotConfigured("This channel has no verify token yet. Enter one in its settings")
        if not same(asked.get("hub.verify_token", ""), expected):
            raise Refused("The verify token is not this channel's. Copy it from the channel's settings")
        challenge = asked.get("hub.challenge", "")[:_LONGEST_CHALLENGE]
        return Reply(challenge.encode("utf-8", "replace"), content_type="text/plain")

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the signature over the body.

        Raises:
            BadSignature: it is missing or wrong. NotConfigured: there is no app secret.
        """
        secret = self._app_secret.get_secret_value()
        if not secret:
            raise NotConfigured("This channel has no app secret yet, so nothing is accepted. Enter it in its settings")
        given = request.headers.get("x-hub-signature-256", "").strip()
        expected = "sha256=" + hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
        if not same(given, expected):
            raise BadSignature("The signature is not made with this app's secret. Nothing was stored")

    def route(self, request: RawRequest) -> Routed:
        """Tell repeats by their bytes, and whose the request is if it is about one person.

        Raises:
            Malformed: it is no JSON object.
        """
        return routed(request, _peers(object_of(request)))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read every event, for whichever account.

        Raises:
            Malformed: it is no JSON object.
        """
        return list(events(object_of(request), context.received_at, self._windows()))

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say that it came."""
        return Reply(b"EVENT_RECEIVED", content_type="text/plain")

    async def graph(
        self,
        method: str,
        path: str,
        tools: Tools,
        *,
        json: object = None,
        body: aiohttp.FormData | None = None,
        query: Mapping[str, str] | None = None,
        repeatable: bool = False,
    ) -> Fields:
        """Ask the Graph API and return its answer.

        Raises:
            ChannelError: what Meta said, by what happens next.
        """
        answer = await tools.http.call(
            method,
            f"{self._api}/{path}",
            json=json,
            body=body,
            query=query,
            headers=self.credentials(),
            timeout=UPLOAD_TIMEOUT if body is not None else TIMEOUT,
            repeatable=repeatable,
        )
        try:
            return found_in(answer, tools)
        except Uncertain as error:
            if method == "GET" or repeatable:  # asking again does no harm
                raise Temporary(str(error), code=error.code) from error
            raise

    def credentials(self) -> dict[str, str]:
        """Return the header by which Meta knows us; never the query, which ends up in logs."""
        return {"Authorization": f"Bearer {self._access_token.get_secret_value()}"}

    def _home(self, settings: MetaSettings) -> str:
        """Return where the API is when the settings do not say."""
        return GRAPH

    def _windows(self) -> Mapping[str, timedelta]:
        """Return the accounts that may answer for longer than a day."""
        return {}


def events(document: Fields, received_at: datetime, windows: Mapping[str, timedelta]) -> Iterator[Event]:
    """Read a notification of any of the objects an app is called for."""
    about = document.text("object")
    if about == "whatsapp_business_account":
        yield from whatsapp_events.read(document, whatsapp_events.SCHEME, received_at)
    elif about == "page":
        yield from messenger_events.read(document, messenger_events.MESSENGER, received_at, windows)
    elif about == "instagram":
        yield from messenger_events.read(document, messenger_events.INSTAGRAM, received_at, windows)


def routed(request: RawRequest, peers: Iterator[str]) -> Routed:
    """Make the key of a request from its bytes, and name its peer if there is but one."""
    whose = {peer for peer in peers if peer}
    peer = "" if not whose else next(iter(whose)) if len(whose) == 1 else MANY
    return Routed("body:" + hashlib.blake2b(request.body, digest_size=16).hexdigest(), None, peer)


def found_in(answer: Answer, tools: Tools) -> Fields:
    """Return what the API answered.

    Raises:
        ChannelError: what it refused, by what happens next. Uncertain: nobody can read it.
    """
    error = failure(answer, tools.http)
    if error is not None:
        raise error
    return Fields(answer.object())


async def check_page(app: MetaApp, page: str, tools: Tools) -> Checked:
    """Ask Meta whose the token is: it has to be the Page's own.

    Raises:
        Misconfigured: it is another's. ChannelError: what Meta said.
    """
    found = await app.graph("GET", "me", tools, query={"fields": "id,name"})
    whose, name = found.id("id"), found.text("name")
    if whose and whose != page:
        raise Misconfigured(
            f"The access token is of {name or 'somebody'} ({whose}), not of the Page {page}. Enter the Page's own token"
        )
    return Checked(f"Page {name or page} answers", {"page": name or page})


def part_of_path(reference: str) -> str:
    """Write an id that came from outside so that it stays one step of a path."""
    return quote(reference, safe="")


def _peers(document: Fields) -> Iterator[str]:
    if document.text("object") == "whatsapp_business_account":
        return whatsapp_events.peers(document)
    return messenger_events.peers(document)


def _query(request: RawRequest) -> dict[str, str]:
    try:
        return dict(parse_qsl(request.query, keep_blank_values=True, max_num_fields=100))
    except ValueError:
        return {}
