"""The file by which a Matrix homeserver learns of us, to be pasted by whoever runs it.

From the Matrix specification, Application Service API, "Registration". Synapse reads it as one of the files named in
`app_service_config_files` and has to be restarted; other homeservers have a command for it.
"""

from __future__ import annotations

import json
import re

from channels.matrix_events import Ourselves


def registration(us: Ourselves, *, as_token: str, hs_token: str, hook_url: str) -> str:
    """Return the registration as YAML. It holds both tokens: show it to administrators only."""
    users = f"@{re.escape(us.prefix)}.*"
    values = {
        "id": service_id(us),
        "url": hook_url.rstrip("/"),
        "as_token": as_token,
        "hs_token": hs_token,
        "sender_localpart": us.bot,
    }
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return "\n".join(
        [
            *lines,
            "rate_limited: false",
            "protocols: []",
            "receive_ephemeral: true",
            "de.sorunome.msc2409.push_ephemeral: true  # the same, for homeservers of before 2025",
            "namespaces:",
            "  users:",
            "    - exclusive: true",
            f"      regex: {json.dumps(users)}",
            "  rooms: []",
            "  aliases: []",
            "",
        ]
    )


def service_id(us: Ourselves) -> str:
    """Return the name under which the homeserver knows this service."""
    return f"switchyard-{us.bot}"
