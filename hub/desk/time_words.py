"""Time words: how Russian and English say times, as patterns that look for one element each.

All patterns are meant for text in lower case with ё written as е.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_END = r"(?!\w)"


def _any(words: Iterable[str]) -> str:
    """Return the alternatives as a pattern, the longest first; a blank stands for any space between words."""
    return "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(words, key=len, reverse=True))


def _table(**words: str) -> dict[str, int]:
    return {word.replace("_", " "): int(value[1:]) for value, line in words.items() for word in line.split()}


WHOLE = _table(
    n1="один одна одну one", n2="два две two", n3="три three", n4="четыре four", n5="пять five", n6="шесть six",
    n7="семь seven", n8="восемь eight", n9="девять nine", n10="десять ten", n11="одиннадцать eleven",
    n12="двенадцать twelve",
)  # fmt: skip
"""Numbers in words."""

COUNTS: Mapping[str, float] = {
    **WHOLE,
    **{"a": 1, "an": 1, "пару": 2, "a couple of": 2, "a few": 3, "полтора": 1.5, "полторы": 1.5, "пол": 0.5},
    **{"half a": 0.5, "half an": 0.5, "one and a half": 1.5},
}
"""How many of a unit."""

_UNITS = {
    "minutes": "мин минута минуту минуты минут минутку min mins minute minutes",
    "hours": "ч час часа часов часик h hr hrs hour hours",
    "days": "день дня дней сутки суток day days",
    "weeks": "нед неделю недели недель week weeks",
    "months": "мес месяц месяца месяцев month months",
    "years": "год года year years",
}
UNITS = {word: unit for unit, line in _UNITS.items() for word in line.split()}
_ALONE = ("минуту", "минутку", "час", "часик", "день", "сутки", "неделю", "месяц", "год")
"""What may stand without a number: “через час”."""

PIECE = re.compile(
    rf"(?P<half>полчаса){_END}"
    rf"|(?P<count>[0-9]{{1,5}}(?:[.,][0-9])?|(?:{_any(COUNTS)})(?=\s))\s*(?P<unit>{_any(UNITS)}){_END}\.?"
    rf"|(?P<alone>{_any(_ALONE)}){_END}"
)
_PIECE = re.sub(r"\(\?P<\w+>", "(?:", PIECE.pattern)
AND_A_HALF = re.compile(r"\s+(?:and\s+a\s+half|с\s+половиной)(?!\w)")
SPAN = re.compile(
    rf"(?<!\w)(?:через|спустя|in|after)\s+(?P<span>(?:{_PIECE})(?:\s+(?:(?:и|and)\s+)?(?:{_PIECE}))*"
    rf"(?:{AND_A_HALF.pattern})?)"
)

DAYS = {"сегодня": 0, "today": 0, "завтра": 1, "tomorrow": 1, "послезавтра": 2, "day after tomorrow": 2}
_TOWARDS = r"(?:(?:на|к|ко|до|с|on|by|until|till|for|from)\s+)?"
DAY = re.compile(rf"(?<!\w){_TOWARDS}(?:the\s+)?(?P<day>{_any(DAYS)}){_END}")
NEXT_WEEK = re.compile(rf"(?<!\w)(?:на\s+следующей\s+неделе|next\s+week){_END}")

_MONTHS = _table(
    n1="января январь янв january jan", n2="февраля февраль фев february feb", n3="марта март мар march mar",
    n4="апреля апрель апр april apr", n5="мая май may", n6="июня июнь июн june jun", n7="июля июль июл july jul",
    n8="августа август авг august aug", n9="сентября сентябрь сент сен september sept sep",
    n10="октября октябрь окт october oct", n11="ноября ноябрь ноя november nov", n12="декабря декабрь дек december dec",
)  # fmt: skip
MONTHS: Mapping[str, int] = _MONTHS
_YEAR = r"(?:,?\s+(?P<year>20[0-9]{2})(?![0-9:])(?:\s*(?:года|г)(?!\w)\.?)?)?"
_NO_MEASURE = r"(?!\s*(?:[%₽$€£°]|(?:руб|тыс|млн|кг|см|мм|usd|eur)))"
DATES = (
    re.compile(
        rf"(?<![\w.]){_TOWARDS}(?:the\s+)?(?P<day>[0-9]{{1,2}})(?:-?го|st|nd|rd|th)?\s+(?:of\s+)?(?P<month>{_any(_MONTHS)})"
        rf"{_END}\.?{_YEAR}"
    ),
    re.compile(
        rf"(?<!\w){_TOWARDS}(?P<month>{_any(_MONTHS)}){_END}\.?\s+(?:the\s+)?(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?(?![\w:]){_YEAR}"
    ),
    re.compile(
        rf"(?<![\w.,:]){_TOWARDS}(?P<day>[0-9]{{1,2}})\.(?P<month>[0-9]{{2}})(?:\.(?P<year>20[0-9]{{2}}|[0-9]{{2}}))?"
        rf"(?![\w:]|[.,][0-9]){_NO_MEASURE}"
    ),
    re.compile(r"(?<![\w-])(?P<year>20[0-9]{2})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})(?![\w-])"),
)

_WEEKDAYS = _table(
    n0="понедельник понедельника понедельнику monday", n1="вторник вторника вторнику tuesday",
    n2="среда среду среды среде wednesday", n3="четверг четверга четвергу thursday",
    n4="пятница пятницу пятницы пятнице friday", n5="суббота субботу субботы субботе saturday",
    n6="воскресенье воскресенья воскресенью sunday",
)  # fmt: skip
SHORT_WEEKDAYS = _table(
    n0="пн mon", n1="вт tue tues", n2="ср wed", n3="чт thu thur thurs", n4="пт fri", n5="сб sat", n6="вс sun"
)
WEEKDAYS: Mapping[str, int] = {**_WEEKDAYS, **SHORT_WEEKDAYS}
WEEKDAY = re.compile(
    rf"(?<!\w)(?P<towards>(?:в|во|на|к|ко|до|с|on|by|until|till|from)\s+)?(?:(?:эт(?:от|у|о)|this)\s+)?"
    rf"(?P<next>(?:следующ(?:ий|ую|ее|ей|его|ему)|next)\s+)?(?:(?:ближайш(?:ий|ую|ее)|coming)\s+)?"
    rf"(?P<weekday>{_any(WEEKDAYS)}){_END}"
)

PARTS = {
    **dict.fromkeys(("утром", "с утра", "in the morning", "this morning", "morning"), "morning"),
    **dict.fromkeys(("в полдень", "полдень", "at noon", "noon", "at midday", "midday"), "noon"),
    **dict.fromkeys(("в обед", "at lunchtime"), "lunch"),
    **dict.fromkeys(("днем", "после обеда", "in the afternoon", "this afternoon", "after lunch"), "afternoon"),
    "afternoon": "afternoon",
    **dict.fromkeys(("вечером", "in the evening", "this evening", "tonight", "evening"), "evening"),
    **dict.fromkeys(("ночью", "at night"), "night"),
    **dict.fromkeys(("в полночь", "полночь", "at midnight", "midnight"), "midnight"),
}
WEAK_PARTS = ("morning", "afternoon", "evening")
"""Words that name a part of the day only together with a day: “tomorrow morning”, not “good morning”."""
TONIGHT = ("tonight", "this morning", "this afternoon", "this evening")
PART = re.compile(rf"(?<!\w)(?P<part>{_any(PARTS)}){_END}")

_HOUR = rf"(?P<hour>[01]?[0-9]|2[0-3]|{_any(WHOLE)})"
_OCLOCK = r"(?:\s*(?:часов|часа|час|ч|o['’]?clock)(?!\w)\.?)"
_AT = r"(?:(?:в|к|at|@|до|на|с|by|until|till|from|около|about)\s+)?"
_HALF = r"(?P<half>am|pm|a\.m\.|p\.m\.)"
_NO_TIME = rf"(?![\w:%]|[.,][0-9]|\s*[-–][0-9]|\s+раза?(?!\w)){_NO_MEASURE}"
CLOCKS = (
    re.compile(
        rf"(?<![\w:.,-]){_AT}(?P<hour>[01]?[0-9]|2[0-3]):(?P<minute>[0-5][0-9])(?:\s*{_HALF})?(?![\w:]|[.,][0-9])"
    ),
    re.compile(rf"(?<![\w:.,-]){_AT}(?P<hour>1[0-2]|0?[1-9])\s*{_HALF}(?!\w)"),
    re.compile(rf"(?<!\w)(?:в|at)\s+(?P<hour>[01]?[0-9]|2[0-3])\.(?P<minute>[0-5][0-9])(?!\w|[.,][0-9]){_NO_MEASURE}"),
    re.compile(rf"(?<![\w:.,-]){_AT}{_HOUR}{_OCLOCK}?\s+(?P<part>утра|вечера|ночи)(?!\w)"),
    re.compile(
        rf"(?<![\w:.,-])(?:(?:в|к)\s+{_HOUR}|(?P<bare>[0-9]{{1,2}})\s+(?:часа|часов)){_OCLOCK}?\s+(?P<part>дня)(?!\w)"
    ),
    re.compile(r"(?<!\w)(?:в|к)\s+(?P<one>час)(?:у)?\s+(?P<part>дня|ночи)(?!\w)"),
    re.compile(rf"(?<!\w)(?:в|к|at|@)\s*(?<=[\s@]){_HOUR}{_OCLOCK}?{_NO_TIME}"),
)
WEAK_CLOCKS = (
    re.compile(rf"(?<!\w)(?:до|на|с|by|until|till|from|около|about)\s+{_HOUR}{_OCLOCK}?{_NO_TIME}"),
    re.compile(rf"(?<![\w:.,-])(?P<hour>[01]?[0-9]|2[0-3])\.(?P<minute>[0-5][0-9])(?!\w|[.,][0-9]){_NO_MEASURE}"),
)
"""Times only where a day stands beside them: “скидка до 10” is none, “завтра до 10” is one."""

OF_THE_DAY = {"утра": "morning", "дня": "afternoon", "вечера": "evening", "ночи": "night"}
BETWEEN = re.compile(r"[\s,]*")
WORD = re.compile(r"(?<!\w)[\w@]")
