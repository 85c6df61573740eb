"""The contract of the desk: what a messenger has to do so that a manager can work in it.

The desk is our own people's side: cards of what happens, buttons, threads in which what the customer says stands and
what is answered goes to the customer. `hub.desk` decides all that and knows no messenger; a messenger shows cards and
tells what was typed and pressed. It is a kind of connection like any other, so its secrets, its health, its hook, its
listener and the keeping of all that comes in are those of channels. A further messenger is one module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from channels.contract import OutgoingFile, Tools
from channels.errors import Undeliverable
from core.kernel.envelopes import Attachment, Event

LONGEST_DATA = 60
"""Bytes that a button may bring back, in every messenger."""


class PlaceGone(Undeliverable):
    """The topic or thread is no more, though its chat is: open another one and say it there."""


class Abilities(NamedTuple):
    """What a messenger can do.

    text      longest text of one post, in UTF-16 units; longer ones become several posts
    buttons   people can press something; where they cannot, cards say what to type
    topics    a group has topics, so that a conversation can have one of its own
    threads   what is posted in answer to a post stands under it
    edits     a post can be changed later
    """

    text: int = 4096
    buttons: bool = True
    topics: bool = False
    threads: bool = False
    edits: bool = True


class Place(NamedTuple):
    """Where something is posted: a chat, and within it a topic or thread; "" is the chat itself."""

    chat: str
    thread: str = ""


class Key(NamedTuple):
    """A button: what it says and what it brings back (at most `LONGEST_DATA` bytes), or an address it opens."""

    text: str
    data: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """A post. All texts are plain: the messenger escapes what its markup would trip over.

    title     one line that stands out
    lines     further lines
    words     somebody's own words, word for word
    footer    one quiet line at the end: ticks, who looked after it
    keys      rows of buttons
    is_quiet  makes no sound
    """

    title: str = ""
    lines: tuple[str, ...] = ()
    words: str = ""
    footer: str = ""
    keys: tuple[tuple[Key, ...], ...] = ()
    is_quiet: bool = False

    def plain(self) -> str:
        """Return all its text, a blank line before somebody's words where anything stands above them."""
        head = "\n".join(line for line in (self.title, *self.lines) if line)
        parts = [part for part in (head, self.words) if part]
        text = "\n\n".join(parts)
        return f"{text}\n{self.footer}" if self.footer and text else text or self.footer


class DeskEvent(Event, frozen=True, kw_only=True):
    """Something one of our people did in a messenger; `peer` is the chat.

    key        tells it from all others of the connection; a repeat has the same one
    person     the messenger's id of who did it; name: what they are called there; handle: their user name
    thread     the topic or thread it happened in
    is_private whether the chat is theirs alone with the bot
    """

    key: str
    person: str = ""
    name: str = ""
    handle: str = ""
    thread: str = ""
    is_private: bool = True


class DeskSaid(DeskEvent, frozen=True, kw_only=True):
    """Something was written: an answer, a command, a note.

    ref        the post's id in its chat; reply_to: that of the post it answers, or ""
    text       its words; a place or a card as a line of text
    group      the same for the pieces of one album
    is_edit    it is the new wording of `ref`
    """

    ref: str
    text: str = ""
    attachments: tuple[Attachment, ...] = ()
    reply_to: str = ""
    group: str = ""
    is_edit: bool = False


class DeskPressed(DeskEvent, frozen=True, kw_only=True):
    """A button was pressed. `press` is what `confirm` wants to be given, `data` what the button brings back."""

    ref: str
    data: str
    press: str = ""


class DeskStarted(DeskEvent, frozen=True, kw_only=True):
    """Somebody opened the bot, or gave the one-time word that links them (`ticket`; "" for a bare start)."""

    ticket: str = ""


class DeskGone(DeskEvent, frozen=True, kw_only=True):
    """Somebody blocked the bot, or it was put out of a group: nothing can be posted there."""


class DeskMoved(DeskEvent, frozen=True, kw_only=True):
    """A group has another id from now on (a Telegram group that became a supergroup)."""

    new_chat: str


@runtime_checkable
class Messenger(Protocol):
    """A messenger our people work in."""

    kind: ClassVar[str]
    title: ClassVar[str]
    abilities: ClassVar[Abilities]

    async def post(
        self, place: Place, card: Card, tools: Tools, *, files: Sequence[OutgoingFile] = (), reply_to: str = ""
    ) -> tuple[str, ...]:
        """Post a card, with files after it, in answer to the post `reply_to` if that is still there.

        Returns the ids of all posts it became; the first is the one with the words, the buttons are under the last
        post of text.

        Raises:
            PlaceGone: the topic is no more. RecipientGone: nothing can be posted in this chat.
            PeerMoved: the chat has another id. ChannelError: as in `Sender.send`.
        """
        ...

    async def edit(self, place: Place, ref: str, card: Card, tools: Tools) -> None:
        """Change a post of ours to this card. One that reads so already is fine; one that is gone is no matter.

        Raises:
            ChannelError: as in `post`.
        """
        ...

    async def confirm(self, press: str, tools: Tools, *, text: str = "", is_alert: bool = False) -> None:
        """Say in passing what a press came to (`text` up to 200 letters); `is_alert` wants to be put away.

        Raises:
            ChannelError: it came too late, or as in `post`. Nobody tries again.
        """
        ...

    def link(self, ticket: str, account: str) -> str:
        """Return the address that links whoever opens it, or else what to write to the bot; `account` as checked."""
        ...


@runtime_checkable
class Topics(Protocol):
    """A messenger whose groups have topics."""

    async def open_topic(self, chat: str, name: str, tools: Tools) -> str:
        """Make a topic and return its id.

        Raises:
            Undeliverable: the group has no topics, or the bot may not make any; the message says what to do.
            ChannelError: as in `Messenger.post`.
        """
        ...

    async def change_topic(
        self, place: Place, tools: Tools, *, name: str | None = None, is_open: bool | None = None
    ) -> None:
        """Rename, close or re-open a topic. What is so already is fine.

        Raises:
            PlaceGone: the topic is no more. ChannelError: as in `Messenger.post`.
        """
        ...
