"""What the answers of a form come to: the person, their addresses, their words, where they came from, and the rest.

For every kind that brings forms. A channel turns what its builder sends into `form_fields.Answer`s, has them sorted by
`form_fields.sort`, and asks here for the one event that they are. Whatever is not understood stays in
`Incoming.fields`, under its own label and in its order.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from channels import form_fields
from channels.contract import Routed
from channels.fields import Fields
from channels.form_fields import Answer, Meant
from core.kernel import addresses
from core.kernel.addresses import EMAIL, PHONE, Address
from core.kernel.envelopes import Attachment, Attribution, Claim, Incoming, Trust
from webhooks import charsets
from webhooks.errors import Unsupported
from webhooks.forms import FormData

REPEAT_WITHIN = timedelta(minutes=10)
"""For how long the same answers are one request, where a builder gives its submissions no id."""

_LONGEST_ADDRESSES = 1_000
_LONGEST_KEY = 150
_DEEPEST = 5
_REFUSALS = frozenset({"false", "0", "no", "off", "нет"})
_MOST_CLAIMS = 10  # nobody has more; what is beyond is shown as a field
_MARKS = tuple(Attribution.__struct_fields__)


def incoming(
    meant: Meant,
    country: str,
    *,
    external_id: str = "",
    occurred_at: datetime | None = None,
    language: str = "",
    attachments: Sequence[Attachment] = (),
    page: str = "",
    marks: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Incoming:
    """Make the event of a form.

    Args:
        meant: its answers, sorted.
        country: of phones written without one.
        external_id: the builder's id of the submission; "" where it has none: the delivery's id is taken then, which a
            replay of that delivery has again.
        occurred_at: when it was sent, where the builder says so.
        language: of the person, where it is known.
        attachments: the files that came with it.
        page: the address of the form's page, for when no field says it.
        marks: where the visitor came from, as the builder and not a field tells it.
        more: facts to be shown after the other fields (the form's title, say), where no field has that label.

    Raises:
        Unsupported: the honeypot was filled in, so a program did it.
    """
    if "trap" in meant.known:
        raise Unsupported("The honeypot was filled in: a program did it, not a person. No lead was made.")
    found, others = claims(meant, country)
    called, left_over = name(meant)
    refused = [pair for pair in meant.known.get("consent", ()) if pair[1].casefold() in _REFUSALS]
    agreed = dict.fromkeys(value for _, value in meant.known.get("consent", ()) if value.casefold() not in _REFUSALS)
    shown = fields([*others, *left_over, *refused])
    for label, fact in (more or {}).items():
        shown.setdefault(label, fact)
    return Incoming(
        external_id=external_id[:200],
        occurred_at=occurred_at,
        claims=found,
        name=called,
        company=meant.joined("company"),
        text=meant.joined("message", "\n"),
        subject=meant.joined("subject"),
        language=language,
        fields=shown,
        attachments=tuple(attachments),
        attribution=attribution(meant, page, marks or {}),
        consent=", ".join(agreed) or None,
        is_form=True,
    )


def routed(meant: Meant, submission: str, form: str = "", said: Iterable[tuple[str, str]] | None = None) -> Routed:
    """Tell what makes two submissions the same: the builder's id, else the form and all that was said.

    `said` is what to compare instead of all answers, where some differ at every attempt.
    """
    if submission:
        return Routed(f"id:{short(submission)}", None, peer(meant))
    known = ((what, value) for what, pairs in meant.known.items() for _, value in pairs)
    content = repr((form, sorted([*known, *meant.others] if said is None else said)))
    return Routed(f"content:{digest(content)}", REPEAT_WITHIN, peer(meant))


def short(key: str) -> str:
    """Return an id as it is, or a digest of one that is too long to be a key."""
    return key if len(key) <= _LONGEST_KEY else digest(key)


def digest(content: str) -> str:
    """Return a short text that stands for a long one."""
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def peer(meant: Meant) -> str:
    """Name the person cheaply, whatever the spelling; wrong only for numbers that share their last ten digits."""
    for value in meant.values("phone", "either"):
        digits = "".join(character for character in value[:100] if character.isdecimal())
        if len(digits) >= 7:
            return f"{PHONE}:{digits[-10:]}"
    for value in meant.values("email", "either", "phone"):
        if "@" in value:
            return f"{EMAIL}:{value.lower()[:200]}"
    return ""


def as_text(said: Fields, depth: int = 0) -> str:
    """Return an answer of any shape as people read it: a list by its members, an object by its values."""
    value = said.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        members = value if isinstance(value, list) else value.values()
        texts = (as_text(Fields(member), depth + 1) for member in members) if depth < _DEEPEST else ()
        return ", ".join(text for text in texts if text)
    if isinstance(value, float) and (whole := said.whole()) is not None:
        return str(whole)  # a phone that somebody's JSON made a number of
    return said.text()


def named(said: Fields) -> list[Answer]:
    """Return the members of a JSON object of names and answers."""
    if not isinstance(said.value, dict):
        return []
    pairs = ((charsets.clean(name), value) for name, value in said.value.items())
    return [Answer(name, name, as_text(Fields(value))) for name, value in pairs]


def enclosed(form: FormData) -> tuple[Attachment, ...]:
    """Return the files that lie in the request itself."""
    return tuple(Attachment(file.filename, file.content_type, file.size, file.part) for file in form.files)


def claims(meant: Meant, country: str) -> tuple[tuple[Claim, ...], list[tuple[str, str]]]:
    """Find the addresses, each value by its shape rather than its field, and what is left to be shown as it is."""
    claimed: dict[Address, Claim] = {}
    unread: list[tuple[str, str]] = []
    for label, value in (pair for what in ("phone", "email", "either") for pair in meant.known.get(what, ())):
        found = _addresses(value, country) if len(claimed) < _MOST_CLAIMS else []
        for address in found[: _MOST_CLAIMS - len(claimed)]:
            claimed.setdefault(address, Claim(address, value, Trust.TYPED))
        if not claimed.keys() & found:
            unread.append((label, value))
    if not claimed:
        # a builder's nameless fields (`text-583`): only what cannot be anything else is taken for an address
        for _, value in meant.others:
            if evident := _evident(value, country):
                claimed.setdefault(evident, Claim(evident, value, Trust.TYPED))
    ordered = sorted(claimed.values(), key=lambda claim: claim.address.scheme != PHONE)
    return tuple(ordered), [*meant.others, *unread]


def _addresses(value: str, country: str) -> list[Address]:
    """Read the phones and e-mails in what was typed into a field for either."""
    if len(value) > _LONGEST_ADDRESSES:
        return []
    if "@" not in value:
        return [Address(PHONE, number) for number in addresses.phones(value, country)]
    found = []
    for piece in [value] if value.count("@") == 1 and not re.search(r"[,;\s]", value) else re.split(r"[,;\s]+", value):
        if "@" in piece and (mail := addresses.email(piece)):
            found.append(Address(EMAIL, mail))
    rest = re.sub(r"\S*@\S*", " ", value)
    return [Address(PHONE, number) for number in addresses.phones(rest, country)] + found


def _evident(value: str, country: str) -> Address | None:
    """Read an address that says by itself that it is one: an e-mail, or a whole number written as phones are."""
    if len(value) > 100:
        return None
    if "@" in value:
        mail = addresses.email(value)
        return Address(EMAIL, mail) if mail else None
    if not re.fullmatch(r"\+\d[\d\s().-]{8,22}|\d[\d\s.-]*\(\d+\)[\d\s.-]{5,}", value):
        return None
    number = addresses.phone(value, country)
    return Address(PHONE, number) if number else None


def name(meant: Meant) -> tuple[str, list[tuple[str, str]]]:
    """Make one name of what there is, and tell what other names were given."""
    names = meant.known.get("name", [])
    parts = [meant.first(part) for part in ("first_name", "middle_name", "last_name")]
    if not names:
        return _one_line(" ".join(part for part in parts if part)), []
    called = names[0][1]
    if not parts[0] and parts[2] and parts[2].casefold() not in called.casefold():
        # "Имя" and "Фамилия" side by side: the first of them is only the given name
        called = " ".join(part for part in (called, parts[1], parts[2]) if part)
    left_over = [pair for pair in names[1:] if pair[1].casefold() not in called.casefold()]
    return _one_line(called), left_over


def _one_line(text: str) -> str:
    """Put a name on one line and keep it to what is a name."""
    return " ".join(text.split())[:300]


def fields(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Keep the other fields in order, repeats joined."""
    fields: dict[str, Any] = {}
    for label, value in pairs:
        if not fields.get(label):
            fields[label] = value
        elif value:
            fields[label] = f"{fields[label]}, {value}"
    return fields


def attribution(meant: Meant, page: str = "", told: Mapping[str, str] | None = None) -> Attribution:
    """Read where the visitor came from: from the fields, what the builder told, and the page's own address."""
    marks = {mark: meant.first(mark)[:2_000] for mark in _MARKS if mark in meant.known}
    for mark, value in (told or {}).items():
        if mark in _MARKS and value:
            marks.setdefault(mark, value[:2_000])
    if "landing_page" not in marks and page:
        marks["landing_page"] = charsets.clean(page[:2_000])
    if not any(mark.startswith("utm_") for mark in marks):
        for address in (marks.get("landing_page", ""), marks.get("referrer", "")):
            if "?" not in address:
                continue
            for name, value in _query(address):
                mark = form_fields.meaning(name)
                if mark in _MARKS and mark not in ("referrer", "landing_page") and value.strip():
                    marks.setdefault(mark, charsets.clean(value.strip()))
    return Attribution(**marks)


def _query(page: str) -> list[tuple[str, str]]:
    """Return the names and values in the query of an address, none of a broken one."""
    try:
        return parse_qsl(urlsplit(page).query, max_num_fields=100)
    except ValueError:
        return []
