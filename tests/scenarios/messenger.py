"""A hub at work whose customers and managers are all in one played Telegram: the stand of scenario D."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import func, select

from core.connections import Connection
from core.staff import users
from core.staff.users import Role, User
from hub import connections, worker
from hub.app import Hub, open_hub
from hub.desk import configured, linking
from hub.desk.records import DeskLink, DeskPost, DeskUpdate
from hub.settings import Settings
from tests.peers.botapi.double import BotApi
from tests.peers.botapi.seen import Seen

SHOP, DESK = "110:shop-token-of-windows-and-doors", "220:desk-token-of-windows-and-doors"


class Messenger:
    """Everybody in it: customers write to `shop_bot`, managers work in `desk_bot`."""

    def __init__(self, telegram: BotApi, hub: Hub) -> None:
        self.telegram, self.hub = telegram, hub
        self.accounts: dict[int, Any] = {}

    async def take_on(self, name: str, role: Role = Role.MANAGER, *, linked: bool = True, **more: Any) -> User:
        """Take somebody on who works in the messenger."""
        async with self.hub.database.transaction() as session:
            user = await users.add(
                session,
                email=f"{name.lower()}@example.com",
                name=name,
                role=role,
                at=self.hub.clock.now(),
                language=more.pop("language", "en"),
                **more,
            )
        self.accounts[user.id] = self.telegram.add_user(name, username=name.lower())
        if linked:
            await self.link(user)
        return user

    async def link(self, user: User) -> None:
        """Follow the one-time link of somebody's profile, and wait for the greeting."""
        async with self.hub.database.transaction() as session:
            ticket = await linking.make_ticket(session, user.id, at=self.hub.clock.now())
        account = self.accounts[user.id]
        before = len(self.telegram.messages("desk_bot", user=account)) if self.has_started(account) else 0
        self.telegram.start(account, "desk_bot", ticket)
        await self.until(lambda: len(self.telegram.messages("desk_bot", user=account)) >= before + 2)

    def has_started(self, account: Any) -> bool:
        """Whether somebody has a chat with the desk's bot."""
        return self.telegram.chat("desk_bot", account).is_started

    def customer(self, name: str, **more: Any) -> Any:
        """Let somebody be a customer."""
        return self.telegram.add_user(name, username=name.lower(), **more)

    def writes(self, customer: Any, text: str) -> Any:
        """Let a customer write to the company, having pressed Start the first time."""
        chat = self.telegram.chat("shop_bot", customer)
        if not chat.is_started:
            self.telegram.start(customer, "shop_bot")
        return self.telegram.says(customer, "shop_bot", text)

    def seen_by(self, user: User) -> list[Seen]:
        """Return what somebody of us sees in their chat with the desk."""
        return self.telegram.messages("desk_bot", user=self.accounts[user.id])

    def got(self, customer: Any) -> list[str]:
        """Return what a customer got from the company, word for word and in order."""
        return [one.text for one in self.telegram.messages("shop_bot", user=customer) if one.is_bot]

    async def card(self, user: User, text: str, *, count: int = 1, timeout: float = 60) -> Seen:
        """Return the newest post that somebody of us sees with these words in it, once there are so many."""
        found = await self.telegram.wait_for_messages(
            "desk_bot", user=self.accounts[user.id], text=text, count=count, timeout=timeout
        )
        return found[-1]

    def answers(self, user: User, post: Seen | int, text: str) -> Any:
        """Answer to a post, as people do by a swipe."""
        ref = post if isinstance(post, int) else post.id
        return self.telegram.says(self.accounts[user.id], "desk_bot", text, reply_to=ref)

    async def press(self, user: User, post: Seen, label: str) -> str:
        """Press a button and return what was said in passing."""
        shown = next(one for one in self.seen_by(user) if one.id == post.id)
        full = next(name for row in shown.buttons for name in row if label in name)
        pressed = self.telegram.presses(self.accounts[user.id], "desk_bot", post.id, label=full)
        return str((await pressed.wait(60)).get("text", ""))

    async def until(self, condition: Callable[[], Any], *, timeout: float = 60) -> None:
        """Wait until something holds, looking whenever anything may have changed."""
        async with asyncio.timeout(timeout):
            while not condition():
                await asyncio.sleep(0.02)

    async def quiet(self) -> None:
        """Wait until nothing waits: no update, no post."""
        for bot in ("shop_bot", "desk_bot"):
            await self.telegram.settled(bot)

        async def waiting() -> int:
            async with self.hub.database.reading() as session:
                posts = select(func.count()).select_from(DeskPost).where(DeskPost.due_at.is_not(None))
                updates = select(func.count()).select_from(DeskUpdate).where(DeskUpdate.due_at.is_not(None))
                return int(await session.scalar(posts) or 0) + int(await session.scalar(updates) or 0)

        async with asyncio.timeout(60):
            calm = 0
            while calm < 5:
                calm = 0 if await waiting() else calm + 1
                await asyncio.sleep(0.05)


@asynccontextmanager
async def at_work(hub: Hub, telegram: BotApi) -> AsyncIterator[Messenger]:
    """Let a hub work, its loops and listeners running, its two bots connected."""
    await configured.connect(hub)
    async with hub.database.transaction() as session:
        if await session.scalar(select(Connection.id).where(Connection.kind == "telegram")) is None:
            await connections.create(
                session,
                hub.vault,
                kind="telegram",
                title="Telegram",
                settings={"token": SHOP, "mode": "polling"},
                at=hub.clock.now(),
                default_country="RU",
            )
    await hub.switchboard.refresh()
    async with worker.running(hub):
        yield Messenger(telegram, hub)


def settings_for(folder: Path, database_url: str, telegram_url: str) -> Settings:
    """Return the settings of an installation whose Telegram is on this machine."""
    return Settings(
        state_dir=folder,
        database_url=database_url,
        desk_telegram_token=SecretStr(DESK),
        telegram_api=telegram_url,
    )


@asynccontextmanager
async def working(folder: Path, database_url: str, telegram: BotApi) -> AsyncIterator[Messenger]:
    """Open a hub and let it work; leave the block to stop it, enter again to start it anew."""
    settings = settings_for(folder, database_url, telegram.url)
    async with open_hub(settings, database_url) as hub, at_work(hub, telegram) as messenger:
        yield messenger


async def links_of(hub: Hub) -> list[DeskLink]:
    """Return all links."""
    async with hub.database.reading() as session:
        return list(await session.scalars(select(DeskLink).order_by(DeskLink.id)))
