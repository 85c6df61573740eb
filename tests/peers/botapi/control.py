"""What `BotApi` can do, for programs in another process or language: POST /double/<what> with its arguments in JSON.

Somebody and something is named by number, username or token. Bytes (`content`) go as Base64. The answer is what the
method of `BotApi` returns, in JSON; what people in Telegram cannot do is answered 422 `{"error": …}`, a wait that was
in vain 408. GET /double/file/<unique_id> gives a file's bytes.
"""

from __future__ import annotations

import base64
import inspect
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.peers.botapi.chats import Chat, Message, Press, Topic, User
from tests.peers.botapi.errors import Misused
from tests.peers.botapi.seen import Seen
from tests.peers.botapi.server import Asked
from tests.peers.botapi.world import Bot

if TYPE_CHECKING:
    from tests.peers.botapi.double import BotApi

_OFFERED_WORDS = """
add_bot add_user start blocks unblocks deactivates says sends sends_album sends_location sends_contact edits deletes
presses answer reacts settled create_group add_member promotes demotes removes leaves sets_forum migrates
create_topic renames_topic closes_topic reopens_topic deletes_topic rate_limit lift_limits fail_next drop_next
messages calls commands wait_for_messages wait_for_calls
"""
OFFERED = frozenset(_OFFERED_WORDS.split())


class Control:
    """Lets the double be driven over HTTP."""

    def __init__(self, double: BotApi) -> None:
        self._double = double

    def routes(self) -> list[web.RouteDef]:
        """Return where."""
        return [web.post("/double/{what}", self._do), web.get("/double/file/{unique_id}", self._file)]

    async def _do(self, request: web.Request) -> web.StreamResponse:
        what = request.match_info["what"]
        if what not in OFFERED:
            return web.json_response({"error": f"there is no {what}; there are {sorted(OFFERED)}"}, status=404)
        try:
            given = _decoded(json.loads(await request.read() or b"{}"))
            listed = (
                given.pop("messages" if what == "deletes" else "emoji", []) if what in ("deletes", "reacts") else []
            )
            call = getattr(self._double, what)
            if listed:
                result = call(given.pop("user"), given.pop("chat"), *_positional(given), *listed)
            else:
                result = call(**given)
            if inspect.isawaitable(result):
                result = await result
        except TimeoutError:
            return web.json_response({"error": "it did not happen in time"}, status=408)
        except (Misused, TypeError, KeyError, ValueError, AttributeError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=422)
        return web.json_response(_shown(result))

    async def _file(self, request: web.Request) -> web.StreamResponse:
        file = self._double.world.files.get(request.match_info["unique_id"])
        if file is None:
            return web.json_response({"error": "there is no such file"}, status=404)
        return web.Response(body=file.content, content_type="application/octet-stream")


def _positional(given: dict[str, Any]) -> list[Any]:
    return [given.pop("message")] if "message" in given else []


def _decoded(given: Any) -> Any:
    if isinstance(given, dict):
        return {
            name: base64.b64decode(value) if name == "content" and isinstance(value, str) else _decoded(value)
            for name, value in given.items()
        }
    return [_decoded(value) for value in given] if isinstance(given, list) else given


def _shown(value: Any) -> Any:
    if isinstance(value, Bot):
        return {**value.user.json(), "token": value.token}
    if isinstance(value, Chat | User | Seen):
        return value.json()
    if isinstance(value, Message):
        return {"message_id": value.id, "chat_id": value.chat.id, "thread": value.thread}
    if isinstance(value, Press):
        return {"id": value.id, "data": value.data, "answer": value.answer}
    if isinstance(value, Asked | Topic):
        return asdict(value)
    if isinstance(value, list | tuple):
        return [_shown(one) for one in value]
    return value
