"""Addresses: where a person can be reached, and when two spellings are the same address.

People and providers spell one address in many ways. Each scheme has one canonical value, made here and nowhere else;
it is what two records must share to be the same address. What was typed is kept beside it as `Claim.raw`.

    phone   E.164, `+79161234567` (ITU-T E.164; read with Google's libphonenumber rules)
    email   lower case, the domain in its ASCII form: `vera@example.com`, `вера@xn--80a1acny.xn--p1ai`

RFC 5321 §2.4 lets a mail host tell `Vera@` from `vera@`; none in use does, and people type either, so the whole
address is lower-cased. Dots and `+tags` before the @ are kept: they are different mailboxes on most hosts.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

import email_validator
import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, ValidationResult


class Address(NamedTuple):
    """A scheme and a value, such as `phone:+79161234567` or `email:vera@example.com`.

    The value is the canonical spelling of its scheme; it is what two records must share to be the same address.
    """

    scheme: str
    value: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.value}"


PHONE = "phone"
EMAIL = "email"

# Longer input is not an address; libphonenumber itself gives up at 250.
_LONGEST_PHONE = 250
_LONGEST_EMAIL = 320

_DROP_SEPARATORS = str.maketrans("", "", " -()\u00a0.")
# Mobile numbers of Russia in the usual spellings; every one of them is valid by libphonenumber (9 3x has gaps).
_RUSSIAN_MOBILE = re.compile(r"(?:\+?7|8)?(9[0-24-9][0-9]{8})", re.ASCII)

# Where people write Russian numbers with Russia's own prefix, as they always did.
_DIAL_RUSSIA_BY_8 = frozenset(("AM", "AZ", "BY", "GE", "KG", "MD", "TJ", "TM", "UA", "UZ"))
_URI = re.compile(r"^(?:tel|callto|sms|whatsapp):(?://)?", re.IGNORECASE)
_DASHES = re.compile("[\u2010-\u2015\u2212\u2043\ufe58\ufe63\uff0d]")
# A run of digits as people group them. A slash may group (030/901820) or separate two numbers.
_RUN = re.compile(r"\+?\(?[0-9](?:[ \t().\-/]{0,3}[0-9])*")
_FEWEST_DIGITS = 7

_PLAIN_EMAIL = re.compile(
    r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@(?:(?!..--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,24}", re.ASCII
)
_ANGLED = re.compile(r"<([^<>]*@[^<>]*)>")


def phone(raw: str, country: str) -> str | None:
    """Read one phone number and return it in E.164, or None where there is none to read.

    `country` is the ISO 3166 code that numbers without a country are taken to be from; "" where none is known.
    Understood: `+7 916…`, `8 (916)…`, `007916…`, `7916…`, `916…`, full-width digits, any separators, `tel:` links,
    words around the number. An extension is left out. Of several numbers the first is returned; see `phones`.

    A number that a numbering plan allows by its length is accepted though its range is not in use: ranges are opened
    faster than libraries are updated, and refusing would lose a customer. One digit repeated is refused.
    """
    found = phones(raw, country)
    return found[0] if found else None


@lru_cache(maxsize=8192)
def phones(raw: str, country: str) -> tuple[str, ...]:
    """Read every phone number in what somebody typed into one field, in order, without repeats, in E.164."""
    if country in ("RU", "ru") and (usual := _RUSSIAN_MOBILE.fullmatch(raw.translate(_DROP_SEPARATORS))):
        return ("+7" + usual[1],)
    if len(raw) > _LONGEST_PHONE:
        return ()
    text = _plain(raw)
    region = country.upper()
    found: dict[str, None] = {}
    for run in _RUN.finditer(text):
        number = _number(run[0], region)
        if number is not None:
            found[number] = None
        elif "/" in run[0]:
            found.update((part, None) for piece in run[0].split("/") if (part := _number(piece, region)))
    if not found and any(character.isalpha() for character in text) and (number := _vanity(text, region)):
        found[number] = None
    return tuple(found)


@lru_cache(maxsize=8192)
def email(raw: str) -> str | None:
    """Read one e-mail address and return its canonical form, or None where it is none.

    `mailto:` links, `Vera <vera@example.com>`, surrounding blanks and punctuation are understood. The mail exchanger is
    not asked for: that would be I/O, and a typing mistake is for a person to see. Private domains such as `.local` are
    accepted, as mail inside a company comes from them.
    """
    if len(raw) > _LONGEST_EMAIL:
        return None
    text = raw.strip().lower()
    if _plain_email(text):
        return text
    text = "".join(c for c in unicodedata.normalize("NFKC", raw) if unicodedata.category(c) not in ("Cc", "Cf"))
    if angled := _ANGLED.search(text):
        text = angled[1]
    text = re.sub(r"^mailto:", "", text.strip(), flags=re.IGNORECASE).partition("?")[0]
    text = text.strip(" \t\r\n\"'<>()[],;:.").lower()
    if _plain_email(text):
        return text
    if "\ufffd" in text:
        return None  # something of it was lost on the way
    try:
        checked = email_validator.validate_email(text, check_deliverability=False, test_environment=True)
    except (email_validator.EmailNotValidError, ValueError):
        return None
    return unicodedata.normalize("NFC", f"{checked.local_part}@{checked.ascii_domain}".lower())


@lru_cache(maxsize=8192)
def country(value: str) -> str | None:
    """Return the ISO 3166 code of the country a number in E.164 belongs to; None for numbers of no country."""
    try:
        number = phonenumbers.parse(value)
    except NumberParseException:
        return None
    found = phonenumbers.region_code_for_number(number)
    return found if found and found.isalpha() else None  # "001" stands for satellites, freephone and the like


@lru_cache(maxsize=4096)
def display(address: Address, country: str = "") -> str:
    """Spell an address for people.

    A phone of `country` (ISO 3166 code of whoever reads it) is written as it is dialled there, `8 (916) 123-45-67`;
    any other internationally, `+49 30 901820`. The domain of an e-mail is shown in its own script.
    """
    if address.scheme == PHONE:
        try:
            number = phonenumbers.parse(address.value)
        except NumberParseException:
            return address.value
        national = bool(country) and number.country_code == phonenumbers.country_code_for_region(country.upper())
        return phonenumbers.format_number(
            number, PhoneNumberFormat.NATIONAL if national else PhoneNumberFormat.INTERNATIONAL
        )
    if address.scheme == EMAIL and "xn--" in address.value:
        local, _, domain = address.value.rpartition("@")
        try:
            return f"{local}@{domain.encode('ascii').decode('idna')}"
        except UnicodeError:
            return address.value
    return address.value


def _plain_email(text: str) -> bool:
    """Tell whether it has the commonest shape, which needs no library to be believed."""
    return len(text) <= 254 and text.find("@") <= 64 and _PLAIN_EMAIL.fullmatch(text) is not None


def _plain(raw: str) -> str:
    """Bring digits, dashes and blanks of any script to ASCII and drop what cannot be seen."""
    text = raw if raw.isascii() else _DASHES.sub("-", unicodedata.normalize("NFKC", raw))
    if not text.isascii():
        text = "".join(_ascii_digit(character) for character in text if unicodedata.category(character) != "Cf")
    text = text.strip()
    if uri := _URI.match(text):
        text = unquote(text[uri.end() :]).partition(";")[0]
    return re.sub(r"\s+", " ", text).replace("+ ", "+").replace("(+", "+").replace("(0)", "")


def _ascii_digit(character: str) -> str:
    """Turn the digit three of any script into 3."""
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)


def _number(run: str, region: str) -> str | None:
    """Read a run of digits: a number in use in any reading, else one that could be by its length."""
    digits = re.sub(r"[^0-9]", "", run)
    if len(digits) < _FEWEST_DIGITS:
        return None
    plus = run.startswith("+")
    # as it stands, then the usual mistakes, of which only a number in use is believed
    readings = ["+" + digits] if plus else [digits]
    if digits.startswith("00"):
        readings.append("+" + digits[2:])
    believed_by_length = len(readings)
    if not plus and digits[0] == "8" and len(digits) == 11 and region in _DIAL_RUSSIA_BY_8:
        readings.append("+7" + digits[1:])
    # `+8 916…`: a plus before the national prefix; `7916…`: a country code without its plus
    readings.append(digits if plus else "+" + digits)
    possible: str | None = None
    for position, reading in enumerate(readings):
        try:
            number = phonenumbers.parse(reading, region or None)
        except NumberParseException:
            continue
        if position >= believed_by_length and possible is not None:
            break  # a number of this country that is not in use yet is likelier than one of a far country
        written = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        if phonenumbers.is_valid_number(number):
            return written
        if (
            possible is None
            and position < believed_by_length
            and len(set(digits[-_FEWEST_DIGITS:])) > 1
            and phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE
        ):
            possible = written
    return possible


def _vanity(text: str, region: str) -> str | None:
    """Read `1-800-FLOWERS`, if the letters make it a valid number."""
    try:
        number = phonenumbers.parse(text, region or None)
    except NumberParseException:
        return None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164) if phonenumbers.is_valid_number(number) else None
