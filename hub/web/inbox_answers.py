"""Answers from the inbox: what was written in the composer, sent or noted, or given back with what is wrong with it."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from core.kernel.errors import Conflict, DomainError, NotFound, Rejected
from core.staff import access
from core.talk import conversations, notes
from core.talk.conversations import Conversation, Message
from hub import replies
from hub.web import inbox, inbox_list, typed
from hub.web.visits import Visit, form_errors
from hub.web.words import N_


async def say(visit: Visit, conversation_id: int) -> web.Response:
    """Answer in a conversation, or write a note into it (`mode=note`). What is refused keeps all that was typed."""
    found = await access.fetch(visit.session, visit.rights, Conversation, conversation_id, change=True, lock=True)
    is_note = visit.field("mode") == "note"
    try:
        async with visit.session.begin_nested():
            said = await (_note(visit, found) if is_note else _reply(visit, found))
    except (Rejected, Conflict, NotFound) as refusal:
        return await _refused(visit, found, refusal)
    if _wants_json(visit):
        return _json({"id": str(said.id), "status": said.status})
    return visit.done(f"/conversations/{found.id}", N_("Noted") if is_note else "")


async def _note(visit: Visit, conversation: Conversation) -> Message:
    text = visit.field("text")
    if len(text) > notes.LONGEST:
        raise Rejected("A note has at most %(most)s characters", most=notes.LONGEST, field="text")
    return await conversations.note(
        visit.session, conversation, text=text, at=visit.viewer.now, author_id=visit.user.id
    )


async def _reply(visit: Visit, conversation: Conversation) -> Message:
    reply_to_id = typed.record_id(visit.field("reply_to_id"), field="text")
    if reply_to_id is not None:
        answered = await access.fetch(visit.session, visit.rights, Message, reply_to_id)
        if answered.contact_id != conversation.contact_id:
            raise NotFound("message", reply_to_id)
    files = [typed.record_id(str(given), field="attachments") for given in visit.form.getall("attachment_ids", [])]
    name, _, language = visit.field("template").partition("|")
    values = [str(given) for given in visit.form.getall("value", [])]
    return await replies.reply(
        visit.session,
        visit.hub,
        conversation,
        author_id=visit.user.id,
        text=visit.field("text"),
        subject=visit.field("subject")[:500],
        attachment_ids=[attachment_id for attachment_id in files if attachment_id is not None],
        template=(name, language, values) if name else None,
        reply_to_id=reply_to_id,
        send_at=typed.moment(visit.field("send_at"), visit.viewer.time_zone, field="send_at"),
        connection_id=typed.record_id(visit.field("channel"), field="channel"),
    )


async def _refused(visit: Visit, conversation: Conversation, refusal: DomainError) -> web.Response:
    errors, form_error = form_errors(refusal, visit.translate)
    if _wants_json(visit):
        # 200, since a browser notes any other status as an error in its console, and this one is shown by its field
        return _json({"errors": errors, "form_error": form_error})
    values = {name: visit.field(name) for name in ("text", "subject", "channel", "send_at", "mode")}
    page = {
        **await inbox_list.listed(visit, selected=conversation.id),
        **await inbox.desk(visit, conversation),
        "values": values,
        "errors": errors,
        "form_error": form_error,
    }
    return visit.page("inbox/inbox.html", status=422, **page)


def _wants_json(visit: Visit) -> bool:
    return "application/json" in visit.request.headers.get("Accept", "")


def _json(value: Any) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), content_type="application/json", headers={"Cache-Control": "no-store"}
    )
