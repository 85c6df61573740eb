"""`switchyard serve`, `demo` and `doctor` as a person meets them: programs of their own, on a real port."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request

import pytest

from tests.hub.command_line import Switchyard, free_port, post, until


async def _manager_and_form(switchyard: Switchyard) -> str:
    switchyard("user", "add", "anna@example.com", "--name", "Anna", "--role", "manager")
    key: str = switchyard("connection", "add", "webform", "--title", "Website", "--set", "default_country=RU").json()[
        "key"
    ]
    return key


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_an_empty_hub_prints_its_address_and_a_set_up_link_and_ends_cleanly(switchyard, number):
    port = free_port()
    with switchyard.serving("--port", str(port), ready="once: ") as server:
        assert f"Switchyard serves http://127.0.0.1:{port}" in server.said
        assert f"http://127.0.0.1:{port}/setup?token=" in server.said
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            assert answer.status == 200
        assert server.stop(number) == 0
        assert "Traceback" not in server.said


async def test_a_post_becomes_a_lead_and_the_hook_is_found_well(switchyard, database_url, sql):
    key = await _manager_and_form(switchyard)
    port = free_port()
    with switchyard.serving("--port", str(port), ready="serves") as server:
        base = f"http://127.0.0.1:{port}"
        assert post(f"{base}/hooks/{key}", {"name": "Vera", "phone": "8 (916) 123-45-67"}) == 200
        await _until_leads(sql, 1)
        connection = str(await sql("SELECT id FROM connections"))
        assert "ok    Its hook answers" in switchyard("connection", "test", connection, "--url", base).out
        ended = switchyard("serve", "--port", str(port))
        assert (ended.code, "is taken by another program" in ended.err) == (1, True)
        refused = switchyard("demo")
        assert (refused.code, "hub is running" in refused.err) == (1, True)
        assert server.stop() == 0


async def _until_leads(sql, count: int) -> None:
    for _ in range(600):
        if await sql("SELECT count(*) FROM leads") >= count:
            break
        await sql("SELECT pg_sleep(0.05)")
    assert await sql("SELECT count(*) FROM leads") == count


async def test_a_second_process_without_a_port_shares_the_work(switchyard, sql, take_on, webform):
    await take_on("Anna")
    key = webform.key
    port = free_port()
    with (
        switchyard.serving("--port", str(port), "--role", "web", ready="serves") as web,
        switchyard.serving("--role", "worker", ready="works without a port") as worker,
    ):
        assert post(f"http://127.0.0.1:{port}/hooks/{key}", {"name": "Vera", "phone": "89161234567"}) == 200
        await _until_leads(sql, 1)
        assert (worker.stop(), web.stop()) == (0, 0)


async def test_several_processes_share_a_port_and_end_together(switchyard, sql, take_on, webform):
    await take_on("Anna")
    key = webform.key
    port = free_port()
    with switchyard.serving("--port", str(port), "--processes", "2", ready="serves") as server:
        until(lambda: server.said.count("Switchyard serves") == 2)
        for number in range(10):
            fields = {"name": f"Person {number}", "phone": f"8916123450{number}"}
            assert post(f"http://127.0.0.1:{port}/hooks/{key}", fields) == 200
        await _until_leads(sql, 10)
        assert server.stop() == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)


async def _careless(sql) -> set[str]:
    """What the doctor rightly holds against a server that tests run on: it may lose its data with the machine."""
    return {"durability"} if await sql("SHOW fsync") == "off" else set()


async def test_the_demo_company_is_alive(switchyard, sql):
    filled = switchyard("demo", "--json").json()
    assert {user["role"] for user in filled["users"]} == {"owner", "head", "manager", "specialist"}
    assert filled["records"]["leads"] == await sql("SELECT count(*) FROM leads") >= 30
    facts = {
        "every delivery was understood": "SELECT bool_and(state = 'processed') FROM deliveries",
        "every lead came from a delivery": "SELECT count(*) = 0 FROM leads WHERE connection_id IS NULL",
        "deals were won, for money": "SELECT bool_and(amount > 0) AND count(*) > 5 FROM deals WHERE outcome = 'won'",
        "deals were lost, for a reason": "SELECT bool_and(lost_reason <> '') FROM deals WHERE outcome = 'lost'",
        "something is overdue": "SELECT count(*) > 0 FROM tasks WHERE status = 'todo' AND due_at < now()",
        "something is to be done": "SELECT count(*) > 0 FROM tasks WHERE status = 'todo' AND due_at > now()",
        "the head was told": "SELECT count(*) > 0 FROM notifications n JOIN users u ON u.id = n.user_id "
        "WHERE n.kind = 'task.escalated' AND u.name LIKE 'Kirill%'",
        "nobody was told twice": "SELECT count(*) = count(DISTINCT (user_id, event_id)) FROM notifications",
        "some are unread, some read": "SELECT count(read_at) BETWEEN 1 AND count(*) - 1 FROM notifications",
        "Boris is on holiday": "SELECT bool_or(starts_at < now() AND ends_at > now()) FROM absences",
        "Boris was given nothing meanwhile": "SELECT count(*) = 0 FROM leads l JOIN absences a "
        "ON a.user_id = l.owner_id WHERE a.reason = 'Holiday' "
        "AND l.created_at BETWEEN a.starts_at AND a.ends_at AND l.routing->>'reason' <> 'owner'",
        "notes were written": "SELECT count(*) > 10 FROM messages WHERE private",
        "nothing lies in the future": "SELECT max(at) <= now() FROM events",
        "it took two weeks": "SELECT max(at) - min(at) > interval '13 days' FROM events",
        "no letters wait": "SELECT count(*) = 0 FROM jobs",
    }
    assert {name: await sql(query) for name, query in facts.items()} == dict.fromkeys(facts, True)

    again = switchyard("demo")
    assert (again.code, "Nothing was changed" in again.err) == (1, True)

    port = free_port()
    with switchyard.serving("--port", str(port), ready="serves") as server:
        assert "/setup" not in server.said
        told = switchyard("doctor", "--json", "--url", f"http://127.0.0.1:{port}")
        checks = {check["name"]: check for check in json.loads(told.out)["checks"]}
        wrong = {name for name, check in checks.items() if check["status"] == "fail"}
        assert wrong == await _careless(sql)
        assert told.code == (1 if wrong else 0)
        assert checks["server"]["status"] == checks["team"]["status"] == checks["channels"]["status"] == "ok"


async def test_the_doctor_says_what_is_wrong_and_what_to_do(switchyard, sql, tmp_path):
    state = tmp_path / "state"
    switchyard("connection", "add", "webform", "--title", "Website")
    (state / "secret_key").chmod(0o644)
    await sql(
        "INSERT INTO deliveries "
        "(connection_id, dedupe_key, reference, lane, received_at, due_at, state, request, body) VALUES "
        "(1, 'a', 'A', 'a', now(), NULL, 'dead', '{}', ''), "
        "(1, 'b', 'B', 'b', now(), now() - interval '1 hour', 'received', '{}', '')"
    )
    await sql("UPDATE connections SET health = 'paused', paused_because = 'Its page has gone'")
    told = switchyard(
        *("doctor", "--json", "--url", "http://127.0.0.1:9"),
        SWITCHYARD_SMTP_URL="smtp://127.0.0.1:9",
        SWITCHYARD_SMTP_SENDER="hub@example.com",
        SWITCHYARD_TRUSTED_PROXIES="10.0.0.0/8",
        SWITCHYARD_DATABSE_URL="x",
    )
    assert told.code == 1

    checks = {check["name"]: check for check in json.loads(told.out)["checks"]}
    assert {name: checks[name]["status"] for name in ("settings", "server", "channels")} == {
        "settings": "warn",
        "server": "warn",
        "channels": "warn",
    }
    wrong = ("secret key", "public_url", "mail", "people", "queue", "deliveries")
    assert {name for name in checks if checks[name]["status"] == "fail"} == {*wrong} | await _careless(sql)
    assert "DATABASE_URL" in checks["settings"]["text"]
    assert "chmod 600" in checks["secret key"]["remedy"]
    assert "replay --state dead" in checks["deliveries"]["remedy"]
    assert "Its page has gone" in checks["channels"]["text"]
    assert all(check["remedy"] for check in checks.values() if check["status"] == "fail")


async def test_the_doctor_tells_an_empty_or_unreachable_database(switchyard, sql):
    await sql("DROP SCHEMA public CASCADE")
    await sql("CREATE SCHEMA public")
    empty = switchyard("doctor", "--url", "http://127.0.0.1:9")
    assert empty.code == 1 and "Run `switchyard migrate`" in empty.out
    assert await sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0  # it only looks
    away = switchyard("doctor", SWITCHYARD_DATABASE_URL="postgresql://hub@127.0.0.1:9/hub")
    assert away.code == 1 and "FAIL  database" in away.out
