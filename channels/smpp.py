"""SMS over SMPP 3.4: a line of one's own to an SMS centre or an aggregator.

Reaches   any phone; numbers are E.164
Set up    host, port, system id and password are the provider's; they may want to know our IP address. Most allow one
          line only, so nobody else may use the same system id
Calls us  never: the listener holds the line (bind_transceiver) and takes messages and receipts from it (deliver_sm)
Checks    the line itself, which only the provider can be at the other end of; over TLS its certificate too. A request
          that came by HTTP is refused
Repeats   a delivery is acknowledged once it is durable, so after a break the last ones may come again. They have no id:
          the same content is a repeat within 2 minutes, a part of a long message within an hour, a receipt for ever
Quirks    long messages come in parts. Each is kept by itself before it is acknowledged, and the hub joins them
          (`group`): a part that waited in memory for the others would be lost with the process. A receipt may come
          before the answer to the message it is about, so it waits for the answers that are due. Providers name a
          message in hexadecimal in one place and in decimal in the other: which, is learned from the ids of what was
          sent, and kept with the cursor. What "default alphabet" means is each provider's own: see the setting
Source    "Short Message Peer to Peer Protocol Specification v3.4", Issue 1.2; see `channels.smpp_units`
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec
from pydantic import Field, SecretStr

from channels import smpp_deliveries, smpp_errors, smpp_ids, smpp_units, sms
from channels.contract import (
    Capability,
    ChannelSettings,
    Checked,
    Group,
    Item,
    Listening,
    ParseContext,
    Part,
    Receipt,
    Routed,
    Sending,
    Tools,
    Unit,
)
from channels.errors import ChannelError, Temporary, Uncertain
from channels.fields import object_of
from channels.smpp_session import Lost, Refused, Session, Unanswered
from channels.smpp_units import Command
from core.kernel.addresses import PHONE
from core.kernel.envelopes import Event
from webhooks import errors as webhook_errors
from webhooks.request import RawRequest, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

METHOD = "SMPP"
"""What marks a request that the listener made of a delivery."""

_REPEAT = timedelta(minutes=2)
_REPEAT_OF_PART = timedelta(hours=1)
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_ANSWERS_DUE = 2.0  # seconds a receipt waits for the answers to what was sent before it came
_CONTENT = ("source", "destination", "data", "text", "esm_class", "data_coding", "unreadable")
_PATIENCE = (0.5, 1.0, 2.0)
_STOOD_WELL = 10.0  # seconds after which a line that breaks is bound again at once


class Smpp(sms.SmsPeers):
    """Sends and receives SMS over one SMPP line, which its listener holds."""

    kind: ClassVar[str] = "smpp"
    title: ClassVar[str] = "SMS over SMPP"
    group: ClassVar[Group] = "sms"
    account = ""
    sending: Sending = Sending(
        text=1340,
        unit=Unit.SMS,
        capabilities=frozenset({Capability.START, Capability.DELIVERY_RECEIPTS}),
        from_listener=True,
        addresses=(PHONE,),
    )

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        host: str = Field(title="Host", description="Of the provider's SMPP server.", min_length=1)
        port: int = Field(2775, title="Port", ge=1, le=65_535)
        system_id: str = Field(title="System ID", min_length=1, max_length=60)
        password: SecretStr = Field(title="Password")
        sender: str = Field(
            "",
            title="Sender",
            description="The number or name that messages come from. Empty: the provider puts in its own.",
            max_length=20,
        )
        tls: bool = Field(False, title="TLS", description="Whether the server wants an encrypted connection.")
        system_type: str = Field("", title="System type", max_length=12, json_schema_extra={"advanced": True})
        encoding: Literal["gsm", "latin1"] = Field(
            "gsm",
            title="Default alphabet",
            description="What the provider takes data coding 0 for. Change it if @, [ or € arrive as other characters.",
            json_schema_extra={"advanced": True},
        )
        window: int = Field(
            10,
            title="Window",
            description="How many messages may wait for their answer at once.",
            ge=1,
            le=200,
            json_schema_extra={"advanced": True},
        )
        enquire_link: float = Field(
            30, title="Seconds between signs of life", gt=0, le=600, json_schema_extra={"advanced": True}
        )
        answer_within: float = Field(
            30, title="Seconds to wait for an answer", gt=0, le=120, json_schema_extra={"advanced": True}
        )
        per_second: float = sms.per_second(20)

    def __init__(self, settings: Settings) -> None:
        self.sending = replace(self.sending, per_second=settings.per_second)
        self._settings = settings
        self._session: Session | None = None
        self._ids = smpp_ids.Ids()
        self._reference = random.randrange(256)

    # --- what came over the line, read ---

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Take only what the listener brought.

        Raises:
            Refused: it came by HTTP. Malformed: it is nothing that the listener makes.
        """
        if request.method != METHOD:
            raise webhook_errors.Refused("Nothing is received at this address: SMPP brings messages over its own line")
        object_of(request)

    def route(self, request: RawRequest) -> Routed:
        """Tell what makes two deliveries the same: all of their content.

        Raises:
            Malformed: it is nothing that the listener makes.
        """
        body = object_of(request)
        content = (body.text(name) for name in _CONTENT)
        key = sms.digest(*content, *(body.text("joining", name) for name in ("reference", "part", "parts")))
        if body.at("receipt"):
            return Routed(f"receipt:{key}", None, "")
        repeat_within = _REPEAT_OF_PART if body.at("joining") else _REPEAT
        return Routed(f"message:{key}", repeat_within, sms.peer_key(body.text("source")))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read a message, a part of one, or a receipt.

        Raises:
            Malformed: it is nothing that the listener makes.
        """
        body = object_of(request)
        if body.at("receipt"):
            return smpp_deliveries.statuses(body)
        if unreadable := body.text("unreadable"):
            raise webhook_errors.Malformed(f"The provider sent a message that cannot be read: {unreadable[:200]}")
        source = body.text("source")
        group, piece = "", ("", "")
        if reference := body.text("joining", "reference"):
            group = f"{sms.peer_key(source)}:{sms.peer_key(body.text('destination'))}:{reference}"
            piece = (body.text("joining", "part"), body.text("joining", "parts"))
            group += f":{piece[1]}"
        return sms.received(
            source,
            smpp_deliveries.text(body, self._settings.encoding),
            context,
            external_id="",
            is_international=body.whole("source_kind") != 2,
            group=group,
            piece=piece,
        )

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say nothing: the listener acknowledges deliveries itself, over the line."""
        return Reply(b"", content_type="text/plain")

    # --- the line ---

    async def run(self, listening: Listening) -> None:
        """Hold the line: bind, take what comes, and bind again when it breaks.

        Raises:
            Unauthorised: the provider does not know the system id or the password.
        """
        self._ids.recall(listening.cursor)
        pause = _SHORTEST_PAUSE
        while True:
            try:
                async with self._bound(Command.BIND_TRANSCEIVER) as session:
                    self._session = session
                    since = asyncio.get_running_loop().time()
                    listening.is_well(f"Bound as {self._settings.system_id}")
                    try:
                        await session.run(lambda units: self._take(units, session, listening))
                    finally:
                        self._session = None
                        if asyncio.get_running_loop().time() - since > _STOOD_WELL:
                            pause = _SHORTEST_PAUSE
            except Temporary as error:
                listening.is_ill(str(error))
            except Lost as error:
                listening.is_ill(f"The line to {self._settings.host} broke ({error}); binding again")
            await asyncio.sleep(pause * random.uniform(0.7, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _take(self, units: Sequence[smpp_units.Unit], session: Session, listening: Listening) -> None:
        """Make deliveries durable, in their order. One that cannot be read is kept as the bytes it is."""
        bodies = [smpp_deliveries.described(unit, self._settings.encoding) for unit in units]
        receipts = [body["receipt"] for body in bodies if "receipt" in body]
        if any(not self._ids.knows(told["id"]) for told in receipts):
            await session.settled(_ANSWERS_DUE)
        for told in receipts:
            told["ids"] = self._ids.named(told["id"])
        items: list[Item] = []
        for body in bodies:
            request = RawRequest(
                msgspec.json.encode(body),
                method=METHOD,
                headers={"content-type": "application/json"},
                client=self._settings.host,
            )
            items.append(Item(request, self.route(request)))
        await listening.deliver(items, self._ids.learned())

    @asynccontextmanager
    async def _bound(self, command: Command) -> AsyncIterator[Session]:
        """Connect and bind for the length of the block.

        Raises:
            Unauthorised: we are not let in. Temporary: not just now.
        """
        settings = self._settings
        where = f"{settings.host}:{settings.port}"
        try:
            async with asyncio.timeout(settings.answer_within):
                reader, writer = await asyncio.open_connection(
                    settings.host, settings.port, ssl=ssl.create_default_context() if settings.tls else None
                )
        except ssl.SSLCertVerificationError as error:
            raise Temporary(f"The certificate of {where} is not right: {error.verify_message}", code="tls") from error
        except (OSError, TimeoutError) as error:
            why = str(error) or "no answer in time"
            raise Temporary(f"{where} cannot be reached: {why}", code="unreachable") from error
        session = Session(
            reader,
            writer,
            window=settings.window,
            answer_within=settings.answer_within,
            enquire_every=settings.enquire_link,
        )
        try:
            try:
                await session.bind(
                    command, settings.system_id, settings.password.get_secret_value(), settings.system_type
                )
            except Refused as error:
                raise smpp_errors.of_bind(error.status, where) from error
            except (Lost, Unanswered, OSError) as error:
                raise Temporary(f"{where} did not answer our bind: {error}", code="unreachable") from error
            yield session
        finally:
            await session.close()

    async def check(self, tools: Tools) -> Checked:
        """Ask for a sign of life over the line, or bind for a moment where this process does not hold it.

        Raises:
            Unauthorised: we are not let in. Temporary: not just now.
        """
        where = f"{self._settings.host}:{self._settings.port}"
        if (session := self._session) is not None:
            try:
                await session.request(Command.ENQUIRE_LINK)
            except Refused:
                pass
            except (Lost, Unanswered) as error:
                raise Temporary(f"{where} gives no sign of life: {error}") from error
            return Checked(f"The line to {where} stands")
        try:
            # as a transmitter: nothing is delivered to it that nobody would take
            async with self._bound(Command.BIND_TRANSMITTER):
                return Checked(f"{where} knows {self._settings.system_id} and its password")
        except Temporary as error:
            if error.code == smpp_errors.ALREADY_BOUND:
                return Checked(f"{where} knows {self._settings.system_id}, whose line stands already")
            raise

    # --- sending ---

    async def send(self, part: Part, tools: Tools) -> Receipt:
        """Send a text, in as many messages as it needs.

        Raises:
            Temporary: the line is down, or the provider cannot just now. Throttled: we are too fast.
            Uncertain: it may have gone, or some of its messages did. RecipientGone, Undeliverable: it never will.
        """
        session = self._session
        if session is None:
            raise Temporary(f"There is no line to {self._settings.host} just now", 2.0, code="unbound")
        segments = self._segments(sms.words(part))
        ids: list[str] = []
        for number, (data, data_coding) in enumerate(segments, 1):
            try:
                if number == 1:
                    given = await self._submit(session, part, data, data_coding, len(segments) > 1, tools)
                else:
                    given = await self._follow(session, part, data, data_coding, tools)
            except ChannelError as error:
                if number == 1:
                    raise
                went = f"{number - 1} of {len(segments)} parts went, then: {error}"
                raise Uncertain(went, code=error.code) from error
            ids.append(given)
        return Receipt(tuple(given for given in ids if given))

    async def _follow(self, session: Session, part: Part, data: bytes, data_coding: int, tools: Tools) -> str:
        """Send a further part of a message whose first one went: it is worth some patience.

        Raises:
            As `send`.
        """
        for pause in _PATIENCE:
            try:
                return await self._submit(session, part, data, data_coding, True, tools)
            except Temporary:
                await asyncio.sleep(pause)
        return await self._submit(session, part, data, data_coding, True, tools)

    def _segments(self, text: str) -> list[tuple[bytes, int]]:
        """Return what goes into each message, and its data coding."""
        pieces, data_coding = smpp_units.pieces(text, self._settings.encoding)
        if len(pieces) == 1:
            return [(pieces[0], data_coding)]
        self._reference = (self._reference + 1) % 256
        headers = (smpp_units.joining(self._reference, number, len(pieces)) for number in range(1, len(pieces) + 1))
        return [(header + piece, data_coding) for header, piece in zip(headers, pieces, strict=True)]

    async def _submit(
        self, session: Session, part: Part, data: bytes, data_coding: int, has_header: bool, tools: Tools
    ) -> str:
        """Send one message and return its id.

        Raises:
            As `send`.
        """
        body = smpp_units.submit(self._settings.sender, part.peer, data, data_coding, has_header=has_header)
        where = f"smpp://{self._settings.host}:{self._settings.port}"
        shown = f"to {part.peer}, data coding {data_coding}: {data.hex()}"
        try:
            given = await session.submit(body)
        except Refused as error:
            tools.http.note("SUBMIT_SM", where, shown, status=error.status, answered=smpp_errors.words(error.status))
            raise smpp_errors.of_submit(error.status) from error
        except Unanswered as error:
            tools.http.note("SUBMIT_SM", where, shown, status=None, answered="")
            raise Uncertain(f"The provider gave {error}, so the message may have gone", code="unanswered") from error
        except Lost as error:
            if error.was_written:
                raise Uncertain(f"The line broke before the answer came ({error})", code="broken") from error
            raise Temporary(f"The line is down ({error})", 2.0, code="unbound") from error
        tools.http.note("SUBMIT_SM", where, shown, status=0, answered=given)
        return self._ids.sent(given)
