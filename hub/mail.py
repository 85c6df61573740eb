"""Mail to our own people: a notification as a letter they can answer, handed to the SMTP server of the settings."""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

import aiosmtplib

from channels.email.quotes import MARKER
from channels.errors import Temporary, Undeliverable
from core.people.contacts import Contact
from core.staff.users import User
from core.work.notifications import Notification
from hub import metrics, wording
from hub.app import Hub
from hub.desk import answerable
from hub.desk.answerable import Answerable
from hub.i18n import translator_for
from hub.settings import MailServer

_TIMEOUT = 20  # seconds
_MOST_WORDS = 20_000  # letters of what a customer said


async def send_notification(hub: Hub, *, notification_id: int) -> None:
    """Send one notification to its reader. Nothing is sent for one who was dismissed or has no mail server.

    Raises:
        Temporary: the server could not be reached or asks to come again.
        Undeliverable: it refuses this letter.
    """
    server, sender = hub.settings.mail_server(), hub.settings.mail_sender()
    if server is None or sender is None:
        return
    async with hub.database.reading() as session:
        notification = await session.get(Notification, notification_id)
        if notification is None:
            return
        user = await session.get(User, notification.user_id)
        if user is None or not user.is_active:
            return
        contact = await session.get(Contact, notification.contact_id) if notification.contact_id else None
        talk = await answerable.about(session, hub, notification, user)
    await hand_over(server, compose(notification, user, contact, talk, sender, hub))
    metrics.NOTIFICATIONS.labels("mail").inc()


async def hand_over(server: MailServer, letter: EmailMessage) -> None:
    """Hand a letter to one of our people to the mail server.

    Raises:
        Temporary: it could not be reached or asks to come again. Undeliverable: it refuses this letter.
    """
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
        told = f"The mail server refuses {letter['To']}: {reason.code} {reason.message}"
        raise (Temporary(told) if reason.code < 500 else Undeliverable(told)) from error
    except aiosmtplib.SMTPResponseException as error:
        if error.code >= 500 and not isinstance(error, aiosmtplib.SMTPAuthenticationError):
            raise Undeliverable(f"The mail server refuses the letter: {error.code} {error.message}") from error
        raise Temporary(f"The mail server answers {error.code} {error.message}") from error
    except (aiosmtplib.SMTPException, OSError) as error:
        raise Temporary(f"The mail server cannot be reached: {error}") from error


def begin(hub: Hub, sender: str, user: User, subject: str, *, name: str, root: str = "") -> EmailMessage:
    """Begin a letter to one of our people. `name` is what stands before the @ of its Message-ID, the same at a repeat,
    so that the receiver can tell it; `root` that of the letters it belongs with.
    """
    letter = EmailMessage()
    letter["From"] = sender
    letter["To"] = user.email
    letter["Subject"] = " ".join(subject.split())[:200]
    letter["Date"] = format_datetime(hub.clock.now())
    domain = parseaddr(sender)[1].rpartition("@")[2]
    letter["Message-ID"] = f"<{name}@{domain}>"
    if root:
        # No letter has this id; mail programs put letters together that refer to the same one (RFC 5322 §3.6.4).
        letter["References"] = letter["In-Reply-To"] = f"<{root}@{domain}>"
    letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's out-of-office shall answer
    return letter


def compose(
    notification: Notification,
    user: User,
    contact: Contact | None,
    talk: Answerable | None,
    sender: str,
    hub: Hub,
) -> EmailMessage:
    """Write a notification. Where it can be answered it says so, and begins with the line above which answers stand:
    were anything above that line, it would be taken for words of the answer where a mailer marks no quote.
    """
    _ = translator_for(user.language)
    subjects = {noun: getattr(notification, noun) for noun in ("contact_id", "deal_id", "lead_id", "task_id")}
    details = notification.details if talk is None or not talk.words else {**notification.details, "text": ""}
    words = wording.word(notification.kind, details, subjects, _)
    letter = begin(
        hub,
        sender,
        user,
        words.headline,
        name=f"notification-{notification.id}.{notification.created_at:%Y%m%d%H%M%S}",
        root=talk.root if talk is not None else "",
    )
    lines: list[str] = []
    if talk is not None and talk.address:
        letter["Reply-To"] = talk.address
        lines += [MARKER, how_to_answer(talk, _)]
    lines.append(words.headline)
    if contact is not None and contact.name and contact.name not in words.headline:
        lines.append(contact.name)
    lines += [part for part in (words.detail, talk.words[:_MOST_WORDS] if talk is not None else "") if part]
    if talk is not None and talk.files:
        lines.append(_("Files: %(names)s") % {"names": ", ".join(talk.files)})
    if talk is not None and not talk.address:
        lines.append(_("Answer here: %(url)s") % {"url": f"{hub.public_url}/conversations/{talk.conversation_id}"})
    lines.append(f"{hub.public_url}{words.path}")
    letter.set_content("\n\n".join(lines) + "\n")
    return letter


def how_to_answer(talk: Answerable, _: wording.Translate) -> str:
    """Say where an answer to the letter goes, and what begins a note."""
    return (
        _("Answer to this letter and it goes to %(name)s by %(channel)s.")
        % {"name": " ".join(talk.name.split()), "channel": " ".join(talk.channel.split())}
        + " "
        + _("An answer that begins with // is a note for colleagues only.")
    )
