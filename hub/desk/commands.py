"""Commands: what `/words` at the desk do, by name in English and Russian."""

from __future__ import annotations

import re
from collections.abc import Mapping

from channels.desk_contract import Card
from core.staff.users import User
from hub.desk import lists, orders, personal, topics
from hub.desk.cards import key
from hub.desk.doing import Answer, Command, Doing, Verb
from hub.desk.reader import Reader

_COMMAND = re.compile(r"/(?P<name>\w+)(?:@\S*)?(?:\s+(?P<words>.*))?", re.DOTALL)


async def run(doing: Doing, text: str) -> None:
    """Do a command: `/name words`, or `/name@bot words` as groups have it.

    In a group that is nobody's team's, what is no command of ours is for another bot.

    Raises:
        DomainError: it cannot be done; the message may be shown.
    """
    match = _COMMAND.fullmatch(text.strip())
    name = match["name"].casefold().replace("ё", "е") if match is not None else ""
    command = COMMANDS.get(_ALIASES.get(name, name))
    if command is not None and match is not None:
        await command(doing, (match["words"] or "").strip())
        return
    is_ours = doing.event.is_private or doing.topic_id is not None
    if not is_ours and not await topics.is_team_chat(doing.session, doing.live.id, doing.event.peer):
        return
    said = text.split(maxsplit=1)[0][:40]
    card = _help(doing.reader, "❔ " + doing.text("I do not know %(command)s. Nothing was sent.", command=said))
    doing.say(card, conversation_id=None)


def welcome(reader: Reader, user: User) -> Card:
    """Greet somebody who is linked, and say how one works here."""
    _ = reader.text
    first = user.name.split()[0] if user.name.split() else user.name
    return Card(
        title="👋 " + _("Hello, %(name)s", name=first),
        lines=(
            _("New leads, what customers write, your tasks and calls come here."),
            _("Answer to a card, and your words go to that customer. What begins with // stays among colleagues."),
            _("/today shows what waits for you, /help all that can be done."),
        ),
        keys=(
            (key("☀️ " + _("My day"), "run", "today"), key("☑️ " + _("Tasks"), "run", "tasks")),
            (key("💬 " + _("Conversations"), "run", "mine"), key("📊 " + _("Deals"), "run", "deals")),
        ),
    )


async def start(doing: Doing, words: str) -> None:
    """Greet."""
    doing.say(welcome(doing.reader, doing.user), conversation_id=None)


async def show_help(doing: Doing, words: str) -> None:
    """Say what can be done."""
    doing.say(_help(doing.reader, "ℹ️ " + doing.text("What can be done here")), conversation_id=None)


def _help(reader: Reader, title: str) -> Card:
    _ = reader.text
    return Card(
        title=title,
        lines=(
            "",
            _("— What waits —"),
            "/today · " + _("your day at a glance"),
            "/tasks · " + _("what you have to do"),
            "/mine · " + _("conversations you look after"),
            "/deals · " + _("your open deals"),
            "/find · " + _("people by name, number or address"),
            "",
            _("— In answer to a card, or in a topic —"),
            _("words · to the customer; // before them: for colleagues only"),
            "/task · " + _("a task: /task tomorrow 10:00 call"),
            "/done, /snooze · " + _("done, or later: /snooze 2 hours"),
            "/take, /hand, /junk · " + _("take a lead, hand it over, close it as none"),
            "/call, /note, /reply · " + _("call, note, canned reply"),
            "/deal, /stage, /amount · " + _("the deal, its stage, its amount: /amount 120k"),
            "/won, /lost · " + _("how it ended: /lost too expensive"),
            "",
            _("— Yourself —"),
            "/away, /back · " + _("away and here again: /away until 15:00"),
            "/settings, /unlink · " + _("what you are told here; unlink this account"),
            "/team · " + _("in a group: make it a team's"),
        ),
    )


async def show(doing: Doing, words: str) -> None:
    """Show a conversation of this number again, or the one this is about."""
    number = words.removeprefix("#") or str(doing.conversation_id or "")
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        await lists.mine(doing, "")
        return
    orders.tell(doing, await lists.show(doing, [number]))


async def run_listed(doing: Doing, parts: list[str]) -> Answer:
    """Do one of the commands that only show something, from a button."""
    if parts[0] not in ("today", "tasks", "mine", "deals", "help"):
        raise ValueError(parts[0])
    await COMMANDS[parts[0]](doing, "")
    return Answer()


COMMANDS: Mapping[str, Command] = {
    "start": start,
    "help": show_help,
    "today": lists.today,
    "tasks": lists.tasks,
    "mine": lists.mine,
    "deals": lists.deals,
    "find": lists.find,
    "show": show,
    "task": orders.task,
    "done": orders.done,
    "snooze": orders.snooze,
    "take": orders.take,
    "hand": orders.hand,
    "junk": orders.junk,
    "call": orders.call,
    "note": orders.note,
    "reply": orders.reply,
    "deal": orders.deal,
    "stage": orders.stage,
    "amount": orders.amount,
    "won": orders.won,
    "lost": orders.lost,
    "away": personal.away,
    "back": personal.back,
    "settings": personal.settings,
    "unlink": personal.unlink,
    "team": personal.team,
}
"""What each command does. A messenger's menu of commands is made of these names."""

_ALIASES = {
    alias: name
    for name, line in {
        "start": "старт начать привет",
        "help": "помощь справка команды",
        "today": "сегодня день",
        "tasks": "задачи дела",
        "mine": "мои диалоги переписки",
        "deals": "сделки",
        "find": "найти поиск",
        "show": "показать",
        "task": "задача дело",
        "done": "готово сделано",
        "snooze": "отложить позже",
        "take": "взять беру",
        "hand": "передать отдать",
        "junk": "спам мусор",
        "call": "позвонить звонок",
        "note": "заметка",
        "reply": "шаблон ответ",
        "deal": "сделка",
        "stage": "этап стадия",
        "amount": "сумма",
        "won": "выиграна успех",
        "lost": "проиграна отказ",
        "away": "отошел отошла ухожу",
        "back": "вернулся вернулась",
        "settings": "настройки",
        "unlink": "отвязать",
        "team": "команда отдел",
    }.items()
    for alias in line.split()
}

EXTRA_VERBS: Mapping[str, Verb] = {"show": lists.show, "run": run_listed}
"""Buttons that commands' posts have besides those of hub.desk.presses."""
