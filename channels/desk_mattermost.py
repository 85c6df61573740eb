"""The desk in Mattermost: our own people get cards in a direct message or a channel, press, and answer in threads.

Reaches   everybody with an account on the server, in direct channels with the bot and those it was added to
Set up    make a bot account (Integrations, Bot Accounts) and enter its access token here; add the bot to the team and
          to channels. For buttons the server has to reach the hook; if that is in its own network, name its host at
          "Allow untrusted internal connections" in the System Console. To be known, everybody writes the bot the words
          that their account's page shows
Calls us  POST: a pressed button. What is written comes over a line we keep open
Checks    for buttons the proof we put into each, which is made of the bot's token and covers the channel, the thread
          and what the button brings back. The line itself is ours
Repeats   a post has one id, whichever way it comes; a press has a `trigger_id`
Quirks    all text is Markdown, so what would be markup in it is escaped, and mentions are kept from calling anybody;
          buttons open no addresses, so these are links; words for one person alone may be shown by administrators
          only, so that what must be read goes to whoever pressed as a direct message, unless the bot is one; nothing
          can be posted without a sound; what begins with / is a command of the server's, so `!take` is read as `/take`

From Mattermost's API reference v4 (`/posts`, `/posts/{id}/patch`, `/posts/ephemeral`), "Interactive messages".
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from channels import desk_mattermost_posts, mattermost_posts
from channels.contract import (
    ChannelSettings,
    Checked,
    Fetched,
    Group,
    Listening,
    OutgoingFile,
    ParseContext,
    Routed,
    Tools,
)
from channels.desk_contract import Abilities, Card, DeskEvent, Place, PlaceGone
from channels.desk_mattermost_posts import attachments, proof, written
from channels.desk_posts import asking, is_page, patiently, pieces
from channels.errors import ChannelError, RecipientGone, Undeliverable
from channels.mattermost_line import Line
from channels.mattermost_server import Server, quoted
from channels.shared_secret import same
from webhooks.errors import BadSignature, NotConfigured
from webhooks.request import RawRequest, Reply

_NO_ROOT = frozenset({"api.post.create_post.root_id.app_error", "api.post.create_post.channel_root_id.app_error"})
_FORBIDDEN = "api.context.permissions.app_error"
_MOST_FILES = 10


class MattermostDesk:
    """The desk on a Mattermost server."""

    kind: ClassVar[str] = "desk_mattermost"
    title: ClassVar[str] = "Desk: Mattermost"
    group: ClassVar[Group] = "desk"
    account = ""
    # A post has 16,383 characters, and escaping may double a text.
    abilities: ClassVar[Abilities] = Abilities(text=8_000, threads=True)

    class Settings(ChannelSettings):
        """What an administrator fills in."""

        url: str = Field(title="Address of the server", description="Such as https://chat.example.com.")
        token: SecretStr = Field(
            title="Access token of the bot", description="System Console or Integrations, Bot Accounts."
        )

        @field_validator("url")
        @classmethod
        def _read_url(cls, setting: str) -> str:
            setting = setting.strip().rstrip("/").removesuffix("/api/v4")
            if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", setting):
                raise ValueError("it is no address such as https://chat.example.com")
            return setting

    def __init__(self, settings: Settings) -> None:
        self._server = Server(settings.base_url.rstrip("/") or settings.url, settings.token)

    # --- what comes in ---

    async def run(self, listening: Listening) -> None:
        """Keep a line to the server and hand over what is said in the bot's channels.

        Raises:
            Unauthorised, Misconfigured: nothing will come of it.
        """
        await Line(self._server, listening, hears_all=True, routing=desk_mattermost_posts.route).keep()

    def verify(self, request: RawRequest, now: datetime) -> None:
        """Check that a pressed button carries our proof.

        Raises:
            BadSignature, NotConfigured, Malformed: it does not.
        """
        token = self._server.token.get_secret_value()
        if not token:
            raise NotConfigured("The bot's access token is missing, so nothing is accepted. Enter it in the settings")
        fields = mattermost_posts.read(request)
        button = fields.at("context")
        made = proof(token, fields.id("channel_id"), button.id("thread"), button.text("data"))
        if "event" in fields or not button or not same(button.text("proof"), made):
            raise BadSignature("This is no button of ours, or it was put there with another token. Nothing was stored")

    def route(self, request: RawRequest) -> Routed:
        """Tell what the request is a repeat of and in which thread it happened.

        Raises:
            Malformed: it cannot be read.
        """
        return desk_mattermost_posts.route(request)

    def parse(self, request: RawRequest, context: ParseContext) -> Sequence[DeskEvent]:
        """Read what was heard on the line, or pressed.

        Raises:
            Malformed: it cannot be read.
        """
        return desk_mattermost_posts.events(mattermost_posts.read(request))

    def acknowledge(self, request: RawRequest, reference: str) -> Reply:
        """Say nothing: words in the answer would be posted."""
        return Reply(b"{}")

    async def fetch_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file.

        Raises:
            Temporary, Undeliverable: as in the contract.
        """
        url = f"{self._server.address}/api/v4/files/{quoted(reference)}"
        return Fetched(*await tools.http.stream(url, headers=self._server.headers))

    # --- what goes out ---

    async def post(
        self, place: Place, card: Card, tools: Tools, *, files: Sequence[OutgoingFile] = (), reply_to: str = ""
    ) -> tuple[str, ...]:
        """Post a card, in the place's thread or else in that of `reply_to`; files in posts of ten after it.

        Raises:
            PlaceGone, ChannelError: as in the contract.
        """
        root = place.thread or await self._root(reply_to, tools)
        uploaded = [await self._upload(file, place, tools) for file in files]
        posts = self._posts(Place(place.chat, root), card, tools)
        posts += [
            {"message": "", "file_ids": uploaded[start : start + _MOST_FILES]}
            for start in range(0, len(uploaded), _MOST_FILES)
        ]
        refs = list[str]()
        for post in posts:
            said = {"channel_id": place.chat, "root_id": root, "pending_post_id": str(uuid.uuid4()), **post}
            if refs:
                refs.append((await patiently(partial(self._server.post, said, tools))).id("id"))
                continue
            try:
                refs.append((await self._server.post(said, tools)).id("id"))
            except Undeliverable as error:
                if error.code in _NO_ROOT:
                    first = await self._root(place.thread, tools)
                    if first and first != root:  # it stands within a thread, and does not begin one
                        return await self.post(Place(place.chat, first), card, tools, files=files)
                    raise PlaceGone(
                        "The first post of this thread is no more in Mattermost", code=error.code
                    ) from error
                raise _told(error) from error
        return tuple(refs)

    async def _upload(self, file: OutgoingFile, place: Place, tools: Tools) -> str:
        try:
            return await self._server.upload(file, place.chat, tools)
        except Undeliverable as error:
            raise _told(error) from error

    def _posts(self, place: Place, card: Card, tools: Tools) -> list[dict[str, Any]]:
        """Return the posts of a card's text, buttons under the last."""
        found: list[dict[str, Any]] = [
            {"message": written(piece), "props": {"attachments": []}} for piece in pieces(card, self.abilities.text)
        ]
        token, hook_url = self._server.token.get_secret_value(), tools.hook_url if is_page(tools.hook_url) else ""
        if keys := attachments(card, place, token=token, hook_url=hook_url):
            found = found or [{"message": ""}]
            found[-1]["props"] = {"attachments": keys}
        return found

    async def _root(self, post: str, tools: Tools) -> str:
        """Return the first post of the thread in which a post stands; "" where there is none any more."""
        if not post:
            return ""
        with suppress(Undeliverable):
            found = await self._server.call("GET", f"/posts/{quoted(post)}", tools)
            return found.id("root_id") or found.id("id")
        return ""

    async def edit(self, place: Place, ref: str, card: Card, tools: Tools) -> None:
        """Change a post of ours to this card, as far as one post holds it.

        Raises:
            ChannelError: as in `post`.
        """
        posts = self._posts(place, card, tools) or [{"message": "…", "props": {"attachments": []}}]
        patch = {**posts[0], "props": posts[-1]["props"]}
        path = f"/posts/{quoted(ref)}"
        try:
            await self._server.call("PUT", f"{path}/patch", tools, json=patch, repeatable=True)
        except RecipientGone:
            return
        except Undeliverable as error:
            # A post that was deleted may not be edited, says the server, rather than that there is none.
            try:
                await self._server.call("GET", path, tools)
            except RecipientGone:
                return
            except Undeliverable:
                pass
            raise _told(error) from error

    async def confirm(self, press: str, tools: Tools, *, text: str = "", is_alert: bool = False) -> None:
        """Show whoever pressed some words; where the bot may not show them to one alone, only those that must be read.

        Raises:
            ChannelError: as in `post`.
        """
        channel, _, rest = press.partition(" ")
        user, _, root = rest.partition(" ")
        if not text:
            return
        message = desk_mattermost_posts.escaped(text)
        post = {"channel_id": channel, "message": message, **({"root_id": root} if root else {})}
        try:
            asked = {"user_id": user, "post": post}
            await self._server.call("POST", "/posts/ephemeral", tools, json=asked, repeatable=True)
        except Undeliverable as error:
            if error.code != _FORBIDDEN:
                raise
            if is_alert:
                direct = await self._server.direct_channel(user, tools)
                said = {"channel_id": direct, "message": message, "pending_post_id": str(uuid.uuid4())}
                await self._server.post(said, tools)

    def link(self, ticket: str, account: str) -> str:
        """Return what to write to the bot."""
        return asking(ticket)

    # --- what can be asked ---

    async def check(self, tools: Tools) -> Checked:
        """Ask the server whose token this is.

        Raises:
            ChannelError: it is of no use.
        """
        found = await self._server.me(tools)
        name = f"@{found.text('username')}"
        kind = "a bot" if found.flag("is_bot") else "a person's account, not a bot"
        deaf = "" if is_page(tools.hook_url) else ". Without SWITCHYARD_PUBLIC_URL its posts have no buttons"
        return Checked(f"Mattermost knows us as {name}, {kind}{deaf}", {"bot": name, "id": found.id("id")})


def _told(error: ChannelError) -> ChannelError:
    """Return what a refusal means for a chat: a bot that may not write there was put out of it, or never in."""
    if error.code == _FORBIDDEN:
        return RecipientGone(
            "Our bot may not write in this channel. Add it to the team and the channel", code=error.code
        )
    return error
