"""The whole contract between the hub and a channel, on one page.

A channel is made from its settings and knows nothing of the database. The inbound half is pure: `handshake`, `verify`,
`route`, `parse`, `read_part` and `acknowledge` take bytes and give values. The rest talks to the provider, through the
`Tools` it is handed, and says what went wrong by the errors of `channels.errors`. What a channel cannot do it simply
does not have: the hub asks by the protocols below.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from channels.http import Http
from core.kernel.addresses import Address
from core.kernel.envelopes import CallRules, Event, MediaKind, Pending
from webhooks.request import RawRequest, Reply

Group = Literal["form", "chat", "messenger", "sms", "email", "telephony", "desk"]


class ChannelSettings(BaseModel):
    """What an administrator fills in for any connection; each kind adds its own.

    Pages draw the form of these fields: `title` and `description` of each are what a person reads (English; pages
    translate them), a `Literal` is a choice, a `bool` a box, a tuple of strings one a line, `SecretStr` is sealed at
    rest and never shown again. `json_schema_extra={"made": True}` marks a secret that we choose and the provider
    repeats (it is made at random where none is given), `{"advanced": True}` what few people need.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = Field(
        "",
        title="Address of the provider's API",
        description="Leave empty, unless the provider gave you one of your own or you go through a gateway.",
        json_schema_extra={"advanced": True},
    )
    secret: SecretStr = Field(
        SecretStr(""),
        title="Shared secret",
        description="Requests must carry it, as the query's `token`, the end of the path or a Bearer token.",
        json_schema_extra={"advanced": True},
    )


# --- what comes in: pure ---


class Routed(NamedTuple):
    """What must be known about a request before it is stored.

    dedupe_key     the same for a repeat of the same request within the connection
    repeat_within  for how long an equal key means a repeat; None: for ever
    peer           who sent it, where that can be told; requests of one peer keep their order. `MANY` for a request that
                   holds events of several: these keep their order among themselves. "": its order does not matter
    """

    dedupe_key: str
    repeat_within: timedelta | None = None
    peer: str = ""


MANY = "*"


class ParseContext(NamedTuple):
    """What a channel may know about the connection while it reads a delivery."""

    default_country: str  # ISO 3166 code, for phones written without a country
    time_zone: str
    received_at: datetime


class Channel(Protocol):
    """What every kind has.

    group    what sort of channel it is, for pages
    account  "<kind>:<the provider's id of our account>", by which events in a shared request find their connection; ""
             where that never happens. A channel whose hook serves a provider's whole app has `app` as well, the same
             text for all channels of that app: an event of a shared request reaches no channel of another one
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    group: ClassVar[Group]
    Settings: ClassVar[type[ChannelSettings]]

    @property
    def account(self) -> str:
        """Where shared events find this connection."""
        ...


@runtime_checkable
class Receiver(Protocol):
    """A channel that receives: its provider calls us, or its listener brings what it finds."""

    kind: ClassVar[str]

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check that the request is genuine and allowed.

        Raises:
            BadSignature, NotConfigured, Refused, Malformed, TooLarge: it is not; nothing is stored.
        """
        ...

    def route(self, request: RawRequest) -> Routed:
        """Tell what the request is a repeat of and whose it is, as cheaply as can be."""
        ...

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read the request; an empty list means there is nothing to do.

        One bad event among several must not lose the others.

        Raises:
            Malformed: it cannot be read. Unsupported: it is of no use to us.
        """
        ...

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say what the provider wants to hear once the request is durable."""
        ...


@runtime_checkable
class Greeter(Protocol):
    """A receiver whose provider asks questions that are answered at once and kept nowhere."""

    def handshake(self, request: RawRequest) -> Reply | None:
        """Answer a challenge (hub.challenge, VK's confirmation, …); None if the request is none.

        Raises:
            BadSignature, NotConfigured, Refused: it does not know our secret.
        """
        ...


@runtime_checkable
class Parted(Protocol):
    """A receiver whose requests hold files."""

    def read_part(self, request: RawRequest, part: int) -> bytes | None:
        """Return the file that `Attachment.part` names; None if there is no such part."""
        ...


# --- what goes out ---


class Capability(StrEnum):
    """What a channel can carry beyond plain text."""

    BUTTONS = "buttons"
    TEMPLATES = "templates"
    SUBJECT = "subject"
    HTML = "html"
    REPLY_TO = "reply_to"
    EDIT = "edit"
    DELIVERY_RECEIPTS = "delivery_receipts"
    READ_RECEIPTS = "read_receipts"
    TYPING = "typing"
    START = "start"  # we may write first to anybody whose address we know


class Unit(StrEnum):
    """How a provider counts the length of a text."""

    CODEPOINTS = "codepoints"
    UTF16 = "utf16"
    BYTES = "bytes"  # of UTF-8
    SMS = "sms"  # GSM-7 or UCS-2 units, see channels.sms_text


class Media(NamedTuple):
    """What files of a kind may be: at most so many bytes, of these types (`image/jpeg`; empty: any).

    `caption` is the longest text that goes with one, where it is not what `Sending.caption` says.
    """

    most_bytes: int
    types: tuple[str, ...] = ()
    caption: int | None = None


