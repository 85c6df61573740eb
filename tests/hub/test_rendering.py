from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from hub import i18n
from hub.web import formats, rendering, words
from hub.web.rendering import Renderer, Viewer

NOW = datetime(2026, 11, 22, 15, 20, tzinfo=UTC)
TEMPLATES = Path(rendering.__file__).parent / "templates"


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer()


def viewer(language: str = "en", country: str = "RU", time_zone: str = "Europe/Moscow", **more: Any) -> Viewer:
    return Viewer(now=NOW, language=language, country=country, time_zone=time_zone, currency="RUB", **more)


def say(renderer: Renderer, expression: str, who: Viewer | None = None, **values: Any) -> str:
    return renderer.environment.from_string("{{ " + expression + " }}").render(viewer=who or viewer(), **values)


def plain(text: str) -> str:
    """Return the text without tags, and with ordinary spaces."""
    return str(Markup(text).striptags()).replace("\u00a0", " ").replace("\u202f", " ")


@pytest.mark.parametrize(
    ("amount", "currency", "language", "country", "shown"),
    [
        (8_400_000, "RUB", "ru", "RU", "84 000 ₽"),
        (8_400_050, "RUB", "ru", "RU", "84 000,50 ₽"),
        (150_000, "USD", "en", "US", "$1,500"),
        (150_000, "EUR", "en", "SI", "1.500 €"),
        (5000, "JPY", "en", "US", "¥5,000"),
        (0, "USD", "en", "US", "$0"),
    ],
)
def test_money_is_written_as_the_country_writes_it(
    renderer: Renderer, amount: int, currency: str, language: str, country: str, shown: str
) -> None:
    who = viewer(language, country)
    assert plain(say(renderer, "money | money", who, money={"amount": amount, "currency": currency})) == shown
    assert plain(say(renderer, "amount | money(currency)", who, amount=amount, currency=currency)) == shown


def test_no_amount_is_nothing_at_all(renderer: Renderer) -> None:
    assert say(renderer, "none | money") == ""


@pytest.mark.parametrize(
    ("amount", "currency", "typed"), [(1_250_050, "RUB", "12500.5"), (96_000_00, "RUB", "96000"), (5000, "JPY", "5000")]
)
def test_an_amount_in_a_form_is_in_major_units(amount: int, currency: str, typed: str) -> None:
    assert rendering.amount_value({"amount": amount, "currency": currency}) == typed


@pytest.mark.parametrize(
    ("value", "shown"),
    [("+79161234567", "+7 916 123-45-67"), ("+37499123456", "+374 99 123456"), ("112", "112"), ("Vera", "Vera")],
)
def test_phones_are_grouped_as_people_read_them(renderer: Renderer, value: str, shown: str) -> None:
    assert say(renderer, "value | phone", value=value) == shown


@pytest.mark.parametrize(
    ("time_zone", "language", "country", "shown"),
    [
        ("Europe/Moscow", "en", "RU", "22 Nov 2026, 18:20"),
        ("Europe/Moscow", "ru", "RU", "22 нояб. 2026 г., 18:20"),
        ("America/New_York", "en", "US", "Nov 22, 2026, 10:20 AM"),
        ("Nowhere/Atall", "en", "RU", "22 Nov 2026, 15:20"),
    ],
)
def test_moments_are_told_in_the_viewers_zone_and_language(
    renderer: Renderer, time_zone: str, language: str, country: str, shown: str
) -> None:
    assert plain(say(renderer, "at | moment", viewer(language, country, time_zone), at=NOW)) == shown


@pytest.mark.parametrize(
    ("before", "english", "russian"),
    [
        (timedelta(seconds=20), "just now", "только что"),
        (timedelta(minutes=9), "9 min ago", "9 мин назад"),
        (timedelta(minutes=119), "119 min ago", "119 мин назад"),
        (timedelta(hours=3), "3 hr ago", "3 ч назад"),
        (timedelta(days=2), "2 days ago", "2 дня назад"),
        (timedelta(minutes=-6), "in 6 min", "через 6 мин"),
        (timedelta(days=9), "Fri, 13 Nov", "Пт, 13 нояб."),
    ],
)
def test_times_are_told_relative_to_now_with_the_exact_one_at_hand(
    renderer: Renderer, before: timedelta, english: str, russian: str
) -> None:
    shown = say(renderer, "ago(at)", at=NOW - before)
    assert plain(shown) == english
    assert plain(say(renderer, "ago(at)", viewer("ru"), at=NOW - before)) == russian
    assert 'title="' in shown and (NOW - before).strftime("%Y-%m-%dT%H:%M:%SZ") in shown


