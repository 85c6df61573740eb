"""Keeping calls to addresses that came from outside off the own network (SSRF).

The check is made where the socket is: after names are resolved and redirects followed, so that neither a name that
resolves to 127.0.0.1 nor a redirect to the metadata service gets through.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import aiohttp
from aiohttp.client_exceptions import ClientConnectorError

_TRANSLATED = (
    ipaddress.ip_network("64:ff9b::/96"),  # NAT64 (RFC 6052) and 6to4 (RFC 3056) carry an IPv4 address within,
    ipaddress.ip_network("64:ff9b:1::/48"),  # and count as global
    ipaddress.ip_network("2002::/16"),
    ipaddress.ip_network("2001::/32"),  # Teredo (RFC 4380)
)


class ForbiddenAddress(OSError):
    """An address of the own network."""


def is_public(address: str) -> bool:
    """Whether an IP address is one that anybody on the internet may be sent to."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        elif any(parsed in network for network in _TRANSLATED):
            return False
    return parsed.is_global and not parsed.is_multicast


def _guarded_socket(info: Any) -> socket.socket:
    family, kind, protocol, _, target = info
    if not is_public(str(target[0])):
        raise ForbiddenAddress(f"{target[0]} is an address of the own network")
    return socket.socket(family=family, type=kind, proto=protocol)


def guarded_connector() -> aiohttp.TCPConnector:
    """Return a connector that opens no socket to a private, loopback, link-local or translated address."""
    return aiohttp.TCPConnector(socket_factory=_guarded_socket, limit=100, keepalive_timeout=5)


def is_forbidden(error: BaseException) -> bool:
    """Whether a client's error is this guard's doing."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ForbiddenAddress):
            return True
        if isinstance(seen, ClientConnectorError) and isinstance(seen.os_error, ForbiddenAddress):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
