"""What crosses the border between channels and the core: plain values, no database, no provider.

A channel turns a raw request into a list of these events; the core turns the events into work for somebody, and into
the states of what was sent.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

import msgspec

from core.kernel.addresses import Address


class Trust(StrEnum):
    """How sure we are that an address belongs to the person, weakest first."""

    GUESSED = "guessed"
    TYPED = "typed"  # typed by a visitor
    VERIFIED = "verified"  # verified by us
    ATTESTED = "attested"  # attested by the provider

    @property
    def rank(self) -> int:
        """Position from weakest (0) to strongest."""
        return _RANKS[self]


_RANKS = {trust: rank for rank, trust in enumerate(Trust)}


class Claim(msgspec.Struct, frozen=True):
    """An address somebody is said to have.

    `raw` is what was typed or sent; the canonical `address` is made of it by `core.kernel.addresses`.
    """

    address: Address
    raw: str
    trust: Trust


MediaKind = Literal["image", "audio", "voice", "video", "sticker", "file"]


class Attachment(msgspec.Struct, frozen=True):
    """A file that came with a message.

    It lies either inside the delivery, as its part number `part` (0 or more), or with the provider, who gives it for
    `reference` (an id or a URL, only its channel knows what to do with it). `content_id` names it within a letter.
    """

    name: str
    content_type: str
    size: int  # bytes; 0 where the provider does not say
    part: int = -1
    reference: str = ""
    kind: MediaKind = "file"
    content_id: str = ""


class Attribution(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a request came from, as the visitor's browser or the provider told it.

    `reference` is the payload of a deep link (`/start spring`, `ref` of m.me and vk.me), `ad` the advertisement's id.
    """

    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    utm_content: str | None = None
    utm_term: str | None = None
    gclid: str | None = None
    yclid: str | None = None
    fbclid: str | None = None
    ga: str | None = None
    referrer: str | None = None
    landing_page: str | None = None
    reference: str | None = None
    ad: str | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Anything a channel reports.

    account      "<kind>:<id>" of the connection it is for, where one request holds events of several connections
                 (`whatsapp:1065…`, `messenger:<page>`); "" is the connection whose hook was called
    peer         the other side as the provider writes it, and as it wants to be told when we answer
    occurred_at  when the provider says it happened, UTC; None: it does not say
    """

    account: str = ""
    peer: str = ""
    occurred_at: datetime | None = None


class Incoming(Event, frozen=True, kw_only=True):
    """Somebody got in touch: a message, or a form filled in.

    external_id    the provider's id of it; unique within the connection, so a repeat is recognised. "" where it has
                   none: the delivery's id is taken
    more_ids       further ids of the same message (parts of a long SMS)
    claims         the addresses by which the sender is known, the one it came from first; empty for somebody who left
                   none
    thread         distinguishes conversations of the same person on the same connection; "" is the usual one
    html           the words as untrusted HTML, for letters; `text` is always there too
    quoted         what was quoted below the sender's own words, and their signature
    reply_to       the provider's id of the message this one answers
    group          the same for the pieces of one album: they become one message
    replies_until  until when the provider lets us answer freely; None: it sets no limit
    context        what the channel wants to be given back when somebody answers in this conversation
    fields         what a form said beyond the known fields, in its order: name → value
    consent        the words the person agreed to, or what the box sent; None where nothing was asked
    is_ours        our own side wrote it, in the provider's own app: kept as an outgoing message, and nobody waits
    only_known     kept only where somebody has one of the addresses already: our side writes to its bank, too
    is_automatic   a program wrote it (out of office, newsletter): kept, but it makes no lead and nobody waits
    """

    external_id: str
    more_ids: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    name: str = ""
    company: str = ""
    text: str = ""
    html: str = ""
    quoted: str = ""
    subject: str = ""
    thread: str = ""
    language: str = ""
    reply_to: str = ""
    group: str = ""
    replies_until: datetime | None = None
    context: dict[str, str] = {}
    fields: dict[str, Any] = {}
    attachments: tuple[Attachment, ...] = ()
    attribution: Attribution = Attribution()
    consent: str | None = None
    is_form: bool = False
    is_ours: bool = False
    only_known: bool = False
    is_automatic: bool = False


class Status(Event, frozen=True, kw_only=True):
    """What became of something we sent.

    external_id  the provider's id of the part; "" with `up_to`
    our_id       the id we gave the part (`Part.id`), where the provider repeats it
    up_to        everything sent to `peer` until `occurred_at` (a read mark)
    is_final     for a failure: trying again is of no use
    is_dead      for a failure: the address does not exist or takes nothing from anybody
    """

    status: Literal["sent", "delivered", "read", "failed"]
    external_id: str = ""
    our_id: str = ""
    up_to: bool = False
    error_code: str = ""
    error_text: str = ""
    is_final: bool = True
    is_dead: bool = False


class Changed(Event, frozen=True, kw_only=True):
    """The sender changed a message: `text` is the new wording, or the emoji of a reaction ("" takes it back)."""

    external_id: str
    change: Literal["edited", "deleted", "reaction"]
    text: str = ""


class Signal(Event, frozen=True, kw_only=True):
    """Something a person did without saying anything.

    started    opened the chat; `attribution` is kept for their first message
    opted_in   allows us to write · opted_out: forbids it, by a STOP word or a button · gone: blocked us, left
    typing     is writing just now
    """

    kind: Literal["started", "opted_in", "opted_out", "gone", "typing"]
    claims: tuple[Claim, ...] = ()
    name: str = ""
    attribution: Attribution = Attribution()


class IdentityChanged(Event, frozen=True, kw_only=True):
    """The provider says that `old` is now known as `new` (a changed number, a group that became a supergroup)."""

    old: Claim
    new: Claim
    new_peer: str = ""


class Problem(Event, frozen=True, kw_only=True):
    """The provider says something is wrong with our account."""

    kind: Literal["auth", "quota", "webhook", "template", "other"]
    detail: str


class Pending(Event, frozen=True, kw_only=True):
    """Something happened whose content has to be asked for (`Enricher.enrich`): a Meta lead, say.

    `reference` is what to ask for, `hints` what is known already.
    """

    external_id: str
    reference: str
    hints: dict[str, str] = {}


CallPhase = Literal[
    "started",
    "queued",
    "menu",
    "ringing",
    "answered",
    "held",
    "resumed",
    "transferred",
    "left",
    "voicemail",
    "ended",
    "summary",
    "recorded",
]
CallOutcome = Literal["", "answered", "missed", "busy", "failed", "canceled", "voicemail"]
CallDirection = Literal["", "inbound", "outbound", "internal"]


class CallEvent(Event, frozen=True, kw_only=True):
    """Something that happened to a telephone call. All events of a call are folded into one record, in any order.

    call_id       the provider's id of the whole call, whatever legs and transfers it has
    key           tells the event from all others of its call; a repeat of it has the same one
    leg_id        one party of the call: each phone that rings has its own; "" for the call itself
    phase         started: it exists · queued, menu: it waits in a queue, listens to a menu · ringing: `extension` rings
                  answered: a person at `extension` talks (a menu that picks up answers nothing) · held, resumed
                  transferred: to `extension` or `detail` · left: a leg is over, the call may go on · voicemail: a word
                  was left · ended: the call is over · summary: it is over, and what is said here is final
                  recorded: there is a recording
    seq           its place among the events of its leg, where the provider counts them; 0: it does not
    direction     as far as the provider says
    caller        who calls, callee who is called, as the provider writes it: a number, an extension, a SIP URI, ""
    line          the number of ours that was called, or is shown to whom we call
    extension     the colleague's phone this is about
    our_id        the id we gave a call that we asked for (`Dial.id`), where the provider repeats it
    outcome       how it ended, for `ended` and `summary`; "" where the provider leaves that to us
    started_at, answered_at, ended_at, talk_seconds, wait_seconds
                  as far as the provider says; None: we count ourselves
    recording     what `Fetcher.fetch_media` wants to be given; recording_id tells one recording from another
    detail        a few words worth keeping: the queue's name, the key pressed, the cause
    """

    call_id: str
    key: str
    phase: CallPhase
    leg_id: str = ""
    seq: int = 0
    direction: CallDirection = ""
    caller: str = ""
    callee: str = ""
    line: str = ""
    extension: str = ""
    our_id: str = ""
    outcome: CallOutcome = ""
    started_at: datetime | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    talk_seconds: int | None = None
    wait_seconds: int | None = None
    recording: str = ""
    recording_id: str = ""
    recording_seconds: int | None = None
    detail: str = ""


class CallRules(msgspec.Struct, frozen=True):
    """What an administrator decided about the calls of a connection.

    call_back_minutes    working minutes within which somebody who rang in vain is to be called back
    proof_seconds        how long a conversation must last to prove that a task to call is done
    internal_digits      numbers of at most so many digits are extensions or short numbers, and nobody's address
    after_hours_text     what somebody who rings after hours is told by SMS; {time} is when we open; "" tells nothing
    keep_recordings_days for how long recordings are kept; 0: for ever
    """

    call_back_minutes: int = 15
    proof_seconds: int = 20
    internal_digits: int = 5
    after_hours_text: str = ""
    keep_recordings_days: int = 0
