"""The demo company: a maker of windows, who works there, and who asks for windows.

Everybody is invented. Addresses end in example.com, .org or .net; the Russian numbers begin with 900 000, and the
British ones are those Ofcom keeps for drama.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from core.staff.users import Role

NAME = "Clear View Windows"
SITE = "https://windows.example.com"
SCHEDULE: dict[str, Any] = {
    "time_zone": "Europe/Moscow",
    "week": {day: [["08:00", "22:00"]] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")},
}


class Person(NamedTuple):
    """Somebody who works here. `key` is the first part of their e-mail address."""

    key: str
    name: str
    role: Role
    extension: str | None = None


PEOPLE = (
    Person("elena", "Elena Orlova", Role.OWNER),
    Person("kirill", "Kirill Zotov", Role.HEAD, "100"),
    Person("anna", "Anna Melnik", Role.MANAGER, "101"),
    Person("boris", "Boris Karpov", Role.MANAGER, "102"),
    Person("maks", "Maks Gromov", Role.SPECIALIST, "110"),
    Person("igor", "Igor Savin", Role.SPECIALIST, "111"),
)


class Rule(NamedTuple):
    """A stage's task beyond those of an empty workspace; `to` is who gets it, None: the deal's owner."""

    stage: str
    title: str
    kind: str
    due_minutes: int
    to: str | None = None


RULES = (
    Rule("Qualified", "Measure the openings", "visit", 1260, "maks"),
    Rule("Proposal", "Send the proposal", "document", 240),
    Rule("Payment", "Confirm that the money has come", "other", 1680),
    Rule("Won", "Install the windows", "visit", 5040, "igor"),
)


class Fate(NamedTuple):
    """What becomes of a request if there is time enough.

    called       whether somebody calls in time; None: nobody ever does
    end          won, lost, junk, or the stage in which it stays
    amount       in roubles
    reason       why it was lost
    asks_again   days until the same person writes again; 0: never
    """

    called: bool | None
    end: str
    amount: int = 0
    reason: str = ""
    asks_again: int = 0


class Inquiry(NamedTuple):
    """A request: so many days ago, at a time of day in Moscow, by somebody, with what became of it."""

    days_ago: int
    clock: str
    name: str
    text: str
    fate: Fate
    source: str = ""
    language: str = "ru"
    company: str = ""
    email: str = ""


def _won(roubles: int, *, again: int = 0, late: bool = False) -> Fate:
    return Fate(not late, "won", roubles, asks_again=again)


def _lost(reason: str, roubles: int = 0, *, late: bool = False) -> Fate:
    return Fate(not late, "lost", roubles, reason)


def _going(roubles: int, stage: str = "Proposal", *, late: bool = False) -> Fate:
    return Fate(not late, stage, roubles)


FORGOTTEN = Fate(None, "First call")
JUNK = Fate(True, "junk")

INQUIRIES = (
    Inquiry(14, "09:40", "Вера Соколова", "Три окна в панельный дом, нужна смета", _won(184_000, again=9), "google"),
    Inquiry(14, "12:15", "Дмитрий Лапин", "Остекление балкона 6 метров, холодное", _won(96_500), "yandex"),
    Inquiry(14, "19:52", "Olivia Hart", "Two sash windows for a rented flat, how soon?", _lost("Not now"), "", "en"),
    Inquiry(13, "10:05", "Наталья Ерёмина", "Замена двух окон на кухне", _lost("Too expensive", 78_000), "yandex"),
    Inquiry(13, "15:30", "Павел Сафронов", "Окна в новый дом, 11 штук", _won(742_000, late=True), "google"),
    Inquiry(13, "22:47", "Ирина Белова", "Продувает окно, можно отрегулировать?", _lost("Other"), ""),
    Inquiry(12, "09:12", "James Whitfield", "Office, 4 windows", _won(318_000), "google", "en", "Whitfield & Co"),
    Inquiry(12, "13:48", "Гульнара Ахметова", "Тёплый балкон под ключ", _won(265_000), "vk"),
    Inquiry(11, "11:20", "Сергей Тихонов", "Москитные сетки 5 штук", _lost("Chose somebody else", 12_500), "yandex"),
    Inquiry(11, "16:02", "Casino Bonus 777", "BEST BONUS CLICK http://bonus.example.net", JUNK, "", "en"),
    Inquiry(11, "17:35", "Алла Мороз", "Окна для детской, важна шумоизоляция", _won(134_000), "google"),
    Inquiry(
        10,
        "10:30",
        "Артур Саакян",
        "Витраж в кафе, 3 на 4 метра",
        _going(410_000, "Payment"),
        "",
        "ru",
        "Кафе «Арарат»",
    ),
    Inquiry(10, "14:10", "Emma Clarke", "Could you quote five tilt and turn windows?", _won(221_000), "google", "en"),
    Inquiry(9, "09:55", "Ольга Никитина", "Подоконники и откосы, 4 окна", _won(48_000, late=True), "yandex"),
    Inquiry(9, "18:20", "Михаил Ларин", "Дача, 6 окон, нужен замер в выходные", _lost("Could not be reached"), "vk"),
    Inquiry(8, "12:00", "Татьяна Громова", "Французское окно на лоджию", _won(156_000), "google"),
    Inquiry(7, "10:25", "Виктор Пак", "Остекление веранды, 18 м²", _going(538_000), "google"),
    Inquiry(7, "15:44", "Sophie Turner", "Broken pane in a shop, urgent", _won(39_000), "", "en", "Turner Bakery"),
    Inquiry(6, "11:11", "Екатерина Рыжова", "Два окна и балконная дверь", _going(142_000, late=True), "yandex"),
    Inquiry(6, "16:40", "Андрей Чистов", "Сколько стоит окно 1400×1500?", _lost("Too expensive", 27_000), "yandex"),
    Inquiry(5, "09:30", "Лилия Хасанова", "Хочу ламинированные окна под дуб", _going(233_000, "Payment"), "vk"),
    Inquiry(5, "13:05", "Роман Щукин", "Окна в школу, 24 шт., нужен договор", _going(1_460_000), "", "ru", "Школа № 5"),
    Inquiry(4, "10:48", "Henry Adams", "Replacing six windows in a country house", _going(402_000), "google", "en"),
    Inquiry(4, "17:15", "Марина Юдина", "Замена стеклопакета", FORGOTTEN, "yandex"),
    Inquiry(3, "11:35", "Константин Вольский", "Панорамные окна, 3 комнаты", _going(615_000), "google"),
    Inquiry(3, "19:10", "Юлия Зимина", "Перезвоните, пожалуйста, по балкону", _going(118_000), "vk"),
    Inquiry(2, "10:20", "Станислав Ковалёв", "Окна в гараж, 2 шт.", _going(44_000, "Qualified"), "yandex"),
    Inquiry(2, "13:25", "Жанна Тополева", "Отлив и подоконник, замер нужен", _going(21_000, late=True)),
    Inquiry(1, "10:15", "Grace Miller", "A bay window, Victorian style", _going(287_000, "Qualified"), "google", "en"),
    Inquiry(1, "12:40", "Фёдор Астахов", "Шесть окон, рассрочка возможна?", FORGOTTEN, "yandex"),
    Inquiry(1, "16:05", "Лариса Белкина", "Балкон 3 метра, утепление", _going(91_000, late=True), "vk"),
)
"""What came in on earlier days, oldest first."""

TODAY = (
    (320, Inquiry(0, "", "Николай Дорохов", "Нужно 2 окна, срочно", _going(67_000), "google")),
    (190, Inquiry(0, "", "Alice Bennett", "Soundproof windows, studio", FORGOTTEN, "google", "en", "Bennett Sound")),
    (75, Inquiry(0, "", "Тимур Галеев", "Окна и двери ПВХ для пристройки", _going(173_000), "yandex")),
    (38, Inquiry(0, "", "Светлана Ким", "Отрегулировать створки, 3 окна", FORGOTTEN, "vk")),
    (4, Inquiry(0, "", "Евгений Романов", "Четыре окна, нужен замер завтра", FORGOTTEN, "google")),
)
"""What came in so many minutes ago; the night is no exception."""


class Ring(NamedTuple):
    """Somebody rings, so many minutes ago.

    who      the name of an inquiry's customer; "" for a number nobody knows
    rings    the extensions that ring; talk: seconds, 0 if nobody answers; through: who it is put through to
    """

    minutes_ago: int
    who: str
    rings: tuple[str, ...]
    talk: int = 0
    through: tuple[str, ...] = ()
    left_word: bool = False


RINGS = (
    Ring(2_900, "Артур Саакян", ("101",), 96),
    Ring(1_500, "Henry Adams", ("100", "101"), 154, ("101",)),
    Ring(1_290, "Роман Щукин", ("101",)),
    Ring(170, "Виктор Пак", ("100",), 48),
    Ring(95, "", ("100", "101"), left_word=True),
    Ring(26, "Константин Вольский", ("101",)),
    Ring(9, "", ("100", "101")),
)
"""Who rang, oldest first."""

NOTES = (
    "Called back: a panel house, third floor. Wants it done before the frost.",
    "Asked for the profile to be five-chambered; sent them the comparison.",
    "Prefers to be called after six.",
    "The decision is made together with the husband, who is back on Thursday.",
    "Has an offer of another company, 8 % cheaper. Explained the difference in the glass.",
    "Will pay by bank transfer, needs an invoice.",
)
