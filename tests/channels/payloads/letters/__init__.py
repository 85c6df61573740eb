"""Letters as mailers write them, made for these tests; no person's mail is among them."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def letter(name: str) -> bytes:
    """Return a letter as it comes off the wire."""
    return (HERE / f"{name}.eml").read_bytes()
