"""What each provider really sends, one module a kind: SETTINGS that work, and REQUESTS that are genuine at NOW."""

from __future__ import annotations

from datetime import UTC, datetime

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
