"""Tells what a letter means for us: words of a customer, or of our own side, or what became of a letter we sent."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from channels.contract import ParseContext, Routed
from channels.email import automatic, desk, html, letters, outgoing, quotes, threads
from channels.email.desk import DeskLetter
from channels.email.letters import Letter
from core.kernel import addresses
from core.kernel.addresses import EMAIL, Address
from core.kernel.envelopes import Attachment, Claim, Event, Incoming, MediaKind, Signal, Status, Trust
from webhooks.errors import Malformed
from webhooks.request import RawRequest

_LONGEST_ID = 250
_HEAD = 64 * 1024
_AHEAD = timedelta(days=1)  # a letter from further in the future has a wrong clock


def route(request: RawRequest, *, sent: str = "") -> Routed:
    """Tell letters apart by their Message-ID, else by what they say. Those in the folder `sent` go by addressee."""
    head = request.body[:_HEAD].replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    is_sent = bool(sent) and request.headers.get("x-folder", "") == sent
    peer = addresses.email(_field(head, b"to" if is_sent else b"from").partition(",")[0][:1_000]) or ""
    identifier = re.search(r"<[^<>]+>", _field(head, b"message-id"))
    if identifier:
        return Routed("id:" + _hash(identifier[0].encode("utf-8", "surrogateescape")), None, peer[:200])
    if not request.body:
        place = [request.headers.get(name, "") for name in ("x-folder", "x-uidvalidity", "x-uid")]
        return Routed("place:" + _hash(repr(place).encode("utf-8", "surrogateescape")), None, "")
    said = repr([_field(head, name) for name in (b"from", b"to", b"cc", b"date", b"subject")])
    words = b" ".join(re.split(rb"\r?\n\r?\n", request.body, maxsplit=1)[-1].split())
    return Routed("content:" + _hash(said.encode("utf-8", "surrogateescape") + words), None, peer[:200])


class Reader:
    """Reads the letters of one mailbox.

    key          signs its Message-IDs
    authserv_id  names the server that checks where letters come from
    sent         the folder of what our people send from mail programs of their own; "" for none
    """

    def __init__(self, address: str, key: bytes, authserv_id: str, *, sent: str = "") -> None:
        self._address, self._key, self._authserv_id, self._sent = address, key, authserv_id.lower(), sent

    def events(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read a letter.

        Raises:
            Malformed: the mail server would not give it.
        """
        if problem := request.headers.get("x-problem", ""):
            raise Malformed(f"A letter could not be read: {problem}. It still lies in the mailbox.")
        raw = request.body
        letter = letters.read(raw)
        received = _received(request, context)
        what = automatic.kind_of(letter, raw)
        if desk.is_notification(letter):
            return []
        if self._sent and request.headers.get("x-folder", "") == self._sent:
            return self._written_elsewhere(letter, request, received, is_automatic=what is not None)
        if answered := desk.tokens(letter):
            is_cut = bool(request.headers.get("x-whole-size", ""))
            return [self._answer(letter, token, received, what, is_cut=is_cut) for token in answered]
        if what is not None and what.kind == "bounce" and (told := self._statuses(raw, received)) is not None:
            return told
        if what is not None and what.kind == "complaint" and (objection := self._objection(raw, received)):
            return [objection]
        return [self._incoming(letter, request, received, is_automatic=what is not None)]

    def _written_elsewhere(
        self, letter: Letter, request: RawRequest, received: datetime, *, is_automatic: bool
    ) -> Sequence[Incoming]:
        """Read a letter out of the folder of sent ones: a colleague wrote it, unless we or a program did."""
        others = [mailbox for mailbox in (*letter.to, *letter.cc) if mailbox.address not in ("", self._address)]
        if is_automatic or not others or threads.ours(self._key, letter.message_id) is not None:
            return []
        return [self._incoming(letter, request, received, is_automatic=False, sent_to=others[0])]

    def _incoming(
        self,
        letter: Letter,
        request: RawRequest,
        received: datetime,
        *,
        is_automatic: bool,
        sent_to: letters.Mailbox | None = None,
    ) -> Incoming:
        author, is_ours = self._author(letter) if sent_to is None else (sent_to, True)
        place = threads.place(self._key, letter)
        folded = quotes.fold(letter.text, letter.html)
        text, files = folded.own, letter.attachments
        if whole := request.headers.get("x-whole-size", ""):
            size = (
                f" ({int(whole) // 2**20} MB)"
                if whole.isascii() and whole.isdecimal() and len(whole) < 15 and whole != "0"
                else ""
            )
            text += f"\n\n[Only the beginning of this letter{size} was taken. The rest lies in the mailbox.]"
            files = files[:-1]  # it is cut in the middle
        occurred = letter.date if letter.date is not None and letter.date <= received + _AHEAD else received
        claims: tuple[Claim, ...] = ()
        if author.address and author.address != self._address:
            trust = self._trust(letter) if not is_ours and author.address == letter.sender.address else Trust.TYPED
            claims = (Claim(Address(EMAIL, author.address), author.address, trust),)
        return Incoming(
            external_id=plain_id(letter.identity),
            peer=author.address,
            occurred_at=occurred,
            claims=claims,
            name=author.name,
            text=text,
            quoted=folded.quoted,
            html=html.safe(letter.html) if letter.html else "",
            subject=letter.subject,
            thread=place.thread,
            reply_to=plain_id(place.answers),
            context=outgoing.answering(letter.message_id, letter.references or letter.in_reply_to, letter.subject),
            attachments=tuple(map(_attachment, files)),
            is_ours=is_ours,
            only_known=sent_to is not None,
            is_automatic=is_automatic and not is_ours,
        )

    def _author(self, letter: Letter) -> tuple[letters.Mailbox, bool]:
        """Tell whose letter it is, and whether it is ours, to whom then.

        A letter from our address to nobody else is no letter of ours: websites send their forms so, with the visitor in
        Reply-To. A mailing list's own address is nobody: the author is who is left.
        """
        everybody = [*letter.to, *letter.cc]
        others = [mailbox for mailbox in everybody if mailbox.address and mailbox.address != self._address]
        is_returned = threads.ours(self._key, letter.message_id) is not None
        if letter.sender.address == self._address and letter.reply_to in ("", self._address) and others:
            return others[0], True
        if is_returned and others:
            return others[0], True
        if "list-id" not in letter.headers and "list-post" not in letter.headers:
            return letter.author, False
        lists = {mailbox.address for mailbox in everybody} | {addresses.email(letter.header("list-post")) or ""}
        for address in (letter.original, letter.reply_to, letter.sender.address):
            if address and address not in lists:
                return letters.Mailbox(address, letter.sender.name), False
        return letter.sender, False

    def _answer(
        self, letter: Letter, token: str, received: datetime, what: automatic.Automatic | None, *, is_cut: bool
    ) -> DeskLetter:
        """Read an answer of one of our people to a notification."""
        files = [(_attachment(file), file.is_inline) for file in letter.attachments]
        return DeskLetter(
            peer=letter.sender.address,
            occurred_at=received,
            key=plain_id(letter.identity),
            message_id=letter.message_id,
            token=token,
            sender=desk.sender(letter),
            text=quotes.own_words(letter.text, letter.html),
            attachments=tuple(file for file, is_inline in files if desk.goes_along(file, is_inline=is_inline)),
            is_automatic=desk.is_automatic(what),
            failed_check=self._failed_check(letter),
            is_cut=is_cut,
        )

    def _failed_check(self, letter: Letter) -> str:
        """Return what our mail server found wrong with a letter's origin; "" where it found nothing.

        Without its name the uppermost report counts: it was put on last (RFC 8601 §5). A pass of DMARC outweighs what
        a forwarder breaks. A report whose comments cannot be told from what it says is read whole, and excuses nothing.
        """
        for value in letter.headers.get("authentication-results", ()):
            said = value[:4_000].lower()
            results = _without_asides(said)
            if self._authserv_id and (results or said).partition(";")[0].split()[:1] != [self._authserv_id]:
                continue
            failed = re.search(r"\b(spf|dkim|dmarc)\s*=\s*(?:hard)?fail\b", results or said)
            if failed and not re.search(r";\s*dmarc\s*=\s*pass\b", results):
                return f"{failed[1]}=fail"
            if not self._authserv_id:
                break
        return ""

    def _trust(self, letter: Letter) -> Trust:
        """Believe the sender's address only on the word of our own mail server, which strips what others claim so."""
        named = self._authserv_id
        domain = letter.sender.address.rpartition("@")[2]
        for value in letter.headers.get("authentication-results", ()):
            server, _, results = _without_asides(value[:4_000].lower()).partition(";")
            if not named or server.split()[:1] != [named]:
                continue
            for result in results.split(";"):
                if re.match(r"\s*dmarc\s*=\s*pass\b", result):
                    return Trust.VERIFIED
                signer = re.search(r"\bheader\.(?:d|i)\s*=\s*(?:[^\s;@]*@)?([^\s;@]+)", result)
                aligned = signer is not None and (domain == signer[1] or domain.endswith("." + signer[1]))
                if re.match(r"\s*dkim\s*=\s*pass\b", result) and aligned:
                    return Trust.VERIFIED
        return Trust.TYPED

    def _statuses(self, raw: bytes, received: datetime) -> list[Event] | None:
        """Read what a mail server says of letters we sent; None where it does not say of which."""
        told = automatic.bounces(raw)
        known = [bounce for bounce in told if bounce.message_id]
        if not known:
            return None
        events: list[Event] = []
        for bounce in known:
            ours = threads.ours(self._key, bounce.message_id)
            if bounce.action not in ("failed", "delivered"):
                continue  # it is still on its way, or went where nobody reports
            events.append(
                Status(
                    peer=bounce.recipient,
                    occurred_at=received,
                    status="failed" if bounce.action == "failed" else "delivered",
                    external_id=plain_id(bounce.message_id),
                    our_id=ours.part_id if ours else "",
                    error_code=bounce.status if bounce.action == "failed" else "",
                    error_text=bounce.diagnostic if bounce.action == "failed" else "",
                    is_final=bounce.is_final,
                    is_dead=bounce.is_dead,
                )
            )
        return events

    def _objection(self, raw: bytes, received: datetime) -> Signal | None:
        """Read a complaint about a letter that was truly ours; anybody can make one up about any other."""
        told = automatic.complaint(raw)
        address = addresses.email(told.recipient) if told is not None else None
        if told is None or address is None or threads.ours(self._key, told.message_id) is None:
            return None
        claim = Claim(Address(EMAIL, address), told.recipient, Trust.TYPED)
        return Signal(kind="opted_out", peer=address, claims=(claim,), occurred_at=received)


