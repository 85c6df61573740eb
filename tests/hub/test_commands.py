"""The command line: what it takes, what it prints, and how it fails."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
import sys

import pytest

from channels import registry
from core.kernel.errors import HubError
from core.staff.users import Role
from hub import cli
from hub.commands import channel_settings
from tests.channels.provider import playing
from tests.hub.command_line import Switchyard

ANNA = ("user", "add", "anna@example.com", "--name", "Anna", "--role", "manager")


async def test_help_names_every_command(switchyard):
    ended = switchyard("--help")
    assert ended.code == 0
    for name in ("serve", "migrate", "user", "token", "connection", "delivery", "demo", "doctor", "backup", "restore"):
        assert f"\n    {name} " in ended.out


def test_help_waits_for_no_heavy_library():
    """Help comes at once because nothing slow is loaded for it; that holds on a slow machine too."""
    parsed = (
        "import sys; from hub import cli; cli.make_parser().format_help();"
        "print(*sorted({'aiohttp', 'sqlalchemy', 'asyncpg', 'aiogram', 'pydantic', 'jinja2'} & sys.modules.keys()))"
    )
    ended = subprocess.run([sys.executable, "-c", parsed], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []


def _every_command(parser, path=()):
    yield path
    for action in parser._subparsers._group_actions if parser._subparsers else ():
        for name, child in action.choices.items():
            yield from _every_command(child, (*path, name))


@pytest.mark.parametrize("path", list(_every_command(cli.make_parser())), ids=" ".join)
def test_every_command_has_help(path, capsys):
    with pytest.raises(SystemExit) as left:
        cli.make_parser().parse_args([*path, "--help"])
    assert left.value.code == 0
    assert f"usage: {' '.join(('switchyard', *path))}" in capsys.readouterr().out


@pytest.mark.parametrize("path", [p for p in _every_command(cli.make_parser()) if len(p) > 1], ids=" ".join)
def test_every_subcommand_has_a_function(path):
    from importlib import import_module

    parser = cli.make_parser()
    for name in path:
        (action,) = parser._subparsers._group_actions
        parser = action.choices[name]
    module, _, name = parser.get_default("command").partition(":")
    assert callable(getattr(import_module(f"hub.commands.{module}"), name))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "commands:"),
        (("frobnicate",), "invalid choice"),
        (("user",), "required"),
        (("user", "add", "a@example.com", "--name", "A", "--role", "king"), "--role"),
        (("serve", "--port", "70000"), "no port"),
        (("serve", "--processes", "0"), "no number of processes"),
        (("serve", "--role", "king"), "--role"),
        (("connection", "add", "webform", "--title", "T", "--set", "novalue"), "KEY=VALUE is wanted"),
        (("connection", "test", "abc"), "no id"),
        (("delivery", "replay"), "required"),
        (("delivery", "replay", "1", "--state", "dead"), "not allowed with"),
        (("delivery", "list", "--state", "lost"), "--state"),
        (("--json",), "unrecognized"),
    ],
)
def test_wrong_usage_is_explained_and_exits_2(arguments, said, capsys):
    try:
        code = cli.run(arguments)
    except SystemExit as left:
        code = left.code
    assert code == 2
    assert said in capsys.readouterr().err


async def test_a_user_is_taken_on_and_joins_the_team_of_their_role(switchyard, sql):
    added = switchyard(*ANNA, "--extension", "101", "--json")
    assert added.json() == {"id": added.json()["id"], "email": "anna@example.com", "name": "Anna", "role": "manager"}
    assert "switchyard user password anna@example.com" in added.err
    assert await sql("SELECT t.name FROM team_members m JOIN teams t ON t.id = m.team_id") == "Sales"
    assert await sql("SELECT extension FROM users") == "101"

    twice = switchyard(*ANNA)
    assert (twice.code, twice.out) == (1, "")
    assert "already a user" in twice.err

    (anna,) = switchyard("user", "list", "--json").json()
    assert (anna["email"], anna["teams"], anna["has_password"], anna["active"]) == (
        "anna@example.com",
        ["Sales"],
        False,
        True,
    )


async def test_a_password_is_read_from_standard_input(switchyard, sql):
    switchyard(*ANNA, "--password-stdin", given="correct horse battery\n")
    before = await sql("SELECT password_hash FROM users")
    assert before.startswith("$argon2id$")
    short = switchyard("user", "password", "anna@example.com", "--password-stdin", given="short\n")
    assert (short.code, "at least 10" in short.err) == (1, True)
    assert await sql("SELECT password_hash FROM users") == before
    assert switchyard("user", "password", "ANNA@example.com", "--password-stdin", given="another good one\n").code == 0
    assert await sql("SELECT password_hash FROM users") != before
    assert await sql("SELECT count(*) FROM audit_log WHERE action = 'user.password_set'") == 1


async def test_a_token_is_printed_alone_and_can_be_revoked(switchyard, sql, take_on):
    await take_on("Anna")
    made = switchyard("token", "create", "--user", "anna@example.com", "--scope", "deals:read", "--name", "Shop")
    assert made.code == 0 and made.out.startswith("swy_") and len(made.out.split()) == 1
    (listed,) = switchyard("token", "list", "--json").json()
    assert (listed["name"], listed["scopes"], listed["revoked_at"]) == ("Shop", ["deals:read"], None)
    assert made.out.strip() not in json.dumps(listed)
    assert switchyard("token", "revoke", listed["id"]).code == 0
    assert await sql("SELECT revoked_at IS NOT NULL FROM api_tokens")
    wrong = switchyard("token", "create", "--user", "anna@example.com", "--scope", "deals:reed")
    assert (wrong.code, "is not a scope" in wrong.err) == (1, True)


async def test_a_dismissed_user_gets_no_token_and_the_last_owner_stays(switchyard, sql, take_on):
    await take_on("Anna")
    await take_on("Olga", Role.OWNER)
    assert switchyard("user", "deactivate", "anna@example.com").code == 0
    assert await sql("SELECT is_active FROM users WHERE name = 'Anna'") is False
    assert "dismissed" in switchyard("token", "create", "--user", "anna@example.com").err
    last = switchyard("user", "deactivate", "olga@example.com")
    assert (last.code, "last owner" in last.err) == (1, True)


async def test_a_connection_is_added_listed_paused_and_resumed(switchyard, sql, take_on):
    await take_on("Anna")
    added = switchyard(
        *("connection", "add", "webform", "--title", "Website", "--set", "allowed_origins=https://a.example"),
        *("--set", "default_country=ru", "--set", "team=sales", "--set", "owner=anna@example.com"),
        *("--set", "make_deal=no", "--set", "rate_per_minute=30"),
        SWITCHYARD_PUBLIC_URL="https://hub.example.com",
    ).json()
    assert set(added) == {"id", "key", "hook_url"}
    assert added["hook_url"] == f"https://hub.example.com/hooks/{added['key']}"
    row = await sql("SELECT to_jsonb(c) FROM connections c")
    kept = json.loads(row)
    assert (kept["default_country"], kept["make_deal"], kept["rate_per_minute"]) == ("RU", False, 30)
    assert kept["settings"]["allowed_origins"] == ["https://a.example"]
    assert kept["owner_id"] and kept["team_id"]

    assert switchyard("connection", "pause", added["id"], "--because", "Being rebuilt").code == 0
    (listed,) = switchyard("connection", "list", "--json").json()
    assert (listed["id"], listed["health"], listed["paused_because"]) == (added["id"], "paused", "Being rebuilt")
    tested = switchyard("connection", "test", added["id"], "--json", "--url", "http://127.0.0.1:9")
    assert (tested.code, json.loads(tested.out)["ok"]) == (1, False)
    assert "Being rebuilt" in tested.out
    assert switchyard("connection", "resume", added["id"]).code == 0
    assert switchyard("connection", "test", added["id"], "--json", "--url", "http://127.0.0.1:9").json()["ok"] is True


@pytest.mark.parametrize(
    ("kind", "setting", "said"),
    [
        ("webfrom", "make_deal=true", "There are: .*webform"),
        ("webform", "redirect=https://a.example", r"Did you mean redirects\? There are: allowed_origins, "),
        ("webform", "default_country=Russia", "no country code"),
        ("webform", "time_zone=Europe/Moskow", r"did you mean Europe/Moscow\?"),
        ("webform", "team=Nobody", "there is: Sales"),
        ("webform", "pipeline=Nobody", "there is: Sales"),
        ("webform", "make_lead=perhaps", "true or false"),
        ("webform", "rate_per_minute=-1", "a number of requests"),
        ("webform", "owner=nobody@example.com", "no user"),
        ("webform", "reply_through=9", "no connection 9"),
    ],
)
async def test_a_wrong_setting_is_explained(session, kind, setting, said):
    name, _, value = setting.partition("=")
    with pytest.raises(HubError, match=said):
        await channel_settings.split(session, channel_settings.checked_names(kind, [(name, value)]))


async def test_a_refused_connection_is_not_added(switchyard, sql):
    ended = switchyard("connection", "add", "webform", "--title", "T", "--set", "redirect=x")
    assert (ended.code, ended.out) == (1, "")
    assert "Did you mean redirects?" in ended.err
    assert await sql("SELECT count(*) FROM connections") == 0


async def test_what_was_made_at_random_is_told_once_and_not_in_the_json(switchyard, sql):
    added = switchyard(
        *("connection", "add", "forms_tilda", "--title", "Shop"), SWITCHYARD_PUBLIC_URL="https://hub.example.com"
    )
    shown = added.json()
    assert set(shown) == {"id", "key", "hook_url"}
    (line,) = [line for line in added.err.splitlines() if line.startswith("  token: ")]
    token = line.removeprefix("  token: ")
    assert len(token) >= 32 and token not in added.out
    assert f"https://hub.example.com/hooks/{shown['key']}?token={token}" in added.err
    listed = switchyard("connection", "list", "--json")
    assert token not in listed.out + listed.err

    given = switchyard("connection", "add", "forms_tilda", "--title", "Other", "--set", "token=of-my-own-choice")
    assert "of-my-own-choice" not in given.out + given.err


async def test_several_values_of_a_setting_stand_between_commas(switchyard, sql):
    told = switchyard(
        *(
            "connection",
            "add",
            "sms_http",
            "--title",
            "Kannel",
            "--set",
            "send_url=http://127.0.0.1:13013/cgi-bin/sendsms",
        ),
        *("--set", "headers=X-Key: abc, X-From: hub", "--set", "dlr_mask=7"),
    )
    assert told.code == 0, told.err
    kept = json.loads(await sql("SELECT settings FROM connections"))
    assert (kept["headers"], kept["dlr_mask"]) == (["X-Key: abc", "X-From: hub"], 7)


async def test_a_test_asks_the_provider_and_tells_what_it_says(switchyard, sql):
    async with playing() as provider:
        provider.answers("POST", "/api/auth.test", json={"ok": True, "team": "Glass House", "user": "hub"})
        added = switchyard(
            *("connection", "add", "slack", "--title", "Slack", "--set", f"base_url={provider.url}/api"),
            *("--set", "signing_secret=abc", "--set", "bot_token=xoxb-1-secret"),
        ).json()
        ask = ("connection", "test", added["id"], "--json", "--url", "http://127.0.0.1:9")
        well = await asyncio.to_thread(switchyard, *ask)
        provider.answers("POST", "/api/auth.test", json={"ok": False, "error": "invalid_auth"})
        ill = await asyncio.to_thread(switchyard, *ask)
    assert (well.code, well.json()["ok"]) == (0, True)
    assert "Glass House" in well.out
    assert (ill.code, json.loads(ill.out)["ok"]) == (1, False)
    assert "xoxb-1-secret" not in well.out + ill.out + ill.err


def test_kinds_tell_their_settings(tmp_path):
    told = Switchyard(tmp_path, None)("connection", "kinds", "--json").json()
    kinds = {entry["kind"]: entry for entry in told["kinds"]}
    assert set(kinds) == set(registry.KINDS)
    assert kinds["webform"]["title"] == "Website form"
    assert {field["name"]: field["secret"] for field in kinds["webform"]["settings"]} == {
        "allowed_origins": False,
        "redirects": False,
    }
    telegram = {field["name"]: field for field in kinds["telegram"]["settings"]}
    assert (telegram["token"]["required"], telegram["secret_token"]["made"]) == (True, True)
    assert telegram["mode"]["choices"] == ["webhook", "polling"]
    assert "rate_per_minute" in {entry["name"] for entry in told["common"]}
    assert not (tmp_path / "state").exists()
    in_words = Switchyard(tmp_path, None)("connection", "kinds").out
    assert "telegram  Telegram" in in_words and "made at random if left out" in in_words


async def test_deliveries_are_listed_shown_word_for_word_and_replayed(switchyard, sql, client, drain, webform, take_on):
    await take_on("Anna")
    await client.post(f"/hooks/{webform.key}", data=b"name=Vera&phone=89161234567", headers={"X-From": "the shop"})
    await client.post(f"/hooks/{webform.key}", data=b"name=Bot&phone=89161234568&trap=1")
    await drain()
    ignored, processed = switchyard("delivery", "list", "--json").json()
    assert (processed["state"], ignored["state"]) == ("processed", "ignored")
    assert processed["events"][0]["lead_id"]

    shown = switchyard("delivery", "show", processed["id"])
    assert "name=Vera&phone=89161234567" in shown.out
    assert "x-from: the shop" in shown.out

    assert switchyard("delivery", "replay", processed["id"], "--json").json() == {"replayed": 1}
    assert switchyard("delivery", "replay", "--state", "ignored", "--json").json() == {"replayed": 1}
    assert await sql("SELECT count(*) FROM deliveries WHERE state = 'received' AND due_at IS NOT NULL") == 2
    assert switchyard("delivery", "replay", processed["id"], "1").code == 1  # one unknown: none is replayed
    assert await sql("SELECT count(*) FROM audit_log WHERE action = 'delivery.replayed'") == 2


async def test_a_body_that_is_no_text_is_dumped(switchyard, client, webform):
    await client.post(f"/hooks/{webform.key}", data=b"name=\xc2\xe5\xf0\xe0&phone=89161234567&x=\x00")
    (row,) = switchyard("delivery", "list", "--json").json()
    shown = switchyard("delivery", "show", row["id"])
    assert "00000000  6e 61 6d 65 3d c2 e5 f0 e0 26 70 68 6f 6e 65 3d  name=....&phone=" in shown.out


async def test_migrate_shows_the_sql_without_running_it(switchyard, sql):
    await sql("DROP SCHEMA public CASCADE")
    await sql("CREATE SCHEMA public")
    shown = switchyard("migrate", "--dry-run")
    assert shown.code == 0 and "CREATE TABLE deliveries" in shown.out
    assert await sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    assert switchyard("migrate").code == 0
    assert await sql("SELECT count(*) FROM pipelines") == 1
    assert "up to date" in switchyard("migrate", "--dry-run").err


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://hub:secret-word@127.0.0.1:9/switchyard", "cannot be reached"),
        ("mysql://127.0.0.1/switchyard", "must be like postgresql://"),
    ],
)
def test_a_database_that_cannot_be_had_is_told_without_its_password(tmp_path, url, said):
    ended = Switchyard(tmp_path, url)("user", "list")
    assert (ended.code, ended.out) == (1, "")
    assert said in ended.err
    assert "secret-word" not in ended.err


async def test_a_database_that_does_not_exist_is_told(switchyard, database_url):
    ended = switchyard("user", "list", SWITCHYARD_DATABASE_URL=database_url.replace("/test_", "/missing_"))
    assert (ended.code, "does not exist" in ended.err) == (1, True)


async def test_a_database_of_a_newer_release_is_left_alone(switchyard, sql):
    await sql("UPDATE alembic_version SET version_num = '9999'")
    ended = switchyard("user", "list")
    assert (ended.code, "newer release" in ended.err) == (1, True)


async def test_a_backup_brings_everything_back(switchyard, sql, tmp_path):
    switchyard(*ANNA)
    file = tmp_path / "nightly.dump"
    assert switchyard("backup", str(file)).code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert switchyard("backup", str(file)).code == 1  # never over another one
    await sql("INSERT INTO users (email, name, role, created_at) VALUES ('l@example.com', 'Late', 'viewer', now())")
    in_use = switchyard("restore", str(file))
    assert (in_use.code, "--force" in in_use.err) == (1, True)
    (tmp_path / "nonsense").write_text("nonsense")
    assert "no backup" in switchyard("restore", "nonsense", "--force").err
    assert await sql("SELECT count(*) FROM users") == 2
    assert switchyard("restore", str(file), "--force").code == 0
    assert await sql("SELECT string_agg(name, ',') FROM users") == "Anna"
    assert "no such file" in switchyard("restore", "missing.dump").err.lower()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["nightly.dump", "nonsense"]
