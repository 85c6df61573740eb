"""The words for the states and kinds that records carry, in English as gettext finds them.

A page asks for `label("task_kind", task.kind)`; a value that is not listed is shown as it is, so that nothing a later
release writes can break a page.
"""

from __future__ import annotations

from typing import Final


def N_(message: str) -> str:
    """Mark a message for extraction without translating it yet. The name is gettext's custom."""
    return message


LABELS: Final[dict[str, dict[str, str]]] = {
    "lead_status": {
        "new": N_("New"),
        "working": N_("In progress"),
        "converted": N_("Became a deal"),
        "unqualified": N_("Not a fit"),
        "junk": N_("Junk"),
    },
    "outcome": {"open": N_("Open"), "won": N_("Won"), "lost": N_("Lost")},
    "task_kind": {
        "call": N_("Call"),
        "message": N_("Message"),
        "meeting": N_("Meeting"),
        "visit": N_("Visit"),
        "document": N_("Document"),
        "other": N_("Task"),
    },
    "task_status": {
        "todo": N_("To do"),
        "in_progress": N_("In progress"),
        "done": N_("Done"),
        "canceled": N_("Canceled"),
    },
    "priority": {"low": N_("Low"), "normal": N_("Normal"), "high": N_("High"), "urgent": N_("Urgent")},
    "role": {
        "owner": N_("Owner of the account"),
        "admin": N_("Administrator"),
        "head": N_("Head of sales"),
        "manager": N_("Manager"),
        "specialist": N_("Specialist"),
        "viewer": N_("Viewer"),
    },
    "presence": {
        "available": N_("Available"),
        "busy": N_("Busy"),
        "away": N_("Away"),
        "off_shift": N_("Off shift"),
        "on_leave": N_("On leave"),
    },
    "health": {
        "active": N_("Working"),
        "degraded": N_("Has trouble"),
        "reauthorise": N_("Needs signing in again"),
        "paused": N_("Paused"),
    },
    "delivery_state": {
        "received": N_("Waiting"),
        "processed": N_("Understood"),
        "ignored": N_("Nothing to do"),
        "failed": N_("Will be tried again"),
        "dead": N_("Given up"),
    },
    "conversation_status": {
        "open": N_("Open"),
        "pending": N_("Waiting for the customer"),
        "snoozed": N_("Snoozed"),
        "resolved": N_("Resolved"),
    },
    "message_status": {
        "scheduled": N_("Scheduled"),
        "queued": N_("On its way"),
        "sending": N_("Being sent"),
        "sent": N_("Sent"),
        "delivered": N_("Delivered"),
        "read": N_("Read"),
        "failed": N_("Not delivered"),
        "canceled": N_("Canceled"),
    },
    "call_outcome": {
        "interested": N_("Interested"),
        "call_later": N_("Call again later"),
        "not_interested": N_("Not interested"),
        "no_answer": N_("No answer"),
        "wrong_number": N_("Wrong number"),
        "solved": N_("Solved"),
    },
    "trust": {
        "guessed": N_("Guessed"),
        "typed": N_("Typed by the visitor"),
        "verified": N_("Verified"),
        "attested": N_("Confirmed by the provider"),
    },
    "blocked": {
        "opted_out": N_("wants nothing from us"),
        "gone": N_("blocked us or left"),
        "dead": N_("takes nothing"),
    },
    "scheme": {
        "phone": N_("Phone"),
        "email": N_("E-mail"),
        "telegram": N_("Telegram"),
        "whatsapp": N_("WhatsApp"),
        "messenger": N_("Messenger"),
        "instagram": N_("Instagram"),
        "viber": N_("Viber"),
        "vk": N_("VK"),
        "max": N_("MAX"),
        "line": N_("LINE"),
        "slack": N_("Slack"),
        "matrix": N_("Matrix"),
        "mattermost": N_("Mattermost"),
        "sms_sender": N_("SMS sender"),
    },
    "channel_kind": {
        "webform": N_("Web form"),
        "widget": N_("Chat widget"),
        "email": N_("E-mail"),
        "telegram": N_("Telegram"),
        "console": N_("Console"),
        **dict.fromkeys(
            (
                *("voice_asterisk", "voice_binotel", "voice_freeswitch", "voice_http", "voice_mango", "voice_twilio"),
                *("voice_uis", "voice_zadarma"),
            ),
            N_("Telephone"),
        ),
    },
    "attribution": {
        "utm_source": N_("Source"),
        "utm_medium": N_("Medium"),
        "utm_campaign": N_("Campaign"),
        "utm_content": N_("Content"),
        "utm_term": N_("Search term"),
        "gclid": N_("Google click"),
        "yclid": N_("Yandex click"),
        "fbclid": N_("Meta click"),
        "ga": N_("Google Analytics id"),
        "referrer": N_("Came from"),
        "landing_page": N_("Landing page"),
    },
    "field": {
        "name": N_("Name"),
        "first_name": N_("First name"),
        "last_name": N_("Last name"),
        "phone": N_("Phone"),
        "email": N_("E-mail"),
        "message": N_("Message"),
        "company": N_("Company"),
    },
    "entity": {
        "session": N_("Signing in"),
        "absence": N_("Absence"),
        "call": N_("Call"),
        "connection": N_("Channel"),
        "deal": N_("Deal"),
        "delivery": N_("Delivery"),
        "pipeline": N_("Pipeline"),
        "routing_rule": N_("Routing rule"),
        "stage_rule": N_("Task of a stage"),
        "team": N_("Team"),
        "token": N_("API key"),
        "user": N_("Person"),
        "workspace": N_("Company"),
    },
    "weekday": {
        "0": N_("Monday"),
        "1": N_("Tuesday"),
        "2": N_("Wednesday"),
        "3": N_("Thursday"),
        "4": N_("Friday"),
        "5": N_("Saturday"),
        "6": N_("Sunday"),
    },
}
"""Label by vocabulary and value."""

