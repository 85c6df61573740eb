"""Talking to a Matrix homeserver as the application service's bot.

From the Matrix specification, Client-Server API: "Content repository", "Direct Messaging" (`m.direct` in the account's
data names the rooms one shares with each person alone), "Profiles".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from channels import matrix_answers
from channels.contract import OutgoingFile, Tools
from channels.errors import Temporary
from channels.fields import Fields
from channels.http import Answer

CLIENT = "/_matrix/client/v3"


class Homeserver:
    """A homeserver at an address, which knows us by a token."""

    def __init__(self, address: str, token: SecretStr) -> None:
        self.address = address
        self._token = token

    @property
    def headers(self) -> Mapping[str, str]:
        """What tells the homeserver who we are."""
        return {"Authorization": f"Bearer {self._token.get_secret_value()}"}

    async def ask(self, method: str, path: str, tools: Tools, *, content_type: str = "", **more: Any) -> Answer:
        """Make a call and return the answer, whatever it is.

        Raises:
            Temporary, Uncertain: as `Http.call`.
        """
        headers = {**self.headers, **({"Content-Type": content_type} if content_type else {})}
        return await tools.http.call(method, self.address + path, headers=headers, **more)

    async def call(self, method: str, path: str, tools: Tools, **more: Any) -> Fields:
        """Make a call and return what it brought.

        Raises:
            ChannelError: it brought nothing.
        """
        return matrix_answers.read(await self.ask(method, path, tools, **more))

    async def whoami(self, tools: Tools) -> str:
        """Ask which user our token belongs to.

        Raises:
            ChannelError: to none.
        """
        return (await self.call("GET", f"{CLIENT}/account/whoami", tools)).id("user_id")

    async def display_name(self, user: str, tools: Tools) -> str:
        """Ask what somebody calls themself; "" where their homeserver will not say."""
        answer = await self.ask("GET", f"{CLIENT}/profile/{quoted(user)}/displayname", tools)
        return matrix_answers.said(answer).text("displayname") if answer.is_fine else ""

    async def upload(self, file: OutgoingFile, tools: Tools) -> tuple[str, int]:
        """Bring a file there and return its address and size; nobody sees it before an event names it.

        Raises:
            ChannelError: it could not be done.
        """
        content = b"".join([piece async for piece in file.read()])
        found = await self.call(
            "POST",
            "/_matrix/media/v3/upload",
            tools,
            body=content,
            query={"filename": file.name},
            content_type=file.content_type or "application/octet-stream",
            timeout=300,
            repeatable=True,
        )
        if not found.text("content_uri"):
            raise Temporary("The homeserver took the file, but did not say where it lies")
        return found.text("content_uri"), len(content)

    async def direct_room(self, user: str, tools: Tools) -> str:
        """Return the room we share with a person alone; make it and note it, as clients do, if there is none.

        Raises:
            ChannelError: it could not be made.
        """
        path = f"{CLIENT}/user/{quoted(await self.whoami(tools))}/account_data/m.direct"
        answer = await self.ask("GET", path, tools)
        noted = {} if answer.status == 404 else matrix_answers.read(answer).value
        rooms = [room.id() for room in Fields(noted).items(user) if room.id()]
        if rooms:
            return rooms[-1]
        asked = {"invite": [user], "is_direct": True, "preset": "trusted_private_chat"}
        room = (await self.call("POST", f"{CLIENT}/createRoom", tools, json=asked, repeatable=True)).id("room_id")
        if not room:
            raise Temporary("The homeserver made a room, but did not say which")
        await self.call("PUT", path, tools, json={**noted, user: [room]}, repeatable=True)
        return room


def quoted(piece: str) -> str:
    """Return a piece of a path, escaped: ids hold `!`, `:` and now and then a slash."""
    return quote(piece, safe="")
