"""Mail to our own people: a notification as a short letter, handed to the SMTP server of the settings."""

from __future__ import annotations

from collections.abc import Callable
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

import aiosmtplib

from channels.errors import Temporary, Undeliverable
from core.kernel.clock import Clock
from core.people.contacts import Contact
from core.staff.users import User
from core.work.notifications import Notification
from hub import metrics, wording
from hub.database import Database
from hub.settings import Settings

_TIMEOUT = 20  # seconds
TranslatorFor = Callable[[str | None], wording.Translate]


async def send_notification(
    database: Database,
    settings: Settings,
    clock: Clock,
    public_url: str,
    translator_for: TranslatorFor,
    *,
    notification_id: int,
) -> None:
    """Send one notification to its reader. Nothing is sent for one who was dismissed or has no mail server.

    Raises:
        Temporary: the server could not be reached or asks to come again.
        Undeliverable: it refuses this letter.
    """
    server, sender = settings.mail_server(), settings.mail_sender()
    if server is None or sender is None:
        return
    async with database.reading() as session:
        notification = await session.get(Notification, notification_id)
        if notification is None:
            return
        user = await session.get(User, notification.user_id)
        contact = await session.get(Contact, notification.contact_id) if notification.contact_id else None
    if user is None or not user.is_active:
        return
    letter = compose(notification, user, contact, sender, clock, public_url, translator_for(user.language))
    try:
        await aiosmtplib.send(
            letter,
            hostname=server.host,
            port=server.port,
            use_tls=server.tls,
            username=server.user,
            password=server.password,
            timeout=_TIMEOUT,
        )
    except aiosmtplib.SMTPRecipientsRefused as error:
        # With one recipient there is one reason; 4xx is greylisting or a full mailbox (RFC 5321 §4.2.1).
        reason = error.recipients[0]
        told = f"The mail server refuses {user.email}: {reason.code} {reason.message}"
        raise (Temporary(told) if reason.code < 500 else Undeliverable(told)) from error
    except aiosmtplib.SMTPResponseException as error:
        if error.code >= 500 and not isinstance(error, aiosmtplib.SMTPAuthenticationError):
            raise Undeliverable(f"The mail server refuses the letter: {error.code} {error.message}") from error
        raise Temporary(f"The mail server answers {error.code} {error.message}") from error
    except (aiosmtplib.SMTPException, OSError) as error:
        raise Temporary(f"The mail server cannot be reached: {error}") from error
    metrics.NOTIFICATIONS.labels("mail").inc()


def compose(
    notification: Notification,
    user: User,
    contact: Contact | None,
    sender: str,
    clock: Clock,
    public_url: str,
    translate: wording.Translate,
) -> EmailMessage:
    """Write the letter. Its Message-ID is made from the notification, so that a repeat can be told by the receiver."""
    subjects = {noun: getattr(notification, noun) for noun in ("contact_id", "deal_id", "lead_id", "task_id")}
    words = wording.word(notification.kind, notification.details, subjects, translate)
    letter = EmailMessage()
    letter["From"] = sender
    letter["To"] = user.email
    letter["Subject"] = " ".join(words.headline.split())[:200]
    letter["Date"] = format_datetime(clock.now())
    domain = parseaddr(sender)[1].rpartition("@")[2]
    letter["Message-ID"] = f"<notification-{notification.id}.{notification.created_at:%Y%m%d%H%M%S}@{domain}>"
    letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's out-of-office shall answer
    lines = [words.headline]
    if contact is not None and contact.name and contact.name not in words.headline:
        lines.append(contact.name)
    if words.detail:
        lines.append(words.detail)
    lines.append(f"{public_url}{words.path}")
    letter.set_content("\n\n".join(lines) + "\n")
    return letter
