"""What the Graph API means by its error codes, for WhatsApp, Messenger, Instagram and lead forms alike.

An answer is `{"error": {"code", "error_subcode", "message", "is_transient", "error_data": {"details"}}}`, usually with
HTTP 400 whatever it is about; the same codes come in WhatsApp's `failed` statuses.

Source    Meta, "WhatsApp Cloud API: Error codes", "Messenger Platform: Error codes", "Graph API: Handling errors", and
          what open-source gateways do about each. The subcodes of Messenger and Instagram are from memory
"""

from __future__ import annotations

from enum import Enum, auto

from channels.errors import (
    ChannelError,
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Undeliverable,
    WindowClosed,
)
from channels.fields import Fields
from channels.http import Answer, Http


class Failure(Enum):
    """What happens next after an error."""

    TEMPORARY = auto()
    THROTTLED = auto()
    PEER_THROTTLED = auto()  # only this person waits
    CREDENTIALS = auto()
    ACCOUNT = auto()
    GONE = auto()
    WINDOW = auto()
    NEVER = auto()


_CODES: dict[int, Failure] = {
    **dict.fromkeys((4, 17, 32, 341, 613, 80002, 80004, 80006, 80007, 80008), Failure.THROTTLED),
    **dict.fromkeys((130429, 131048, 131064, 133016), Failure.THROTTLED),
    131056: Failure.PEER_THROTTLED,
    **dict.fromkeys((1, 2, 1200, 131000, 131016, 131053, 131057, 133004, 135000), Failure.TEMPORARY),
    **dict.fromkeys((0, 3, 10, 102, 190, 131005, *range(200, 300)), Failure.CREDENTIALS),
    **dict.fromkeys((368, 131031, 131042, 131044, 131045, 133010), Failure.ACCOUNT),
    **dict.fromkeys((551, 131026), Failure.GONE),
    **dict.fromkeys((470, 131047), Failure.WINDOW),
    # 130472 an experiment of Meta's, 130497 country, 131049 enough marketing, 131050 wants no marketing: other messages
    # may still go to this person
    **dict.fromkeys((100, 130472, 130497, 131008, 131009, 131021, 131030, 131049, 131050), Failure.NEVER),
    **dict.fromkeys((131051, 131052, 131062), Failure.NEVER),
    **dict.fromkeys((132000, 132001, 132005, 132007, 132008, 132012, 132015, 132016), Failure.NEVER),
}
_SUBCODES: dict[tuple[int, int], Failure] = {
    (10, 2018278): Failure.WINDOW,
    (10, 2018065): Failure.WINDOW,
    (10, 2534022): Failure.WINDOW,  # Instagram's
    (100, 2018001): Failure.GONE,
    (100, 2534014): Failure.GONE,  # Instagram's
    (200, 1545041): Failure.GONE,
    (100, 33): Failure.ACCOUNT,  # the id in our settings, or no right to it
    (613, 1893015): Failure.THROTTLED,
}
_ADVICE = {
    Failure.CREDENTIALS: "Enter a new access token with all the permissions this channel needs.",
    Failure.ACCOUNT: "Look at the account in Meta's Business Suite, and at the ids in this channel's settings.",
    Failure.GONE: "This person cannot be reached here: no such account, or it takes nothing from us.",
    Failure.WINDOW: "The time for free answers is over: the person has to write first, or a template can go.",
    Failure.THROTTLED: "Meta says we are too fast; it is tried again.",
    Failure.PEER_THROTTLED: "Meta says this person gets too much at once; it is tried again.",
    Failure.TEMPORARY: "Meta could not do it just now; it is tried again.",
    Failure.NEVER: "Meta does not take this message.",
}
_WAIT_FOR_PEER = 60.0


def what_it_means(code: int | None, subcode: int | None = None) -> Failure | None:
    """Tell what a code means; None where it is not known."""
    if code is None:
        return None
    return _SUBCODES.get((code, subcode or 0)) or _CODES.get(code)


def failure(answer: Answer, http: Http) -> ChannelError | None:
    """Return the error an answer holds, whatever its status; None if it is one of success.

    Raises:
        Uncertain: it says that all is well in a way that cannot be read.
    """
    if answer.is_fine:
        error = Fields(answer.object()).at("error")
        if not error:
            return None
    else:
        error = _error_of(answer)
    code, subcode = error.whole("code"), error.whole("error_subcode")
    message = error.text("message") or error.text("error_user_msg") or error.text()
    details = error.text("error_data", "details") or error.text("error_user_title")
    said = ". ".join(dict.fromkeys(word.strip(" .") for word in (message, details) if word))
    if code is None and not said:
        return Undeliverable(f"Meta refused: {http.masked(answer.text[:200])}") if answer.is_fine else answer.failure()
    meaning = what_it_means(code, subcode) or _by_status(answer, code, error.flag("is_transient"))
    number = "" if code is None else f"{code}/{subcode}" if subcode else str(code)
    text = f"{_ADVICE[meaning]} ({number} {http.masked(said)[:400]})".replace("( ", "(")
    return _made(meaning, text, number or str(answer.status), answer.retry_after)


def _error_of(answer: Answer) -> Fields:
    """Return what a refusal says; 360dialog's own are `{"meta": {"developer_message"}}` or `{"error": "text"}`."""
    try:
        found = Fields(answer.json())
    except ChannelError:
        return Fields(None)
    if developer := found.text("meta", "developer_message"):
        return Fields({"message": developer})
    return found.at("error") or Fields({"message": found.text("detail")} if found.text("detail") else None)


def _by_status(answer: Answer, code: int | None, is_transient: bool) -> Failure:
    """Judge a code nobody knows by the HTTP status."""
    if answer.status == 429:
        return Failure.THROTTLED
    if is_transient or answer.status in (408, 425) or answer.status >= 500:
        return Failure.TEMPORARY
    # the many codes above 130000 are about one message, though some of them come with 403
    if answer.status == 401 or (answer.status == 403 and (code is None or code < 130_000)):
        return Failure.CREDENTIALS
    return Failure.NEVER


def _made(meaning: Failure, text: str, code: str, retry_after: float | None) -> ChannelError:
    if meaning is Failure.THROTTLED:
        return Throttled(text, retry_after, code=code)
    if meaning is Failure.PEER_THROTTLED:
        return Temporary(text, retry_after or _WAIT_FOR_PEER, code=code)
    if meaning is Failure.TEMPORARY:
        return Temporary(text, retry_after, code=code)
    if meaning is Failure.CREDENTIALS:
        return Unauthorised(text, code=code)
    if meaning is Failure.ACCOUNT:
        return Misconfigured(text, code=code)
    if meaning is Failure.GONE:
        return RecipientGone(text, code=code)
    if meaning is Failure.WINDOW:
        return WindowClosed(text, code=code)
    return Undeliverable(text, code=code)
