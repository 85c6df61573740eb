"""Deal cards: a deal in a messenger, with its stage, its amount, what is next, and what can be done about it."""

from __future__ import annotations

from sqlalchemy import select

from channels.desk_contract import Card, Key
from core.people.contacts import Contact
from core.sales.deals import Deal
from core.sales.pipelines import Stage
from core.staff import users
from core.work.tasks import OPEN_STATUSES, Task
from hub.desk import cards
from hub.desk.cards import key
from hub.desk.doing import Doing


async def deal(doing: Doing, row: Deal) -> Card:
    """Show a deal as it stands."""
    _, session = doing.text, doing.session
    contact = await session.get_one(Contact, row.contact_id)
    stage = await session.get_one(Stage, row.stage_id)
    following = await session.scalar(
        select(Task)
        .where(Task.deal_id == row.id, Task.status.in_(OPEN_STATUSES))
        .order_by(Task.due_at.nulls_last(), Task.id)
        .limit(1)
    )
    staff = await users.names(session, {row.owner_id})
    lines = [await cards.name_of(doing.desk, contact), _("Stage: %(stage)s", stage=_(stage.name))]
    if row.amount is not None:
        lines.append(_("Amount: %(amount)s", amount=doing.reader.money(row.amount, row.currency)))
    if row.owner_id is not None:
        lines.append(_("Looked after by %(name)s", name=staff.get(row.owner_id, "?")))
    if following is not None:
        due = f" · {doing.reader.when(following.due_at)}" if following.due_at is not None else ""
        lines.append(_("Next: %(task)s", task=_(following.title)) + due)
    elif row.is_open:
        lines.append("❗ " + _("Nothing is planned"))
    keys: list[tuple[Key, ...]] = []
    footer = ""
    if row.is_open:
        keys = [
            (key("📊 " + _("Stage"), "stage", row.id), key("💰 " + _("Amount"), "amt", row.id)),
            (key("🏆 " + _("Won"), "won", row.id), key("✖ " + _("Lost"), "lost", row.id)),
            (key("☑️ " + _("Task"), "ntask", row.id), key("📝 " + _("Note"), "note", "c", contact.id)),
        ]
    else:
        footer = "🏆 " + _("Won") if row.outcome == "won" else "✖ " + _("Lost")
    return Card(
        title=f"📁 {row.title}",
        lines=tuple(lines),
        footer=footer,
        keys=(*keys, *cards.link_row(doing.desk, f"/deals/{row.id}")),
    )
