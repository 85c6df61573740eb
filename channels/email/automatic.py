"""Letters no person wrote: answers of programs, newsletters, bounces and complaints.

Whoever answers them automatically starts a loop (RFC 3834), and whoever takes them for customers drowns in leads. Yet a
mistake the other way loses a customer, so a sign counts only where people's letters never carry it: what a group of
Google's hands on has the marks of a mailing list, a site's form mailer is a `noreply` whose Reply-To is a person, and
people forward bounces and ask about them.

What a bounce or complaint says is read in `returns`.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from channels.email.letters import Letter
from channels.email.returns import Bounce, Complaint, bounces, complaint

__all__ = ["Automatic", "Bounce", "Complaint", "Kind", "bounces", "complaint", "kind_of"]

Kind = Literal["reply", "newsletter", "bounce", "complaint"]


class Automatic(NamedTuple):
    """Why a letter is a program's: what kind, and by which sign (`auto-submitted: auto-replied`).

    reply       an answer nobody wrote: out of office, a receipt, a read notice
    newsletter  sent to many, or by a program of its own accord
    bounce      a mail server on a letter of ours (`bounces`), a delay or a delivery included
    complaint   "this is spam" (`complaint`)
    """

    kind: Kind
    sign: str


_DAEMON = re.compile(
    r"(?:mailer[-_]?daemon|mail[-_.]?daemon|postmaster|mmdf|mdaemon|microsoftexchange[0-9a-f]{8,})(?:[-+=].*)?",
    re.IGNORECASE,
)
# A company's people write from these as well.
_MAYBE_DAEMON = re.compile(
    r"(?:mail|mailer|maildelivery|mail[-_.]?system|smtp|post[-_]?office|root|daemon|administrator|admin|bounces?|ndr)"
    r"(?:[-+=].*)?",
    re.IGNORECASE,
)
_DAEMON_NAME = re.compile(
    r"mail(?:er)?[ -]?(?:delivery|daemon|system|administrator)|delivery (?:sub)?system|postmaster|system administrator|"
    r"mail\s*server|internet mail",
    re.IGNORECASE,
)
_BOUNCED = re.compile(
    r"(?:un)?deliver(?:y|able|ed)|returned|return(?:ing|ed)? (?:mail|message|to sender)|fail(?:ure|ed|)\b|"
    r"mail(?:er)? error|could not|bounce|delayed|user unknown|non[- ]?remis|unzustellbar|не ?доставлен|ошибка доставки|"
    r"невозможно доставить|nedelivered|kättetoimetamata|չի առաքվել|ni bilo mogoče dostaviti|nedostavljiv",
    re.IGNORECASE,
)
# What no person gives as a subject.
_SURELY_BOUNCED = re.compile(
    r"\s*(?:\[?undeliver(?:able|ed)\b(?: mail|:|\])|mail delivery (?:failed|failure|error|problem|report|system)|"
    r"mail (?:could not be delivered|failure)|delivery status notification|returned mail|failure notice|"
    r"message delivery failure|delivery failure notification|automatically rejected mail|"
    r"mail undeliverable|warning: could not send|недоставленное (?:сообщение|письмо)|"
    r"(?:ваше )?(?:сообщение|письмо) не (?:было )?доставлено)",
    re.IGNORECASE,
)
_FORWARDED = re.compile(r"\s*(?:fwd?|wg|tr|пересл\w*|edasi|vs|posr\w*)\s*:", re.IGNORECASE)
_RETURNED = re.compile(
    r"could ?n.t be (?:delivered|sent)|(?:could|can|was|were) ?not (?:be )?(?:deliver|sent)|undeliver|did not reach|"
    r"deliver(?:y|ed)? (?:\w+ ){0,3}fail|fail(?:ed|ure)? (?:\w+ ){0,4}deliver|unable to deliver|user unknown|"
    r"unknown user|no such (?:user|address|recipient|mailbox)|returned|mailbox|not listed|transcript of session|"
    r"не (?:может|могло|было|удалось)[^.]{0,40}доставл|доставить",
    re.IGNORECASE,
)
_AWAY = re.compile(
    r"\s*(?:auto(?:matic(?:ally)?)?[- :]?(?:reply|response|generated reply|responder)\b|out of (?:the )?office|"
    r"автоответ|автоматическ\w+ ответ|вне офиса|я в отпуске|ինքնապատասխան|ավտոմատ պատասխան|automaatvastus|"
    r"samodejni odgovor|abwesenheit|automatische antwort|réponse automatique|respuesta automática|absence du bureau)",
    re.IGNORECASE,
)
_NO_REPLY = re.compile(r"(?:no|do[-_.]?not|ne)[-_.]?(?:reply|respond|otvechai|otvechat)(?:[-+_.].*)?@", re.IGNORECASE)


def kind_of(letter: Letter, raw: bytes) -> Automatic | None:
    """Tell whether a program wrote it; None for a person's letter."""
    if letter.report_type == "feedback-report" or _has_part(letter, "message/feedback-report"):
        return Automatic("complaint", "report-type: feedback-report")
    if sign := _bounce_sign(letter, raw):
        return Automatic("bounce", sign)
    if sign := _reply_sign(letter):
        return Automatic("reply", sign)
    if sign := _newsletter_sign(letter):
        return Automatic("newsletter", sign)
    return None


