"""How telephones are set up, in words, with what can be copied: requests to try, questions who rings, templates.

What stands in quotes is called so by the provider; most of their pages exist in English, so these words stay as they
are in every language.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from channels import registry
from channels.contract import Consulter
from core.connections import Connection
from hub.web.words import N_

_EXTENSIONS = N_("Enter everybody's extension under People: whose phone rings then sees who it is.")
_TRY = N_("Ring the number from another phone: the call appears under Calls within a second.")

GUIDES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "voice_http": (
        N_("Any PBX or script that can post JSON when somebody rings, answers, or hangs up."),
        (
            N_("Save, and copy the address with the token."),
            N_("Have the PBX post what happens to that address: when a call starts, rings, is answered, ends."),
            _EXTENSIONS,
            N_("Send the example below from any computer: the call appears under Calls within a second."),
            N_("Optional: have the PBX ask who rings, and put them through to the person who looks after them."),
        ),
    ),
    "voice_asterisk": (
        N_("Your own Asterisk 16 or later, or a FreePBX, and a user of its manager interface (AMI)."),
        (
            N_(
                "In manager.conf add a user with read = call,agent,dialplan,dtmf and "
                "write = call,originate,reporting, and timestampevents = yes."
            ),
            N_("Allow this server's IP address there, enter host, user and password here, and save."),
            N_("Recordings: let the hub read the folder MixMonitor writes to, or give it access to ARI."),
            _EXTENSIONS,
            _TRY,
        ),
    ),
    "voice_freeswitch": (
        N_("Your own FreeSWITCH, whose event socket this hub can reach."),
        (
            N_("In event_socket.conf.xml let the socket listen, choose a password, and allow this hub's address."),
            N_("Enter host and password here, and save."),
            N_("Better still, let mod_json_cdr post its records to the address: they come again after an outage."),
            _EXTENSIONS,
            _TRY,
        ),
    ),
    "voice_twilio": (
        N_("A Twilio account with a number for calls."),
        (
            N_("In the console copy the account SID and the auth token; enter them here with your number."),
            N_("Say which phones shall ring. Save: the hub sets up the number by itself."),
            N_("If your own TwiML answers calls, name the address there as statusCallback instead."),
            _EXTENSIONS,
            _TRY,
        ),
    ),
    "voice_zadarma": (
        N_("A Zadarma account with its PBX."),
        (
            N_("In the cabinet, under Settings → Integrations and API → Keys, copy key and secret; enter them here."),
            N_("There, under Notifications, enter the address and tick all events of calls."),
            N_("Choose the account's time zone for this channel: Zadarma writes times without one."),
            _EXTENSIONS,
            _TRY,
        ),
    ),
    "voice_mango": (
        N_("A Mango Office PBX with the API connector."),
        (
            N_("In the cabinet, under Integrations → API connector, copy the code and the key; enter them here."),
            N_("There, enter the address as that of the external system, and allow links to recordings."),
            _EXTENSIONS,
            _TRY,
        ),
    ),
    "voice_uis": (
        N_("An account at UIS, CoMagic or CallGear with notifications."),
        (
            N_("Save, and copy the address with the token."),
            N_("In the cabinet, under Notifications, add one of the type HTTP for each event below, method POST."),
            N_("Paste the address and the body that is shown for each."),
            N_("To call from here, enter a key for the Call API and your virtual number."),
            _EXTENSIONS,
            _TRY,
        ),
    ),
    "voice_binotel": (
        N_("A Binotel account; their support switches the API on."),
        (
            N_("Save, and copy the address with the token."),
            N_(
                "Ask Binotel's support to send API PUSH, API CALL SETTINGS and API CALL COMPLETED there, and for a key "
                "and a secret of the REST API."
            ),
            N_("Enter key and secret here."),
            _EXTENSIONS,
            _TRY,
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
        command = (
            f"curl -H 'Content-Type: application/json' \\\n  -d '{json.dumps(_EXAMPLE)}' \\\n"
            f"  '{hook_url}?token={carried}'"
        )
        found += [
            Sample("example-json", N_("An example of what to post"), body),
            Sample("example-curl", N_("The same from the command line"), command),
        ]
    ready = _templates(connection.kind, f"{hook_url}?token={carried}")
    found += [Sample(f"template-{number}", title, text) for number, (title, text) in enumerate(ready)]
    return found


def _templates(kind: str, hook_url: str) -> list[tuple[str, str]]:
    """Return what has to be pasted at the provider, as its module's `templates` has it: what it is, and its body."""
    made = getattr(import_module(registry.KINDS[kind].partition(":")[0]), "templates", None)
    return [(each.name, each.body) for each in made(hook_url)] if made is not None else []
