"""The desk by letter: the addresses at which our own people answer a notification, and what such an answer says.

Such an address is the mailbox's own with `+desk.<token>` behind its name (RFC 5233). What the token stands for only
the hub knows; here it is told by its shape alone, so that whatever bears one can never be taken for a customer's
letter, be the token forged, spoilt or of another mailbox.
"""

from __future__ import annotations

import re

from channels.email import headers
from channels.email.automatic import Automatic
from channels.email.letters import Letter
from core.kernel import addresses
from core.kernel.envelopes import Attachment, Event

TOKEN_LENGTH = 32

_TAGGED = re.compile(rf".+\+desk\.([a-z2-7]{{{TOKEN_LENGTH}}})@[^@]+", re.IGNORECASE)
_LONGEST_LOCAL = 64  # RFC 5321 §4.5.3.1.1
_SIGNATURES = ("application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature")
_LOGO = 50_000  # bytes: pictures within the words that are smaller are of a signature


class DeskLetter(Event, frozen=True, kw_only=True):
    """An answer of one of our people to a notification, or what pretends to be one.

    key           tells it from all others: its Message-ID; the same letter in two mailboxes has the same
    message_id    with its angle brackets, for an answer to it; "" where it has none
    token         what stood in the address
    sender        the address in From; "" where it names none, or several
    text          the sender's own words, without quotes and signature
    attachments   files, without signatures and the logos in them
    is_automatic  a program wrote it: out of office, a bounce
    failed_check  what our mail server says against its origin: "dmarc=fail"; "" if nothing
    is_cut        it was too long to be taken whole
    """

    key: str
    token: str
    message_id: str = ""
    sender: str = ""
    text: str = ""
    attachments: tuple[Attachment, ...] = ()
    is_automatic: bool = False
    failed_check: str = ""
    is_cut: bool = False


def address(mailbox: str, token: str) -> str:
    """Return the address of a mailbox with a token; "" where its name is too long for one, or not in Latin letters."""
    local, _, domain = mailbox.rpartition("@")
    tagged = f"{local}+desk.{token}"
    return f"{tagged}@{domain}" if len(tagged) <= _LONGEST_LOCAL and mailbox.isascii() else ""


def tokens(letter: Letter) -> tuple[str, ...]:
    """Return the tokens of the addresses a letter was sent to, each once; none for any letter but an answer."""
    boxes = (*letter.delivered, *(box.address for box in (*letter.to, *letter.cc)))
    return tuple(dict.fromkeys(token for box in boxes if (token := _token(box))))


def is_notification(letter: Letter) -> bool:
    """Tell whether it is a notification itself, which came into a mailbox that is watched."""
    return bool(_token(letter.reply_to)) and letter.header("auto-submitted").lower().startswith("auto-generated")


def sender(letter: Letter) -> str:
    """Return the one address in From; "" where there are several, or it names nobody."""
    boxes = [box for value in letter.headers.get("from", ()) for box in headers.mailboxes(value)]
    return addresses.email(boxes[0].address) or "" if len(boxes) == 1 else ""


def is_automatic(what: Automatic | None) -> bool:
    """Tell whether a program wrote an answer, by signs that no letter of a colleague's bears.

    The marks of lists are no such sign: a company's own server puts them on. Nor is a subject that speaks of what was
    not delivered: so do our notifications, and the answers to them.
    """
    if what is None:
        return False
    if what.kind == "newsletter":
        return what.sign.startswith("auto-submitted")
    return what.kind != "bounce" or not what.sign.startswith("subject")


def goes_along(file: Attachment, *, is_inline: bool) -> bool:
    """Tell whether a file of an answer is for the customer: not a signature, nor a logo in one."""
    return file.content_type not in _SIGNATURES and not (is_inline and file.size < _LOGO)


def _token(box: str) -> str:
    found = _TAGGED.fullmatch(box)
    return found[1].lower() if found else ""
