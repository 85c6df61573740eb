"""Forms of the settings: read field by field, tried as one change, and shown again as typed if that fails."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from sqlalchemy.exc import IntegrityError

from core.kernel.errors import Conflict, DomainError, Rejected, Stale
from core.staff import audit
from core.staff.sessions import printable
from hub.web.visits import Visit, form_errors
from hub.web.words import N_

_SAID_BY_CORE = (
    N_("A title is needed"),
    N_("Two stages have the same name"),
    N_("A pipeline needs an open stage, one for won deals and one for lost ones"),
    N_("There are deals in a stage that would go or end them; move them to another one first"),
    N_("The reminder must come before the deadline"),
    N_("The absence must end after it starts"),
    N_("There is no such team"),
    N_("There is nobody with this id"),
    N_("Name either a team or a person"),
    N_("Hours of one day follow each other and do not overlap"),
    N_("Hours that end when they begin are unclear; write the whole day as 00:00 to 24:00"),
    N_("A password has at least 10 characters"),
    N_("A password has at most 1000 characters"),
)
"""What the core refuses with, for the catalogues; `tried` translates it."""

_STATUS: dict[type[DomainError], int] = {Conflict: 409, Stale: 412}


class Refused(Exception):
    """A form that has to be shown again, with what is wrong with it."""

    def __init__(self, errors: Mapping[str, str], said: str, status: int) -> None:
        super().__init__(said)
        self.errors = errors
        self.said = said
        self.status = status


class Fields:
    """Reads a form. What is wrong is gathered by field, so that a person hears of all of it at once."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self.errors: dict[str, str] = {}

    def wrong(self, name: str, message: str) -> None:
        """Note what is wrong with a field, in the person's language; the first thing counts."""
        self.errors.setdefault(name, self._visit.translate(message))

    def text(self, name: str, *, most: int = 200, required: bool = False) -> str:
        """Return a line of text without control characters."""
        value = printable(self._visit.field(name)).strip()
        if required and not value:
            self.wrong(name, N_("This is needed"))
        if len(value) > most:
            self.wrong(name, N_("That is too long"))
        return value

    def lines(self, name: str, *, most: int = 200) -> list[str]:
        """Return the lines of a text that say something."""
        found = [printable(line).strip() for line in self._visit.field(name).splitlines()]
        found = [line for line in found if line]
        if len(found) > most or any(len(line) > 1000 for line in found):
            self.wrong(name, N_("That is too long"))
        return found

    def words(self, name: str, *, most: int = 50) -> list[str]:
        """Return what is separated by commas, semicolons or line breaks, each once."""
        parts = [printable(part).strip() for part in re.split(r"[,;\n]", self._visit.field(name))]
        found = list(dict.fromkeys(part for part in parts if part))
        if len(found) > most or any(len(part) > 200 for part in found):
            self.wrong(name, N_("That is too long"))
        return found

    def number(self, name: str, *, least: int = 0, most: int = 525_600, required: bool = False) -> int | None:
        """Return a whole number; None where nothing was typed."""
        typed = re.sub(r"\s", "", self._visit.field(name))
        if not typed:
            if required:
                self.wrong(name, N_("This is needed"))
            return None
        if not (typed.isascii() and typed.isdigit() and len(typed) < 12 and least <= int(typed) <= most):
            message = self._visit.translate(N_("Write a whole number from %(least)s to %(most)s"))
            self.errors.setdefault(name, message % {"least": least, "most": most})
            return None
        return int(typed)

    def record_id(self, name: str) -> int | None:
        """Return the id of what was chosen; None where nothing was."""
        typed = self._visit.field(name)
        if not typed:
            return None
        if not (typed.isascii() and typed.isdigit() and len(typed) < 19):
            self.wrong(name, N_("Choose one of the list"))
            return None
        return int(typed)

    def record_ids(self, name: str) -> list[int]:
        """Return the ids that were ticked, each once."""
        typed = [str(value) for value in self._visit.form.getall(name, [])]
        return list(dict.fromkeys(int(v) for v in typed if v.isascii() and v.isdigit() and len(v) < 19))

    def one_of(self, name: str, values: tuple[str, ...]) -> str:
        """Return what was chosen of a few words."""
        typed = self._visit.field(name)
        if typed not in values:
            self.wrong(name, N_("Choose one of the list"))
            return values[0]
        return typed

    def ticked(self, name: str) -> bool:
        """Whether a box is ticked."""
        return bool(self._visit.field(name))

    def check(self) -> None:
        """End the reading.

        Raises:
            Refused: something is wrong.
        """
        if self.errors:
            raise Refused(self.errors, "", 422)


