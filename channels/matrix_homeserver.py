"""Talking to a Matrix homeserver as the application service's bot.

From the Matrix specification, Client-Server API: "Content repository", "Direct Messaging" (`m.direct` in the account's
data names the rooms one shares with each person alone), "Profiles".
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from channels import matrix_answers
from channels.contract import Fetched, OutgoingFile, Tools
from channels.errors import ChannelError, Temporary, Unauthorised, Uncertain, Undeliverable
from channels.fields import Fields
from channels.http import Answer

CLIENT = "/_matrix/client/v3"

_TYPES = {"image": "m.image", "sticker": "m.image", "audio": "m.audio", "voice": "m.audio", "video": "m.video"}
_MEDIA = re.compile(r"mxc://([A-Za-z0-9.:\[\]-]+)/([A-Za-z0-9_=-]+)")


class Homeserver:
    """A homeserver at an address, which knows us by a token.

    `unknown` is what to tell people where it does not, if it is not the registration that is to be looked at.
    """

    def __init__(self, address: str, token: SecretStr, *, unknown: str = "") -> None:
        self.address = address
        self._token = token
        self._unknown = unknown

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
        answer = await self.ask(method, path, tools, **more)
        try:
            return matrix_answers.read(answer)
        except Unauthorised as error:
            raise Unauthorised(self._unknown or str(error), code=error.code) from error

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

    async def send(self, room: str, content: Mapping[str, Any], tools: Tools) -> str:
        """Send a message and return its event's id; where the answer was lost, once more under the same number.

        Raises:
            ChannelError: it was not sent, or nobody knows.
        """
        path = f"{CLIENT}/rooms/{quoted(room)}/send/m.room.message/{uuid.uuid4().hex}"
        try:
            found = await self.call("PUT", path, tools, json=dict(content))
        except Uncertain as lost:
            try:
                found = await self.call("PUT", path, tools, json=dict(content))
            except ChannelError as error:
                raise lost from error  # whatever the second answer was, the first may have sent it
        if not found.id("event_id"):
            raise Uncertain("The homeserver took the message, but did not say under what name")
        return found.id("event_id")

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

    async def open_media(self, reference: str, tools: Tools) -> Fetched:
        """Open a file by its address (`mxc://…`); our homeserver gets it from the sender's if need be.

        Raises:
            Temporary, Undeliverable: it cannot be had, now or ever.
        """
        found = _MEDIA.fullmatch(reference)
        if found is None:
            raise Undeliverable(f"This is no address of a file on Matrix: {reference[:100]!r}")
        place = f"{quoted(found[1])}/{quoted(found[2])}"
        try:
            url = f"{self.address}/_matrix/client/v1/media/download/{place}"
            stream = await tools.http.stream(url, headers=self.headers)
        except Undeliverable as error:
            if error.code not in ("400", "404"):
                raise
            # Homeservers older than Matrix 1.11 have it at the open address only.
            stream = await tools.http.stream(f"{self.address}/_matrix/media/v3/download/{place}")
        return Fetched(*stream)

    async def direct_room(self, user: str, tools: Tools, *, is_new: bool = False) -> str:
        """Return the room we share with a person alone; make it and note it, as clients do, if there is none.

        `is_new`: make another in any case.

        Raises:
            ChannelError: it could not be made.
        """
        path = f"{CLIENT}/user/{quoted(await self.whoami(tools))}/account_data/m.direct"
        answer = await self.ask("GET", path, tools)
        noted = {} if answer.status == 404 else matrix_answers.read(answer).value
        rooms = [room.id() for room in Fields(noted).items(user) if room.id()]
        if rooms and not is_new:
            return rooms[-1]
        asked = {"invite": [user], "is_direct": True, "preset": "trusted_private_chat"}
        room = (await self.call("POST", f"{CLIENT}/createRoom", tools, json=asked, repeatable=True)).id("room_id")
        if not room:
            raise Temporary("The homeserver made a room, but did not say which")
        await self.call("PUT", path, tools, json={**noted, user: [room]}, repeatable=True)
        return room


def content_of(file: OutgoingFile, address: str, size: int) -> dict[str, Any]:
    """Return the content of the event that shows a file which lies at an address."""
    return {
        "msgtype": _TYPES.get(file.kind, "m.file"),
        "body": file.name,
        "filename": file.name,
        "url": address,
        "info": {"mimetype": file.content_type, "size": size},
        **({"org.matrix.msc3245.voice": {}} if file.kind == "voice" else {}),
    }


def relation(thread: str, answered: str) -> dict[str, Any]:
    """Return what ties a message to its thread, or to the message it answers; nothing where it stands alone."""
    if thread:
        found: dict[str, Any] = {"rel_type": "m.thread", "event_id": thread, "is_falling_back": not answered}
        return {"m.relates_to": {**found, "m.in_reply_to": {"event_id": answered or thread}}}
    return {"m.relates_to": {"m.in_reply_to": {"event_id": answered}}} if answered else {}


def quoted(piece: str) -> str:
    """Return a piece of a path, escaped: ids hold `!`, `:` and now and then a slash."""
    return quote(piece, safe="")
