"""Presses on deals: what the buttons of a deal's card do."""

from __future__ import annotations

from sqlalchemy import select

from channels.desk_contract import Card
from core.kernel.errors import NotFound
from core.sales import pipelines
from core.sales.deals import Deal, Outcome
from core.sales.pipelines import Category, LostReason
from core.work import progress
from hub.desk import deal_cards
from hub.desk.cards import key
from hub.desk.doing import Answer, Doing, Verb, id_at

_MOST_KEYS = 20


async def show_deal(doing: Doing, parts: list[str]) -> Answer:
    """Show a deal with what can be done about it."""
    deal = await doing.fetch(Deal, id_at(parts), change=False, lock=False)
    doing.say(await deal_cards.deal(doing, deal), deal_id=deal.id)
    return Answer()


async def offer_stages(doing: Doing, parts: list[str]) -> Answer:
    """Ask into which stage a deal goes."""
    deal = await doing.fetch(Deal, id_at(parts), lock=False)
    stages = await pipelines.stages_of(doing.session, deal.pipeline_id)
    keys = tuple(
        (key(("• " if stage.id == deal.stage_id else "") + doing.text(stage.name), "st", deal.id, stage.id),)
        for stage in stages
        if stage.category == Category.OPEN
    )
    doing.say(Card(title="📊 " + doing.text("Move to which stage?"), keys=keys), deal_id=deal.id)
    return Answer()


async def move_deal(doing: Doing, parts: list[str]) -> Answer:
    """Take a deal to another stage."""
    deal = await doing.fetch(Deal, id_at(parts))
    stage = await pipelines.stage(doing.session, id_at(parts, 1))
    name = doing.text(stage.name)
    if not await progress.move(doing.session, deal, stage, at=doing.now, actor_id=doing.user.id):
        return Answer(doing.text("It is in %(stage)s already", stage=name))
    return Answer("📊 " + doing.text("Moved to %(stage)s", stage=name))


async def win(doing: Doing, parts: list[str]) -> Answer:
    """Close a deal as won."""
    deal = await doing.fetch(Deal, id_at(parts))
    if deal.outcome == Outcome.WON:
        return Answer(doing.text("It is won already"))
    await progress.win(doing.session, deal, at=doing.now, actor_id=doing.user.id)
    return Answer("🏆 " + doing.text("Won"))


async def offer_reasons(doing: Doing, parts: list[str]) -> Answer:
    """Ask why a deal is lost."""
    deal = await doing.fetch(Deal, id_at(parts), lock=False)
    reasons = list(await doing.session.scalars(select(LostReason).order_by(LostReason.position, LostReason.id)))
    keys = tuple((key(doing.text(reason.name), "lr", deal.id, reason.id),) for reason in reasons[:_MOST_KEYS])
    doing.ask(
        "✖ " + doing.text("Why is it lost?"),
        "lost",
        deal.id,
        hint=doing.text("Choose, or answer to this in your own words."),
        keys=keys,
    )
    return Answer()


async def lose(doing: Doing, parts: list[str]) -> Answer:
    """Close a deal as lost, for one of the company's reasons."""
    deal = await doing.fetch(Deal, id_at(parts))
    reason = await doing.session.get(LostReason, id_at(parts, 1))
    if reason is None:
        raise NotFound("reason")
    if deal.outcome == Outcome.LOST:
        return Answer(doing.text("It is lost already"))
    await progress.lose(doing.session, deal, at=doing.now, reason=reason.name, actor_id=doing.user.id)
    return Answer("✖ " + doing.text("Lost"))


async def ask_amount(doing: Doing, parts: list[str]) -> Answer:
    """Ask for a deal's amount."""
    deal = await doing.fetch(Deal, id_at(parts), lock=False)
    doing.ask("💰 " + doing.text("Answer to this with the amount"), "amount", deal.id)
    return Answer()


async def ask_task(doing: Doing, parts: list[str]) -> Answer:
    """Ask what is to be done on a deal, and when."""
    deal = await doing.fetch(Deal, id_at(parts), lock=False)
    hint = doing.text("For example: tomorrow 10:00 call")
    doing.ask("☑️ " + doing.text("Answer to this with what to do, and when"), "task", deal.id, hint=hint)
    return Answer()


VERBS: dict[str, Verb] = {
    "deal": show_deal,
    "stage": offer_stages,
    "st": move_deal,
    "won": win,
    "lost": offer_reasons,
    "lr": lose,
    "amt": ask_amount,
    "ntask": ask_task,
}
"""What each button does, by the word it brings back; part of `hub.desk.presses.VERBS`."""
