"""Commands: what `/words` at the desk do."""

from __future__ import annotations

from channels.desk_contract import Card
from core.staff.users import User
from hub.desk.doing import Doing
from hub.desk.reader import Reader


async def run(doing: Doing, text: str) -> None:
    """Do a command."""
    doing.say(Card(title=text))


def welcome(reader: Reader, user: User) -> Card:
    """Greet somebody who has just been linked."""
    return Card(title=reader.text("Hello, %(name)s", name=user.name))
