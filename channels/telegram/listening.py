"""Fetching updates by long polling, for hubs that Telegram cannot reach. Importing this takes seconds.

`getUpdates` forgets what lies before the offset it is asked with, so the offset moves in the transaction that stores
the updates, and only the next call confirms them: https://core.telegram.org/bots/api#getupdates. An offset belongs to
one bot; that of another is not taken over. A webhook and polling exclude each other, as do two that poll (409).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from aiogram.methods import AnswerCallbackQuery, DeleteWebhook, GetMe, GetUpdates

from channels.contract import Item, Listening, Routed
from channels.errors import ChannelError, Temporary, Uncertain
from channels.fields import Fields
from channels.telegram.calls import Api
from channels.telegram.reading import UPDATES
from webhooks.request import RawRequest

POLL = 30
"""Seconds Telegram holds a call that has nothing to tell."""

_LONGEST_PAUSE = 60.0


async def listen(
    api: Api,
    listening: Listening,
    bot_id: str,
    route: Callable[[RawRequest], Routed],
    pause: float,
    *,
    updates: Sequence[str] = UPDATES,
    answers_presses: bool = True,
    names_bot: bool = False,
) -> None:
    """Fetch updates for ever. `pause` is how many seconds the first wait after a trouble takes; they get longer.

    `updates`, `answers_presses` and `names_bot` are as `channels.telegram.bot.TelegramBot` has them.

    Raises:
        Unauthorised, Misconfigured: the bot's token is not taken. ChannelError: Telegram refuses for good.
    """
    is_same_bot = listening.cursor.get("bot", bot_id) == bot_id
    offset = Fields(dict(listening.cursor)).whole("offset") if is_same_bot else None
    has_line, wait, handle = False, pause, ""  # whether no webhook stands in the way
    while True:
        started = time.monotonic()
        try:
            if not has_line:
                await api(DeleteWebhook(drop_pending_updates=False))
                handle = (await api(GetMe())).id("username") if names_bot else ""
                has_line = True
            found = await api(
                GetUpdates(offset=offset, limit=100, timeout=POLL, allowed_updates=list(updates)), timeout=POLL + 10
            )
            if not isinstance(found.value, list):
                raise Uncertain("Telegram's answer makes no sense", code="unreadable")
        except (Temporary, Uncertain) as error:
            if error.code == "409":
                has_line = False
            listening.is_ill(_told(error))
            asked = getattr(error, "retry_after", None) or 0.0
            await asyncio.sleep(max(wait, asked))
            wait = min(wait * 2, _LONGEST_PAUSE)
            continue
        wait = pause
        listening.is_well()
        brought = [(number, update) for update in found.items() if (number := update.whole("update_id")) is not None]
        if brought:
            offset = max(number for number, _ in brought) + 1
            items = [_item(update, route, handle) for _, update in brought]
            await listening.deliver(items, {"bot": bot_id, "offset": offset})
            for _, update in brought if answers_presses else ():
                await _stop_spinning(api, update)
        elif time.monotonic() - started < min(1.0, pause):
            await asyncio.sleep(pause)  # a server that does not hold calls is not to be asked without end


def _item(update: Fields, route: Callable[[RawRequest], Routed], handle: str) -> Item:
    body = json.dumps(update.value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    request = RawRequest(body, headers={"content-type": "application/json"}, suffix=handle)
    return Item(request, route(request))


async def _stop_spinning(api: Api, update: Fields) -> None:
    """Tell Telegram that a press was noted, so that the button stops spinning; if that fails it stops by itself."""
    if pressed := update.id("callback_query", "id"):
        with suppress(ChannelError):
            await api(AnswerCallbackQuery(callback_query_id=pressed))


def _told(error: ChannelError) -> str:
    if error.code != "409":
        return str(error)
    return (
        "Something else reads this bot's updates too: another program, or another connection with the same token. "
        f"Only one can. ({error})"
    )
