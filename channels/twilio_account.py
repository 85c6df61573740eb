"""A Twilio account as both of its uses need it, messages and calls: its resources, its state and its numbers.

From the documentation of the REST API: the resources Account, Balance and IncomingPhoneNumber. What calls us is checked
by channels/twilio_signature.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote

from pydantic import SecretStr

from channels import sms
from channels.contract import Checked, Tools
from channels.errors import ChannelError, Misconfigured
from channels.fields import Fields
from channels.http import Answer, origin_of

API = "https://api.twilio.com"

CREDENTIALS = frozenset({"20003", "20005", "20404", "20403"})
"""Codes that say that the account SID and the auth token do not fit: https://www.twilio.com/docs/api/errors"""


class Account:
    """An account, known to us by its SID and auth token.

    `refused` returns what a refusal means to whoever asks: codes of messages are not those of calls.
    """

    def __init__(self, sid: str, token: SecretStr, address: str, refused: Callable[[Answer], ChannelError]) -> None:
        self.api = address.rstrip("/") or API
        self._sid = sid.strip()
        self._token = token
        self._refused = refused

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries. It goes to Twilio's own addresses only: see `is_theirs`."""
        return sms.basic(self._sid, self._token.get_secret_value())

    def url(self, resource: str = "") -> str:
        """Return the address of a resource of the account, `Calls.json`; of the account itself without one."""
        account = f"{self.api}/2010-04-01/Accounts/{quote(self._sid, safe='')}"
        return f"{account}/{resource}" if resource else f"{account}.json"

    def is_theirs(self, url: str) -> bool:
        """Tell whether an address is Twilio's, and may see our credentials."""
        return origin_of(url) in (origin_of(self.api), origin_of(API))

    async def get(self, url: str, tools: Tools, query: Mapping[str, str] | None = None) -> Fields:
        """Ask for a resource.

        Raises:
            ChannelError: what `refused` made of it.
        """
        answer = await tools.http.call("GET", url, query=query, headers=self.headers)
        if not answer.is_fine:
            raise self._refused(answer)
        return Fields(answer.object())

    async def check(self, tools: Tools) -> Checked:
        """Ask for the account and its balance.

        Raises:
            ChannelError: the account cannot be used.
        """
        account = await self.get(self.url(), tools)
        if account.text("status") not in ("active", ""):
            raise Misconfigured(f"The Twilio account is {account.text('status')}. See the console")
        facts = {"account": account.text("friendly_name"), "type": account.text("type")}
        balance = await tools.http.call("GET", self.url("Balance.json"), headers=self.headers)
        if balance.is_fine:
            left = Fields(balance.object())
            facts["balance"] = f"{left.text('balance')} {left.text('currency')}".strip()
        return Checked("Twilio knows the account", sms.without_empty(facts))

    async def number(self, phone: str, tools: Tools) -> Fields | None:
        """Ask for a number of ours by its phone, `+14155550123`; None: it is not of this account.

        Raises:
            ChannelError: what `refused` made of it.
        """
        found = await self.get(self.url("IncomingPhoneNumbers.json"), tools, {"PhoneNumber": phone})
        return next(iter(found.items("incoming_phone_numbers")), None)

    async def change(self, number: Fields, form: Mapping[str, str], tools: Tools) -> None:
        """Change a number that `number` returned.

        Raises:
            ChannelError: what `refused` made of it.
        """
        resource = self.url(f"IncomingPhoneNumbers/{number.id('sid')}.json")
        answer = await tools.http.call("POST", resource, form=form, headers=self.headers, repeatable=True)
        if not answer.is_fine:
            raise self._refused(answer)