def _field(head: bytes, name: bytes) -> str:
    """Return a header's value cheaply, unfolded; "" where there is none."""
    found = re.search(rb"(?im)^" + name + rb"[ \t]*:((?:[^\n]|\n[ \t])*)", head)
    return " ".join(found[1].decode("utf-8", "replace").replace("\x00", "").split()) if found else ""


def _without_asides(value: str) -> str:
    """Drop quoted strings and comments, which a sender may have worded; "" where they do not end."""
    value = re.sub(r'"(?:\\.|[^"\\])*"', " ", value)
    shorter = re.sub(r"\([^()]*\)", " ", value)
    while shorter != value:
        value, shorter = shorter, re.sub(r"\([^()]*\)", " ", shorter)
    return "" if re.search(r'["()]', value) else value


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def plain_id(identifier: str) -> str:
    """Return a Message-ID as we keep it: without its angle brackets, and not longer than can be kept."""
    plain = identifier.strip().removeprefix("<").removesuffix(">").replace("\x00", "")
    return plain if len(plain) <= _LONGEST_ID else _hash(plain.encode("utf-8", "surrogatepass"))


def _attachment(file: letters.Enclosure) -> Attachment:
    return Attachment(
        file.name,
        file.content_type,
        file.size,
        file.part,
        kind=_media(file.content_type),
        content_id=file.content_id,
    )


def _media(content_type: str) -> MediaKind:
    main = content_type.partition("/")[0].lower()
    return main if main in ("image", "audio", "video") else "file"  # type: ignore[return-value]


def _received(request: RawRequest, context: ParseContext) -> datetime:
    """Return when our mail server got the letter."""
    try:
        told = parsedate_to_datetime(request.headers.get("x-internal-date", ""))
    except (TypeError, ValueError, IndexError, OverflowError):
        return context.received_at
    told = told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
    return min(told, context.received_at)
