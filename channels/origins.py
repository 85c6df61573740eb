"""Which web pages a connection trusts: origins that may post (CORS), and pages a visitor may be sent back to.

An origin is a scheme, a host and a port (RFC 6454). Everything is compared in one spelling: lower case, IDNA, default
port left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, unquote, urlsplit

ANY = "*"
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Browsers drop tabs and line feeds, and read a backslash as a slash: what we check must be what they follow.
_TREACHEROUS = re.compile(r"[\x00-\x20\x7f-\xa0\\<>\"^`{|}]")


def split(setting: object) -> tuple[str, ...]:
    """Turn a setting, a list or one text with commas, blanks or line breaks between, into its members."""
    if setting is None:
        return ()
    if isinstance(setting, str):
        return tuple(dict.fromkeys(part for part in re.split(r"[,;\s]+", setting) if part))
    if isinstance(setting, Iterable):
        return tuple(dict.fromkeys(part for member in setting for part in split(str(member))))
    raise ValueError("give a list of addresses, or one text with commas between them")


def origins(setting: object) -> tuple[str, ...]:
    """Read a list of origins. A host alone means it over https and over http; `*` means every one.

    Raises:
        ValueError: one of them is no origin.
    """
    found: dict[str, None] = {}
    for member in split(setting):
        spellings = (member,) if member == ANY or "://" in member else (f"https://{member}", f"http://{member}")
        for spelling in spellings:
            origin = ANY if member == ANY else origin_of(spelling)
            if origin is None:
                raise ValueError(f"{member!r} is no origin; write it as https://www.example.com")
            found[origin] = None
    return tuple(found)


def pages(setting: object) -> tuple[str, ...]:
    """Read a list of addresses that may be redirected to. A host alone means all of it, over https.

    Raises:
        ValueError: one of them is no absolute http or https address.
    """
    found: dict[str, None] = {}
    for member in split(setting):
        address = member if "://" in member else f"https://{member}"
        if member.startswith(("/", ".")) or _safe(address) is None:
            raise ValueError(f"{member!r} is no address of a page; write it in full, https://www.example.com/thanks")
        found[address] = None
    return tuple(found)


def origin_of(address: str) -> str | None:
    """Return the origin of an absolute http or https address in the one spelling, or None for anything else."""
    parts = _safe(address)
    return None if parts is None else _origin(parts)


def permitted(target: str, allowed: Iterable[str]) -> bool:
    """Tell whether `target` is one of the `allowed` pages or lies below one, on the same origin.

    An allowed `https://shop.example/thanks` permits itself, with any query, and `/thanks/…`, but not `/thanksgiving`.
    """
    wanted = _safe(target)
    if wanted is None or not target.isascii():
        return False
    steps = unquote(unquote(wanted.path)).replace("\\", "/").split("/")
    if ".." in steps or "." in steps or any(_TREACHEROUS.search(step.replace(" ", "")) for step in steps):
        return False
    for address in allowed:
        page = _safe(address)
        if page is None or _origin(page) != _origin(wanted):
            continue
        below = page.path.rstrip("/")
        if (wanted.path or "/") == (page.path or "/") or wanted.path.rstrip("/") == below:
            return True
        if wanted.path.startswith(below + "/"):
            return True
    return False


def _safe(address: str) -> SplitResult | None:
    """Split an absolute http or https address that every browser reads as we do; None for any other."""
    if len(address) > 2_000 or _TREACHEROUS.search(address):
        return None
    if not re.match(r"https?://[^/?#]", address, re.IGNORECASE):
        return None
    try:
        parts = urlsplit(address)
        usable = bool(parts.hostname) and "@" not in parts.netloc and (parts.port is None or parts.port > 0)
        (parts.hostname or "").encode("idna")
    except (ValueError, UnicodeError):
        return None
    if "%" in parts.netloc or parts.netloc.endswith(":"):
        return None
    return parts if usable else None


def _origin(parts: SplitResult) -> str:
    """Spell the origin of an address that is safe."""
    host = (parts.hostname or "").encode("idna").decode("ascii").lower() if parts.hostname else ""
    host = f"[{host}]" if ":" in host else host.rstrip(".")
    port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"
