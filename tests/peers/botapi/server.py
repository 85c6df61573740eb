"""The HTTP side of the played Bot API: which bot calls what, and in which shape it is answered.

https://core.telegram.org/bots/api#making-requests, #authorizing-your-bot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from tests.peers.botapi import (
    methods_account,
    methods_changes,
    methods_chats,
    methods_send,
    methods_topics,
)
from tests.peers.botapi.arguments import Arguments, read
from tests.peers.botapi.calls import Call
from tests.peers.botapi.chats import Chat, Json, Pulse
from tests.peers.botapi.errors import Refused, unplayed
from tests.peers.botapi.faults import Faults
from tests.peers.botapi.media import MOST_DOWNLOAD, MOST_UPLOAD
from tests.peers.botapi.world import Bot, World

METHODS = {
    name.lower(): (name, method)
    for methods in (
        methods_account.METHODS,
        methods_send.METHODS,
        methods_changes.METHODS,
        methods_chats.METHODS,
        methods_topics.METHODS,
    )
    for name, method in methods.items()
}
_UNPLAYED_WORDS = """
addStickerToSet answerChatJoinRequestQuery answerGuestQuery answerInlineQuery answerPreCheckoutQuery
answerShippingQuery answerWebAppQuery approveChatJoinRequest approveSuggestedPost banChatMember banChatSenderChat
convertGiftToStars createChatInviteLink createChatSubscriptionInviteLink createInvoiceLink createNewStickerSet
declineChatJoinRequest declineSuggestedPost deleteAllMessageReactions deleteBusinessMessages deleteChatPhoto
deleteChatStickerSet deleteEphemeralMessage deleteMessageReaction deleteStickerFromSet deleteStickerSet deleteStory
editChatInviteLink editChatSubscriptionInviteLink editEphemeralMessageCaption editEphemeralMessageMedia
editEphemeralMessageReplyMarkup editEphemeralMessageText editMessageChecklist editMessageLiveLocation editStory
editUserStarSubscription exportChatInviteLink getAvailableGifts getBusinessAccountGifts
getBusinessAccountStarBalance getBusinessConnection getChatGifts getChatMenuButton getCustomEmojiStickers
getGameHighScores getManagedBotAccessSettings getManagedBotToken getMyDefaultAdministratorRights getMyStarBalance
getStarTransactions getStickerSet getUserChatBoosts getUserGifts getUserPersonalChatMessages getUserProfileAudios
giftPremiumSubscription postStory promoteChatMember readBusinessMessage refundStarPayment
removeBusinessAccountProfilePhoto removeChatVerification removeMyProfilePhoto removeUserVerification
replaceManagedBotToken replaceStickerInSet repostStory restrictChatMember revokeChatInviteLink
savePreparedInlineMessage savePreparedKeyboardButton sendChatJoinRequestWebApp sendChecklist sendDice sendGame
sendGift sendInvoice sendLivePhoto sendMessageDraft sendPaidMedia sendPoll sendRichMessage sendRichMessageDraft
setBusinessAccountBio setBusinessAccountGiftSettings setBusinessAccountName setBusinessAccountProfilePhoto
setBusinessAccountUsername setChatAdministratorCustomTitle setChatDescription setChatMemberTag setChatMenuButton
setChatPermissions setChatPhoto setChatStickerSet setChatTitle setCustomEmojiStickerSetThumbnail setGameScore
setManagedBotAccessSettings setMyDefaultAdministratorRights setMyProfilePhoto setPassportDataErrors
setStickerEmojiList setStickerKeywords setStickerMaskPosition setStickerPositionInSet setStickerSetThumbnail
setStickerSetTitle setUserEmojiStatus stopMessageLiveLocation stopPoll transferBusinessAccountStars transferGift
unbanChatMember unbanChatSenderChat upgradeGift uploadStickerFile verifyChat verifyUser
"""
UNPLAYED = {name.lower(): name for name in _UNPLAYED_WORDS.split()}
"""Methods of Bot API 10.3 that the double does not play. They are answered 501, in its own words."""

_LARGEST_REQUEST = MOST_UPLOAD + 1024 * 1024


@dataclass(frozen=True)
class Asked:
    """A call a bot made, and what came of it. `error` is 0 if it was done, else Telegram's number."""

    bot: str
    method: str
    arguments: Json
    error: int
    result: Any
    at: float