def require_version(visit: Visit, record: Any) -> None:
    """Hold a form that carries a version to it.

    Raises:
        Stale: somebody changed the record since the form was made.
    """
    version = visit.field("version")
    if version and version != str(record.version):
        raise Stale(
            visit.translate(
                N_("Somebody changed this meanwhile. What you typed is still here: save again to replace theirs")
            )
        )


async def tried(
    visit: Visit,
    change: Awaitable[Any],
    *,
    conflict: str = "",
    taken: str = N_("This name is taken"),
    fields: Mapping[str, str] | None = None,
) -> Any:
    """Carry out a change as a whole and return what it does.

    conflict  the field at which a clash is shown, in the words of `taken`; "": above the form, in the core's
    fields    what fields of the core are called in the form, by their beginning

    Raises:
        Refused: it was not possible, and all of it is undone.
    """
    try:
        async with visit.session.begin_nested():
            result = await change
            await visit.session.flush()
            return result
    except IntegrityError:
        await visit.session.refresh(visit.user)
        said = visit.translate(N_("Somebody has just made the same. Reload the page and look"))
        raise Refused({conflict: said} if conflict else {}, "" if conflict else said, 409) from None
    except Refused:
        await visit.session.refresh(visit.user)
        raise
    except DomainError as error:
        if not isinstance(error, Conflict | Stale | Rejected):
            raise
        await visit.session.refresh(visit.user)  # undone, it would be read again in the middle of a template
        errors, said = form_errors(error, visit.translate)
        errors = {_called(name, fields or {}): text for name, text in errors.items()}
        if conflict and isinstance(error, Conflict) and said:
            errors, said = {conflict: visit.translate(taken)}, ""
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 422)
        raise Refused(errors, said, status) from error


def _called(name: str, fields: Mapping[str, str]) -> str:
    return next((own for beginning, own in fields.items() if name.startswith(beginning)), name)


def sheet(visit: Visit, partial: str, title: str, *, refused: Refused | None = None, **values: Any) -> web.Response:
    """Show a form in the side sheet, or as a page of its own where there are no scripts. `title` is English."""
    shown = {
        "errors": refused.errors if refused else {},
        "form_error": refused.said if refused else "",
        **values,
    }
    status = refused.status if refused else 200
    if visit.is_partial:
        return visit.page(partial, status=status, **shown)
    return visit.page("sheet.html", status=status, partial=partial, title=visit.translate(title), **shown)


def saved(visit: Visit, to: str, message: str) -> web.Response:
    """Answer a change that worked. A sheet that was opened as a page of its own leads back to the list."""
    if visit.is_partial and urlsplit(visit.request.headers.get("HX-Current-URL", to)).path != to:
        return visit.go(to)
    return visit.done(to, message)


def note(visit: Visit, action: str, entity: str, entity_id: int | None, details: dict[str, Any] | None = None) -> None:
    """Write a change of the settings into the audit log."""
    audit.note(
        visit.session,
        action,
        at=visit.hub.clock.now(),
        user_id=visit.user.id,
        entity=entity,
        entity_id=entity_id,
        client=visit.client,
        details=details,
    )
