"""What WhatsApp reports besides messages: what became of ours, and trouble with the account.

Source    Meta, "WhatsApp Cloud API: Webhooks" (message status, account fields)
"""

from __future__ import annotations

from collections.abc import Iterator

from channels.fields import Fields
from channels.meta_errors import Failure, what_it_means
from core.kernel.envelopes import Event, Problem, Status

OUR_MARK = "switchyard:"
"""What stands before a part's id in `biz_opaque_callback_data`: other systems may send through the same number."""


_STATUSES = {"sent": "sent", "delivered": "delivered", "read": "read", "played": "read", "failed": "failed"}
_BAD_ACCOUNT_EVENTS = ("DISABLED", "VIOLATION", "RESTRICT", "DELETED", "REMOVED", "REJECT", "BLOCK")
_BAD_TEMPLATE_EVENTS = frozenset({"REJECTED", "DISABLED", "PAUSED", "FLAGGED", "PENDING_DELETION", "LIMIT_EXCEEDED"})


def status(report: Fields, account: str) -> Iterator[Event]:
    """Read what became of a message of ours; trouble with the account that it tells of comes out too."""
    reached = _STATUSES.get(report.text("status"))
    external_id = report.id("id")
    if reached is None or not external_id:
        return
    mark = report.text("biz_opaque_callback_data")
    our_id = mark.removeprefix(OUR_MARK)[:100] if mark.startswith(OUR_MARK) else ""
    peer = report.id("recipient_id") or report.id("recipient_user_id")
    occurred_at = report.moment("timestamp")
    if reached != "failed":
        yield Status(
            account=account,
            peer=peer,
            occurred_at=occurred_at,
            status="sent" if reached == "sent" else "delivered" if reached == "delivered" else "read",
            external_id=external_id,
            our_id=our_id,
        )
        return
    error = report.at("errors", 0)
    meaning = what_it_means(error.whole("code"))
    yield Status(
        account=account,
        peer=peer,
        occurred_at=occurred_at,
        status="failed",
        external_id=external_id,
        our_id=our_id,
        error_code=error.id("code"),
        error_text=said(error),
        is_final=meaning not in (Failure.TEMPORARY, Failure.THROTTLED, Failure.PEER_THROTTLED),
        is_dead=meaning is Failure.GONE,
    )
    if meaning in (Failure.CREDENTIALS, Failure.ACCOUNT):
        yield problem(error, account)


def problem(error: Fields, account: str) -> Problem:
    """Read an error that is about no message of ours."""
    is_auth = what_it_means(error.whole("code")) is Failure.CREDENTIALS
    return Problem(account=account, kind="auth" if is_auth else "other", detail=said(error))


def account_news(field: str, value: Fields, business: str) -> Iterator[Problem]:
    """Read the news of an account that somebody has to do something about.

    They name no number's id, so they are for the connection whose hook was called; the text says what they are about.
    """
    whose = value.text("display_phone_number") or f"WhatsApp Business account {business}".strip()
    news = value.text("event").upper()
    if field in ("account_update", "account_review_update", "account_alerts"):
        news = news or value.text("decision").upper() or value.text("alert_type").upper()
        is_bad = any(word in news for word in _BAD_ACCOUNT_EVENTS)
        is_bad = is_bad or value.text("alert_severity").upper() in ("CRITICAL", "WARNING")
        if is_bad:
            more = value.text("violation_info", "violation_type") or value.text("ban_info", "waba_ban_state")
            yield Problem(kind="other", detail=_one_line(f"{whose}: {news} {more} {value.text('alert_description')}"))
    elif field == "phone_number_quality_update" and news in ("FLAGGED", "DOWNGRADE"):
        limit = value.text("current_limit")
        detail = f"{whose}: {news}, quality is low; limit now {limit or 'unknown'}"
        yield Problem(kind="quota", detail=_one_line(detail))
    elif field == "message_template_status_update" and news in _BAD_TEMPLATE_EVENTS:
        template = f"{value.text('message_template_name')} ({value.text('message_template_language')})"
        reason = value.text("reason") or value.text("disable_info", "disable_date")
        yield Problem(kind="template", detail=_one_line(f"{whose}: template {template} is {news}. {reason}"))
    elif field == "message_template_quality_update" and value.text("new_quality_score").upper() == "RED":
        template = f"{value.text('message_template_name')} ({value.text('message_template_language')})"
        yield Problem(kind="template", detail=_one_line(f"{whose}: template {template} is of low quality"))


def said(error: Fields) -> str:
    """Put an error into one sentence: number, title, details."""
    title = error.text("title") or error.text("message")
    details = error.text("error_data", "details") or error.text("message")
    words = ". ".join(dict.fromkeys(word.strip(" .") for word in (title, details) if word))
    return _one_line(f"{error.id('code')} {words}") or "WhatsApp gave no reason"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
