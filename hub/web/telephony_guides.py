"""How telephones are set up, in words, with what can be copied: requests to try, questions who rings, templates.

What stands in quotes is called so by the provider; most of their pages exist in English, so these words stay as they
are in every language.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from channels import registry
from channels.contract import Consulter
from core.connections import Connection
from hub.web.words import N_

GUIDES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "voice_http": (
        N_("Any PBX or script that can post JSON when somebody rings, answers, or hangs up."),
        (
            N_("Save, and copy the address with the token."),
            N_("Have the PBX post what happens to that address: when a call starts, rings, is answered, ends."),
            N_("Enter everybody's extension under People: whose phone rings then sees who it is."),
            N_("Send the example below from any computer: the call appears under Calls within a second."),
            N_("Optional: have the PBX ask who rings, and put them through to the person who looks after them."),
        ),
    ),
}
"""What a kind needs, in one sentence, and how it is set up."""

_EXAMPLE: Final[Mapping[str, Any]] = {
    "event": "ringing",
    "call_id": "example-1",
    "direction": "inbound",
    "from": "+12025550143",
    "to": "+12025550100",
    "extension": "101",
}


class Sample(NamedTuple):
    """Something to copy: what it is, and the text. `id` names it on the page."""

    id: str
    title: str
    text: str


def samples(connection: Connection, hook_url: str, *, token: str = "") -> list[Sample]:
    """Return what one can copy for a telephone, titles in English; nothing for other channels.

    `token` is the secret its addresses carry, while it may be shown; later `…` stands for it.
    """
    if not connection.kind.startswith("voice_"):
        return []
    kind = registry.channel_class(connection.kind)
    carried = quote(token, safe="") or "…"
    found = []
    if issubclass(kind, Consulter):
        lookup = f"{hook_url}/lookup?number=…&token={carried}"
        found.append(Sample("lookup-url", N_("Where the PBX asks who rings"), lookup))
    if connection.kind == "voice_http":
        body = json.dumps(_EXAMPLE, indent=2)
        command = f"curl -H 'Content-Type: application/json' \\\n  -d '{json.dumps(_EXAMPLE)}' \\\n  '{hook_url}?token={carried}'"
        found += [
            Sample("example-json", N_("An example of what to post"), body),
            Sample("example-curl", N_("The same from the command line"), command),
        ]
    found += [Sample(f"template-{number}", title, text) for number, (title, text) in enumerate(_templates(connection.kind, hook_url))]
    return found


def _templates(kind: str, hook_url: str) -> list[tuple[str, str]]:
    """Return the ready templates of a kind that has any: its module's `templates(hook_url)`, title and text."""
    module = registry.KINDS[kind].partition(":")[0]
    if find_spec(module) is None:
        return []
    made = getattr(import_module(module), "templates", None)
    return list(made(hook_url).items()) if callable(made) else []