@dataclass(frozen=True, slots=True)
class Sending:
    """What a channel can send, declared; `channels.rendering` fits every message to it before it is sent.

    text             longest text of one part, in `unit`; longer ones are cut into several at a word
    caption          longest text that goes with a file; 0: the text goes as a part of its own
    media            kinds of files it carries; one it does not is sent as a link
    album            how many files one part may have
    per_second       how many parts a second the connection may send; 0: no limit known
    per_peer         seconds between two parts to the same peer
    window           how long after the peer's last words we may write freely; None: always
    retries_safely   the provider recognises a part by the id we give it, so that what may have been sent can be sent
                     again without doubling it
    from_listener    it sends over the connection its listener holds, so in that process only
    addresses        schemes of addresses it can write to first: `phone`, `email`
    """

    text: int = 4096
    unit: Unit = Unit.CODEPOINTS
    caption: int = 0
    media: Mapping[MediaKind, Media] = field(default_factory=dict)
    album: int = 1
    per_second: float = 0
    per_peer: float = 0
    window: timedelta | None = None
    capabilities: frozenset[Capability] = frozenset()
    retries_safely: bool = False
    from_listener: bool = False
    addresses: tuple[str, ...] = ()


class OutgoingFile(NamedTuple):
    """A file to send. `url` is a public address of it for some hours, "" where the hub has none; `read` streams it."""

    name: str
    content_type: str
    size: int
    kind: MediaKind
    url: str
    read: Callable[[], AsyncIterator[bytes]]


class Template(NamedTuple):
    """A message the provider has approved beforehand. `values` fill its placeholders in order."""

    name: str
    language: str
    values: tuple[str, ...] = ()


class Button(NamedTuple):
    """An answer to choose. `payload` comes back when it is pressed."""

    text: str
    payload: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One thing to send, within the channel's limits: made by `channels.rendering`, one call of `send`.

    id          ours, the same at every attempt: the idempotency key (`184467.0`)
    number      a 63-bit whole number that stands for `id`, for providers that want one
    peer        whom it is for, as the provider writes it
    thread      of the conversation
    is_first    whether it is the first part of its message (a subject, a reply mark goes there)
    reply_to    the provider's id of the message it answers, or ""
    context     what the channel put into `Incoming.context` last
    subject     for letters
    message_id  of the message it is a part of
    """

    id: str
    number: int
    message_id: int
    peer: str
    thread: str = ""
    text: str = ""
    html: str = ""
    subject: str = ""
    files: tuple[OutgoingFile, ...] = ()
    buttons: tuple[Button, ...] = ()
    template: Template | None = None
    reply_to: str = ""
    is_first: bool = True
    is_automatic: bool = False
    context: Mapping[str, str] = field(default_factory=dict)


class Receipt(NamedTuple):
    """What the provider said of a part: the ids of all it made of it, as its status reports will name them.

    status   how far it is known to be
    context  what to give back with the next part of this conversation, instead of what was there ({}: as before)
    detail   anything worth telling: some of several recipients refused, say
    """

    external_ids: tuple[str, ...]
    status: Literal["sent", "delivered"] = "sent"
    context: Mapping[str, str] = {}
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a channel is handed to talk to its provider.

    http        the only way out; notes every exchange, secrets masked
    now         the clock
    hook_url    where the provider is to call us
    """

    http: Http
    now: Callable[[], datetime]
    hook_url: str = ""
    default_country: str = ""


@runtime_checkable
class Sender(Protocol):
    """A channel we can write to."""

    @property
    def sending(self) -> Sending:
        """What it can send."""
        ...

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send one part.

        Raises:
            ChannelError: it was not sent, or we cannot know; which one tells what happens next.
        """
        ...

    def peer_of(self, address: Address) -> str | None:
        """Return what to call somebody known by this address; None if the channel cannot reach it."""
        ...

    def address_of(self, peer: str) -> Address:
        """Return the address (scheme and value) under which a peer's contact is known."""
        ...


# --- the rest, each optional ---


class Fetched(NamedTuple):
    """A file on its way from the provider. `size` 0 and `name` "" where it does not say."""

    chunks: AsyncIterator[bytes]
    content_type: str = ""
    size: int = 0
    name: str = ""