@pytest.mark.parametrize(
    ("left", "state", "text"),
    [
        (timedelta(minutes=6), "", "in 6 min"),
        (timedelta(minutes=3), "is-soon", "in 3 min"),
        (timedelta(seconds=30), "is-soon", "due now"),
        (timedelta(minutes=-5), "is-late", "5 min late"),
        (timedelta(days=-2), "is-late", "2 days late"),
    ],
)
def test_a_deadline_turns_amber_in_its_last_quarter_and_red_when_late(
    renderer: Renderer, left: timedelta, state: str, text: str
) -> None:
    due = NOW + left
    shown = say(renderer, "deadline(due, since)", due=due, since=due - timedelta(minutes=15))
    assert f'class="deadline {state}"' in shown
    assert plain(shown) == text


def test_a_task_without_a_deadline_shows_none(renderer: Renderer) -> None:
    assert say(renderer, "deadline(none)") == ""


@pytest.mark.parametrize(
    ("name", "letters"),
    [("Вера Павловна Соколова", "ВС"), ("vera", "V"), ("Анна-Мария", "А"), ("", ""), ("☎ Вера", "В")],
)
def test_initials_are_of_the_first_and_the_last_word(name: str, letters: str) -> None:
    assert formats.initials(name) == letters


def test_a_persons_colour_comes_from_the_id_and_stays(renderer: Renderer) -> None:
    shown = say(renderer, "avatar(person)", person=SimpleNamespace(id=7, name="Вера Соколова"))
    assert f"hue-{7 * 5 % 12}" in shown and ">ВС<" in shown
    assert formats.hue("7") == formats.hue(7) != formats.hue(8)


def test_names_from_outside_are_never_markup(renderer: Renderer) -> None:
    name = "<img src=x onerror=alert(1)> \"'><b>"
    shown = say(renderer, "avatar(person) ~ person.name", person={"id": 1, "name": name})
    assert "<img" not in shown and "<b>" not in shown and '""' not in shown


def test_a_static_file_is_named_with_a_hash_of_its_content(tmp_path: Path) -> None:
    (tmp_path / "app.css").write_text("a")
    first = Renderer(static=tmp_path).static_url("app.css")
    (tmp_path / "app.css").write_text("b")
    assert re.fullmatch(r"/static/app\.css\?v=[0-9a-f]{10}", first)
    assert Renderer(static=tmp_path).static_url("app.css") != first


def test_compiled_templates_survive_a_restart(tmp_path: Path) -> None:
    Renderer(bytecode=tmp_path / "templates").render("error.html", viewer(), what=404, reference=None, detail=None)
    assert list((tmp_path / "templates").iterdir())


def test_a_page_that_lacks_a_value_says_so_instead_of_leaving_a_hole(renderer: Renderer) -> None:
    with pytest.raises(UndefinedError, match="what"):
        renderer.render("error.html", viewer(), reference=None, detail=None)


def test_pages_speak_the_viewers_language_and_know_its_plurals(renderer: Renderer) -> None:
    def told(count: int) -> str:
        who = viewer("ru", user=SimpleNamespace(id=1, name="Анна", email="a@example.com", role="manager"), unread=count)
        return renderer.render("notifications.html", who, notifications=[])

    assert 'lang="ru"' in told(1) and "Уведомления" in told(1)
    for count, words_shown in ((1, "1 новое уведомление"), (3, "3 новых уведомления"), (5, "5 новых уведомлений")):
        assert words_shown in told(count)


def test_the_theme_is_the_systems_unless_the_person_chose_one(renderer: Renderer) -> None:
    def page(theme: str) -> str:
        return renderer.render("error.html", viewer(theme=theme), what=404, reference=None, detail=None)

    assert "data-theme" not in page("system")
    assert 'data-theme="dark"' in page("dark")


@pytest.mark.parametrize("language", [language for language in i18n.LANGUAGES if language != "en"])
def test_every_label_of_a_state_is_translated(language: str) -> None:
    messengers = {"Instagram", "LINE", "MAX", "Matrix", "Mattermost", "Messenger", "Slack", "Viber", "WhatsApp"}
    same_everywhere = {"Telegram", "E-mail", *messengers}
    texts = {text for vocabulary in words.LABELS.values() for text in vocabulary.values()} - same_everywhere
    catalogue = i18n.catalogue(language)
    assert [text for text in sorted(texts) if catalogue.gettext(text) == text] == []


def test_an_unknown_state_is_shown_as_it_is(renderer: Renderer) -> None:
    assert say(renderer, "label('lead_status', 'teleported')") == "teleported"


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_templates_compile_and_hold_nothing_the_security_policy_forbids(renderer: Renderer, path: Path) -> None:
    renderer.environment.get_template(str(path.relative_to(TEMPLATES)))
    source = path.read_text("utf-8")
    markup = re.sub(r"\{#.*?#\}", "", source, flags=re.DOTALL)
    assert not re.search(
        r"""\sstyle\s*=|\son\w+\s*=\s*["']|javascript:|hx-on|<style|<script(?![^>]*\s(?:src=|type="application/json"))""",
        markup,
    )
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?:https?:)?//""", markup)
    assert "|safe" not in markup.replace(" ", "")
    assert source.lstrip().startswith("{#"), "a template begins by saying what it needs"
