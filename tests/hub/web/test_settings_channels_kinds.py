"""Settings pages: every kind of channel, its form, its secrets, its test, and its removal."""

from __future__ import annotations

import html
import inspect
import io
import re
from importlib import import_module

import pytest
from aiohttp import web
from sqlalchemy import select

from channels import registry
from core import connections
from core.connections import Connection, Health
from core.kernel.jobs import Job
from core.kernel.secrets import Vault
from core.staff.audit import AuditEntry
from core.staff.users import Role
from core.talk import templates
from core.talk.outbox import ProviderExchange
from hub import channel_forms, channel_upkeep, i18n
from hub.connections import create
from hub.web import field_texts
from hub.web.channel_guides import GUIDES
from hub.web.settings_channel_secrets import is_public
from tests.channels.provider import playing
from tests.conftest import VERA

KINDS = sorted(registry.KINDS)
BOT = "123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc"


@pytest.fixture
async def owner(take_on, browser_of):
    return await browser_of(await take_on("Olga", Role.OWNER, password=True))


@pytest.fixture
def add(hub):
    async def connect(kind: str, title: str = "Ours", **settings) -> Connection:
        async with hub.database.transaction() as session:
            return await create(session, hub.vault, kind=kind, title=title, settings=settings, at=hub.clock.now())

    return connect


async def _secrets_of(hub, connection_id: int) -> dict[str, str]:
    async with hub.database.reading() as session:
        return channel_upkeep.opened(hub.vault, await connections.get(session, connection_id))


async def test_every_kind_is_offered_by_its_group_and_found_by_words(owner):
    page = (await owner.get("/settings/channels/new")).text
    assert {f'href="/settings/channels/new/{kind}"' for kind in KINDS} <= set(re.findall(r'href="[^"]+"', page))
    places = [page.index(f">{group}<") for group in ("Website and forms", "Messengers", "E-mail", "SMS")]
    assert places == sorted(places)
    found = (await owner.get("/settings/channels/new?q=whatsapp+meta")).text
    assert "new/whatsapp" in found and "new/telegram" not in found
    assert "No channel is called so" in (await owner.get("/settings/channels/new?q=pigeon")).text


async def test_the_form_of_every_kind_asks_for_its_settings_and_says_what_is_missing(owner, all_of):
    for kind in KINDS:
        page = await owner.get(f"/settings/channels/new/{kind}")
        assert page.status == 200, kind
        settings = registry.settings_class(kind).model_fields
        needed = [name for name, field in settings.items() if field.is_required() and not channel_is_made(field)]
        for name in needed:
            assert f'name="{name}"' in page.text, kind
        answer = await owner.post_plainly("/settings/channels", kind=kind, title="")
        assert answer.status == 422, kind
        for name in ("title", *needed):
            assert f'id="{name}-error"' in answer.text, kind
    assert await all_of(Connection) == []


