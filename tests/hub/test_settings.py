"""Settings: where they come from, what they refuse and how they say so."""

from __future__ import annotations

import stat
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest

from hub import settings
from hub.settings import BadSettings, MailServer

DATABASE = "postgresql+asyncpg://hub:p%40ss@db:5432/crm"


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def write(env_file: Path, **values: str) -> Path:
    env_file.write_text("".join(f"SWITCHYARD_{name.upper()}={value}\n" for name, value in values.items()))
    return env_file


def test_an_empty_environment_is_a_working_installation():
    loaded = settings.load(None)
    assert loaded.database_url is None
    assert loaded.state_dir == Path.cwd() / ".state"
    assert loaded.max_body_bytes == 12 * 1024 * 1024
    assert loaded.mail_server() is None
    assert loaded.mail_sender() is None


def test_what_is_empty_counts_as_absent(env_file, tmp_path):
    empty = dict.fromkeys(["database_url", "secret_key", "smtp_url", "trusted_proxies", "pool_size"], "")
    assert settings.load(write(env_file, **empty)) == settings.load(None)


@pytest.mark.parametrize(
    ("pasted", "understood"),
    [
        ("postgresql+asyncpg://hub:p%40ss@db:5432/crm", DATABASE),
        ("postgresql://hub:p%40ss@db:5432/crm", DATABASE),
        ("postgres://hub:p%40ss@db:5432/crm?sslmode=require", DATABASE + "?ssl=require"),
    ],
)
def test_a_providers_database_url_can_be_pasted(env_file, pasted, understood):
    loaded = settings.load(write(env_file, database_url=pasted))
    assert loaded.database_url is not None
    assert loaded.database_url.get_secret_value() == understood


def test_a_database_url_is_spelt_for_other_programs_too():
    assert settings.libpq_url(DATABASE + "?ssl=require") == "postgresql://hub:p%40ss@db:5432/crm?sslmode=require"


@pytest.mark.parametrize(
    ("name", "value", "explanation"),
    [
        ("database_url", "mysql://root:hunter2@db/crm", "SWITCHYARD_DATABASE_URL: must be like postgresql://"),
        ("database_url", "postgresql://hub:hunter2@db", "SWITCHYARD_DATABASE_URL: names no database"),
        ("public_url", "crm.example.com", "SWITCHYARD_PUBLIC_URL: must begin with http:// or https://"),
        ("smtp_url", "smtp://u:hunter2@host:port", "SWITCHYARD_SMTP_URL: is no usable URL"),
        ("smtp_url", "smtp://robot:hunter2@host", "SWITCHYARD_SMTP_SENDER: is needed with SWITCHYARD_SMTP_URL"),
        ("smtp_sender", "sales", "SWITCHYARD_SMTP_SENDER: must be an e-mail address"),
        ("log_format", "xml", "SWITCHYARD_LOG_FORMAT: Input should be 'console' or 'json'"),
        ("trusted_proxies", "10.0.0.0/8, proxy", "SWITCHYARD_TRUSTED_PROXIES: 'proxy' does not appear to be"),
        ("secret_key", "hunter2", "SWITCHYARD_SECRET_KEY: .*at least 16"),
        ("pool_size", "many", "SWITCHYARD_POOL_SIZE: Input should be a valid integer"),
    ],
)
def test_a_bad_value_is_explained_by_the_name_of_its_variable(env_file, name, value, explanation):
    with pytest.raises(BadSettings, match=explanation) as caught:
        settings.load(write(env_file, **{name: value}))
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_all_bad_values_are_told_at_once(env_file):
    with pytest.raises(BadSettings) as caught:
        settings.load(write(env_file, pool_size="many", log_format="xml"))
    assert len(str(caught.value).splitlines()) == 3