ICONS: Final[dict[str, str]] = {
    "call": "phone",
    "message": "message-circle",
    "meeting": "users",
    "visit": "map-pin",
    "document": "file-text",
    "other": "circle-check",
    "phone": "phone",
    "email": "mail",
    "telegram": "send",
    "webform": "text-cursor-input",
    "widget": "message-circle",
    "console": "terminal",
    **dict.fromkeys(("whatsapp", "whatsapp_360dialog", "viber"), "phone-call"),
    **dict.fromkeys(("messenger", "line"), "message-circle"),
    **dict.fromkeys(("vk", "max"), "messages-square"),
    "instagram": "camera",
    **dict.fromkeys(("slack", "mattermost", "matrix"), "hash"),
    "desk_telegram": "send",
    **dict.fromkeys(("desk_slack", "desk_mattermost", "desk_matrix"), "hash"),
    **dict.fromkeys(
        (
            "sms_http",
            "sms_infobip",
            "sms_messagebird",
            "sms_plivo",
            "sms_sender",
            "sms_smsc",
            "sms_telnyx",
            "sms_twilio",
            "sms_vonage",
            "smpp",
        ),
        "smartphone",
    ),
    **dict.fromkeys(
        (
            "forms_google",
            "forms_jotform",
            "forms_meta",
            "forms_tilda",
            "forms_typeform",
            "forms_webflow",
            "forms_wordpress",
        ),
        "text-cursor-input",
    ),
}
"""Icon by task kind, identity scheme or channel kind; see `icon_of`."""


def icon_of(kind: str) -> str:
    """Return the icon of a task kind, an identity scheme or a channel kind; all telephones have the same."""
    return ICONS.get(kind, "phone" if kind.startswith("voice_") else "circle")


TONES: Final[dict[str, str]] = {
    "new": "accent",
    "working": "info",
    "converted": "good",
    "unqualified": "",
    "junk": "",
    "won": "good",
    "lost": "bad",
    "done": "good",
    "canceled": "",
    "in_progress": "info",
    "received": "info",
    "processed": "good",
    "ignored": "",
    "failed": "warn",
    "dead": "bad",
    "verified": "good",
    "attested": "good",
    "interested": "good",
    "solved": "good",
    "call_later": "info",
    "wrong_number": "warn",
    "high": "warn",
    "urgent": "bad",
}
"""The colour class of a chip by state. Colour is never alone: the chip says the word."""
