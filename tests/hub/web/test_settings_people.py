"""Settings pages of people, teams, absences, keys and the audit log."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from core.sales.deals import Deal
from core.sales.leads import Lead
from core.staff.absences import Absence
from core.staff.audit import AuditEntry
from core.staff.sessions import Session
from core.staff.teams import Team, TeamMember
from core.staff.tokens import ApiToken
from core.staff.users import Role, User
from core.work.tasks import Task
from hub import auth
from tests.conftest import PASSWORD, VERA

HOSTILE = "<img src=x onerror=alert(1)>"
BORIS = {
    "name": "Boris",
    "email": "Boris@Example.com",
    "password": "a long first password",
    "role": "manager",
    "extension": "101",
    "capacity": "12",
    "languages": "ru, en",
    "territories": "ru, +7495",
}


@pytest.fixture
async def owner(take_on, browser_of):
    return await browser_of(await take_on("Olga", Role.OWNER, password=True))


async def _user(all_of, name: str) -> User:
    return next(user for user in await all_of(User) if user.name == name)


async def test_a_person_taken_on_by_the_page_can_sign_in(owner, hub, all_of):
    answer = await owner.post("/settings/users", **BORIS)
    assert answer.status == 204 and "close-sheet" in answer.told, answer.text[:2000]
    boris = await _user(all_of, "Boris")
    assert (boris.email, boris.role, boris.extension, boris.capacity) == ("boris@example.com", "manager", "101", 12)
    assert (boris.languages, boris.territories) == (["ru", "en"], ["RU", "+7495"])
    assert await auth.sign_in(hub, email="boris@example.com", password=BORIS["password"], client="", agent="")
    async with hub.database.reading() as session:
        assert len(list(await session.scalars(select(TeamMember).where(TeamMember.user_id == boris.id)))) == 1
    assert "boris@example.com" in (await owner.get("/settings/users")).text


@pytest.mark.parametrize(
    ("typed", "field", "status"),
    [
        ({"name": ""}, "name", 422),
        ({"email": "nobody"}, "email", 422),
        ({"email": "olga@example.com"}, "email", 409),
        ({"password": "short"}, "password", 422),
        ({"role": "emperor"}, "role", 422),
        ({"extension": "one"}, "extension", 422),
        ({"capacity": "many"}, "capacity", 422),
        ({"languages": "Russian language"}, "languages", 422),
        ({"territories": "Moscow"}, "territories", 422),
        ({"team_ids": "999999"}, "team_ids", 422),
    ],
)
async def test_a_wrong_field_of_a_new_person_is_told_there_and_nothing_is_kept(owner, all_of, typed, field, status):
    answer = await owner.post("/settings/users", **(BORIS | typed))
    assert answer.status == status
    assert f'id="{field}-error"' in answer.text
    assert 'value="101"' in answer.text or field == "extension"
    assert "a long first password" not in answer.text
    assert len(await all_of(User)) == 1
    assert "<html" not in answer.text
    assert "<html" in (await owner.post_plainly("/settings/users", **(BORIS | typed))).text


async def test_a_dismissed_person_is_signed_out_their_token_refused_and_their_work_handed_over(
    owner, hub, webform, take_on, browser_of, token_of, drain, all_of
):
    anna = await take_on("Anna", password=True)
    browser, headers = await browser_of(anna), await token_of(anna)
    await owner.client.post(f"/hooks/{webform.key}", data=VERA)
    await drain()
    boris = await take_on("Boris")
    assert (await browser.get("/leads")).status == 200
    assert (await owner.client.get("/api/v1/deals", headers=headers)).status == 200

    sheet = (await owner.part(f"/settings/users/{anna.id}")).text
    assert "1 deals, 1 leads, 1 tasks" in sheet
    answer = await owner.post(
        f"/settings/users/{anna.id}", name="Anna", email=anna.email, role="manager", hand_over_to=boris.id, version=1
    )
    assert answer.status == 204, answer.text[:2000]
    assert not (await _user(all_of, "Anna")).is_active
    assert (await browser.get("/leads")).headers["Location"].startswith("/sign-in")
    assert (await owner.client.get("/api/v1/deals", headers=headers)).status == 401
    with pytest.raises(auth.SignInRefused):
        await auth.sign_in(hub, email=anna.email, password=PASSWORD, client="", agent="")
    assert [user_id for user_id in [s.user_id for s in await all_of(Session)] if user_id == anna.id] == []
    for model, person in ((Deal, "owner_id"), (Lead, "owner_id"), (Task, "assignee_id")):
        assert [getattr(row, person) for row in await all_of(model)] == [boris.id]
    actions = [entry.action for entry in await all_of(AuditEntry)]
    assert {"user.dismissed", "user.changed", "user.handed_over"} <= set(actions)

    back = await owner.post(
        f"/settings/users/{anna.id}", name="Anna", email=anna.email, role="manager", is_active="yes"
    )
    assert back.status == 204
    assert (await _user(all_of, "Anna")).is_active


async def test_the_only_owner_stays_and_nobody_lets_themselves_go(owner, all_of):
    (olga,) = await all_of(User)
    form = {"name": "Olga", "email": olga.email}
    demoted = await owner.post(f"/settings/users/{olga.id}", **form, role="manager", is_active="yes")
    assert demoted.status == 422 and 'id="role-error"' in demoted.text and "last owner" in demoted.text
    gone = await owner.post(f"/settings/users/{olga.id}", **form, role="owner")
    assert gone.status == 422 and "last owner" in gone.text
    (olga,) = await all_of(User)
    assert olga.is_active and olga.role == "owner" and olga.version == 1


async def test_an_administrator_makes_nobody_an_owner(take_on, browser_of, all_of):
    olga = await take_on("Olga", Role.OWNER)
    ada = await browser_of(await take_on("Ada", Role.ADMIN, password=True))
    assert (await ada.post("/settings/users", **(BORIS | {"role": "owner"}))).status == 403
    taken = {"name": "Olga", "email": "ada2@example.com", "role": "owner", "is_active": "yes"}
    assert (await ada.post(f"/settings/users/{olga.id}", **taken)).status == 403
    assert (await _user(all_of, "Olga")).email == "olga@example.com"


async def test_a_new_password_ends_the_sessions_and_a_stale_form_changes_nothing(
    owner, hub, take_on, browser_of, all_of
):
    anna = await take_on("Anna", password=True)
    browser = await browser_of(anna)
    form = {"name": HOSTILE, "email": anna.email, "role": "manager", "is_active": "yes"}
    answer = await owner.post(f"/settings/users/{anna.id}", **form, version=1, password="another password")
    assert answer.status == 204
    assert (await browser.get("/leads")).status == 303
    await auth.sign_in(hub, email=anna.email, password="another password", client="", agent="")
    stale = await owner.post(f"/settings/users/{anna.id}", **(form | {"name": "Anya"}), version=1)
    assert stale.status == 412 and 'value="Anya"' in stale.text
    for page in ("/settings/users", "/settings/teams/new", "/settings/audit", "/settings/routing/new"):
        assert HOSTILE not in (await owner.get(page)).text
    assert "argon2" not in (await owner.get("/settings/audit")).text


async def test_a_team_is_made_and_changed_and_whoever_leads_is_in_it(owner, hub, take_on, all_of):
    anna, boris = await take_on("Anna"), await take_on("Boris")
    form = [("csrf_token", owner.csrf), ("name", "Night"), ("member_ids", str(anna.id)), ("leader_ids", str(boris.id))]
    answer = await owner.client.post("/settings/teams", data=form, headers={"HX-Request": "true"})
    assert answer.status == 204
    team = next(team for team in await all_of(Team) if team.name == "Night")
    async with hub.database.reading() as session:
        places = list(await session.scalars(select(TeamMember).where(TeamMember.team_id == team.id)))
    assert {(place.user_id, place.leads) for place in places} == {(anna.id, False), (boris.id, True)}
    taken = await owner.post("/settings/teams", name="Night")
    assert taken.status == 409 and 'id="name-error"' in taken.text
    changed = await owner.post(f"/settings/teams/{team.id}", name="Late", member_ids=anna.id, version=1)
    assert changed.status == 204
    async with hub.database.reading() as session:
        places = list(await session.scalars(select(TeamMember).where(TeamMember.team_id == team.id)))
    assert [(place.user_id, place.leads) for place in places] == [(anna.id, False)]
    assert (await owner.post(f"/settings/teams/{team.id}", name="Later", version=1)).status == 412


async def test_an_absence_is_noted_in_the_readers_time_zone_and_removed(owner, hub, take_on, all_of, clock):
    anna = await take_on("Anna")
    path = f"/settings/users/{anna.id}/absence"
    wrong = await owner.post(path, starts_at="2026-11-25T09:00", ends_at="2026-11-24T09:00", reason="Holiday")
    assert wrong.status == 422 and 'id="ends_at-error"' in wrong.text and 'value="Holiday"' in wrong.text
    missing = await owner.post(path, starts_at="soon")
    assert 'id="starts_at-error"' in missing.text and 'id="ends_at-error"' in missing.text
    noted = await owner.post(path, starts_at="2026-11-23T09:00", ends_at="2026-11-30T09:00", reason="Holiday")
    assert noted.status == 204
    (absence,) = await all_of(Absence)
    assert absence.ends_at - absence.starts_at == timedelta(days=7)
    assert "Holiday" in (await owner.part(path)).text
    assert 'title="Holiday"' in (await owner.get("/settings/users")).text
    assert (await owner.post(f"/settings/absences/{absence.id}/cancellation")).status == 204
    assert await all_of(Absence) == []


async def test_a_head_notes_absences_of_those_they_lead_only(take_on, browser_of, hub, all_of):
    anna, boris = await take_on("Anna"), await take_on("Boris", team_ids=[])
    (team,) = [team for team in await all_of(Team) if team.joined_by_role == "manager"]
    kirill = await browser_of(await take_on("Kirill", Role.HEAD, password=True, team_ids=[team.id]))
    form = {"starts_at": "2026-11-24T09:00", "ends_at": "2026-11-25T09:00"}
    assert (await kirill.post(f"/settings/users/{anna.id}/absence", **form)).status == 204
    assert (await kirill.post(f"/settings/users/{boris.id}/absence", **form)).status == 403
    assert (await kirill.get(f"/settings/users/{boris.id}/absence")).status == 403
    assert [absence.user_id for absence in await all_of(Absence)] == [anna.id]


async def test_a_key_works_until_it_is_revoked_and_its_secret_is_shown_once(owner, all_of):
    made = await owner.post_plainly("/settings/tokens", name="Accounting", scopes="read", more_scopes="deals:write")
    assert made.status == 200
    (secret,) = re.findall(r"swy_[\w-]+", made.text)
    (token,) = await all_of(ApiToken)
    assert token.scopes == ["deals:write", "read"]
    headers = {"Authorization": f"Bearer {secret}"}
    assert (await owner.client.get("/api/v1/deals", headers=headers)).status == 200
    listed = (await owner.get("/settings/tokens")).text
    assert secret not in listed and "Accounting" in listed
    assert (await owner.post(f"/settings/tokens/{token.id}/revocation")).status == 204
    assert (await owner.client.get("/api/v1/deals", headers=headers)).status == 401
    assert "revoked" in (await owner.get("/settings/tokens")).text
    assert secret not in (await owner.get("/settings/audit")).text


@pytest.mark.parametrize(
    ("typed", "field"), [({"name": ""}, "name"), ({"name": "A", "more_scopes": "moon:write"}, "more_scopes")]
)
async def test_a_key_without_a_name_or_with_a_scope_there_is_not_is_refused(owner, all_of, typed, field):
    answer = await owner.post_plainly("/settings/tokens", **typed)
    assert answer.status == 422 and f'id="{field}-error"' in answer.text
    assert await all_of(ApiToken) == []


async def test_the_audit_log_is_paged_and_narrowed(owner, hub, take_on, all_of):
    anna = await take_on("Anna")
    (olga, *_) = await all_of(User)
    async with hub.database.transaction() as session:
        for number in range(60):
            session.add(
                AuditEntry(
                    action="deal.changed",
                    user_id=anna.id,
                    entity="deal",
                    entity_id=number,
                    client="10.0.0.1",
                    details={"fields": ["title"]},
                    created_at=hub.clock.now() - timedelta(minutes=number),
                )
            )
    first = (await owner.get("/settings/audit?entity=deal")).text
    (following,) = re.findall(r'href="(/settings/audit\?[^"]*cursor=[^"]+)"', first)
    second = await owner.get(following.replace("&amp;", "&"))
    assert first.count(">deal.changed<") == 50 and second.text.count(">deal.changed<") == 10
    assert second.text.count("cursor=") == 0
    mine = (await owner.get(f"/settings/audit?user={olga.id}&entity=session")).text
    assert "session.created" in mine and "deal.changed" not in mine


async def test_an_administrator_does_not_let_themselves_go(take_on, browser_of, all_of):
    await take_on("Olga", Role.OWNER)
    ada = await take_on("Ada", Role.ADMIN, password=True)
    browser = await browser_of(ada)
    answer = await browser.post(f"/settings/users/{ada.id}", name="Ada", email=ada.email, role="admin")
    assert answer.status == 422 and "yourself" in answer.text
    assert (await _user(all_of, "Ada")).is_active
