"""The desk in Telegram: our people work through a bot of their own, in their chats with it and in a group.

Reaches   whoever of us opened the bot by the link the workspace shows, and groups it was put into
Set up    @BotFather makes a bot, another one than that of customers: of a bot's updates there is one reader. It fetches
          them (`mode` polling), from anywhere; where Telegram is to call us, "Set up" tells it. For a topic to each
          conversation: a group with topics, in which the bot is an administrator who may manage topics
Calls us  POST /hooks/<connection>/<user name of the bot> with one `Update` in JSON; any 2xx will do
Checks    the header X-Telegram-Bot-Api-Secret-Token, which is the secret we gave when we registered the hook
Repeats   `update_id`, for a week: after one without updates Telegram may count from anywhere
Quirks    a post's id is unique within its chat only. General, the topic every forum has, is the chat itself. A press is
          answered by `confirm` alone, within some minutes: until then the button spins. Commands may name their bot
          (/won@our_desk_bot); those that name another are not ours, and our name is no part of an update, so the hook's
          address and what the listener brings end with it. Nobody is told that a topic was deleted: posting there fails

Rules: https://core.telegram.org/bots/api, https://core.telegram.org/bots/features (privacy mode, commands).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from channels.contract import Group, OutgoingFile, ParseContext, Tools
from channels.desk_contract import Abilities, Card, Place
from channels.fields import Fields, object_of
from channels.telegram.bot import TelegramBot
from channels.telegram.desk_reading import UPDATES, DeskReader, lane_of
from core.kernel.envelopes import Event
from webhooks.request import RawRequest, Reply

COMMANDS: Mapping[str, tuple[str, str]] = {
    "mine": ("Who waits for my answer", "Кто ждёт моего ответа"),
    "tasks": ("My tasks", "Мои задачи"),
    "deals": ("My deals", "Мои сделки"),
    "find": ("Find a contact: name, phone or e-mail", "Найти контакт: имя, телефон или почта"),
    "today": ("My day in numbers", "Мой день в цифрах"),
    "task": ("Make a task: when and what", "Поставить задачу: когда и что"),
    "won": ("The deal is won", "Сделка выиграна"),
    "lost": ("The deal is lost: why", "Сделка проиграна: почему"),
    "stage": ("Move the deal to another stage", "Перевести сделку на другой этап"),
    "amount": ("What the deal is worth", "Сумма сделки"),
    "take": ("Take the conversation", "Взять разговор себе"),
    "snooze": ("Put the task off", "Отложить задачу"),
    "note": ("A note that the customer does not see", "Заметка, которую клиент не увидит"),
    "away": ("I am away: nothing new to me", "Меня нет: новое — другим"),
    "back": ("I am back", "Я снова на месте"),
    "help": ("What can be done here", "Что здесь можно делать"),
}
"""What Telegram offers when somebody types "/": command → English, Russian."""


class TelegramDesk(TelegramBot):
    """Our people's chats with the bot, and the groups in which they work together."""

    kind: ClassVar[str] = "desk_telegram"
    title: ClassVar[str] = "Desk: Telegram"
    group: ClassVar[Group] = "desk"
    account = ""
    abilities: ClassVar[Abilities] = Abilities(text=4096, buttons=True, topics=True, threads=False, edits=True)
    updates: ClassVar[tuple[str, ...]] = UPDATES
    answers_presses: ClassVar[bool] = False
    names_bot: ClassVar[bool] = True

    class Settings(TelegramBot.Settings):
        """What an administrator fills in: as with any bot, but fetching is what is usual."""

        token: SecretStr = Field(
            title="Token of the bot",
            description="Of a bot for your own people, not the one customers write to. @BotFather shows it when it "
            "makes the bot, and later by /token: 123456789:AAE…",
        )
        mode: Literal["webhook", "polling"] = Field(
            "polling",
            title="How messages come",
            description="polling: this hub asks Telegram, from anywhere. "
            "webhook: Telegram calls this hub, which needs a public https address.",
        )

    # --- what comes in ---

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[Event]:
        """Read an update; one of a sort we know nothing of is no event.

        Raises:
            Malformed: it is no JSON object.
        """
        return list(DeskReader(request.suffix, self.route(request).dedupe_key).events(object_of(request)))

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say that it was stored. A press is answered once somebody knows what it came to."""
        return Reply(b"{}")

    def _lane(self, update: Fields) -> str:
        return lane_of(update)

    # --- what our people see ---

    async def post(
        self, place: Place, card: Card, tools: Tools, *, files: Sequence[OutgoingFile] = (), reply_to: str = ""
    ) -> tuple[str, ...]:
        """Post a card and files; a topic that was closed is opened again. Telegram recognises no repeats.

        Raises:
            PlaceGone: the topic is no more. RecipientGone: nothing can be posted in this chat. PeerMoved: the group
            has another number. Uncertain: not all of it went, or nobody knows. ChannelError: nothing went.
        """
        api = await self._api(tools)
        from channels.telegram.desk_posts import post

        return await post(api, place, card, files, reply_to)

    async def edit(self, place: Place, ref: str, card: Card, tools: Tools) -> None:
        """Change a post to this card. Of one that needs several posts it shows the beginning, and all buttons.

        Raises:
            ChannelError: as in `post`.
        """
        api = await self._api(tools)
        from channels.telegram.desk_posts import edit

        await edit(api, place, ref, card)

    async def confirm(self, press: str, tools: Tools, *, text: str = "", is_alert: bool = False) -> None:
        """Say in passing what a press came to, which also stops the button from spinning.

        Raises:
            Undeliverable: it came too late. ChannelError: as in `post`.
        """
        api = await self._api(tools)
        from channels.telegram.desk_posts import confirm

        await confirm(api, press, text, is_alert=is_alert)

    def link(self, ticket: str, account: str) -> str:
        """Return the address that opens the bot with the ticket; what to write to it, as long as its name is unknown.

        https://core.telegram.org/bots/features#deep-linking
        """
        handle = account.strip().lstrip("@")
        return f"https://t.me/{handle}?start={ticket}" if handle else f"/start {ticket}"

    # --- topics ---

    async def open_topic(self, chat: str, name: str, tools: Tools) -> str:
        """Make a topic and return its id; a name that is too long is cut.

        Raises:
            Undeliverable: the group has no topics, or the bot may not make any. ChannelError: as in `post`.
        """
        api = await self._api(tools)
        from channels.telegram.desk_topics import open_topic

        return await open_topic(api, chat, name)

    async def change_topic(
        self, place: Place, tools: Tools, *, name: str | None = None, is_open: bool | None = None
    ) -> None:
        """Rename, close or re-open a topic. What is so already is fine.

        Raises:
            PlaceGone: the topic is no more. Undeliverable: the bot may not. ChannelError: as in `post`.
        """
        api = await self._api(tools)
        from channels.telegram.desk_topics import change_topic

        await change_topic(api, place, name=name, is_open=is_open)

    # --- set up and check ---

    async def setup(self, tools: Tools) -> str:
        """Tell Telegram where to call us, or that it need not, and which commands to offer.

        Raises:
            Misconfigured: there is no address Telegram could call, or no secret. ChannelError: Telegram cannot be had.
        """
        done = await super().setup(tools)
        api = await self._api(tools)
        from aiogram.methods import SetMyCommands
        from aiogram.types import BotCommand

        for position, language in enumerate((None, "ru")):
            offered = [BotCommand(command=name, description=said[position]) for name, said in COMMANDS.items()]
            await api(SetMyCommands(commands=offered, language_code=language))
        return f"{done} Its commands are offered in English and Russian."

    def _remarks(self, bot: Fields) -> tuple[str, Mapping[str, str]]:
        may_join, reads_all = bot.flag("can_join_groups"), bot.flag("can_read_all_group_messages")
        said = (
            " It reads all that is written in its groups."
            if reads_all
            else " In groups it reads commands and answers to it; all that is written, where it is an administrator."
        )
        if not may_join:
            said = " It may not be put into groups: @BotFather allows that by /setjoingroups."
        topics = "where it is an administrator who may" if may_join else "no"
        return said, {"can be put into groups": "yes" if may_join else "no", "manages topics": topics}
