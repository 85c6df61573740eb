"""LINE official accounts (Messaging API).

Reaches   people who added the account as a friend, and groups it was invited to, by the ids LINE gave them for it
Set up    enter the channel secret and a long-lived access token (LINE Developers console); "Set up" registers the hook.
          "Use webhook" is switched on in the console, by hand
Calls us  POST /hooks/<connection>, JSON, any number of events of any number of people; none at all on "Verify"
Checks    `X-Line-Signature`: base64 HMAC-SHA256 of the raw body under the channel secret
Repeats   `webhookEventId` stays the same when LINE delivers an event again
Quirks    an answer within a minute is free and goes by the event's reply token, once; anything later is a push, which
          counts against the month's allowance. A push carries a retry key, so it is repeated without harm; a reply has
          none, so one that was cut off stays uncertain. A push to somebody who blocked the account is answered 200.
          A file goes by its https address. A video wants a preview picture and a recording its length, which the hub
          has not, so the hub sends these as links

Source: developers.line.biz/en/reference/messaging-api and …/docs/messaging-api/retrying-api-request.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote

from pydantic import Field, SecretStr

from channels import fields, line_messages
from channels.contract import (
    MANY,
    Capability,
    ChannelSettings,
    Checked,
    Fetched,
    Group,
    Media,
    ParseContext,
    Part,
    Profile,
    Receipt,
    Routed,
    Sending,
    Tools,
    Unit,
)
from channels.errors import ChannelError, Misconfigured, RecipientGone, Temporary, Uncertain, Undeliverable
from channels.fields import Fields
from channels.http import Answer
from channels.shared_secret import same
from core.kernel.addresses import Address
from core.kernel.envelopes import Event
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest, Reply

API = "https://api.line.me"
DATA_API = "https://api-data.line.me"
_RETRY_KEYS = uuid.UUID("6f0d5c1e-0f0b-5a5e-9d8f-3f1f3f6f2c11")


class Line:
    """Receives and sends as one official account."""

    kind: ClassVar[str] = line_messages.KIND
    title: ClassVar[str] = "LINE"
    group: ClassVar[Group] = "messenger"
    account = ""
    sending: ClassVar[Sending] = Sending(
        text=5000,
        unit=Unit.UTF16,
        caption=5000,
        media={"image": Media(10 * 1024 * 1024, ("image/jpeg", "image/png"))},
        album=4,  # five messages a request, the last of them the text
        per_second=2000,
        capabilities=frozenset({Capability.BUTTONS}),
        # pushes could be repeated, replies could not: `send` says of each how it stands
        retries_safely=False,
    )

    class Settings(ChannelSettings):
        """What an administrator fills in.

        channel_secret  signs what LINE sends
        access_token    the channel's long-lived access token
        """

        channel_secret: SecretStr = Field(title="Channel secret", description="Basic settings of the channel.")
        access_token: SecretStr = Field(
            title="Channel access token", description="Long-lived; issued under Messaging API of the channel."
        )

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.channel_secret.get_secret_value()
        self._authorization = {"Authorization": f"Bearer {settings.access_token.get_secret_value()}"}
        self._api = settings.base_url.rstrip("/") or API
        self._data_api = settings.base_url.rstrip("/") or DATA_API

    # --- what comes in ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the signature.

        Raises:
            BadSignature: it is missing or wrong. NotConfigured: there is no secret to check it with.
        """
        if not self._secret:
            raise NotConfigured("This LINE channel has no channel secret yet, so nothing is accepted. Enter it")
        expected = base64.b64encode(hmac.new(self._secret.encode(), request.body, hashlib.sha256).digest()).decode()
        if not same(request.headers.get("x-line-signature", "").strip(), expected):
            raise BadSignature("The request is not signed with this channel's secret. Nothing was stored")

    def route(self, request: RawRequest) -> Routed:
        """Tell requests apart by the ids of their events.

        Raises:
            Malformed: the body is no JSON object.
        """
        events = list(fields.object_of(request).items("events"))
        ids = [event.id("webhookEventId") for event in events]
        if len(ids) == 1 and ids[0]:
            key = ids[0]
        else:
            content = "\n".join(ids).encode() if ids and all(ids) else request.body
            key = hashlib.blake2b(content, digest_size=16).hexdigest()
        peers = {peer for event in events if (peer := line_messages.peer_of(event))}
        return Routed(key, None, MANY if len(peers) > 1 else "".join(peers))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read every event we have a use for.

        Raises:
            Malformed: the body is no JSON object.
        """
        read = (line_messages.read_event(event) for event in fields.object_of(request).items("events"))
        return [event for event in read if event is not None]

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Answer 200."""
        return Reply(b"{}")

    # --- what goes out ---

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send a part as the reply it can be, else as a push.

        Raises:
            ChannelError: as in `channels.contract.Sender`.
        """
        messages = line_messages.messages_of(part)
        token = part.context.get("reply_token", "")
        until = fields.moment_of(part.context.get("reply_until", ""))
        if token and until is not None and tools.now() < until:
            receipt = await self._reply(token, messages, tools)
            if receipt is not None:
                return receipt
        return await self._push(part, messages, tools)

    def peer_of(self, address: Address) -> str | None:
        """Return the id behind a LINE address."""
        return address.value if address.scheme == self.kind else None

    def address_of(self, peer: str) -> Address:
        """Return the address of somebody with this id."""
        return Address(self.kind, peer)

    async def _reply(self, token: str, messages: Sequence[Mapping[str, Any]], tools: Tools) -> Receipt | None:
        """Use the reply token, which is gone then; None if it was gone already and nothing was sent.

        Raises:
            ChannelError: as in `send`; Uncertain also for an error of LINE's own, since nothing tells whether it went.
        """
        body = {"replyToken": token, "messages": messages}
        answer = await self._call("POST", "/v2/bot/message/reply", tools, json=body)
        if answer.is_fine:
            return Receipt(_ids(answer), context={"reply_token": "", "reply_until": ""})
        said = _said(answer)
        if answer.status == 400 and "reply token" in said.lower():
            return None
        if answer.status >= 500:
            raise Uncertain(f"LINE failed while it took the reply ({answer.status}), so it may have gone")
        raise _refusal(answer, tools)

    async def _push(self, part: Part, messages: Sequence[Mapping[str, Any]], tools: Tools) -> Receipt:
        headers = {"X-Line-Retry-Key": str(uuid.uuid5(_RETRY_KEYS, part.id))}
        body = {"to": part.peer, "messages": messages}
        answer = await self._call("POST", "/v2/bot/message/push", tools, json=body, headers=headers, repeatable=True)
        if answer.is_fine:
            return Receipt(_ids(answer), context={"reply_token": "", "reply_until": ""})
        if answer.status == 409:  # an earlier attempt arrived after all
            named = {name.lower(): value for name, value in answer.headers.items()}
            accepted = named.get("x-line-accepted-request-id", "")
            return Receipt(_ids(answer), detail=f"LINE had accepted it before, as request {accepted}")
        raise _refusal(answer, tools)

    # --- the rest ---

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file of a message; a video or a recording may still be in the making.

        Raises:
            Temporary: try again. Undeliverable: it is gone.
        """
        if reference.startswith(("https://", "http://")):
            chunks, content_type, size = await tools.http.stream(reference)
            return Fetched(chunks, content_type, size)
        kind, _, number = reference.partition(":")
        url = f"{self._data_api}/v2/bot/message/{quote(number, safe='')}/content"
        if kind in ("video", "audio"):
            answer = await tools.http.call("GET", f"{url}/transcoding", headers=self._authorization)
            status = Fields(answer.object()).text("status") if answer.is_fine else ""
            if status == "processing":
                raise Temporary("LINE is still preparing the file", 5)
            if status == "failed":
                raise Undeliverable("LINE could not prepare the file, so it is not to be had")
        chunks, content_type, size = await tools.http.stream(url, headers=self._authorization)
        return Fetched(chunks, content_type, size)

    async def profile(self, peer: str, tools: Tools) -> Profile | None:
        """Ask who somebody is, or what a group is called; LINE tells of nobody who is no friend.

        Raises:
            ChannelError: as in `send`.
        """
        if peer.startswith("R"):
            return None  # a room has no name
        path = f"group/{quote(peer, safe='')}/summary" if peer.startswith("C") else f"profile/{quote(peer, safe='')}"
        answer = await self._call("GET", f"/v2/bot/{path}", tools)
        if answer.status in (400, 404):
            return None
        found = _fine(answer, tools)
        return Profile(found.text("displayName") or found.text("groupName"), found.text("language"))

    async def check(self, tools: Tools) -> Checked:
        """Ask for the account, and whether LINE calls us.

        Raises:
            ChannelError: the token is wrong, or LINE is away.
        """
        account = _fine(await self._call("GET", "/v2/bot/info", tools), tools)
        name = account.text("displayName")
        hook = await self._hook(tools)
        facts = {"name": name, "id": account.text("basicId"), "webhook": hook.text("endpoint")}
        detail = f"The account {name} is connected."
        if tools.hook_url and hook.text("endpoint") != tools.hook_url:
            called = hook.text("endpoint") or "nobody"
            detail = f"{detail} But LINE calls {called}, not us: set the channel up to receive messages."
        elif hook and not hook.flag("active"):
            detail = f"{detail} But LINE calls nobody: switch on “Use webhook” in the LINE Developers console."
        return Checked(detail, {label: value for label, value in facts.items() if value})

    async def setup(self, tools: Tools) -> str:
        """Tell LINE where to call us.

        Raises:
            ChannelError: as in `check`; Misconfigured where the address is none LINE takes.
        """
        if not tools.hook_url.startswith("https://"):
            raise Misconfigured(
                f"LINE calls only https addresses, and ours is {tools.hook_url or 'unknown'}. Set SWITCHYARD_PUBLIC_URL"
            )
        hook = await self._hook(tools)
        if hook.text("endpoint") != tools.hook_url:
            body = {"endpoint": tools.hook_url}
            answer = await self._call("PUT", "/v2/bot/channel/webhook/endpoint", tools, json=body, repeatable=True)
            if answer.status == 400:
                raise Misconfigured(f"LINE does not take the address {tools.hook_url}: {_said(answer)}", code="400")
            _fine(answer, tools)
            hook = await self._hook(tools)
        if not hook.flag("active"):
            return f"LINE knows {tools.hook_url} now. Switch on “Use webhook” in the LINE Developers console."
        return f"LINE calls {tools.hook_url} now."

    async def teardown(self, tools: Tools) -> None:
        """Leave the address as it is: LINE has no way to take it back but its console."""

    async def _hook(self, tools: Tools) -> Fields:
        """Return what LINE knows of the hook; nothing where none was registered yet."""
        answer = await self._call("GET", "/v2/bot/channel/webhook/endpoint", tools)
        return Fields(None) if answer.status == 404 else _fine(answer, tools)

    async def _call(
        self,
        method: str,
        path: str,
        tools: Tools,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = False,
    ) -> Answer:
        return await tools.http.call(
            method,
            self._api + path,
            json=json,
            headers={**self._authorization, **(headers or {})},
            repeatable=repeatable,
        )


