"""SMS through SMSC.ru, and the services that run the same software.

Reaches   any phone, Russia's above all
Set up    login and password of the account (better one of its own, for the API). In the account's settings, the hook's
          address as the handler of statuses and of incoming messages. Clones: their address as the API's
Calls us  POST urlencoded: `id`, `phone`, `status` for states; `phone`, `mes`, `to` for messages
Checks    a shared secret, if one is set: `?token=…` behind the hook's address. With a handler's password in the
          settings also `md5`, of `id:phone:status:password` and `phone:mes:to:password`; this formula we have from
          memory and saw confirmed nowhere: if genuine requests are refused, leave it empty
Repeats   the message's id; a state with its id and phone. Sending twice sends twice
Quirks    errors come inside answers of 200; numbers and codes of states below are from memory, too
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from channels import shared_secret, sms
from channels.contract import (
    Capability,
    ChannelSettings,
    Checked,
    Group,
    ParseContext,
    Part,
    Receipt,
    Routed,
    Sending,
    Tools,
    Unit,
)
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
from channels.sms import Said
from core.kernel.addresses import PHONE
from core.kernel.envelopes import Event, Status
from webhooks import forms
from webhooks.errors import BadSignature
from webhooks.request import RawRequest, Reply

API = "https://smsc.ru"

_STATES: Mapping[str, Literal["sent", "delivered", "read", "failed"]] = {
    "-1": "sent",  # waits
    "0": "sent",  # handed to the operator
    "1": "delivered",
    "2": "read",
    "3": "failed",  # expired
    "4": "read",  # its link was followed
    "20": "failed",  # cannot be delivered
    "22": "failed",  # wrong number
    "23": "failed",  # forbidden
    "24": "failed",  # no money
    "25": "failed",  # the number cannot be reached
}
_REASONS = {
    "3": "it expired before the phone was found",
    "20": "it cannot be delivered",
    "22": "the number is wrong",
    "23": "it is forbidden",
    "24": "no money on the account",
    "25": "the number cannot be reached",
}
_NO_SUCH_PEER = {"22"}
_MAY_PASS = {"3", "24", "25"}


class SmscSms(sms.SmsPeers):
    """Receives and sends through SMSC.ru."""

    kind: ClassVar[str] = "sms_smsc"
    title: ClassVar[str] = "SMS: SMSC.ru"
    group: ClassVar[Group] = "sms"
    account = ""
    sending: Sending = Sending(
        text=800,
        unit=Unit.SMS,
        capabilities=frozenset({Capability.START, Capability.DELIVERY_RECEIPTS}),
        addresses=(PHONE,),
    )

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        login: str = Field(title="Login", min_length=1)
        password: SecretStr = Field(title="Password", description="Of the account, or the one set for its API.")
        sender: str = Field(
            "", title="Sender", description="A name that is approved for the account. Empty: the account's usual one."
        )
        callback_secret: SecretStr = Field(
            SecretStr(""),
            title="Handler's password",
            description="As set beside the handler's address. If genuine requests are refused with it, leave it empty.",
            json_schema_extra={"advanced": True},
        )
        per_second: float = sms.per_second(10)

    def __init__(self, settings: Settings) -> None:
        self.sending = replace(self.sending, per_second=settings.per_second)
        self._api = settings.base_url.rstrip("/") or API
        self._login = settings.login.strip()
        self._password = settings.password
        self._sender = settings.sender.strip()
        self._secret = settings.secret
        self._callback_secret = settings.callback_secret

    # --- in ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the shared secret and the `md5`, each if it is set.

        Raises:
            BadSignature: the request does not carry it. Malformed: it cannot be read.
        """
        shared_secret.check(request, self._secret, optional=True)
        password = self._callback_secret.get_secret_value()
        if not password:
            return
        given = {name.lower(): value for name, value in sms.parameters(request)}
        names = ("phone", "mes", "to") if "mes" in given else ("id", "phone", "status")
        text = ":".join([*(given.get(name, "") for name in names), password])
        expected = hashlib.md5(text.encode("utf-8", "replace")).hexdigest()  # noqa: S324 (the provider's choice)
        if not shared_secret.same(given.get("md5", "").strip().lower(), expected):
            raise BadSignature("The request's md5 is not that of the handler's password. Nothing was stored")

    def route(self, request: RawRequest) -> Routed:
        """Tell messages by their id, states by id, phone and state.

        Raises:
            Malformed: the request cannot be read.
        """
        said = _said(request)
        message_id, peer = said.id("sms_id", "id"), sms.peer_key(said.text("phone"))
        if not message_id:
            return Routed("content:" + sms.digest(request.query, request.body), None, peer)
        if "mes" in said:
            return Routed(f"message:{message_id}"[:200], None, peer)
        return Routed(f"status:{message_id}:{peer}:{said.id('status')}:{said.id('err')}"[:200], None, peer)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read a message or a state.

        Raises:
            Malformed: the request cannot be read.
        """
        said = _said(request)
        if "mes" in said:
            if not said.text("phone"):
                return []
            return sms.received(
                said.text("phone"),
                said.text("mes"),
                context,
                external_id=said.id("sms_id", "id"),
                occurred_at=said.moment("time", "sent"),
            )
        return _reported(said)

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Answer with a bare 200."""
        return sms.PLAIN_OK

    # --- out ---

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send a part as one message.

        Raises:
            ChannelError: it was not sent, or we cannot know.
        """
        form = {
            "login": self._login,
            "psw": self._password.get_secret_value(),
            "phones": sms.digits_of(part.peer),
            "mes": sms.words(part, with_links=True),
            "charset": "utf-8",
            "fmt": "3",
        }
        if self._sender:
            form["sender"] = self._sender
        answer = await tools.http.call("POST", f"{self._api}/sys/send.php", form=form)
        if not answer.is_fine:
            raise answer.failure()
        said = Fields(answer.object())
        if said.text("error") or said.whole("error_code"):
            raise _error(said)
        message_id = said.id("id")
        if not message_id:
            raise Uncertain(f"SMSC's answer names no message: {answer.text[:200]!r}")
        return Receipt((message_id,))

    async def check(self, tools: Tools) -> Checked:
        """Ask for the balance.

        Raises:
            ChannelError: the account cannot be used.
        """
        form = {"login": self._login, "psw": self._password.get_secret_value(), "cur": "1", "fmt": "3"}
        answer = await tools.http.call("POST", f"{self._api}/sys/balance.php", form=form, repeatable=True)
        if not answer.is_fine:
            raise answer.failure()
        said = Fields(answer.object())
        if said.text("error") or said.whole("error_code"):
            raise _error(said)
        balance = f"{said.text('balance')} {said.text('currency')}".strip()
        return Checked("SMSC knows the account", sms.without_empty({"balance": balance}))


def _said(request: RawRequest) -> Said:
    """Read a request in whatever charset the account is set to, most likely windows-1251 where it is not UTF-8."""
    return Said(forms.decode(request.body, request.headers.get("content-type", ""), request.query, "cp1251").fields)


def _reported(said: Said) -> list[Event]:
    state = said.id("status")
    status = _STATES.get(state)
    if status is None or not said.id("id"):
        return []
    is_failed = status == "failed"
    return [
        Status(
            status=status,
            external_id=said.id("id"),
            peer=sms.peer_named(said.text("phone")),
            occurred_at=said.moment("ts", "time"),
            error_code=(said.id("err") if said.whole("err") else state) if is_failed else "",
            error_text=_REASONS.get(state, "") if is_failed else "",
            is_final=state not in _MAY_PASS,
            is_dead=state in _NO_SUCH_PEER,
        )
    ]


def _error(said: Fields) -> ChannelError:
    """Return what `{"error": …, "error_code": 3}` means."""
    code = said.id("error_code")
    text = f"SMSC says: {said.text('error') or 'nothing more'} ({code})"
    if code == "2":
        return Unauthorised(f"{text}. Check the login and the password", code=code)
    if code in ("3", "4"):
        why = "The account has no money" if code == "3" else "This address is blocked; see the account's settings"
        return Misconfigured(f"{why}. {text}", code=code)
    if code == "7":
        return RecipientGone(text, code=code)
    if code == "9":
        return Throttled(text, code=code)
    if code in ("1", "5", "6", "8"):
        return Undeliverable(text, code=code)
    return Temporary(text, code=code)
