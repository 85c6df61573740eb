"""Direct messages of an Instagram professional account.

Reaches   people who wrote to the account within the last 24 hours; 7 days where Meta allows answers by a human agent
Set up    as `channels.meta` says, for the object `instagram`: the fields messages, messaging_postbacks,
          messaging_referral, messaging_seen, message_reactions, message_edit. In Instagram's app, allow access to
          messages for connected tools. The access token is that of the Page the account belongs to, or Instagram's own
          (it begins with IG, and graph.instagram.com is asked then)
Calls us  POST, in the shape of Messenger's
Checks    see `channels.meta`
Repeats   a message's `mid`; echoes too, so that what was written in Instagram's app is kept as ours
Quirks    the text may have 1000 bytes, not letters. A like is ❤️. What is shared (posts, reels, mentions in stories) is
          told with its link, since it is not ours to keep. An unsent message is deleted here too, as Meta's terms want
Source    Meta, "Instagram Messaging API"
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from channels.contract import (
    Capability,
    Checked,
    Group,
    Media,
    OutgoingFile,
    Profile,
    Sending,
    Tools,
    Unit,
)
from channels.messenger import ATTACHMENT_TYPES, Conversing, PageSettings
from channels.messenger_events import INSTAGRAM, WINDOW
from channels.meta import GRAPH, INSTAGRAM_GRAPH, MetaSettings, part_of_path

_MB = 1_000_000


class Instagram(Conversing):
    """Messages of an Instagram account."""

    kind: ClassVar[str] = INSTAGRAM
    title: ClassVar[str] = "Instagram"
    group: ClassVar[Group] = "messenger"
    sending: ClassVar[Sending] = Sending(
        text=1000,
        unit=Unit.BYTES,
        media={
            "image": Media(8 * _MB, ("image/jpeg", "image/png", "image/gif")),
            "audio": Media(25 * _MB, ("audio/aac", "audio/mp4", "audio/wav", "audio/x-wav", "audio/mpeg")),
            "voice": Media(25 * _MB, ("audio/aac", "audio/mp4", "audio/wav", "audio/x-wav", "audio/mpeg")),
            "video": Media(25 * _MB, ("video/mp4", "video/ogg", "video/x-msvideo", "video/quicktime", "video/webm")),
            "file": Media(25 * _MB, ("application/pdf",)),
        },
        window=WINDOW,
        capabilities=frozenset({Capability.BUTTONS, Capability.READ_RECEIPTS}),
    )

    class Settings(PageSettings):
        """What an administrator fills in."""

        instagram_id: str = Field(
            min_length=1,
            title="Instagram account ID",
            description="A number, in the app under Instagram; it is not the account's name.",
        )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, settings.instagram_id)
        self._is_own_login = _is_instagrams(settings)

    async def attachment(self, file: OutgoingFile, tools: Tools) -> dict[str, Any]:
        """Name the address of a file; upload it where it has none.

        Instagram takes addresses with either sort of token, uploads only with a Page's.

        Raises:
            ChannelError: Meta does not take it.
        """
        if file.url:
            return {"type": ATTACHMENT_TYPES[file.kind], "payload": {"url": file.url}}
        return await self.uploaded(file, tools, {"platform": "instagram"})

    async def profile(self, peer: str, tools: Tools) -> Profile | None:
        """Ask for somebody's name.

        Raises:
            Temporary, Unauthorised: as in `send`.
        """
        found = await self.who(peer, "name,username", tools)
        if found is None:
            return None
        name = " ".join(found.text("name").split()) or found.text("username")
        return Profile(name[:300]) if name else None

    async def check(self, tools: Tools) -> Checked:
        """Ask for the account.

        Raises:
            ChannelError: the token is no good, or has no right to it.
        """
        path = "me" if self._is_own_login else part_of_path(self._owner)
        found = await self.graph("GET", path, tools, query={"fields": "id,username"})
        name = found.text("username")
        return Checked(f"Instagram account {name or self._owner} answers", {"account": name or self._owner})

    def _home(self, settings: MetaSettings) -> str:
        return INSTAGRAM_GRAPH if _is_instagrams(settings) else GRAPH


def _is_instagrams(settings: MetaSettings) -> bool:
    """Tell a token of Instagram's own login from a Page's."""
    return settings.access_token.get_secret_value().startswith("IG")
