"""Personal: commands about the colleague and the chat themselves: presence, settings, linking, the team's group."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from channels.desk_contract import Card, Key, Topics
from core.kernel.errors import Forbidden, Rejected
from core.staff import absences, audit, presence, teams
from core.staff.absences import Absence
from core.staff.teams import Team
from core.staff.users import Presence
from hub.desk import choices, linking, lists, times, topics
from hub.desk.doing import Doing
from hub.desk.records import DeskTeamChat


async def away(doing: Doing, words: str) -> None:
    """Be given no new work while others can be: until the time that is said, else until /back.

    Raises:
        Rejected: the time cannot be read.
    """
    if not words:
        await _be(doing, Presence.AWAY)
        doing.say(Card(title="🌙 " + doing.text("You are away. /back when you are here again"), is_quiet=True))
        return
    read = times.lenient(words, now=doing.now, zone=doing.reader.zone)
    if read is None:
        raise Rejected(doing.text("I cannot read that time. For example: /away until 15:00, or /away 2 hours"))
    await _be(doing, Presence.AWAY, until=read.at)
    when = doing.reader.when(read.at)
    doing.say(
        Card(title="🌙 " + doing.text("You are away until %(time)s and get no new work", time=when), is_quiet=True)
    )


async def back(doing: Doing, words: str) -> None:
    """Be here again, however one was away."""
    await _end_absences(doing)
    await _be(doing, Presence.AVAILABLE)
    doing.say(Card(title="☀️ " + doing.text("You are here and get new work"), is_quiet=True))


async def _be(doing: Doing, said: Presence, *, until: datetime | None = None) -> None:
    await doing.session.refresh(doing.user, with_for_update=True)
    await presence.be(doing.session, doing.user, said, at=doing.now, until=until, actor_id=doing.user.id)


async def _end_absences(doing: Doing) -> None:
    now = await doing.session.scalars(
        select(Absence.id).where(
            Absence.user_id == doing.user.id, Absence.starts_at <= doing.now, Absence.ends_at > doing.now
        )
    )
    for absence_id in list(now):
        await absences.cancel(doing.session, absence_id, at=doing.now, actor_id=doing.user.id)


async def settings(doing: Doing, words: str) -> None:
    """Say what somebody is told of, when quietly, and where to change that."""
    _ = doing.text
    chosen = choices.read(doing.link.settings)
    names = {
        "leads": _("New leads"),
        "messages": _("What customers write"),
        "tasks": _("Tasks and deadlines"),
        "calls": _("Calls"),
        "handed": _("What is handed to you"),
        "trouble": _("Trouble with channels"),
    }
    lines = [f"{'🔔' if told else '🔕'} {names.get(group, group)}" for group, told in chosen.events.items()]
    if chosen.quiet is not None:
        begins, ends = (f"{hour:%H:%M}" for hour in chosen.quiet)
        lines.append("🌙 " + _("Quiet from %(begins)s to %(ends)s", begins=begins, ends=ends))
    else:
        lines.append("🌙 " + _("No quiet hours"))
    url = doing.desk.url("/profile")
    keys = ((Key(_("Change it in your profile"), url=url),),) if url else ()
    footer = "" if url else _("Change it in your profile in Switchyard.")
    lists.privately(doing, Card(title="⚙️ " + _("What you are told here"), lines=tuple(lines), footer=footer, keys=keys))


async def unlink(doing: Doing, words: str) -> None:
    """Take this account away from the colleague, once they have said yes."""
    if words.casefold().strip(" .!") not in ("yes", "да"):
        question = doing.text("Unlink this account? You will be told nothing here any more.")
        doing.say(Card(title="🔓 " + question, lines=(doing.text("Write /unlink yes if you mean it."),)))
        return
    await linking.unlink(doing.session, doing.link, at=doing.now, actor_id=doing.user.id)
    doing.say(Card(title="🔓 " + doing.text("Unlinked. Your profile has a link to begin again.")))


async def team(doing: Doing, words: str) -> None:
    """Make this group a team's, so that each conversation of theirs is a topic here; `off` ends that.

    Raises:
        Rejected: this is no group, or one without topics. Forbidden: they neither manage nor lead the team.
    """
    if doing.event.is_private:
        raise Rejected(doing.text("Write this in the team's group: /team and the team's name"))
    chat = await doing.session.scalar(
        select(DeskTeamChat)
        .where(DeskTeamChat.connection_id == doing.live.id, DeskTeamChat.chat == doing.event.peer)
        .with_for_update()
    )
    if chat is not None:
        _require_lead(doing, chat.team_id)
    if words.casefold() in ("off", "выкл", "нет"):
        if chat is not None:
            await topics.forget(doing.session, doing.live.id, doing.event.peer, at=doing.now)
            await doing.session.flush()
            doing.topic_id = None
            _note(doing, "desk.group_left", chat.team_id)
        doing.say(Card(title="👥 " + doing.text("This group is no team's any more")), conversation_id=None)
        return
    abilities = getattr(doing.live.channel, "abilities", None)
    if abilities is None or not abilities.topics or not isinstance(doing.live.channel, Topics):
        raise Rejected(doing.text("Groups of this messenger have no topics, so no team can work in one"))
    wanted = await _team_named(doing, words)
    team_id = None if wanted is None else wanted.id
    _require_lead(doing, team_id)
    if chat is None:
        chat = DeskTeamChat(connection_id=doing.live.id, chat=doing.event.peer, title="", created_at=doing.now)
        doing.session.add(chat)
    chat.team_id, chat.trouble = team_id, None
    await doing.session.flush()
    _note(doing, "desk.group_joined", team_id)
    whose = (
        doing.text("This group is now that of all teams")
        if wanted is None
        else doing.text("This group is now that of %(team)s", team=wanted.name)
    )
    doing.say(
        Card(
            title="👥 " + whose,
            lines=(doing.text("Each conversation becomes a topic here. What is written there goes to the customer."),),
        ),
        conversation_id=None,
    )


async def _team_named(doing: Doing, words: str) -> Team | None:
    """Return the team some words name; None for no words: all of them."""
    return await teams.by_name(doing.session, words) if words else None


def _require_lead(doing: Doing, team_id: int | None) -> None:
    if doing.rights.may_manage or (team_id is not None and team_id in doing.rights.led_team_ids):
        return
    raise Forbidden(doing.text("Only an administrator or the team's head may decide where it works"))


def _note(doing: Doing, action: str, team_id: int | None) -> None:
    audit.note(
        doing.session,
        action,
        at=doing.now,
        user_id=doing.user.id,
        entity="connection",
        entity_id=doing.live.id,
        details={"chat": doing.event.peer, "team_id": team_id},
    )