def _bounce_sign(letter: Letter, raw: bytes) -> str:
    if letter.report_type in ("delivery-status", "delayed-delivery") or (
        letter.content_type == "multipart/report" and _has_part(letter, "message/delivery-status")
    ):
        return "report-type: delivery-status"
    if letter.header("x-failed-recipients"):
        return "x-failed-recipients"
    subject = letter.subject
    if _is_daemon(letter):
        says_so = _BOUNCED.search(subject) or ("auto-replied" not in letter.header("auto-submitted").lower())
        if (says_so and (_BOUNCED.search(subject) or _RETURNED.search(letter.text[:5_000]))) or bounces(raw):
            return f"from: {letter.sender.address or letter.sender.name}"
        return ""
    if _has_no_return(letter) or not letter.sender.address or _MAYBE_DAEMON.fullmatch(_local(letter)):
        if _SURELY_BOUNCED.match(subject) or bounces(raw):
            return "return-path: <>" if _has_no_return(letter) else f"subject: {subject[:60]}"
        return ""
    if letter.in_reply_to or letter.references or _FORWARDED.match(subject):
        return ""  # a person who writes about a bounce
    if _SURELY_BOUNCED.match(subject) or (_BOUNCED.search(subject) and bounces(raw)):
        return f"subject: {subject[:60]}"
    return ""


def _is_daemon(letter: Letter) -> bool:
    return bool(_DAEMON.fullmatch(_local(letter)) or _DAEMON_NAME.search(letter.sender.name))


def _local(letter: Letter) -> str:
    return letter.sender.address.rpartition("@")[0]


def _has_no_return(letter: Letter) -> bool:
    """Tell whether it left with the empty return path of letters that want no answer (RFC 5321 §4.5.5)."""
    return letter.header("return-path").replace(" ", "").lower() in ("<>", "<mailer-daemon>", "<#@[]>")


def _reply_sign(letter: Letter) -> str:
    submitted = letter.header("auto-submitted").lower()
    if submitted.startswith(("auto-replied", "auto-notified")):
        return f"auto-submitted: {submitted}"
    if letter.report_type == "disposition-notification":
        return "report-type: disposition-notification"
    for name in ("x-autoreply", "x-autorespond", "x-autoresponder", "x-auto-reply", "x-vacation", "x-mail-autoreply"):
        if letter.header(name).lower() not in ("", "no", "false", "0"):
            return name
    if "auto_reply" in letter.header("precedence").lower():
        return "precedence: auto_reply"
    if letter.header("x-ms-exchange-generated-message-source"):
        return "x-ms-exchange-generated-message-source"
    if _AWAY.match(letter.subject):
        return f"subject: {letter.subject[:60]}"
    if _has_no_return(letter) and not _person_behind(letter):
        return "return-path: <>"
    return ""


def _newsletter_sign(letter: Letter) -> str:
    has_person = bool(_person_behind(letter))
    submitted = letter.header("auto-submitted").lower()
    if submitted and not submitted.startswith("no") and not has_person:
        return f"auto-submitted: {submitted[:60]}"
    suppressed = letter.header("x-auto-response-suppress").lower()
    if re.search(r"\b(?:all|oof|autoreply)\b", suppressed) and not has_person:
        return f"x-auto-response-suppress: {suppressed[:60]}"
    if not letter.original:  # of a group of Google's, what is handed on is a person's letter with a list's marks
        for name in ("list-unsubscribe", "list-id", "list-post", "feedback-id", "x-campaign-id", "x-mailgun-tag"):
            if letter.header(name) and not (has_person and name not in ("list-unsubscribe", "list-id")):
                return name
        precedence = letter.header("precedence").lower().strip()
        if precedence in ("bulk", "list", "junk"):
            return f"precedence: {precedence}"
    if (_NO_REPLY.match(letter.sender.address) or _DAEMON.fullmatch(_local(letter))) and not has_person:
        return f"from: {letter.sender.address}"
    return ""


def _person_behind(letter: Letter) -> str:
    """Return who is to be answered in the place of the sender: a program wrote for them, a form's mailer say."""
    author = letter.reply_to or letter.original
    return author if author != letter.sender.address and not _NO_REPLY.match(author) else ""


def _has_part(letter: Letter, content_type: str) -> bool:
    return any(file.content_type == content_type for file in letter.attachments)
