"""SMS through Infobip.

Reaches   any phone
Set up    an API key, the account's own base URL (https://….api.infobip.com) and a sender. In the portal, the number
          forwards incoming messages to the hook's address as JSON; where reports go is said with every message
Calls us  POST JSON: `results`, each a message or a report
Checks    Infobip signs nothing that we know of. With a shared secret in the settings, requests must carry it: in the
          address (`?token=…`), or as the password of HTTP basic authentication
Repeats   messageId; a report's status with it. Our own id goes along as `messageId`, and Infobip refuses a second one
          of the same, so that a part may be sent again
Quirks    an answer of 200 may hold a rejection; EXPIRED means that it did not arrive; offsets are written `+0000`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from channels import shared_secret, sms
from channels.contract import (
    MANY,
    Capability,
    ChannelSettings,
    Checked,
    Fetched,
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
from channels.fields import Fields, object_of
from channels.http import Answer, origin_of
from core.kernel.addresses import PHONE
from core.kernel.envelopes import Attachment, Event, Status
from webhooks.request import RawRequest, Reply

API = "https://api.infobip.com"

# infobip.com/docs, "Response status and error codes"
_GROUPS: Mapping[str, Literal["sent", "delivered", "failed"]] = {
    "PENDING": "sent",
    "UNDELIVERABLE": "failed",
    "DELIVERED": "delivered",
    "EXPIRED": "failed",
    "REJECTED": "failed",
    "1": "sent",
    "2": "failed",
    "3": "delivered",
    "4": "failed",
    "5": "failed",
}
_REPEATED = "REJECTED_DUPLICATE_MESSAGE_ID"
_OPTED_OUT = {"REJECTED_DND"}
_NO_SUCH_PEER = {"EC_UNKNOWN_SUBSCRIBER", "EC_UNIDENTIFIED_SUBSCRIBER", "EC_ILLEGAL_SUBSCRIBER"}
_GONE = {"REJECTED_DESTINATION", "REJECTED_DESTINATION_BLOCK", "REJECTED_INVALID_DESTINATION", "MISSING_TO"}
_ACCOUNT = {"REJECTED_NOT_ENOUGH_CREDITS", "REJECTED_PREPAID_PACKAGE_EXPIRED", "REJECTED_SENDER", "REJECTED_SOURCE"}
_PASSING = {"REJECTED_SYSTEM_ERROR", "REJECTED_FLOODING_FILTER"}


class InfobipSms(sms.SmsPeers):
    """Receives and sends through Infobip."""

    kind: ClassVar[str] = "sms_infobip"
    title: ClassVar[str] = "SMS: Infobip"
    group: ClassVar[Group] = "sms"
    account = ""
    sending: Sending = Sending(
        text=1600,
        unit=Unit.SMS,
        capabilities=frozenset({Capability.START, Capability.DELIVERY_RECEIPTS}),
        retries_safely=True,
        addresses=(PHONE,),
    )

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        base_url: str = Field(
            "",
            title="Base URL",
            description="Your account's own, from the portal's front page: https://….api.infobip.com",
        )
        api_key: SecretStr = Field(title="API key", description="From the portal, with the rights to send SMS.")
        sender: str = Field(title="Sender", description="Your number, or a name of up to 11 letters.", min_length=1)
        per_second: float = sms.per_second(20)

    def __init__(self, settings: Settings) -> None:
        self.sending = replace(self.sending, per_second=settings.per_second)
        base = settings.base_url.strip().rstrip("/") or API
        self._api = base if "://" in base else f"https://{base}"
        self._key = settings.api_key
        self._secret = settings.secret
        self._sender = settings.sender.strip()

    # --- in ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the shared secret, if there is one; without it the hook's address is the secret.

        Raises:
            BadSignature: the request does not carry it.
        """
        shared_secret.check(request, self._secret, optional=True)

    def route(self, request: RawRequest) -> Routed:
        """Tell requests by the ids and states of their results.

        Raises:
            Malformed: the body is no JSON object.
        """
        results = list(object_of(request).items("results"))
        marks = [
            f"{found.id('messageId')}:{found.text('status', 'name')}:{found.text('status', 'groupName')}:"
            f"{found.id('error', 'id')}:{found.text('seenAt')}"
            for found in results
        ]
        peers = {sms.peer_key(found.text("to") if "status" in found else found.text("from")) for found in results}
        peer = peers.pop() if len(peers) == 1 else MANY if peers else ""
        if not all(found.id("messageId") for found in results) or not results:
            return Routed("content:" + sms.digest(request.body), None, peer)
        return Routed("results:" + sms.digest(*marks), None, peer)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read every message and every report of a request.

        Raises:
            Malformed: the body is no JSON object.
        """
        events: list[Event] = []
        for result in object_of(request).items("results"):
            if not result.id("messageId"):
                continue
            events += _reported(result) if "status" in result or "seenAt" in result else _said(result, context)
        return events

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Answer with a bare 200."""
        return sms.PLAIN_OK

    # --- out ---

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send a part as one message, under an id of ours.

        Raises:
            ChannelError: it was not sent, or we cannot know.
        """
        our_id = _our_id(part, tools)
        message: dict[str, object] = {
            "sender": sms.digits_of(self._sender),
            "destinations": [{"to": sms.digits_of(part.peer), "messageId": our_id}],
            "content": {"text": sms.words(part, with_links=True)},
        }
        if tools.hook_url:
            delivery = {
                "url": f"{tools.hook_url}/status",
                "intermediateReport": True,
                "contentType": "application/json",
            }
            message["webhooks"] = {"delivery": delivery}
        body = {"messages": [message]}
        answer = await tools.http.call("POST", f"{self._api}/sms/3/messages", json=body, headers=self._headers)
        if not answer.is_fine:
            raise _error(answer)
        found = Fields(answer.object()).at("messages", 0)
        status = found.at("status")
        state = _GROUPS.get(status.text("groupName").upper()) or _GROUPS.get(status.text("groupId"))
        if state == "failed" and status.text("name") != _REPEATED:
            raise _refusal(status)
        if state is None:
            raise Uncertain(f"Infobip's answer says nothing of the message: {answer.text[:200]!r}")
        return Receipt((found.id("messageId") or our_id,), "delivered" if state == "delivered" else "sent")

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file of an MMS; our key goes to Infobip alone.

        Raises:
            Temporary: try again. Undeliverable: it is gone.
        """
        is_theirs = origin_of(reference) in (origin_of(self._api), origin_of(API))
        return Fetched(*await tools.http.stream(reference, headers=self._headers if is_theirs else None))

    async def check(self, tools: Tools) -> Checked:
        """Ask for the balance.

        Raises:
            ChannelError: the account cannot be used.
        """
        answer = await tools.http.call("GET", f"{self._api}/account/1/balance", headers=self._headers)
        if not answer.is_fine:
            raise _error(answer)
        said = Fields(answer.object())
        balance = f"{said.text('balance')} {said.text('currency')}".strip()
        return Checked("Infobip knows the key", sms.without_empty({"balance": balance}))

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"App {self._key.get_secret_value()}", "Accept": "application/json"}


