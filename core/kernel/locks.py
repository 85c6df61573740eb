"""Locks: the advisory locks by which two transactions do not make two records of one thing.

They are PostgreSQL's and end with the transaction. Whoever takes several takes them in one order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def keys_of(names: Iterable[str]) -> list[int]:
    """Return the locks of things by their names (`phone:+7916…`), in the one order in which everybody takes theirs."""
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in set(names))
    return sorted(int.from_bytes(digest, "big", signed=True) for digest in digests)
