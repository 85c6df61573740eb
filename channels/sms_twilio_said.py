"""What Twilio's requests say: the fields of messages (SMS, MMS, WhatsApp) and of reports on what we sent."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Literal

from channels import sms
from channels.sms import Said
from core.kernel.envelopes import Attachment, Attribution, Event, Status

PREFIX = "whatsapp:"
USER_ID = re.compile(r"[A-Z]{2}\.[A-Za-z0-9]+")  # WhatsApp's business-scoped id, of people without a visible number

# https://www.twilio.com/docs/api/errors
OPTED_OUT = {"21610"}
NO_SUCH_PEER = {"21211", "21214", "21217", "21614", "30006", "63003", "63024"}
_MAY_PASS = {"30001", "30003", "30008", "63018"}
_STATES: Mapping[str, Literal["sent", "delivered", "read", "failed"]] = {
    "accepted": "sent",
    "scheduled": "sent",
    "queued": "sent",
    "sending": "sent",
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "undelivered": "failed",
    "failed": "failed",
    "canceled": "failed",
}


def state(said: Said) -> str:
    """Return the state a report tells; "" for a message, whose own is `received`."""
    state = said.text("MessageStatus", "SmsStatus").lower()
    return "" if state in ("received", "receiving") or ("Body" in said and "MessageStatus" not in said) else state


def reported(said: Said, state: str, our_id: str) -> list[Event]:
    """Return what a report says of a part of ours, and that its reader wants no more, if that is why it failed."""
    status = _STATES.get(state)
    sid, code = said.id("MessageSid", "SmsMessageSid", "SmsSid"), said.id("ErrorCode")
    if status is None or not (sid or our_id):
        return []
    raw_peer = said.text("To")
    peer = raw_peer if raw_peer.startswith(PREFIX) else sms.peer_named(raw_peer)
    when = sms.short_moment(said.text("RawDlrDoneDate"))
    events: list[Event] = [
        Status(
            status=status,
            external_id=sid,
            our_id=our_id,
            peer=peer,
            occurred_at=when,
            error_code=code if status == "failed" and code != "0" else "",
            error_text=said.text("ErrorMessage") if status == "failed" else "",
            is_final=code not in _MAY_PASS,
            is_dead=code in NO_SUCH_PEER,
        )
    ]
    if code in OPTED_OUT:
        events += sms.opted_out(raw_peer.removeprefix(PREFIX), when)
    return events


def text(said: Said) -> str:
    """Return the words of a message: what was written, the button pressed, the place shown."""
    body = _unwrapped(said.text("Body"))
    pressed = said.text("ButtonText")
    if not body.strip() or (pressed and said.text("From").startswith(PREFIX)):
        body = pressed  # only WhatsApp has buttons: what was pressed is what was said
    if said.text("Latitude") and said.text("Longitude"):
        place = " ".join(filter(None, (said.text("Label"), said.text("Address"))))
        body = "\n".join(filter(None, (body, place, f"{said.text('Latitude')}, {said.text('Longitude')}")))
    return body


def _unwrapped(body: str) -> str:
    """Undo the base64 that Twilio leaves on some joined messages; what is not surely that stays as it is."""
    if len(body) < 60 or len(body) % 4 or not re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", body):
        return body
    try:
        data = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        return body
    text = data.decode("utf-8", "ignore")  # its last character may be cut
    is_text = len(text.encode()) >= len(data) - 3 and all(c.isprintable() or c in "\n\r\t" for c in text)
    return text if is_text else body


def attachments(said: Said) -> list[Attachment]:
    """Return the files of a message, which lie with Twilio."""
    found = []
    for place in range(min(said.whole("NumMedia") or 0, 20)):
        url = said.text(f"MediaUrl{place}")
        if url:
            content_type = said.text(f"MediaContentType{place}").lower()[:100]
            found.append(Attachment("", content_type, 0, reference=url[:2_000], kind=sms.media_kind(content_type)))
    return found


def attribution(said: Said) -> Attribution:
    """Return the advertisement on which somebody began to write on WhatsApp."""
    return Attribution(
        ad=said.id("ReferralSourceId") or None,
        referrer=said.text("ReferralSourceUrl")[:2_000] or None,
        reference=said.text("ReferralHeadline")[:500] or None,
    )
