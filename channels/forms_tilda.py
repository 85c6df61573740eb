"""Forms and shops built with Tilda.

Reaches   nobody: it only receives
Set up    in Tilda: Site settings → Forms → Webhook, the hook's address with `?token=…` at its end; tick "Send cookies"
          and "Send UTM tags" to learn where people come from. Connect the webhook to every form, publish the pages
Calls us  POST /hooks/<connection>: urlencoded, under the forms' own variable names (Name, Phone, Email, Textarea, …),
          with `tranid`, `formid` and, from a shop, `payment`. It wants an answer within 5 seconds, otherwise tries
          twice more, a minute apart
Checks    the token: in the address, or as Tilda's "API key", sent as a header or a field of the name `token`
Repeats   the same `tranid`. Once an order is paid for, Tilda calls again with the same one: that is news, so what is
          said of the payment belongs to the key, and it becomes a further message
Quirks    adding the webhook sends `test=test` and wants to hear `ok`. COOKIES is all cookies in one text; TILDAUTM
          among them holds the marks of the first visit. A repeated name comes joined by `; `. Uploads are addresses
Source    Tilda's help, "Receiving data from forms to your own script (webhook)"
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import ClassVar
from urllib.parse import unquote

from pydantic import Field, SecretStr

from channels import form_answers, form_fields, form_files, shared_secret
from channels.contract import ChannelSettings, Fetched, Group, ParseContext, Routed, Tools
from channels.form_fields import Answer, Meant
from core.kernel.envelopes import Event
from webhooks import charsets, forms, multiparts
from webhooks.errors import BadSignature, Malformed
from webhooks.forms import FormData
from webhooks.request import RawRequest, Reply

_TOKEN = "token"
_LONGEST_COOKIES = 16_384
_PAGE = {"tildaspec-referer": "landing_page", "tildaspec-lang": "language"}
_WORTH_KEEPING = frozenset({"_ym_uid", "roistat_visit"})


class TildaForms:
    """Receives forms and orders of sites built with Tilda."""

    kind: ClassVar[str] = "forms_tilda"
    title: ClassVar[str] = "Tilda"
    group: ClassVar[Group] = "form"
    account = ""

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        token: SecretStr = Field(
            SecretStr(""),
            title="Token",
            description="At the end of the webhook's address (`?token=…`), or Tilda's API key under the name `token`.",
            json_schema_extra={"made": True},
        )

    def __init__(self, settings: Settings) -> None:
        self._token = settings.token

    def handshake(self, request: RawRequest) -> Reply | None:
        """Answer the test that Tilda makes when the webhook is added.

        Raises:
            BadSignature, NotConfigured: it does not know our token.
        """
        try:
            form = _decoded(request)
        except Malformed:
            return None
        if form.first("test") != "test" or form.first("tranid"):
            return None
        self._check(request, form)
        return Reply(b"ok", content_type="text/plain")

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check the token and that the body can be read.

        Raises:
            BadSignature, NotConfigured: the token is wrong, or there is none to compare with. Malformed: no form.
        """
        try:
            form = _decoded(request)
        except Malformed:
            shared_secret.check(request, self._token, header=_TOKEN)  # strangers learn nothing of the body
            raise
        self._check(request, form)

    def route(self, request: RawRequest) -> Routed:
        """Tell what makes two calls the same: Tilda's id of the lead, and what was said of its payment.

        Raises:
            Malformed: it cannot be read.
        """
        form = _decoded(request)
        return form_answers.routed(self._meant(form), _submission(form), form.first("formid"))

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read the form, or what became of its payment.

        Raises:
            Malformed: it cannot be read. Unsupported: a program filled it in.
        """
        form = _decoded(request)
        meant = self._meant(form)
        return [
            form_answers.incoming(
                meant,
                context.default_country,
                external_id=form_answers.short(_submission(form)),
                language=meant.first("language")[:20],
                attachments=(
                    *form_answers.enclosed(form),
                    *form_files.linked(value for _, value in meant.others),
                ),
                page=request.headers.get("referer", ""),
            )
        ]

    def read_part(self, request: RawRequest, part: int) -> bytes | None:
        """Return a file of the form; None if there is no such part."""
        return multiparts.read_part(request.body, request.headers.get("content-type", ""), part)

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file that was uploaded with the form.

        Raises:
            Temporary, Undeliverable: as `form_files.fetch`.
        """
        return await form_files.fetch(reference, tools)

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say `ok`."""
        return Reply(b"ok", content_type="text/plain")

    def _check(self, request: RawRequest, form: FormData) -> None:
        try:
            shared_secret.check(request, self._token, header=_TOKEN)
        except BadSignature:
            if not any(self._is_token(name, value) for name, value in form.fields):
                raise

    def _is_token(self, name: str, value: str) -> bool:
        return name.lower() == _TOKEN and shared_secret.same(value, self._token.get_secret_value())

    def _meant(self, form: FormData) -> Meant:
        """Sort the answers, with the marks that cookies hold after those of the form itself."""
        answers: list[Answer] = []
        told: list[tuple[str, str]] = []
        for name, value in form.fields:
            if name == "tranid" or self._is_token(name, value):
                continue
            if name.upper() == "COOKIES":
                told += _marks(value)
            elif name.startswith("tildaspec-"):
                if name in _PAGE:
                    answers.append(Answer(_PAGE[name], name, value))
            elif name == "payment":
                answers += [Answer(deep, deep, said) for deep, said in _payment(value)]
            else:
                answers.append(Answer(name, name, value))
        said_already = {form_fields.meaning(answer.name) for answer in answers if answer.value.strip()} - {""}
        answers += [Answer(n, n, v) for n, v in told if form_fields.meaning(n) not in said_already]
        return form_fields.sort(answers)


def _decoded(request: RawRequest) -> FormData:
    return forms.decode(request.body, request.headers.get("content-type", ""))


def _submission(form: FormData) -> str:
    """Return Tilda's id of the lead, and with it what tells one word about its payment from another."""
    lead = form.first("tranid")
    paid = sorted(pair for pair in form.fields if pair[0] == "payment" or pair[0].startswith("payment["))
    return f"{lead}:{form_answers.digest(repr(paid))}" if lead and paid else lead


def _payment(value: str) -> list[tuple[str, str]]:
    """Spread a payment that came as JSON over the names it has when it comes as fields."""
    if value.lstrip().startswith("{"):
        with suppress(Malformed):
            return [
                (f"payment[{name.replace('[', '][', 1) if '[' in name else name + ']'}", said)
                for name, said in forms.decode(value.encode(), "application/json").fields
            ]
    return [("payment", value)]


def _marks(cookies: str) -> list[tuple[str, str]]:
    """Read where the visitor came from out of all their cookies."""
    found: list[tuple[str, str]] = []
    for cookie in cookies[:_LONGEST_COOKIES].split(";"):
        name, _, value = cookie.strip().partition("=")
        if name == "TILDAUTM":
            for mark in unquote(value, errors="replace").split("|||"):
                key, _, said = mark.partition("=")
                if said:
                    found.append((charsets.clean(key.strip()), _plain(said)))
        elif value and (name in _WORTH_KEEPING or name == "_ga"):
            found.append((name, _plain(value)))
    return found


def _plain(escaped: str) -> str:
    return charsets.clean(unquote(escaped, errors="replace")).strip()
