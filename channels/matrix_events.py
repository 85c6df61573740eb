"""Reading what a Matrix homeserver pushes to an application service. Pure; `channels.matrix` is the channel itself.

From the Matrix specification: Application Service API ("Pushing events"), Client-Server API (`m.room.message`,
`m.room.member`, `m.room.redaction`, `m.reaction`, `m.receipt`, `m.typing`, "Event replacements", "Rich replies",
"Threading", "Media captions").
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote, urlsplit

from channels.contract import MANY, Routed
from channels.fields import Fields, object_of
from core.kernel.addresses import Address
from core.kernel.envelopes import (
    Attachment,
    Changed,
    Claim,
    Event,
    Incoming,
    MediaKind,
    Pending,
    Signal,
    Status,
    Trust,
)
from webhooks.request import RawRequest

SCHEME = "matrix"
MARK = "io.switchyard.sent"
"""The key in an event's content by which we know what we wrote."""

UNREADABLE = (
    "(This message is encrypted end to end, so it cannot be read here. Ask the person to write in a room without "
    "encryption: it cannot be switched off again in this one.)"
)
_LOCKED_FILE = "(A file that is encrypted end to end, so it cannot be opened here: {})"
_MEDIA: dict[str, MediaKind] = {"m.image": "image", "m.audio": "audio", "m.video": "video", "m.file": "file"}
_VOICE = ("org.matrix.msc3245.voice", "m.voice")
_EPHEMERAL = ("ephemeral", "de.sorunome.msc2409.ephemeral")


@dataclass(frozen=True, slots=True)
class Ourselves:
    """Which users are ours: those the registration reserves for us on our own homeserver.

    prefix  how their names begin; the bot's is the prefix without what joins it to more
    home    the server's name, or the host of its address
    key     by which we sign what we write, so that we know it under any name
    """

    prefix: str
    home: str
    key: bytes

    @property
    def bot(self) -> str:
        """The name of the one user we write as, without its server."""
        return self.prefix.rstrip("_-.=/") or self.prefix

    def include(self, user: str) -> bool:
        """Tell whether a user is ours by its name."""
        name, _, server = user.removeprefix("@").partition(":")
        return (name == self.bot or name.startswith(self.prefix)) and self._is_home(server)

    def mark(self, part: str) -> str:
        """Return what to put into the content of an event made of a part."""
        return f"{part} {hmac.new(self.key, part.encode(), hashlib.sha256).hexdigest()[:32]}"

    def marked(self, content: Fields) -> bool:
        """Tell whether we made an event, whoever it seems to be from."""
        found = content.text(MARK)
        return bool(found) and hmac.compare_digest(found.encode(), self.mark(found.partition(" ")[0]).encode())

    def _is_home(self, server: str) -> bool:
        """Tell whether a name's server is ours.

        A homeserver is often reached by another name than its own: example.com by matrix.example.com. Where it is
        reached by a bare address nothing can be told, and any server's users of our names are taken for ours.
        """
        server = server.partition(":")[0].lower()
        if "." not in self.home or self.home == server or self.home.endswith(f".{server}"):
            return True
        try:
            ipaddress.ip_address(self.home)
        except ValueError:
            return False
        return True


def home_of(homeserver: str, server_name: str) -> str:
    """Return what `Ourselves.home` is: the server's name, or the host of its address."""
    return (server_name.partition(":")[0] or urlsplit(homeserver).hostname or "").lower()


def question(request: RawRequest) -> tuple[str, ...]:
    """Return the path of a request below the service's address, by pieces: `("transactions", "17")`.

    Older homeservers leave out `/_matrix/app/v1`.
    """
    pieces = [unquote(piece) for piece in request.suffix.split("/") if piece]
    if pieces[:2] == ["_matrix", "app"]:
        pieces = pieces[3:]
    return tuple(pieces)


def route(request: RawRequest) -> Routed:
    """Tell what a request is a repeat of.

    A transaction that was not acknowledged comes again with the same number and events, but their `age` has changed;
    and the numbers begin anew where a homeserver's database is. So it is known by its number and its events' ids.

    Raises:
        Malformed: the body is no JSON object.
    """
    fields = object_of(request)
    ids = [event.id("event_id") for event in fields.items("events")]
    known = "\n".join(ids).encode() if all(ids) and ids else request.body
    path = question(request)
    number = path[1] if len(path) > 1 and path[0] == "transactions" else ""
    digest = hashlib.blake2b(known, digest_size=16)
    digest.update(number.encode("utf-8", "replace"))
    rooms = {event.id("room_id") for event in (*fields.items("events"), *_ephemeral(fields))} - {""}
    peer = MANY if len(rooms) > 1 else next(iter(rooms), "")
    return Routed(f"transaction:{digest.hexdigest()}", None, peer)


def is_empty(fields: Fields) -> bool:
    """Tell whether a transaction says nothing we listen to, as those about who is online do."""
    if fields.at("events", 0).value is not None:
        return False
    return not any(event.text("type") in ("m.receipt", "m.typing") for event in _ephemeral(fields))


def events(fields: Fields, us: Ourselves) -> Sequence[Event]:
    """Return the events of a transaction, for all rooms; none for those that are no concern of ours."""
    found: list[Event] = []
    for event in fields.items("events"):
        found += of(event, us)
    for event in _ephemeral(fields):
        found += _passing(event, us)
    return found


