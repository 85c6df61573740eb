"""ETag, If-Match and If-None-Match (RFC 9110 §8.8.3, §13.1) over the `version` of records that people edit.

A tag is `"v<version>-<hash of the answer>"`. If-None-Match compares it whole, so what is derived (overdue, say) is
never shown stale. If-Match compares the version alone: it asks whether the *record* was changed by somebody meanwhile,
and `"v<version>"`, which anybody can make of the `version` seen in a list, says the same.
"""

from __future__ import annotations

import hashlib
import re

_TAG = re.compile(r'(?:W/)?"([^"]*)"')
_VERSION = re.compile(r"v([0-9]+)(?:-[0-9a-f]+)?")


def tag(version: int, body: bytes | None = None) -> str:
    """Make the ETag of a record's version; with the answer's body, of exactly that answer."""
    if body is None:
        return f'"v{version}"'
    return f'"v{version}-{hashlib.blake2b(body, digest_size=8).hexdigest()}"'


def matches(if_match: str, version: int) -> bool:
    """Tell whether If-Match allows changing a record that now has this version.

    Weak tags count as well: a proxy that compresses makes ours weak, and the version in it is as good as before.
    """
    if if_match.strip() == "*":
        return True
    versions = (_VERSION.fullmatch(text) for text in _TAG.findall(if_match))
    return any(found is not None and int(found.group(1)) == version for found in versions)


def is_known(if_none_match: str, etag: str) -> bool:
    """Tell whether the caller has exactly this answer already."""
    return if_none_match.strip() == "*" or etag.strip('"') in _TAG.findall(if_none_match)
