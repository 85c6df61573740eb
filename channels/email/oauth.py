"""Access tokens for mailboxes that take no passwords (Gmail, Microsoft 365), as RFC 6749 §6 renews them.

With the address of a token service in the settings, the "password" is a refresh token: access tokens are asked for by
it, kept in memory and renewed five minutes before they end. Without one it is an access token itself, which somebody
has to replace when it ends. XOAUTH2's own form is Google's (developers.google.com/gmail/imap/xoauth2-protocol).
"""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

from channels.contract import Tools
from channels.errors import ChannelError, Unauthorised, Uncertain

_EARLY = timedelta(minutes=5)
_LIFE = 3600.0  # where the service does not say; RFC 6749 leaves that open, and all in use give an hour


class Tokens:
    """Gives access tokens for one mailbox."""

    def __init__(self, held: str, *, token_url: str = "", client_id: str = "", client_secret: str = "") -> None:
        self._held = held
        self._token_url = token_url
        self._client = (client_id, client_secret)
        self._access = ""
        self._until: datetime | None = None

    @property
    def is_renewable(self) -> bool:
        """Whether another token can be had when one is refused."""
        return bool(self._token_url)

    async def access(self, tools: Tools, *, fresh: bool = False) -> str:
        """Return an access token; `fresh`: a new one, whatever we hold.

        Raises:
            Unauthorised: somebody has to sign in anew. Temporary: the service does not answer.
        """
        if not self._token_url:
            return self._held
        if self._access and not fresh and self._until is not None and tools.now() < self._until - _EARLY:
            return self._access
        asked = {
            "grant_type": "refresh_token",
            "refresh_token": self._held,
            "client_id": self._client[0],
            "client_secret": self._client[1],
        }
        answer = await tools.http.call(
            "POST",
            self._token_url,
            form={name: value for name, value in asked.items() if value},
            repeatable=True,
            private=True,
        )
        try:
            said = answer.object()
        except Uncertain:
            said = {}
        if not answer.is_fine or not isinstance(said.get("access_token"), str):
            words = tools.http.masked(f"The token service answered {answer.status}: {answer.text[:200].strip()}")
            description = tools.http.masked(str(said.get("error_description", "")))
            raise _refusal(answer.failure(words), str(said.get("error", "")), description)
        self._access = said["access_token"]
        if isinstance(rotated := said.get("refresh_token"), str) and rotated:
            self._held = rotated  # Microsoft gives another each time; the first stays good for its 90 days
        try:
            life = float(said.get("expires_in", _LIFE))
        except (TypeError, ValueError):
            life = _LIFE
        self._until = tools.now() + timedelta(seconds=life)
        return self._access


def xoauth2(user: str, token: str) -> str:
    """Return what is said to a server in one base64 word."""
    return base64.b64encode(f"user={user}\1auth=Bearer {token}\1\1".encode()).decode()


def _refusal(meant: ChannelError, error: str, description: str) -> ChannelError:
    """Say what a token service refused; RFC 6749 §5.2 answers 400 for what is a matter of credentials."""
    if error in ("invalid_grant", "invalid_client", "unauthorized_client", "interaction_required"):
        return Unauthorised(
            f"The token service takes our credentials no more ({error}: {description[:200]}). Sign in to the mailbox "
            "anew and enter the new refresh token",
            code=error,
        )
    return meant
