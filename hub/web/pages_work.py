"""The pages people work on all day, by address."""

from __future__ import annotations

from aiohttp import web

from hub.web import (
    calls,
    contact_merging,
    contacts,
    day,
    deals,
    inbox,
    inbox_actions,
    inbox_answers,
    inbox_composer,
    inbox_contact,
    inbox_thread,
    leads,
    notifications,
    ringing,
    search,
    talk,
    tasks,
)
from hub.web.visits import Page, inside

READS: tuple[tuple[str, Page], ...] = (
    ("/", day.day),
    ("/day/counters", day.counters),
    ("/day/leads", day.leads),
    ("/day/queue", day.queue),
    ("/leads", leads.index),
    ("/leads/new", leads.new),
    ("/leads/{lead_id}", leads.show),
    ("/deals", deals.index),
    ("/deals/new", deals.new),
    ("/deals/{deal_id}", deals.show),
    ("/deals/{deal_id}/edit", deals.edit),
    ("/deals/{deal_id}/lose", deals.ask_why),
    ("/contacts", contacts.index),
    ("/contacts/new", contacts.new),
    ("/contacts/{contact_id}", contacts.show),
    ("/contacts/{contact_id}/edit", contacts.edit),
    ("/contacts/{contact_id}/merge", contact_merging.ask),
    ("/tasks", tasks.index),
    ("/tasks/new", tasks.new),
    ("/tasks/{task_id}", tasks.show),
    ("/calls", calls.index),
    ("/calls/ringing", ringing.ringing),
    ("/calls/{call_id}", calls.show),
    ("/inbox", inbox.index),
    ("/inbox/rows", inbox.rows),
    ("/conversations/{conversation_id}", inbox.show),
    ("/conversations/{conversation_id}/head", inbox.head),
    ("/conversations/{conversation_id}/thread", inbox_thread.thread),
    ("/conversations/{conversation_id}/ways", inbox_composer.ways),
    ("/conversations/{conversation_id}/canned", inbox_composer.canned_replies),
    ("/conversations/{conversation_id}/contact", inbox_contact.pane),
    ("/conversations/{conversation_id}/move", contact_merging.ask_whose),
    ("/messages/{message_id}/letter", inbox_thread.letter),
    ("/messages/{message_id}/exchanges", inbox_thread.exchanges),
    ("/notifications", notifications.index),
    ("/notifications/bell", notifications.bell),
    ("/notifications/{notification_id}", notifications.follow),
    ("/search", search.search),
)

CHANGES: tuple[tuple[str, Page], ...] = (
    ("/leads", leads.add),
    ("/leads/{lead_id}/assignment", leads.assign),
    ("/leads/{lead_id}/conversion", leads.convert),
    ("/leads/{lead_id}/disqualification", leads.disqualify),
    ("/leads/{lead_id}/notes", talk.note_on_lead),
    ("/deals", deals.add),
    ("/deals/{deal_id}", deals.change),
    ("/deals/{deal_id}/stage", deals.move),
    ("/deals/{deal_id}/win", deals.win),
    ("/deals/{deal_id}/loss", deals.lose),
    ("/deals/{deal_id}/assignment", deals.assign),
    ("/deals/{deal_id}/notes", talk.note_on_deal),
    ("/contacts", contacts.add),
    ("/contacts/{contact_id}", contacts.change),
    ("/contacts/{contact_id}/notes", talk.note_on_contact),
    ("/contacts/{contact_id}/merge", contact_merging.merge),
    ("/merges/{merge_id}/undoing", contact_merging.undo),
    ("/duplicates/{duplicate_id}/dismissal", contacts.dismiss_duplicate),
    ("/tasks", tasks.add),
    ("/tasks/{task_id}", tasks.change),
    ("/tasks/{task_id}/completion", tasks.complete),
    ("/tasks/{task_id}/reopening", tasks.reopen),
    ("/tasks/{task_id}/cancellation", tasks.cancel),
    ("/tasks/{task_id}/postponement", tasks.postpone),
    ("/calls", calls.place),
    ("/calls/{call_id}/outcome", calls.conclude),
    ("/calls/{call_id}/putting-away", ringing.put_away),
    ("/conversations/{conversation_id}/notes", talk.note_on_conversation),
    ("/conversations/{conversation_id}/contact", contact_merging.move),
    ("/conversations/{conversation_id}/messages", inbox_answers.say),
    ("/conversations/{conversation_id}/assignment", inbox_actions.assign),
    ("/conversations/{conversation_id}/resolution", inbox_actions.resolve),
    ("/conversations/{conversation_id}/reopening", inbox_actions.reopen),
    ("/conversations/{conversation_id}/snooze", inbox_actions.snooze),
    ("/conversations/{conversation_id}/reading", inbox_actions.read),
    ("/conversations/{conversation_id}/presence", inbox_actions.be_present),
    ("/messages/{message_id}/retry", inbox_actions.retry),
    ("/messages/{message_id}/cancellation", inbox_actions.cancel),
    ("/notifications/reading", notifications.read_all),
)


def add_routes(app: web.Application) -> None:
    """Add the pages, in an order in which names stand before ids."""
    for path, page in READS:
        app.router.add_get(path, inside(page))
    app.router.add_get("/calls/{call_id:[0-9]{1,18}}/recording", calls.recording)
    for path, page in CHANGES:
        app.router.add_post(path, inside(page))