def channel_is_made(field) -> bool:
    return bool((field.json_schema_extra or {}).get("made"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_guide(kind):
    guide = GUIDES[kind]
    assert guide.needs and guide.steps


async def test_what_was_made_at_random_is_shown_once_with_the_address_to_paste(owner, hub, all_of):
    answer = await owner.post_plainly("/settings/channels", kind="forms_tilda", title="Shop")
    assert answer.status == 200
    (connection,) = await all_of(Connection)
    token = (await _secrets_of(hub, connection.id))["token"]
    assert len(token) >= 32
    assert f"/hooks/{connection.key}?token={token}" in answer.text
    path = f"/settings/channels/{connection.id}"
    for page in (path, f"{path}/edit", "/settings/channels", "/settings/audit"):
        assert token not in (await owner.get(page)).text

    renewed = await owner.post_plainly(f"{path}/secrets/token")
    fresh = (await _secrets_of(hub, connection.id))["token"]
    assert fresh != token and f"?token={fresh}" in renewed.text and token not in renewed.text
    await hub.switchboard.refresh()
    for sent, status in ((token, 401), (fresh, 200)):
        answered = await owner.client.post(f"/hooks/{connection.key}?token={sent}", data=VERA)
        assert answered.status == status
    assert [entry.action for entry in await all_of(AuditEntry)][-1] == "connection.changed"
    for name in ("client_secret", "title", "x"):
        assert (await owner.post_plainly(f"{path}/secrets/{name}")).status == 404


async def test_a_homeserver_gets_its_registration_once(owner, hub, all_of):
    made = await owner.post_plainly(
        "/settings/channels", kind="matrix", title="Matrix", homeserver="https://matrix.example.com"
    )
    (connection,) = await all_of(Connection)
    secrets = await _secrets_of(hub, connection.id)
    shown = html.unescape(made.text)
    assert f'as_token: "{secrets["as_token"]}"' in shown and f'hs_token: "{secrets["hs_token"]}"' in shown
    assert f"/hooks/{connection.key}" in shown
    assert secrets["as_token"] not in (await owner.get(f"/settings/channels/{connection.id}")).text


async def test_a_secret_is_kept_if_left_empty_replaced_if_typed_and_forgotten_if_asked(owner, hub, add):
    connection = await add("sms_vonage", api_key="k", api_secret="hunter2", signature_secret="hunter3", sender="Shop")
    path = f"/settings/channels/{connection.id}"
    form = (await owner.get(f"{path}/edit")).text
    assert "hunter" not in form and "set; leave empty to keep it" in form
    typed = {"title": "Ours", "api_key": "k2", "sender": "Shop", "signature_method": "sha256"}
    assert (await owner.post_plainly(path, **typed, api_secret="", signature_secret="")).status == 303
    assert (await _secrets_of(hub, connection.id))["api_secret"] == "hunter2"
    cleared = {"clear_signature_secret": "yes", "clear_api_secret": "yes"}
    assert (await owner.post_plainly(path, **typed, **cleared, api_secret="hunter4")).status == 303
    kept = await _secrets_of(hub, connection.id)
    assert (kept["api_secret"], kept["signature_secret"]) == ("hunter4", "")
    refused = await owner.post_plainly(path, **(typed | {"sender": ""}), api_secret="hunter5")
    assert refused.status == 422 and 'id="sender-error"' in refused.text and "hunter" not in refused.text
    assert (await _secrets_of(hub, connection.id))["api_secret"] == "hunter4"


async def test_settings_of_every_sort_are_kept_as_typed(owner, all_of):
    typed = {
        "kind": "sms_http",
        "title": "Kannel",
        "send_url": " http://127.0.0.1:13013/cgi-bin/sendsms ",
        "headers": "X-Key: a, b\r\n\r\nX-From: hub",
        "method": "POST",
        "dlr_mask": "7",
        "body": "to={to}\r\ntext={text}",
        "token": "mine",
        "becomes": "lead",
        "time_zone": "Europe/Tallinn",
    }
    assert (await owner.post_plainly("/settings/channels", **typed)).status == 303
    (connection,) = await all_of(Connection)
    kept = connection.settings
    assert kept["headers"] == ["X-Key: a, b", "X-From: hub"]
    assert (kept["send_url"], kept["method"], kept["dlr_mask"]) == (typed["send_url"].strip(), "POST", 7)
    assert kept["body"] == "to={to}\ntext={text}"
    assert (connection.make_lead, connection.make_deal, connection.time_zone) == (True, False, "Europe/Tallinn")
    form = (await owner.get(f"/settings/channels/{connection.id}/edit")).text
    assert "X-Key: a, b\nX-From: hub</textarea>" in form and '<option value="lead" selected>' in form

    wrong = await owner.post_plainly(
        "/settings/channels", **(typed | {"dlr_mask": "99", "method": "PUT", "title": "Other"})
    )
    assert wrong.status == 422
    assert "up to 63" in wrong.text and 'id="method-error"' in wrong.text
    assert '<details class="fold full" open>' in wrong.text, "what is wrong must not lie in a fold"


async def test_a_setting_that_is_called_like_a_common_one_has_an_input_of_its_own(owner, all_of):
    form = (await owner.get("/settings/channels/new/widget")).text
    assert 'name="title"' in form and 'name="own_title"' in form
    typed = {"kind": "widget", "title": "Chat", "position": "left"}
    wrong = await owner.post_plainly("/settings/channels", **typed, own_title="t" * 51)
    assert wrong.status == 422 and 'id="own_title-error"' in wrong.text and 'id="title-error"' not in wrong.text
    made = await owner.post_plainly("/settings/channels", **typed, own_title="Ask us", shows_names="yes")
    assert made.status == 303
    (connection,) = await all_of(Connection)
    kept = connection.settings
    assert (connection.title, kept["title"], kept["position"], kept["shows_names"]) == ("Chat", "Ask us", "left", True)
    page = (await owner.get(f"/settings/channels/{connection.id}")).text
    assert html.escape(f"/w/{connection.key}.js") in page
    assert 'name="shows_names" value="yes" checked' in (await owner.get(made.headers["Location"] + "/edit")).text


async def test_secrets_sealed_under_another_key_are_entered_again(owner, hub, add):
    connection = await add("slack", signing_secret="s1", bot_token="xoxb-1")
    path = f"/settings/channels/{connection.id}"
    async with hub.database.transaction() as session:
        row = await connections.get(session, connection.id)
        row.sealed = Vault(b"k" * 32).seal({"signing_secret": "s1"}, belongs_to=f"connection:{row.key}")
    await hub.switchboard.refresh()
    assert "cannot be opened" in (await owner.get(path)).text
    assert (await owner.post_plainly(f"{path}/resumption")).status == 422
    missing = await owner.post_plainly(path, title="Ours", bot_token="xoxb-2")
    assert missing.status == 422 and 'id="signing_secret-error"' in missing.text
    assert (await owner.post_plainly(path, title="Ours", bot_token="xoxb-2", signing_secret="s2")).status == 303
    assert await _secrets_of(hub, connection.id) == {"bot_token": "xoxb-2", "secret": "", "signing_secret": "s2"}
    assert (await owner.post_plainly(f"{path}/resumption")).status == 303


async def test_the_test_asks_the_provider_and_its_trouble_stays_until_it_is_mended(owner, hub, add):
    async with playing() as provider:
        connection = await add("slack", signing_secret="s", bot_token="xoxb-1", base_url=f"{provider.url}/api")
        path = f"/settings/channels/{connection.id}"
        provider.answers("POST", "/api/auth.test", json={"ok": True, "team": "Glass House", "user": "hub"})
        well = await owner.post(f"{path}/test")
        assert 'class="notice good"' in well.text and "Glass House" in well.text
        assert "<dt>Account</dt><dd>Glass House" in (await owner.get(path)).text

        provider.answers("POST", "/api/auth.test", json={"ok": False, "error": "invalid_auth"})
        ill = await owner.post_plainly(f"{path}/test")
        assert ill.status == 200 and 'class="notice bad"' in ill.text
        page = (await owner.get(path)).text
        assert "Needs signing in again" in page and "Sign in again" in page
        assert "Needs signing in again" in (await owner.get("/settings/channels")).text

        saved = await owner.post_plainly(path, title="Ours", bot_token="xoxb-2", base_url=f"{provider.url}/api")
        assert saved.status == 303
    async with hub.database.reading() as session:
        mended = await connections.get(session, connection.id)
        assert (mended.health, mended.trouble) == (Health.ACTIVE, None)
        jobs = list(await session.scalars(select(Job.unique_key).where(Job.kind == "connection.setup")))
    assert len(jobs) == 2, "one for adding it and one for changing it"


async def test_a_provider_that_is_asked_holds_no_transaction(owner, hub, add):
    held = []

    def say_who(_):
        held.append(hub.database.engine.pool.checkedout())
        return web.json_response({"ok": True, "team": "Glass House", "user": "hub"})

    async with playing() as provider:
        connection = await add("slack", signing_secret="s", bot_token="xoxb-1", base_url=f"{provider.url}/api")
        provider.does("POST", "/api/auth.test", say_who)
        assert (await owner.post(f"/settings/channels/{connection.id}/test")).status == 200
    assert held == [0]


async def test_the_page_shows_what_was_said_to_the_provider_and_the_approved_templates(owner, hub, add):
    connection = await add("whatsapp", phone_number_id="1", app_secret="a", access_token="t", business_account_id="2")
    now = hub.clock.now()
    async with hub.database.transaction() as session:
        offer = {"name": "offer", "language": "en", "body": "Hello <{{1}}>", "category": "MARKETING"}
        await templates.replace(session, connection.id, [offer | {"is_usable": True}], at=now)
        session.add(
            ProviderExchange(
                connection_id=connection.id,
                at=now,
                method="POST",
                url="https://graph.example/1/messages",
                sent='{"to": "<script>"}',
                status=400,
                answered='{"error": "•••"}',
                problem="",
                took=120,
            )
        )
    page = (await owner.get(f"/settings/channels/{connection.id}")).text
    assert "offer" in page and "Hello &lt;{{1}}&gt;" in page and "Approved" in page
    assert "https://graph.example/1/messages" in page and "<script>&#34;" not in page and 'class="chip bad">400' in page


@pytest.mark.parametrize(
    ("address", "is_reachable"),
    [
        ("https://hub.example.com/hooks/k", True),
        ("http://hub.example.com/hooks/k", False),
        ("https://localhost/hooks/k", False),
        ("https://192.168.1.7/hooks/k", False),
        ("https://[::1]/hooks/k", False),
        ("https://8.8.8.8/hooks/k", True),
    ],
)
def test_an_address_providers_cannot_reach_is_told_apart(address, is_reachable):
    assert is_public(address) is is_reachable


async def test_only_a_channel_that_was_never_used_is_removed(owner, hub, add, webform, drain, all_of):
    await owner.client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    refused = await owner.post_plainly(f"/settings/channels/{webform.id}/removal")
    assert refused.status == 409 and "Pause it instead" in refused.text
    unused = await add("forms_jotform")
    gone = await owner.post_plainly(f"/settings/channels/{unused.id}/removal")
    assert (gone.status, gone.headers["Location"]) == (303, "/settings/channels")
    assert [connection.id for connection in await all_of(Connection)] == [webform.id]
    assert (await all_of(AuditEntry))[-1].action == "connection.removed"


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("telegram", {"token": BOT, "mode": "polling"}),
        ("email", {"address": "a@example.com", "imap_host": "i.example", "smtp_host": "s.example", "password": "p"}),
    ],
)
async def test_no_address_is_offered_where_nobody_calls(owner, add, kind, own):
    connection = await add(kind, **own)
    page = (await owner.get(f"/settings/channels/{connection.id}")).text
    assert f"/hooks/{connection.key}" not in page


