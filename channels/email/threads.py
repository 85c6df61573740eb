"""Which conversation a letter belongs to, told from the letter alone.

A conversation is known by a short key. Every letter we send carries it three times, signed, so that nobody can write
into a conversation by guessing: in its Message-ID, in the address answers go to (plus addressing, RFC 5233), and in its
body, for relays (SES, Outlook, Gmail's) that write a Message-ID of their own over ours. A letter that answers none of
ours gets the key of the first letter of its thread (RFC 5322 §3.6.4), which every later one names in References.

A signature proves that we made the key, not that its bearer was meant to have it: letters are forwarded. Whether the
sender takes part in the conversation is for the hub to look at.

All is lower case, as some hosts change the case of addresses.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import NamedTuple

from channels.email.letters import Letter

_THREAD = re.compile(r"[a-z0-9]{0,32}", re.ASCII)
_PART = re.compile(r"[A-Za-z0-9-]{1,64}(?:\.[A-Za-z0-9-]{1,64}){0,3}", re.ASCII)
_OURS = re.compile(r"<?hub\.([a-z0-9.-]{1,260})\.([a-z0-9]{1,32}|-)\.([a-z2-7]{16})@[^@<>\s]{1,253}>?", re.IGNORECASE)
_TOKEN = re.compile(r"([a-z0-9]{0,32})-([a-z2-7]{16})", re.IGNORECASE)
_MARK = re.compile(r"\[ref:([a-z0-9]{0,32}-[a-z2-7]{16})\]", re.IGNORECASE)
_LONGEST_LOCAL = 64  # RFC 5321 §4.5.3.1.1


class Ours(NamedTuple):
    """What one of our Message-IDs says: the id of the part it was (`Part.id`), and its conversation's thread."""

    part_id: str
    thread: str


class Found(NamedTuple):
    """Where a letter belongs.

    thread    the key for `Incoming.thread`: [a-z0-9]{0,32}
    answers   the Message-ID (with brackets) it answers, for `Incoming.reply_to`; "" for none
    sign      token | in_reply_to | references | body | root: by what it was told
    """

    thread: str
    answers: str
    sign: str


# --- Message-IDs ---


def message_id(key: bytes, part_id: str, domain: str, thread: str = "") -> str:
    """Make the Message-ID of a letter we send: `<hub.<part id>.<thread>.<mac>@domain>`; always the same for a part.

    Raises:
        ValueError: a part id or thread with other characters than such an id may have.
    """
    if not _PART.fullmatch(part_id) or not _THREAD.fullmatch(thread):
        raise ValueError(f"Of {part_id!r} and {thread!r} no Message-ID can be made.")
    return f"<hub.{part_id}.{thread or '-'}.{_mac(key, 'letter', part_id.lower(), thread)}@{domain}>"


def ours(key: bytes, identifier: str) -> Ours | None:
    """Read one of our Message-IDs; None for anybody else's or a forged one."""
    found = _OURS.fullmatch(identifier.strip())
    if found is None:
        return None
    thread = "" if found[2] == "-" else found[2].lower()
    if not hmac.compare_digest(found[3].lower(), _mac(key, "letter", found[1].lower(), thread)):
        return None
    return Ours(found[1], thread)


# --- tokens ---


def reply_token(key: bytes, thread: str) -> str:
    """Make the token for plus addressing: lower-case letters, digits and a hyphen, at most 49 characters.

    Raises:
        ValueError: a thread that is none of ours.
    """
    if not _THREAD.fullmatch(thread):
        raise ValueError(f"Of {thread!r} no token can be made.")
    return f"{thread}-{_mac(key, 'thread', thread)}"


def thread_of_token(key: bytes, token: str) -> str | None:
    """Return the thread of a token; None for a forged one."""
    found = _TOKEN.fullmatch(token.strip())
    if found is None:
        return None
    thread = found[1].lower()
    return thread if hmac.compare_digest(found[2].lower(), _mac(key, "thread", thread)) else None


def plus_address(key: bytes, address: str, thread: str) -> str:
    """Return `local+<token>@domain`, for Reply-To; the address as it is where that would be too long for one."""
    local, _, domain = address.rpartition("@")
    plus = f"{local}+{reply_token(key, thread)}"
    return f"{plus}@{domain}" if len(plus) <= _LONGEST_LOCAL else address


def body_mark(key: bytes, thread: str) -> str:
    """Return `[ref:<token>]`, to hide in a body."""
    return f"[ref:{reply_token(key, thread)}]"


# --- letters ---


def root_thread(identifier: str) -> str:
    """Make the key of a conversation that began with the letter of this Message-ID."""
    return _short(hashlib.blake2b(identifier.encode("utf-8", "replace"), digest_size=10).digest())


def place(key: bytes, letter: Letter) -> Found:
    """Tell which conversation a letter belongs to.

    By the address it was sent to, then the letters it answers, the latest first, then the mark in what it quotes; else
    by the first letter of its thread.
    """
    answers = letter.in_reply_to[0] if letter.in_reply_to else letter.references[-1] if letter.references else ""
    chain = [(each, "in_reply_to") for each in letter.in_reply_to]
    chain += [(each, "references") for each in reversed(letter.references)]
    known = next(((each, sign, found) for each, sign in chain if (found := ours(key, each))), None)
    if (thread := _by_address(key, letter)) is not None:
        return Found(thread, known[0] if known else answers, "token")
    if known:
        identifier, sign, said = known
        return Found(said.thread, identifier, sign)
    for text in (letter.html, letter.text):
        for mark in _MARK.findall(text):
            if (thread := thread_of_token(key, mark)) is not None:
                return Found(thread, answers, "body")
    root = next(iter((*letter.references[:1], *letter.in_reply_to[:1])), letter.identity)
    return Found(root_thread(root), answers, "root")


def _by_address(key: bytes, letter: Letter) -> str | None:
    for address in (*letter.delivered, *(box.address for box in (*letter.to, *letter.cc))):
        local, at, _ = address.rpartition("@")
        if at and "+" in local and (thread := thread_of_token(key, local.rpartition("+")[2])) is not None:
            return thread
    return None


def _mac(key: bytes, *said: str) -> str:
    """Sign, in 80 bits: too many to guess by writing letters. The first of `said` keeps purposes apart."""
    return _short(hmac.digest(key, "\0".join(said).encode(), "sha256")[:10])


def _short(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").lower()
