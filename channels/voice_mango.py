"""Calls of a Mango Office PBX (VPBX).

Reaches   any phone, through a Mango Office PBX
Set up    the unique code and the key for signatures from the cabinet, Integrations → API connector; there, as the
          address of the external system, the hook's address. Mango adds what it tells: /events/call, /events/summary, …
Calls us  POST of a form (vpbx_api_key, sign, json); an empty one when the connection is tried in the cabinet
Checks    sign is the hex SHA-256 of code, json and key, over the json as it was sent. The end of the path is not signed
Repeats   events of a leg are counted (seq), the summary comes once for an entry. Whether Mango tries again is not known
Quirks    an entry is the whole call and has many calls, one for each phone, queue and menu. The summary is what holds;
          its talk_time is the moment of the answer and no length. Recordings are there about a minute after the call.
          Links to them have to be allowed in the cabinet; where they are not, the recording is asked for by a request
Sources   Mango's API as it is told in public code and notes; numbers of disconnect_reason and of results are known by
          their groups only, and what the legs of a callback look like is unconfirmed
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any, ClassVar, cast
from urllib.parse import quote

import msgspec
from pydantic import Field, SecretStr

from channels import shared_secret, voice, voice_forms, voice_mango_events
from channels.contract import Checked, Dial, Dialled, Fetched, Group, ParseContext, Routed, Tools
from channels.errors import ChannelError, Misconfigured, Temporary, Uncertain, Undeliverable
from channels.fields import Fields
from channels.http import Answer
from core.kernel.envelopes import Event
from webhooks.errors import BadSignature, Malformed, NotConfigured, Unsupported
from webhooks.request import RawRequest, Reply

API = "https://app.mango-office.ru"

_LINK_FOR = timedelta(minutes=10)
_RECORDING_DUE = 60.0  # seconds
_NAME = re.compile(r"(?:^|/)((?:events|result)/[\w/-]{1,60})$", re.ASCII)


class MangoVoice(voice.Consulted):
    """Hears of the calls of a Mango Office PBX, places calls and fetches their recordings."""

    kind: ClassVar[str] = "voice_mango"
    title: ClassVar[str] = "Telephony: Mango Office"
    group: ClassVar[Group] = "telephony"
    account = ""

    class Settings(voice.VoiceSettings):
        """What an administrator fills in."""

        api_key: str = Field(
            title="Unique code of your PBX",
            description="Integrations → API connector in Mango's cabinet (vpbx_api_key).",
            min_length=1,
        )
        api_salt: SecretStr = Field(
            title="Key for signatures", description="It stands beside the code (vpbx_api_salt)."
        )

    def __init__(self, settings: Settings) -> None:
        self._key = settings.api_key.strip()
        self._salt = settings.api_salt
        self._secret = settings.secret
        self._api = settings.base_url.strip().rstrip("/") or API
        self.rules = settings.rules

    # --- in ---

    def handshake(self, request: RawRequest) -> Reply | None:
        """Answer the empty request by which Mango's cabinet tries the address."""
        is_trial = request.method == "POST" and not request.body.strip() and not request.suffix and not request.query
        return voice.ok() if is_trial else None

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check code and signature.

        Raises:
            BadSignature, NotConfigured: it is not genuine, or we have no key to tell. Malformed: it is no form.
        """
        if self.check_question(request):
            return
        if not self._salt.get_secret_value():
            raise NotConfigured("This channel has no key for signatures yet, so nothing is accepted")
        said = voice_forms.exact(request)
        key = said.get("vpbx_api_key", b"").decode("utf-8", "surrogateescape")
        if not shared_secret.same(key, self._key):
            raise BadSignature("The request is of another PBX: its vpbx_api_key is not ours. Nothing was stored")
        voice.signed_hex(said.get("sign", b"").decode("latin-1"), self._sign(said.get("json", b"")))

    def route(self, request: RawRequest) -> Routed:
        """Tell requests by all they say; those of one call keep their order.

        Raises:
            Malformed: it is no form, or holds no JSON.
        """
        said, content = _said(request), voice_forms.exact(request)["json"]
        return Routed(f"{_name(request)}:{voice.digest(content)}", None, said.id("entry_id"))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read an event.

        Raises:
            Malformed: it is no form, holds no JSON, or names no call. Unsupported: it is no event of a call.
        """
        said, name = _said(request), _name(request)
        if name == "result/callback":
            return voice_mango_events.refused(said)
        if name.startswith("result/"):
            return []
        read = voice_mango_events.READERS.get(name)
        if read is None:
            raise Unsupported(f"{name or 'A request at the bare address'} tells of no call")
        if not said.id("entry_id"):
            raise Malformed(f"{name} has no entry_id")
        return read(said)

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say nothing; Mango reads the status alone."""
        return voice.ok()

    # --- out ---

    async def dial(self, dial: Dial, tools: Tools) -> Dialled:
        """Ask for a callback. Events of the call repeat our id as command_id; its own id only they tell.

        Raises:
            ChannelError: it was not done, or we cannot know.
        """
        asked: dict[str, Any] = {
            "command_id": dial.id,
            "from": {"extension": dial.extension},
            "to_number": dial.number.lstrip("+"),
        }
        if dial.line:
            asked["line_number"] = dial.line.lstrip("+")
        answer = await self._post("/vpbx/commands/callback", asked, tools)
        _check(answer)
        return Dialled()

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a recording by a link that we sign, or where links are not allowed by one that Mango gives.

        Raises:
            Temporary: it is not there yet, or not just now. Undeliverable: it is gone.
        """
        name = f"{voice.digest(reference)[:12]}.mp3"
        try:
            chunks, content_type, size = await tools.http.stream(self._link(reference, tools.now()))
            if content_type not in ("text/html", "application/json"):
                return Fetched(chunks, content_type, size, name)
            await _dropped(chunks)
        except Undeliverable as error:
            if error.code == "410":
                raise
        asked = {"recording_id": reference, "action": "download"}
        answer = await self._post("/vpbx/queries/recording/post", asked, tools, repeatable=True)
        if link := next((value for key, value in answer.headers.items() if key.lower() == "location"), ""):
            chunks, content_type, size = await tools.http.stream(link)
            return Fetched(chunks, content_type, size, name)
        content_type = next((value for key, value in answer.headers.items() if key.lower() == "content-type"), "")
        if answer.status == 200 and content_type.startswith("audio/"):
            return Fetched(_whole(answer.body), content_type.partition(";")[0], len(answer.body), name)
        if answer.status in (200, 202, 204, 404):
            raise Temporary("The recording is not there yet", _RECORDING_DUE, code=str(answer.status))
        raise answer.failure()

    async def check(self, tools: Tools) -> Checked:
        """Ask for the balance.

        Raises:
            ChannelError: the account cannot be used.
        """
        answer = await self._post("/vpbx/account/balance", {}, tools, repeatable=True)
        said = _check(answer)
        facts = {"balance": f"{said.text('balance')} {said.text('currency')}".strip()}
        return Checked("Mango Office knows the PBX", {name: value for name, value in facts.items() if value})

    def _link(self, recording: str, now: datetime) -> str:
        expires = str(int((now + _LINK_FOR).timestamp()))
        sign = self._sign((expires + recording).encode())
        return f"{self._api}/vpbx/queries/recording/link/{quote(recording, safe='')}/play/{self._key}/{expires}/{sign}"

    def _sign(self, content: bytes) -> str:
        return hashlib.sha256(self._key.encode() + content + self._salt.get_secret_value().encode()).hexdigest()

    async def _post(self, path: str, asked: Mapping[str, Any], tools: Tools, *, repeatable: bool = False) -> Answer:
        content = voice.compact(asked)
        form = {"vpbx_api_key": self._key, "sign": self._sign(content.encode()), "json": content}
        return await tools.http.call("POST", self._api + path, form=form, repeatable=repeatable)


