"""What kinds of channel ask for, and what somebody typed."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Literal

import pytest
from pydantic import Field, SecretStr

from channels import registry
from channels.contract import ChannelSettings
from hub import channel_forms
from hub.channel_forms import FormField

KINDS = sorted(registry.KINDS)


class Made(ChannelSettings):
    """The settings of a made-up kind."""

    motto: str = Field("", title="Motto", max_length=2000)
    mode: Literal["webhook", "polling"] = "webhook"
    port: int = Field(2775, title="Port", ge=1, le=65535)
    sites: tuple[str, ...] = ()
    tls: bool = False
    verify_token: SecretStr = Field(SecretStr(""), title="Verify token", json_schema_extra={"made": True})
    api_key: SecretStr = Field(title="API key", description="From the portal.")
    window: float = Field(10, json_schema_extra={"advanced": True})


def _fields() -> dict[str, FormField]:
    return {field.name: field for field in channel_forms.fields_of(Made, leave_out=("base_url", "secret"))}


def test_fields_are_drawn_from_the_class():
    fields = _fields()
    assert {name: field.kind for name, field in fields.items()} == {
        "motto": "text",
        "mode": "choice",
        "port": "number",
        "sites": "lines",
        "tls": "box",
        "api_key": "secret",
        "verify_token": "secret",
        "window": "number",
    }
    assert list(fields)[-2:] == ["verify_token", "window"]
    assert [name for name, field in fields.items() if field.is_required] == ["api_key"]
    assert fields["mode"].choices == ("webhook", "polling")
    assert (fields["api_key"].title, fields["api_key"].description) == ("API key", "From the portal.")
    assert (fields["window"].title, fields["window"].is_advanced) == ("Window", True)
    assert (fields["motto"].is_long, fields["mode"].is_long) == (True, False)
    assert (fields["port"].default, fields["sites"].default, fields["verify_token"].default) == (2775, [], None)


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("sites", "https://a.example, https://b.example,", ["https://a.example", "https://b.example"]),
        ("sites", "X: a, b\n\n Y: c ", ["X: a, b", "Y: c"]),
        ("sites", "", []),
        ("port", " 2 775 ", "2775"),
        ("mode", " polling ", "polling"),
        ("motto", " first\nsecond ", " first\nsecond "),
        ("api_key", " spaces count ", " spaces count "),
    ],
)
def test_what_was_typed_becomes_a_value(name, typed, value):
    assert channel_forms.from_text(_fields()[name], typed) == value


def test_everything_that_is_wrong_is_told_by_its_field():
    found = channel_forms.wrongs(Made, {"mode": "pigeon", "port": "70000", "window": "soon", "motto": "m" * 2001})
    assert {name: sentence for name, (sentence, _) in found.items()} == {
        "api_key": "This is needed",
        "mode": "Choose one of the list",
        "port": "Write a number up to %(le)s",
        "window": "Write a number",
        "motto": "That is too long",
    }
    assert found["port"][1]["le"] == 65535
    assert channel_forms.wrongs(Made, {"api_key": "k"}) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_tells_what_its_settings_are_called(kind):
    form = channel_forms.form_of(kind)
    assert form.title and form.group in channel_forms.GROUPS
    assert [field.name for field in form.fields if not field.title] == []
    assert [field.name for field in form.fields if field.is_made and field.kind != "secret"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_setting_that_every_kind_has_is_offered_where_it_is_of_use(kind):
    module = registry.KINDS[kind].partition(":")[0]
    source = inspect.getsource(import_module(module))
    if module.startswith("channels.telegram"):
        source += inspect.getsource(import_module("channels.telegram.channel"))
    if "settings.secret\n" in source or "settings.secret." in source:
        uses = channel_forms.form_of(kind).field("secret") is not None
        assert uses or kind == "sms_http"  # which has a token, and takes the secret in its place


@pytest.mark.parametrize(
    ("kind", "shown", "address"),
    [
        ("forms_tilda", {"token": "a/b"}, "https://hub/hooks/k?token=a%2Fb"),
        ("forms_webflow", {"secret": "s"}, "https://hub/hooks/k?token=s"),
        ("sms_http", {"token": "t"}, "https://hub/hooks/k?token=t"),
        ("forms_typeform", {"secret": "s"}, None),
        ("telegram", {"secret_token": "s"}, None),
        ("forms_tilda", {}, None),
    ],
)
def test_a_token_stands_in_the_address_only_where_the_kind_looks_for_it_there(kind, shown, address):
    assert channel_forms.hook_with_token(channel_forms.form_of(kind), "https://hub/hooks/k", shown) == address


def test_a_secret_somebody_gave_is_not_told_back():
    form = channel_forms.form_of("forms_meta")
    kept = {"verify_token": "v", "app_secret": "a", "access_token": "t", "page_id": "1"}
    assert channel_forms.made_at_random(form, {}, kept) == {"verify_token": "v"}
    assert channel_forms.made_at_random(form, {"verify_token": "v"}, kept) == {}
