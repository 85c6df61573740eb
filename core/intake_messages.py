"""The talking half of intake: the conversation a message belongs to, the message itself, and the files with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from core.intake_batch import Continued, House, Written
from core.intake_known import Grouped, Known, Person, Talk
from core.kernel import events, jobs
from core.kernel.envelopes import Attachment as Enclosed
from core.kernel.envelopes import Incoming
from core.people.contacts import PROFILE
from core.talk.attachments import FETCH, Attachment, FileState
from core.talk.conversations import Conversation, ConversationStatus, Direction, Episode, Message, MessageId
from core.work import routing

_PREVIEW = 160
_MOST_PIECES = 255
_MOST_REFERENCES = 20


class Source(NamedTuple):
    """The connection a request came over, as far as intake needs it.

    has_profiles  its provider can be asked who somebody is
    """

    id: int
    kind: str
    title: str
    pipeline_id: int | None = None
    team_id: int | None = None
    owner_id: int | None = None
    make_lead: bool = True
    make_deal: bool = True
    has_profiles: bool = False


class Received(NamedTuple):
    """One event of one delivery."""

    delivery_id: int
    received_at: datetime
    source: Source
    event: Incoming


def external_id_of(received: Received) -> str:
    """Return the id by which a repeat of a message is recognised: the provider's, else the delivery's."""
    return received.event.external_id or f"delivery:{received.delivery_id}"


def answered_ids(event: Incoming) -> list[str]:
    """Return the ids of the messages that one answers, the nearest first: of a letter, all it refers to."""
    found = [event.reply_to, *reversed(event.context.get("references", "").split()[-_MOST_REFERENCES:])]
    return [external_id for external_id in dict.fromkeys(found) if external_id]


class Saying:
    """Somebody saying something, being decided. Asks the database nothing, so a hundred decisions cost one look-up."""

    __slots__ = ("at", "event", "house", "known", "now", "received", "router", "source", "writing")

    def __init__(
        self,
        received: Received,
        house: House,
        known: Known,
        writing: Written,
        router: routing.OpenRouter,
        now: datetime,
    ) -> None:
        self.received, self.house, self.known, self.writing, self.router = received, house, known, writing, router
        self.source, self.event, self.at, self.now = received.source, received.event, received.received_at, now

    @property
    def is_quiet(self) -> bool:
        """Whether nobody has to look at it: a program wrote it, or our own side did."""
        return self.event.is_automatic or self.event.is_ours

    def repeated(self) -> tuple[int, int, int] | None:
        """Return message, contact and conversation of what is known already; None for something new."""
        for external_id in (external_id_of(self.received), *self.event.more_ids):
            if (found := self.known.messages.get((self.source.id, external_id))) is not None:
                return found
        if not self.event.is_ours:
            return None
        for row in self.known.on_their_way.get((self.source.id, self.event.peer), ()):
            if row.said == self.event.text:
                self.name_message(row.id, row.contact_id, row.conversation_id, position=row.position)
                return row.id, row.contact_id, row.conversation_id
        return None

    def name_message(self, message_id: int, contact_id: int, conversation_id: int, *, position: int = 0) -> None:
        """Note all the provider's ids of a message, beside the one in its own row."""
        for external_id in (external_id_of(self.received), *self.event.more_ids):
            self.known.messages[(self.source.id, external_id)] = (message_id, contact_id, conversation_id)
            self.writing.add(
                MessageId,
                connection_id=self.source.id,
                external_id=external_id,
                message_id=message_id,
                position=position,
                status="sent",
            )

    def group_key(self) -> tuple[int, str]:
        """Return what names the album, or the long SMS, that this is a piece of; `""` within if it is none."""
        return self.source.id, f"{self.event.peer}:{self.event.group}" if self.event.group else ""

    def join_group(self) -> Grouped | None:
        """Put a further piece of an album or a long SMS to the message it belongs to; None if there is none yet."""
        group = self.known.groups.get(self.group_key()) if self.event.group else None
        if group is None:
            return None
        number = self.event.context.get("concat_part", "")
        if number:
            if len(group.pieces) < _MOST_PIECES:
                group.pieces[number[:5]] = self.event.text
            group.text = _in_order(group.pieces)
        elif self.event.text:
            group.text = f"{group.text}\n{self.event.text}" if group.text else self.event.text
        group.is_changed = True
        if group.row is not None:
            group.row["text"], group.row["pieces"] = group.text, group.pieces or None
        self.name_message(group.message_id, group.contact_id, group.conversation_id)
        self.enclose(group.message_id, group.conversation_id, start=group.files)
        group.files += len(self.event.attachments)
        if (talk := self.writing.continued.get(group.conversation_id)) is not None:
            talk.said = _preview(group.text) or talk.said
        return group

    def resume(self, person: Person) -> Talk:
        """Take up the conversation with this person on this connection, or begin one; a resolved one begins anew,
        unless nobody has to look at what came.
        """
        event = self.event
        key = (person.id, self.source.id, event.thread)
        talk = (
            self.answered_talk(person) or self.known.talks_by_peer.get((*key, event.peer)) or self.known.talks.get(key)
        )
        if talk is None:
            talk = self.begin(person)
            self.known.talks[key] = talk
        elif talk.row is not None:
            self.go_on_with_new(talk.row)
        else:
            self.go_on(talk, person)
        if talk.episode_id is None and not self.is_quiet:
            talk.episode_id = self.writing.next_id()
            self.writing.add(Episode, id=talk.episode_id, conversation_id=talk.id, opened_at=self.at)
        return talk

    def answered_talk(self, person: Person) -> Talk | None:
        """Return the conversation that the message answers into, if it is this very person's on this connection.

        Somebody else who knows an id of ours gets a conversation of their own: ids are no secrets.
        """
        if not self.event.thread:
            return None
        for external_id in answered_ids(self.event):
            found = self.known.messages.get((self.source.id, external_id))
            if found is not None and found[1] == person.id:
                talk = self.known.talks_by_id.get(found[2])
                if talk is not None and talk.connection_id == self.source.id:
                    return talk
        return None

    def begin(self, person: Person) -> Talk:
        """Begin a conversation. One that begins with a program's words is resolved from the start."""
        event, talk_id = self.event, self.writing.next_id()
        status = ConversationStatus.RESOLVED if self.is_quiet else ConversationStatus.OPEN
        row = self.writing.add(
            Conversation,
            id=talk_id,
            contact_id=person.id,
            connection_id=self.source.id,
            thread=event.thread,
            subject=event.subject,
            status=status.value,
            assignee_id=person.owner_id,
            team_id=person.team_id,
            peer=event.peer,
            context=_kept(event.context),
            replies_until=event.replies_until,
            waiting_since=None if self.is_quiet else self.at,
            last_inbound_at=None if event.is_ours else self.at,
            last_message_at=self.at,
            last_message_text=self.preview(),
            unread=0 if self.is_quiet else 1,
            created_at=self.now,
        )
        talk = Talk(talk_id, status, None, person.owner_id, row, contact_id=person.id, connection_id=self.source.id)
        self.known.talks_by_id[talk_id] = talk
        return talk

    def go_on_with_new(self, row: dict[str, Any]) -> None:
        """Go on with a conversation that began in this very batch."""
        row["last_message_at"], row["last_message_text"] = self.at, self.preview()
        row["peer"], row["context"] = self.event.peer or row["peer"], _kept(self.event.context) or row["context"]
        row["replies_until"] = self.event.replies_until or row["replies_until"]
        if self.event.is_ours:
            row["waiting_since"] = None
            return
        row["last_inbound_at"] = self.at
        if not self.event.is_automatic:
            row["unread"] += 1
            row["status"] = ConversationStatus.OPEN.value
            row["waiting_since"] = row["waiting_since"] or self.at

    def go_on(self, talk: Talk, person: Person) -> None:
        """Go on with a conversation that was there before this batch."""
        event = self.event
        new = self.writing.continued.get(talk.id)
        if new is None:
            new = self.writing.continued[talk.id] = Continued(talk.id, self.at, "", person.owner_id)
        new.at, new.said = self.at, self.preview() or new.said
        new.peer, new.context = event.peer or new.peer, _kept(event.context) or new.context
        new.replies_until = event.replies_until or new.replies_until
        new.assignee_id = new.assignee_id if new.assignee_id is not None else person.owner_id
        if event.is_ours:
            new.is_answered, new.waiting_since, new.count = True, None, 0
            return
        new.inbound_at = self.at
        if not event.is_automatic:
            new.is_quiet = new.is_answered = False
            new.count += 1
            new.waiting_since = new.waiting_since or self.at

    def append(self, person: Person, talk: Talk) -> int:
        """Put the message into its conversation, with its files and all its ids."""
        event, message_id = self.event, self.writing.next_id()
        external_id = external_id_of(self.received)
        number = event.context.get("concat_part", "") if event.group else ""
        row = self.writing.add(
            Message,
            id=message_id,
            conversation_id=talk.id,
            contact_id=person.id,
            connection_id=self.source.id,
            episode_id=talk.episode_id,
            delivery_id=self.received.delivery_id,
            external_id=external_id,
            direction=(Direction.OUTBOUND if event.is_ours else Direction.INBOUND).value,
            text=event.text,
            html=event.html or None,
            quoted=event.quoted or None,
            subject=event.subject or None,
            fields=dict(event.fields) or None,
            group_key=self.group_key()[1] or None,
            pieces={number[:5]: event.text} if number else None,
            reply_to_id=self.answered(),
            is_automatic=event.is_automatic,
            status="sent" if event.is_ours else "delivered",
            sent_at=(event.occurred_at or self.at) if event.is_ours else None,
            occurred_at=event.occurred_at or self.at,
            created_at=self.now,
        )
        if event.is_ours or event.more_ids:
            self.name_message(message_id, person.id, talk.id)
        self.known.messages[(self.source.id, external_id)] = (message_id, person.id, talk.id)
        self.enclose(message_id, talk.id)
        if event.group:
            self.known.groups[self.group_key()] = Grouped(
                message_id, person.id, talk.id, event.text, dict(row["pieces"] or {}), len(event.attachments), row
            )
        return message_id

    def answered(self) -> int | None:
        """Return the message that this one answers, if we know it."""
        for external_id in answered_ids(self.event):
            found = self.known.messages.get((self.source.id, external_id))
            if found is not None:
                return found[0]
        return None

    def enclose(self, message_id: int, conversation_id: int, *, start: int = 0) -> None:
        """Note the files of a message, and have them fetched from wherever they lie."""
        for position, file in enumerate(self.event.attachments, start):
            attachment_id = self.writing.next_id()
            self.writing.rows[Attachment].append(
                _enclosed(file, attachment_id, message_id, position, self.received.delivery_id, self.now)
            )
            self.writing.jobs.append(
                jobs.new_job(FETCH, at=self.now, lane=f"file:{conversation_id}", attachment_id=attachment_id)
            )

    def ask_who(self, person: Person) -> None:
        """Have the provider asked for the name of somebody it did not name."""
        if person.name or not self.source.has_profiles or not self.event.peer or person.row is None:
            return
        self.writing.jobs.append(
            jobs.new_job(
                PROFILE,
                at=self.now,
                unique_key=f"{PROFILE}:{person.id}",
                contact_id=person.id,
                connection_id=self.source.id,
                peer=self.event.peer,
            )
        )

    def tell(self, kind: str, *, details: dict[str, Any] | None = None, **subjects: int | None) -> None:
        """Write a line into the diary."""
        self.writing.lines.append(events.line(kind, self.now, details=details, **subjects))

    def preview(self) -> str:
        """Return what a list shows of the message: its first words, or what its files are."""
        event = self.event
        said = _preview(event.text or event.subject)
        return said or (f"[{event.attachments[0].name or event.attachments[0].kind}]" if event.attachments else "")


def _preview(text: str) -> str:
    return " ".join(text.split())[:_PREVIEW]


def _kept(context: Mapping[str, str]) -> dict[str, str]:
    """Return what a channel wants back with an answer; where a piece belongs is not part of it."""
    return {name: value for name, value in context.items() if not name.startswith("concat_")}


def _in_order(pieces: dict[str, str]) -> str:
    return "".join(pieces[number] for number in sorted(pieces, key=lambda n: (len(n), n)))


def _enclosed(
    file: Enclosed, attachment_id: int, message_id: int, position: int, delivery_id: int, now: datetime
) -> dict[str, Any]:
    return {
        "id": attachment_id,
        "message_id": message_id,
        "position": position,
        "name": file.name[:255],
        "content_type": file.content_type[:120],
        "size": file.size,
        "kind": file.kind,
        "content_id": file.content_id[:255] or None,
        "delivery_id": delivery_id,
        "part": file.part if file.part >= 0 else None,
        "reference": file.reference or None,
        "state": FileState.PENDING.value,
        "created_at": now,
    }