def test_printing_the_settings_shows_no_password(env_file):
    loaded = settings.load(
        write(
            env_file,
            database_url="postgresql://hub:hunter2@db/crm",
            smtp_url="smtp://a@example.com:hunter2@mail",
            secret_key="hunter2" * 5,
            desk_telegram_token="1:hunter2",
        )
    )
    assert "hunter2" not in repr(loaded) + repr(loaded.mail_server()) + loaded.model_dump_json()


def test_settings_cannot_be_changed_after_they_are_read():
    loaded = settings.load(None)
    with pytest.raises(ValueError, match="frozen"):
        loaded.pool_size = 3


def test_proxies_are_written_with_commas(env_file):
    loaded = settings.load(write(env_file, trusted_proxies="10.0.0.0/8, 192.0.2.7,::1"))
    assert loaded.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("192.0.2.7"), ip_network("::1"))


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.test", MailServer("mail.test", 587, False, None, None)),
        ("smtp://127.0.0.1:2525", MailServer("127.0.0.1", 2525, False, None, None)),
        ("smtps://a%40b.test:p%3Aw@mail.test", MailServer("mail.test", 465, True, "a@b.test", "p:w")),
    ],
)
def test_the_mail_server_is_read_from_its_url(env_file, url, server):
    loaded = settings.load(write(env_file, smtp_url=url, smtp_sender="Sales <sales@b.test>"))
    assert loaded.mail_server() == server
    assert loaded.mail_sender() == "Sales <sales@b.test>"


def test_addresses_end_without_a_slash(env_file):
    assert settings.load(write(env_file, public_url="https://crm.test/")).public_url == "https://crm.test"


def test_the_secret_key_is_made_once_and_readable_by_its_owner_only(env_file, tmp_path):
    loaded = settings.load(write(env_file, state_dir=str(tmp_path / "state")))
    key = loaded.secret_key()
    kept = tmp_path / "state" / "secret_key"
    assert len(key) == 32
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert settings.load(env_file).secret_key() == key
    assert [path.name for path in kept.parent.iterdir()] == ["secret_key"], "no draft is left behind"


def test_the_kept_key_may_be_moved_into_the_environment(env_file, tmp_path):
    made = settings.load(write(env_file, state_dir=str(tmp_path / "state"))).secret_key()
    text = (tmp_path / "state" / "secret_key").read_text()
    moved = settings.load(write(env_file, state_dir=str(tmp_path / "other"), secret_key=text))
    assert moved.secret_key() == made
    assert not (tmp_path / "other").exists()


def test_processes_that_start_at_once_end_with_the_same_key(tmp_path):
    program = (
        "import sys; from pathlib import Path; from hub.settings import Settings; sys.stdin.read(); "
        "print(Settings(_env_file=None, state_dir=Path(sys.argv[1])).secret_key().hex())"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "state")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.close()
        racer.stdin = None
    keys = {racer.communicate(timeout=60)[0].strip() for racer in racers}
    assert len(keys) == 1
    assert len(keys.pop()) == 64


def test_a_damaged_key_is_told_and_not_replaced(env_file, tmp_path):
    (tmp_path / "secret_key").write_text("")
    with pytest.raises(BadSettings, match="damaged"):
        settings.load(write(env_file, state_dir=str(tmp_path))).secret_key()
    assert (tmp_path / "secret_key").read_text() == ""


def test_a_state_folder_that_cannot_be_written_is_told(env_file, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSettings, match="SWITCHYARD_STATE_DIR"):
        settings.load(write(env_file, state_dir=str(tmp_path / "file" / "state"))).secret_key()


def test_a_misspelt_variable_is_noticed():
    assert settings.misspelt({"SWITCHYARD_DATABSE_URL": "x", "SWITCHYARD_POOL_SIZE": "3", "HOME": "/"}) == [
        "SWITCHYARD_DATABSE_URL is no setting; did you mean SWITCHYARD_DATABASE_URL?"
    ]
    assert settings.misspelt({"SWITCHYARD_SECRET_KEY": "x", "SWITCHYARD_TEST_DATABASE_URL": "y"}) == []