def _ids(answer: Answer) -> tuple[str, ...]:
    try:
        found = Fields(answer.json())
    except Uncertain:
        return ()  # the status says that it was taken
    return tuple(number for sent in found.items("sentMessages") if (number := sent.id("id")))


def _said(answer: Answer) -> str:
    """Return LINE's own words, details included."""
    try:
        found = Fields(answer.json())
    except Uncertain:
        return answer.text[:200]
    details = [f"{detail.text('property')}: {detail.text('message')}" for detail in found.items("details")]
    return "; ".join([found.text("message"), *details])[:300]


def _fine(answer: Answer, tools: Tools) -> Fields:
    """Return a good answer's object.

    Raises:
        ChannelError: it is none.
    """
    if not answer.is_fine:
        raise _refusal(answer, tools)
    return Fields(answer.object())


def _refusal(answer: Answer, tools: Tools) -> ChannelError:
    """Return what a status other than 2xx means."""
    said, code = tools.http.masked(_said(answer)), str(answer.status)
    if answer.status == 401:
        return answer.failure(f"LINE does not take the access token ({said}). Issue one and enter it", code=code)
    if answer.status == 403:
        return Misconfigured(f"LINE does not allow this account to do that ({said}). See its plan", code=code)
    if answer.status == 429 and "monthly limit" in said.lower():
        return Undeliverable(
            "The month's allowance of messages of this LINE account is used up. Raise it in the LINE Official Account "
            "Manager; answers within a minute of a message still go",
            code="quota",
        )
    if answer.status == 400 and "'to'" in said:
        return RecipientGone(f"LINE knows nobody by this id any more ({said})", code=code)
    return answer.failure(f"LINE refuses: {said}" if answer.status < 500 else "", code=code)