@runtime_checkable
class Fetcher(Protocol):
    """A channel whose files lie with the provider."""

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open the file an `Attachment.reference` names.

        Raises:
            Temporary: try again. Undeliverable: it is gone or refused for good.
        """
        ...


@runtime_checkable
class Enricher(Protocol):
    """A channel whose provider tells only that something happened."""

    async def enrich(self, event: Pending, tools: Tools) -> Sequence[Event]:
        """Ask for what a `Pending` event stands for.

        Raises:
            ChannelError: as in `send`.
        """
        ...


class Profile(NamedTuple):
    """What a provider knows of a person; "" where it does not say."""

    name: str = ""
    language: str = ""


@runtime_checkable
class Profiler(Protocol):
    """A channel whose messages do not name their sender, but whose provider can be asked."""

    async def profile(self, peer: str, tools: Tools) -> Profile | None:
        """Ask who a peer is; None if the provider will not say. Nothing waits for the answer.

        Raises:
            ChannelError: as in `send`.
        """
        ...


# --- telephony ---


class Dial(NamedTuple):
    """A call to place: the colleague's phone rings first, then the customer is called.

    id         ours; events of the call repeat it as `CallEvent.our_id` where the provider can carry it
    extension  the colleague's; number: the customer's, E.164; line: the number of ours to show, "" for the usual one
    """

    id: str
    extension: str
    number: str
    line: str = ""


class Dialled(NamedTuple):
    """What the provider said of a call it was asked to place: its id, as events will name it; "" where it has none."""

    call_id: str = ""


class Advice(NamedTuple):
    """What we know of who rings, for the PBX to show it and to put the call through. Empty for somebody unknown.

    extension   their own manager's, if that is somebody who can be rung now
    url         their page in the workspace
    """

    is_known: bool = False
    name: str = ""
    extension: str = ""
    manager: str = ""
    language: str = ""
    contact_id: str = ""
    url: str = ""


@runtime_checkable
class Telephone(Protocol):
    """A channel of calls."""

    @property
    def rules(self) -> CallRules:
        """What an administrator decided about its calls."""
        ...


@runtime_checkable
class Dialler(Protocol):
    """A telephone that places calls for us, if its settings let it."""

    @property
    def can_dial(self) -> bool:
        """Whether its settings say all that placing a call needs."""
        ...

    async def dial(self, dial: Dial, tools: Tools) -> Dialled:
        """Have the colleague's phone ring and then the customer's.

        Raises:
            ChannelError: it was not done, or (Uncertain) we cannot know.
        """
        ...


@runtime_checkable
class Consulter(Protocol):
    """A telephone whose provider asks, while it rings, who calls and where to put them through."""

    def asked(self, request: RawRequest) -> str | None:
        """Return the number a request asks about; None for one that asks nothing."""
        ...

    def advise(self, request: RawRequest, advice: Advice) -> Reply:
        """Say what we know, in the provider's words."""
        ...

    def is_question(self, request: RawRequest) -> bool:
        """Whether the request only asks: it is answered and not kept. It has been verified."""
        ...


class Item(NamedTuple):
    """Something a listener found, made into a request so that it is kept and read like one."""

    request: RawRequest
    routed: Routed


class Listening(Protocol):
    """What a listener is handed."""

    tools: Tools
    cursor: Mapping[str, Any]
    """Where it had come to, as last stored."""

    async def deliver(self, items: Sequence[Item], cursor: Mapping[str, Any] | None = None) -> None:
        """Make items durable, and the cursor with them in one transaction. After it returns they may be acknowledged.

        An item that was delivered before changes nothing.
        """
        ...

    def is_well(self, detail: str = "") -> None:
        """Tell that the connection to the provider stands."""
        ...

    def is_ill(self, detail: str) -> None:
        """Tell that it does not just now, and that the listener is trying again by itself."""
        ...


@runtime_checkable
class Listener(Protocol):
    """A channel that goes and gets, or keeps a line open. One process of all runs it."""

    async def run(self, listening: Listening) -> None:
        """Listen until cancelled. Brief troubles are its own to mend (back off, reconnect); returning restarts it.

        Raises:
            Unauthorised, Misconfigured: it is of no use to go on until somebody changes the settings.
            ChannelError: anything else; it is started again after a while.
        """
        ...


class Checked(NamedTuple):
    """What a check found: one sentence for people, and facts worth showing (name of the bot, balance, …)."""

    detail: str
    facts: Mapping[str, str] = {}


@runtime_checkable
class Checker(Protocol):
    """A channel whose provider can be asked whether all is well."""

    async def check(self, tools: Tools) -> Checked:
        """Ask the provider whether our account works, without sending anything to anybody.

        Raises:
            ChannelError: it does not; the message says what to do.
        """
        ...


@runtime_checkable
class Installer(Protocol):
    """A channel that tells its provider by itself where to call us."""

    async def setup(self, tools: Tools) -> str:
        """Register our hook with the provider; doing it again changes nothing. Return what was done, for people.

        Raises:
            ChannelError: it could not be done; the message says what to do by hand.
        """
        ...

    async def teardown(self, tools: Tools) -> None:
        """Take the registration back, if it is ours.

        Raises:
            ChannelError: it could not be done.
        """
        ...


@runtime_checkable
class TemplateSource(Protocol):
    """A channel whose provider keeps approved templates."""

    async def templates(self, tools: Tools) -> Sequence[KnownTemplate]:
        """List the templates there are.

        Raises:
            ChannelError: as in `send`.
        """
        ...


class KnownTemplate(NamedTuple):
    """A template as the provider keeps it. `body` has its placeholders as {{1}}, {{2}}; `is_usable` once approved."""

    name: str
    language: str
    body: str
    category: str = ""
    is_usable: bool = True