def of(event: Fields, us: Ourselves) -> Iterator[Event]:
    """Read one event of a room's timeline."""
    kind, room, sender = event.text("type"), event.id("room_id"), event.id("sender")
    if not room or not sender or not event.id("event_id"):
        return
    if kind == "m.room.member":
        yield from _member(event, room, sender, us)
    elif kind in ("m.room.message", "m.sticker", "m.room.encrypted"):
        yield from _message(event, room, sender, us)
    elif us.include(sender):
        return
    elif kind == "m.reaction":
        relation = event.at("content", "m.relates_to")
        if relation.id("event_id") and relation.text("key"):
            yield _changed(event, room, relation.id("event_id"), "reaction", relation.text("key")[:50])
    elif kind == "m.room.redaction" and (redacted := event.id("redacts") or event.id("content", "redacts")):
        yield _changed(event, room, redacted, "deleted", "")


def claims(user: str) -> tuple[Claim, ...]:
    """Return the address of a user; the homeserver vouches for it."""
    return (Claim(Address(SCHEME, user), user, Trust.ATTESTED),) if user else ()


def _message(event: Fields, room: str, sender: str, us: Ourselves) -> Iterator[Event]:
    content, name = event.at("content"), event.id("event_id")
    is_ours = us.include(sender)
    if not is_ours and us.marked(content):
        return
    relation = content.at("m.relates_to")
    if relation.text("rel_type") == "m.replace":
        if not is_ours and relation.id("event_id"):
            yield _changed(event, room, relation.id("event_id"), "edited", content.text("m.new_content", "body"))
        return
    answered = relation.id("m.in_reply_to", "event_id")
    is_threaded = relation.text("rel_type") == "m.thread"
    if is_threaded and relation.flag("is_falling_back"):
        answered = ""
    text, files = said(event, content)
    if answered or is_threaded:
        text = without_quote(text)
    if not text and not files:
        return
    yield Incoming(
        peer=room,
        occurred_at=event.at("origin_server_ts").moment(),
        external_id=name,
        claims=() if is_ours else claims(sender),
        text=text,
        thread=relation.id("event_id") if is_threaded else "",
        reply_to=answered,
        attachments=files,
        is_ours=is_ours,
        is_automatic=content.text("msgtype") == "m.notice" and not is_ours,
    )


def said(event: Fields, content: Fields) -> tuple[str, tuple[Attachment, ...]]:
    """Return what a message says, and its files."""
    if event.text("type") == "m.room.encrypted":
        return UNREADABLE, ()
    kind, body = content.text("msgtype"), content.text("body")
    if event.text("type") == "m.sticker":
        return "", _attachment(content, "sticker", body)
    if kind == "m.location":
        return "\n".join(line for line in (body, content.text("geo_uri")) if line), ()
    if kind not in _MEDIA:
        return body, ()
    filename = content.text("filename")
    caption = body if filename and filename != body else ""
    if "file" in content:
        locked = _LOCKED_FILE.format(filename or body or "without a name")
        return "\n".join(line for line in (caption, locked) if line), ()
    is_voice = kind == "m.audio" and any(mark in content for mark in _VOICE)
    return caption, _attachment(content, "voice" if is_voice else _MEDIA[kind], filename or body)


def _attachment(content: Fields, kind: MediaKind, name: str) -> tuple[Attachment, ...]:
    address = content.id("url")
    if not address.startswith("mxc://"):
        return ()
    return (
        Attachment(
            name=" ".join(name.split())[:255] or address.rpartition("/")[2],
            content_type=content.id("info", "mimetype").lower(),
            size=max(0, content.whole("info", "size") or 0),
            reference=address,
            kind=kind,
        ),
    )


def without_quote(text: str) -> str:
    """Take away the quotation that older clients put before an answer: lines with `>`, then an empty one."""
    if not text.startswith("> "):
        return text
    lines = text.split("\n")
    quoted = next((number for number, line in enumerate(lines) if not line.startswith(">")), len(lines))
    return "\n".join(lines[quoted:]).lstrip("\n")


def _member(event: Fields, room: str, sender: str, us: Ourselves) -> Iterator[Event]:
    """Read who was invited and who left. Only the homeserver knows for certain whether we are who was invited."""
    user, state = event.id("state_key"), event.text("content", "membership")
    if state == "invite" and not us.include(sender):
        yield Pending(
            peer=room,
            occurred_at=event.at("origin_server_ts").moment(),
            external_id=event.id("event_id"),
            reference=room,
            hints={"invited": user, "by": sender},
        )
    elif state in ("leave", "ban") and not us.include(sender) and (user == sender or us.include(user)):
        yield Signal(peer=room, occurred_at=event.at("origin_server_ts").moment(), kind="gone", claims=claims(sender))


def _changed(event: Fields, room: str, name: str, change: str, text: str) -> Changed:
    return Changed(
        peer=room,
        occurred_at=event.at("origin_server_ts").moment(),
        external_id=name,
        change="edited" if change == "edited" else "deleted" if change == "deleted" else "reaction",
        text=text,
    )


def _ephemeral(fields: Fields) -> Iterator[Fields]:
    for name in _EPHEMERAL:
        yield from fields.items(name)


def _passing(event: Fields, us: Ourselves) -> Iterator[Event]:
    """Read who is typing and how far somebody has read."""
    kind, room, content = event.text("type"), event.id("room_id"), event.at("content")
    if not room:
        return
    if kind == "m.typing":
        for user in content.items("user_ids"):
            if user.id() and not us.include(user.id()):
                yield Signal(peer=room, kind="typing", claims=claims(user.id()))
    elif kind == "m.receipt":
        for moment in _read_at(content, us):
            yield Status(peer=room, occurred_at=moment, status="read", up_to=True)


def _read_at(content: Fields, us: Ourselves) -> Iterator[datetime]:
    """Yield when others read what a receipt names."""
    names = content.keys()
    for name in names:
        for kind in ("m.read", "m.read.private"):
            readers = content.at(name, kind)
            users = readers.keys()
            for user in users:
                moment = readers.at(user, "ts").moment()
                if moment is not None and not us.include(user):
                    yield moment
