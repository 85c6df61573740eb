"""Sealing what must not be read from a stolen database: AES-GCM under a key from the settings.

Sealed text is bound to what it belongs to, so that one connection's secret cannot be moved to another's row.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.kernel.errors import HubError

_NONCE = 12


class Unreadable(HubError):
    """Sealed under another key, for something else, or damaged."""


class Vault:
    """Seals and opens small records."""

    def __init__(self, secret_key: bytes) -> None:
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"switchyard vault").derive(secret_key)
        self._cipher = AESGCM(derived)

    def seal(self, values: dict[str, Any], *, belongs_to: str) -> bytes | None:
        """Return the values sealed; None for none."""
        if not values:
            return None
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, msgspec.json.encode(values), belongs_to.encode())

    def open(self, sealed: bytes | None, *, belongs_to: str) -> dict[str, Any]:
        """Return what was sealed.

        Raises:
            Unreadable: it was sealed under another key or for something else.
        """
        if sealed is None:
            return {}
        try:
            plain = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], belongs_to.encode())
        except InvalidTag as error:
            raise Unreadable(
                "A secret cannot be opened: is SWITCHYARD_SECRET_KEY (or the state folder's secret_key) the one it was "
                "sealed under? Put the old key back, or enter the connection's secrets again"
            ) from error
        opened: dict[str, Any] = msgspec.json.decode(plain)
        return opened