async def test_no_page_of_a_channel_is_for_those_who_may_not_touch_the_settings(add, take_on, browser_of):
    connection = await add("forms_tilda")
    path = f"/settings/channels/{connection.id}"
    anna = await browser_of(await take_on("Anna", password=True))
    for address in (path, f"{path}/edit", "/settings/channels/new/telegram"):
        assert (await anna.get(address)).status == 403
    for action in ("test", "removal", "pause", "resumption", "secrets/token"):
        assert (await anna.post(f"{path}/{action}")).status == 403
    assert (await anna.post(path, csrf="", title="X")).status == 403


NAMES = {
    "Account SID",
    "Auth ID",
    "Auth token",
    "Base URL",
    "Channel access token",
    "Channel secret",
    "Client secret",
    "Messaging profile",
    "Phone number ID",
    "Signing secret",
    "System ID",
    "System type",
    "TLS",
    "Verify token",
}
"""What the providers' own pages call so in every language."""


@pytest.mark.parametrize("language", [language for language in i18n.LANGUAGES if language != "en"])
def test_words_of_settings_and_guides_are_translated(language):
    catalogue = i18n.catalogue(language)
    texts = {text for guide in GUIDES.values() for text in (guide.needs, *guide.steps)}
    for form in channel_forms.all_forms():
        texts |= {text for field in form.fields for text in (field.title, field.description) if text}
    assert [text for text in sorted(texts - NAMES) if catalogue.gettext(text) == text] == []


def test_the_words_of_settings_are_found_for_the_catalogues():
    source = inspect.getsource(import_module("channels.whatsapp")).encode()
    found = [text for _, _, text, _ in field_texts.extract(io.BytesIO(source), {"_": None}, (), {})]
    assert {"WhatsApp", "Phone number ID", "Needed only to list the approved templates."} <= set(found)
    joined = b'class Settings(X):\n    a: str = Field("", title="A " "b", description=c)\n'
    assert [text for _, _, text, _ in field_texts.extract(io.BytesIO(joined), {}, (), {})] == ["A b"]
    inherits = b'class SlackDesk(InWorkspace):\n    title: ClassVar[str] = "Desk: Slack"\n'
    assert [text for _, _, text, _ in field_texts.extract(io.BytesIO(inherits), {}, (), {})] == ["Desk: Slack"]