def _our_id(part: Part, tools: Tools) -> str:
    """Return the part's id, with a mark of this connection: another hub on the account counts its parts too."""
    return f"{part.id}-{sms.digest(tools.hook_url)[:8]}"


# --- reading ---


def _said(result: Fields, context: ParseContext) -> list[Event]:
    """Read a message: its text, or the pieces of an MMS."""
    texts, attachments = [], []
    for piece in result.items("message"):
        content_type = piece.text("contentType").lower()[:100]
        if url := piece.text("url"):
            kind = sms.media_kind(content_type)
            attachments.append(Attachment("", content_type, 0, reference=url[:2_000], kind=kind))
        elif content_type.startswith("text/"):
            texts.append(piece.text("value"))
    text = result.text("text") or result.text("cleanText") or "\n".join(filter(None, texts))
    if not result.text("from") or not (text or attachments):
        return []
    return sms.received(
        result.text("from"),
        text,
        context,
        external_id=result.id("messageId"),
        occurred_at=result.moment("receivedAt"),
        attachments=attachments,
    )


def _reported(result: Fields) -> list[Event]:
    status = result.at("status")
    state: Literal["sent", "delivered", "read", "failed"] | None
    state = _GROUPS.get(status.text("groupName").upper()) or _GROUPS.get(status.text("groupId"))
    if result.text("seenAt"):
        state = "read"
    if state is None:
        return []
    is_failed = state == "failed"
    error, message_id = result.at("error"), result.id("messageId")
    name = error.text("name") if error.whole("id") else status.text("name")
    when = result.moment("seenAt") or result.moment("doneAt") or result.moment("sentAt")
    part_id, dash, _ = message_id.rpartition("-")
    events: list[Event] = [
        Status(
            status=state,
            external_id=message_id,
            our_id=part_id if dash and part_id.replace(".", "").isdecimal() else "",
            peer=sms.peer_named(result.text("to")),
            occurred_at=when,
            error_code=name[:100] if is_failed else "",
            error_text=(error.text("description") or status.text("description"))[:500] if is_failed else "",
            is_final=not (error.whole("id") and "permanent" in error and not error.flag("permanent")),
            is_dead=error.text("name") in _NO_SUCH_PEER,
        )
    ]
    is_opted_out = is_failed and status.text("name") in _OPTED_OUT
    return events + (sms.opted_out(result.text("to"), when) if is_opted_out else [])


# --- errors ---


def _refusal(status: Fields) -> ChannelError:
    """Return what a rejection inside an answer of 200 means."""
    name = status.text("name")
    text = f"Infobip says: {status.text('description') or 'nothing more'} ({name or status.text('groupName')})"
    if name in _OPTED_OUT:
        return RecipientGone(f"They want no messages. {text}", code=name, opted_out=True)
    if name in _GONE:
        return RecipientGone(text, code=name)
    if name in _ACCOUNT:
        return Misconfigured(f"{text}. See Infobip's portal", code=name)
    if name in _PASSING:
        return Temporary(text, code=name)
    return Undeliverable(text, code=name)


def _error(answer: Answer) -> ChannelError:
    """Return what a refusal means; its text stands in one place or another, by the age of the API."""
    try:
        said = Fields(answer.json())
    except Uncertain:
        said = Fields(None)
    older = said.at("requestError", "serviceException")
    code = older.id("messageId") or said.id("errorCode") or str(answer.status)
    why = older.text("text") or said.text("description") or answer.text[:200].strip()
    text = f"Infobip says: {why or 'nothing more'} ({code})"
    if answer.status in (401, 403):
        return Unauthorised(f"{text}. Check the API key and the base URL", code=code)
    if answer.status == 429:
        return Throttled(text, answer.retry_after, code=code)
    return answer.failure(text, code=code)
