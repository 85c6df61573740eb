"""How notifications are worded: one sentence to read in passing and one line of detail, in the reader's language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Translate = Callable[[str], str]


class Wording(NamedTuple):
    """A notification in words; `path` is the page that shows what it is about."""

    headline: str
    detail: str
    path: str


def _(message: str) -> str:
    return message


HEADLINES = {
    "lead.created": _("New request: %(name)s"),
    "lead.assigned": _("A request is yours now"),
    "message.received": _("%(name)s wrote again"),
    "task.created": _("New task: %(title)s"),
    "task.assigned": _("A task is yours now: %(title)s"),
    "task.reminder": _("Due soon: %(title)s"),
    "task.overdue": _("Overdue: %(title)s"),
    "task.escalated": _("Nobody acted: %(title)s"),
    "deal.assigned": _("A deal is yours now"),
    "conversation.assigned": _("A conversation is yours now"),
    "conversation.woken": _("Back from being put aside: %(name)s"),
    "message.failed": _("An answer to %(name)s was not delivered"),
    "connection.trouble": _("The channel %(title)s needs you"),
    "message.uncertain": _("Nobody knows whether an answer to %(name)s arrived"),
}


def word(kind: str, details: Mapping[str, Any], subjects: Mapping[str, int | None], translate: Translate) -> Wording:
    """Put a notification into words.

    `details` are those of the event, with `name` (the contact's) and `assignee` (who should have acted) added where
    known.
    """
    name = str(details.get("name") or "") or translate("Somebody")
    said = str(details.get("title") or "")
    title = translate(said) if said else ""  # the translation of nothing is the catalogue's own header
    headline = translate(HEADLINES.get(kind, kind)) % {"name": name, "title": title}
    parts = [str(details.get("text") or "")]
    parts += [str(details[what]) for what in ("error", "detail") if details.get(what)]
    if kind.startswith("task.") and details.get("name"):
        parts.append(name)
    if kind == "task.escalated" and details.get("assignee"):
        parts.append(translate("was given to %(name)s") % {"name": details["assignee"]})
    detail = " · ".join(part for part in parts if part)
    return Wording(headline, detail, _path(details, subjects))


def _path(details: Mapping[str, Any], subjects: Mapping[str, int | None]) -> str:
    for noun, place in (("connection", "/settings/channels"), ("conversation", "/conversations")):
        if (value := details.get(f"{noun}_id")) is not None:
            return f"{place}/{value}"
    for noun in ("deal", "lead", "contact", "task"):
        if (value := subjects.get(f"{noun}_id")) is not None:
            return f"/{noun}s/{value}"
    return "/"