def _check(answer: Answer) -> Fields:
    """Return what was answered, if it is a success.

    Raises:
        ChannelError: it is not. The groups of codes: 2xxx the account, 3xxx what was asked, 4xxx it cannot be done
        now, 5xxx Mango's own trouble.
    """
    try:
        said = Fields(answer.object())
    except Uncertain:
        if not answer.is_fine:
            raise answer.failure() from None
        raise
    code = said.whole("result")
    if answer.is_fine and code == voice_mango_events.FINE:
        return said
    text = f"Mango Office says: {said.text('message')[:200] or 'nothing more'} ({code or answer.status})"
    if not answer.is_fine:
        raise answer.failure(text)
    if code is None:
        raise Uncertain(f"Mango Office's answer makes no sense: {answer.text[:200]!r}")
    raise _error(code, text)


def _error(code: int, text: str) -> ChannelError:
    if 2000 <= code < 3000:
        return Misconfigured(f"{text}. The account is restricted: see its balance and limits", code=str(code))
    if code >= 5000:
        return Temporary(text, code=str(code))
    return Undeliverable(text, code=str(code))


async def _dropped(chunks: AsyncIterator[bytes]) -> None:
    """Close what was opened in vain; an iterator that was not begun would keep its connection."""
    async with aclosing(cast("AsyncGenerator[bytes]", chunks)) as pieces:
        async for _ in pieces:
            break


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _name(request: RawRequest) -> str:
    """Return which event a path names; "" if none."""
    found = _NAME.search(request.suffix.strip("/"))
    return found[1] if found else ""


def _said(request: RawRequest) -> Fields:
    """Return the JSON of a request.

    Raises:
        Malformed: there is none.
    """
    try:
        content = voice_forms.exact(request).get("json", b"").decode("utf-8", "replace")
        said = Fields(msgspec.json.decode(content))
    except (msgspec.DecodeError, RecursionError) as error:
        raise Malformed(f"The field json holds none: {str(error)[:200]}") from error
    if not isinstance(said.value, dict):
        raise Malformed("The field json holds no object")
    return said