class Server:
    """Answers bots."""

    def __init__(
        self,
        world: World,
        faults: Faults,
        session: Callable[[], aiohttp.ClientSession],
        *,
        allow_http: bool,
        retry_pause: float,
    ) -> None:
        self._world = world
        self._faults = faults
        self._session = session
        self._allow_http = allow_http
        self._retry_pause = retry_pause
        self.asked: list[Asked] = []
        self.changed = Pulse()

    def routes(self) -> list[web.RouteDef]:
        """Return what bots may ask. `/test/` is the way into Telegram's test environment; here it is the same one."""
        return [
            web.route("*", r"/bot{token:[^/]+}/{method:[A-Za-z0-9_]+}", self._answer),
            web.route("*", r"/bot{token:[^/]+}/test/{method:[A-Za-z0-9_]+}", self._answer),
            web.get(r"/file/bot{token:[^/]+}/test/{path:.+}", self._file),
            web.get(r"/file/bot{token:[^/]+}/{path:.+}", self._file),
        ]

    def application(self) -> web.Application:
        """Make the application; more may be added to it."""
        app = web.Application(client_max_size=_LARGEST_REQUEST)
        app.add_routes(self.routes())
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["method"].lower()
        drop = None
        try:
            bot = self._bot(request.match_info["token"])
            arguments = await read(request)
            drop = self._faults.drop(name)
            if drop and not drop.after_processing:
                return _cut(request)
            body = {"ok": True, "result": await self.perform(bot, name, arguments)}
            status = 200
        except Refused as refusal:
            body, status = refusal.json(), refusal.code
        if drop:
            return _cut(request)
        headers = {"Retry-After": str(body["parameters"]["retry_after"])} if status == 429 else {}
        return web.Response(
            text=json.dumps(body, ensure_ascii=False), status=status, content_type="application/json", headers=headers
        )

    def _bot(self, token: str) -> Bot:
        if not re.fullmatch(r"[0-9]{1,20}:\S+", token):
            raise Refused(404, "Not Found")
        bot = self._world.bots.get(token)
        if bot is None:
            raise Refused(401, "Unauthorized")
        return bot

    async def perform(self, bot: Bot, name: str, arguments: Arguments) -> Any:
        """Do what a bot asks, and note it.

        Raises:
            Refused: it is not done.
        """
        shown = arguments.shown()
        try:
            result = await self._performed(bot, name, arguments)
        except Refused as refusal:
            self._note(bot, name, shown, refusal.code, refusal.json())
            raise
        self._note(bot, name, shown, 0, result)
        return result

    async def _performed(self, bot: Bot, name: str, arguments: Arguments) -> Any:
        if name not in METHODS:
            raise unplayed(UNPLAYED[name]) if name in UNPLAYED else Refused(404, "Not Found: method not found")
        self._faults.check(name, bot, self._chat(bot, arguments))

        async def answered(said: Json) -> None:
            given = {key: value for key, value in said.items() if key != "method"}
            try:
                await self.perform(bot, str(said["method"]).lower(), Arguments(given))
            except Refused:
                return  # nobody learns what came of it: https://core.telegram.org/bots/api#making-requests-when-getting-updates

        call = Call(self._world, bot, arguments, self._session(), answered, self._allow_http, self._retry_pause)
        return await METHODS[name][1](call)

    def _chat(self, bot: Bot, arguments: Arguments) -> Chat | None:
        given = arguments.text("chat_id")
        if not re.fullmatch(r"-?[0-9]{1,20}", given):
            return None
        return self._world.groups.get(int(given)) or self._world.private.get((bot.id, int(given)))

    def _note(self, bot: Bot, name: str, arguments: Json, error: int, result: Any) -> None:
        proper = METHODS[name][0] if name in METHODS else UNPLAYED.get(name, name)
        self.asked.append(Asked(bot.token, proper, arguments, error, result, self._world.now()))
        self.changed.ring()

    async def _file(self, request: web.Request) -> web.StreamResponse:
        """Give a file's bytes: https://core.telegram.org/bots/api#getfile."""
        bot = self._world.bots.get(request.match_info["token"])
        file = self._world.paths.get(request.match_info["path"])
        if bot is None or file is None or len(file.content) > MOST_DOWNLOAD:
            refusal = Refused(404, "Not Found")
            return web.json_response(refusal.json(), status=404)
        return web.Response(body=file.content, content_type="application/octet-stream")


def _cut(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
