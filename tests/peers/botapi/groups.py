"""The other side in groups: who is in them, what administrators do by hand to them and their topics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.peers.botapi import topics
from tests.peers.botapi.chats import GENERAL, RIGHTS, Chat, Member, Topic, User
from tests.peers.botapi.errors import Misused, Refused
from tests.peers.botapi.people import People, Where, Who
from tests.peers.botapi.world import Bot

Somebody = Who | Bot


@contextmanager
def _by_hand() -> Iterator[None]:
    """Tell the test, where Telegram would tell a bot."""
    try:
        yield
    except Refused as refusal:
        raise Misused(str(refusal)) from None


class Groups(People):
    """What people do in groups."""

    def _anyone(self, who: Somebody) -> User:
        return who.user if isinstance(who, Bot) else self.user(who)

    def create_group(
        self,
        title: str,
        creator: Who,
        *,
        kind: str = "supergroup",
        is_forum: bool = False,
        username: str = "",
    ) -> Chat:
        """Make a group: "group" or "supergroup", with topics if `is_forum`."""
        if kind not in ("group", "supergroup") or (is_forum and kind == "group"):
            raise Misused("kind is group or supergroup, and only supergroups have topics")
        user = self.user(creator)
        chat = self.world.add_group(Chat(self.world.new_id(kind), kind, title, username, is_forum=is_forum))
        chat.members[user.id] = Member(user, "creator")
        self.world.post(chat, user, {f"{kind}_chat_created": True}, is_service=True)
        return chat

    def add_member(self, chat: Where, who: Somebody, *, by: Who | None = None) -> None:
        """Add a person or a bot to a group."""
        found, user = self.chat(chat), self._anyone(who)
        if user.is_bot and not self.world.bots_by_id[user.id].can_join_groups:
            raise Misused("this bot does not join groups")
        adder = self.user(by) if by is not None else self._creator(found)
        self.world.change_member(found, user, adder, "member")
        self.world.post(found, adder, {"new_chat_members": [user.json()]}, is_service=True)

    def promotes(
        self, chat: Where, who: Somebody, *, by: Who | None = None, can_manage_topics: bool = True, **rights: bool
    ) -> None:
        """Make somebody an administrator with all rights but to stay unseen and to promote; `rights` take or give."""
        found, user = self.chat(chat), self._anyone(who)
        if found.member(user.id) is None:
            self.add_member(found, who, by=by)
        usual = {right: right not in ("is_anonymous", "can_promote_members") for right in RIGHTS}
        if unknown := rights.keys() - usual.keys():
            raise Misused(f"there are no rights {sorted(unknown)}")
        given = {**usual, **rights, "can_manage_topics": can_manage_topics and found.kind == "supergroup"}
        adder = self.user(by) if by is not None else self._creator(found)
        held = frozenset(name for name, has in given.items() if has)
        self.world.change_member(found, user, adder, "administrator", held)

    def demotes(self, chat: Where, who: Somebody, *, by: Who | None = None) -> None:
        """Make an administrator a member like others."""
        found = self.chat(chat)
        adder = self.user(by) if by is not None else self._creator(found)
        self.world.change_member(found, self._anyone(who), adder, "member")

    def removes(self, chat: Where, who: Somebody, *, by: Who | None = None) -> None:
        """Throw somebody out, for good."""
        found, user = self.chat(chat), self._anyone(who)
        remover = self.user(by) if by is not None else self._creator(found)
        self.world.post(found, remover, {"left_chat_member": user.json()}, is_service=True)
        self.world.change_member(found, user, remover, "kicked")

    def leaves(self, user: Who, chat: Where) -> None:
        """Leave a group."""
        found, person = self.chat(chat), self.user(user)
        self.world.post(found, person, {"left_chat_member": person.json()}, is_service=True)
        self.world.change_member(found, person, person, "left")

    def _creator(self, chat: Chat) -> User:
        return next(member.user for member in chat.members.values() if member.status == "creator")

    def sets_forum(self, chat: Where, is_forum: bool) -> None:
        """Switch topics on or off."""
        found = self.chat(chat)
        if found.kind != "supergroup":
            raise Misused("only supergroups have topics")
        found.is_forum = is_forum
        if is_forum:
            found.topics.setdefault(GENERAL, Topic(GENERAL, "General", topics.COLORS[0]))
            for message in found.threads.pop(0, {}).values():
                message.thread = GENERAL
                found.threads.setdefault(GENERAL, {})[message.id] = message

    def migrates(self, chat: Where, by: Who | None = None) -> Chat:
        """Make a supergroup of a group; return it. The old number leads there in errors from now on."""
        found = self.chat(chat)
        if found.kind != "group" or found.moved_to:
            raise Misused("only a group becomes a supergroup, once")
        return self.world.migrate(found, self.user(by) if by is not None else self._creator(found))

    # --- topics, by hand ---

    def _topic(self, user: Who, chat: Where, topic: Topic | int) -> tuple[User, Chat, Topic]:
        person, found = self.user(user), self.chat(chat)
        member = found.member(person.id)
        number = topic.id if isinstance(topic, Topic) else topic
        if number not in found.topics:
            raise Misused("there is no such topic (any more)")
        if member is None or not (member.may("can_manage_topics") or found.topics[number].by == person.id):
            raise Misused("this person may not manage topics")
        return person, found, found.topics[number]

    def create_topic(self, user: Who, chat: Where, name: str, *, icon_color: int = 0) -> Topic:
        """Make a topic by hand."""
        with _by_hand():
            return topics.create(self.world, self.chat(chat), self.user(user), name, icon_color)

    def renames_topic(self, user: Who, chat: Where, topic: Topic | int, name: str) -> None:
        """Give a topic another name."""
        person, found, meant = self._topic(user, chat, topic)
        with _by_hand():
            topics.edit(self.world, found, person, meant, name, None)

    def closes_topic(self, user: Who, chat: Where, topic: Topic | int) -> None:
        """Close a topic."""
        person, found, meant = self._topic(user, chat, topic)
        with _by_hand():
            topics.close(self.world, found, person, meant, True)

    def reopens_topic(self, user: Who, chat: Where, topic: Topic | int) -> None:
        """Open a topic again."""
        person, found, meant = self._topic(user, chat, topic)
        with _by_hand():
            topics.close(self.world, found, person, meant, False)

    def deletes_topic(self, user: Who, chat: Where, topic: Topic | int) -> None:
        """Delete a topic with all that is in it. Bots are not told."""
        _, found, meant = self._topic(user, chat, topic)
        if meant.id == GENERAL:
            raise Misused("General cannot be deleted")
        topics.delete(found, meant)
