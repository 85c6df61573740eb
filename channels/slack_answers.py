"""What Slack's answers mean: it refuses with status 200 and `"ok": false`, and says why in one word.

The words are from the lists of errors in Slack's documentation of `chat.postMessage`, `conversations.open` and
`files.completeUploadExternal`.
"""

from __future__ import annotations

import re

from channels.errors import (
    ChannelError,
    Misconfigured,
    RecipientGone,
    Temporary,
    Throttled,
    Unauthorised,
    Uncertain,
    Undeliverable,
)
from channels.fields import Fields
from channels.http import Answer

_WORD = re.compile(r"[a-z0-9_:.,]{1,100}")  # nothing else of an answer is quoted: it might repeat what it was asked
_TOO_FAST = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
_SCOPE = frozenset({"missing_scope", "no_permission"})
_BUSY = frozenset({"service_unavailable", "request_timeout", "team_added_to_org", "accesslimited"})
# "It's possible some aspect of the operation succeeded before the error was raised", says their documentation.
_UNKNOWN = frozenset({"internal_error", "fatal_error"})
_AUTH = frozenset(
    {
        "access_denied",
        "account_inactive",
        "ekm_access_denied",
        "invalid_auth",
        "not_allowed_token_type",
        "not_authed",
        "org_login_required",
        "team_access_not_granted",
        "token_expired",
        "token_revoked",
    }
)
_GONE = frozenset(
    {
        "cannot_dm_bot",
        "channel_not_found",
        "is_archived",
        "messages_tab_disabled",
        "user_disabled",
        "user_not_found",
        "user_not_visible",
        "users_not_found",
    }
)


def read(answer: Answer, *, repeatable: bool) -> Fields:
    """Return what Slack answered. `repeatable`: the call can be made again without harm.

    Raises:
        ChannelError: it refused, or nobody knows.
    """
    if answer.status == 429:
        raise answer.failure("Slack says we write too fast", code="ratelimited")
    if answer.status >= 500:
        raise answer.failure(f"Slack is in trouble: it answered {answer.status}")
    found = Fields(answer.object())
    if found.value.get("ok") is True:
        return found
    code = found.id("error")
    raise _failure(code if _WORD.fullmatch(code) else str(answer.status), found, answer, repeatable)


def _failure(code: str, found: Fields, answer: Answer, repeatable: bool) -> ChannelError:
    if code in _UNKNOWN and repeatable:
        return Temporary(f"Slack had an accident: {code}", code=code)
    if code in _UNKNOWN:
        return Uncertain(f"Slack had an accident ({code}), so the message may have gone", code=code)
    if code in _TOO_FAST:
        return Throttled("Slack says we write too fast", answer.retry_after, code=code)
    if code in _BUSY:
        return Temporary(f"Slack is busy: {code}", answer.retry_after, code=code)
    if code in _AUTH:
        return Unauthorised(f"Slack does not take the bot token ({code}). Enter it again", code=code)
    if code in _SCOPE:
        scope = found.id("needed")
        needed = f": {scope}" if _WORD.fullmatch(scope) else ""
        return Misconfigured(
            f"The Slack app lacks a permission{needed}. Add the scope and install the app again", code=code
        )
    if code in _GONE:
        return RecipientGone(f"Slack has nobody there any more, or does not let us write: {code}", code=code)
    if code == "not_in_channel":
        return Undeliverable("Our bot is not in this channel. Invite it there, then send again", code=code)
    return Undeliverable(f"Slack refused the message: {code}", code=code)
