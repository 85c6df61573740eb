"""What the fields of a form mean, whatever its author called them.

Forms come from everywhere, so names are matched without case, blanks, separators and the prefixes that builders add
(`your-phone`, `form_fields[email]`, `client[name]`, `tel-583`), in English, Russian, Armenian and some others. What is
not understood is kept under its own name and in its order; nothing is thrown away. The form's own name and title are
never taken for the person's: that is a bug real products had.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from webhooks.forms import FormData

_SYNONYMS: dict[str, str] = {
    "name": (
        "name fullname fio personname фио имя имяифамилия фамилияимя фамилияимяотчество имяклиента "
        "фиоклиента каквасзовут каквамобращаться вашафамилияиимя անուն անունազգանուն nombre nom nome "
        "vollständigername imie whatisyourname whatsyourname whatisyourfullname whatsyourfullname"
    ),
    "first_name": (
        "firstname fname givenname forename vorname prenom имяотчество whatisyourfirstname whatsyourfirstname"
    ),
    "last_name": "lastname lname surname familyname nachname фамилия ազգանուն apellido apellidos whatsyourlastname",
    "middle_name": "middlename patronymic secondname отчество",
    "phone": (
        "phone phones tel telephone phonenumber telephonenumber telnumber mobile mobilephone mobilenumber "
        "cell cellphone whatsapp whatsappnumber viber handy telefon telefono telefone telefonnummer "
        "телефон тел телефоны номертелефона телефонныйномер мобильный мобильныйтелефон мобильныйномер "
        "контактныйтелефон сотовый сотовыйтелефон телефондлясвязи моб հեռախոս հեռախոսահամար"
    ),
    "email": (
        "email emails mail emailaddress mailaddress epost correo correoelectronico почта электроннаяпочта "
        "эпочта элпочта почтовыйадрес адресэлектроннойпочты адрессэлектроннойпочты емейл имейл емайл "
        "эмейл мейл мыло էլփոստ էլհասցե"
    ),
    "either": (
        "contact contacts контакт контакты контактныеданные phoneoremail emailorphone телефонилиemail "
        "телефонилипочта emailилителефон способсвязи каксвамисвязаться"
    ),
    "message": (
        "message msg text comment comments textarea question questions inquiry enquiry request note notes "
        "details body сообщение текст текстсообщения комментарий комментарии комментарийкзаказу вопрос "
        "вашвопрос примечание пожелания задайтевопрос описание суть обращение mensaje nachricht "
        "հաղորդագրություն"
    ),
    "subject": "subject topic тема темасообщения темаобращения",
    "company": (
        "company companyname organization organisation organizationname org firm firma компания "
        "организация фирма названиекомпании названиеорганизации вашакомпания ընկերություն"
    ),
    "consent": (
        "consent agree agreed agreement iagree gdpr gdprconsent acceptance privacy privacypolicy policy "
        "terms acceptterms termsandconditions personaldata personaldataconsent rules согласие согласен "
        "согласенсполитикой обработкаперсональныхданных согласиенаобработку "
        "согласиенаобработкуперсональныхданных политика"
    ),
    "language": "language lang locale язык լեզու",
    "submission_id": "submissionid",
    "trap": "trap",
    "redirect": "redirect",
    "charset": "charset",
    "gclid": "gclid",
    "yclid": "yclid",
    "fbclid": "fbclid",
    "ga": "ga",
    "referrer": "referrer referer httpreferer httpreferrer",
    "landing_page": "landingpage landing landingurl landingpageurl pageurl pageuri sourceurl formurl",
    **{f"utm_{word}": f"utm{word}" for word in ("source", "medium", "campaign", "content", "term")},
}
_MEANINGS = {word: meaning for meaning, words in _SYNONYMS.items() for word in words.split()}
_ATTRIBUTION = frozenset({"gclid", "yclid", "fbclid", "ga", "referrer", "landing_page"}) | {
    meaning for meaning in _SYNONYMS if meaning.startswith("utm_")
}
SERVICE = _ATTRIBUTION | {"trap", "redirect", "charset", "submission_id", "consent", "language"}
"""Meanings that alone are no reason to get in touch with anybody."""

# Groups whose members speak of the person, and those which speak of something else and are left as they are.
_WRAPPERS = frozenset(
    (
        *("fields", "field", "formfields", "formdata", "data", "contact", "contacts", "lead", "client", "customer"),
        *("user", "visitor", "person", "answers", "answer", "input", "inputs", "itemmeta", "meta", "payload", "values"),
        *("wpforms", "billing"),
    )
)
_LONGEST_NAME = 120
_PREFIX = re.compile(
    r"^(?:your|user|client|customer|contact|lead|visitor|person|my|form|field|input|billing|ваше?|ваша|вашу|ваш)"
)
# An account, not a person. Numbered text inputs (`text-583`, `form_text_5`) are vague too: they may hold anything.
_TOO_VAGUE = frozenset({"username"})
_SEPARATORS = re.compile(r"[\W_]+")
_TAIL = re.compile(r"[-_ ]*\d+$")
_BRACKETED = re.compile(r"([^\[\]]*)((?:\[[^\[\]]*\])+)")
# Elementor with "advanced data": fields[<id>][id|type|title|value|raw_value|required], meta[<id>][title|value]
_ELEMENTOR = re.compile(r"(fields|meta)\[([^\[\]]+)\]\[(id|type|title|value|raw_value|required)\]")
TYPES = {"tel": "phone", "email": "email", "textarea": "message", "acceptance": "consent"}


@lru_cache(maxsize=2048)
def meaning(name: str) -> str:
    """Tell what a field called `name` holds: a key of the table above, or "" for what is not known."""
    if len(name) > _LONGEST_NAME:
        return ""
    bracketed = _BRACKETED.fullmatch(name)
    if bracketed is None and name.count(".") and " " not in name:
        head, *rest = name.split(".")
        bracketed = _BRACKETED.fullmatch(head + "".join(f"[{part}]" for part in rest)) if all(rest) else None
    if bracketed is None:
        return _meaning_of_word(name)
    members = [part for part in re.findall(r"\[([^\[\]]*)\]", bracketed[2]) if part and not part.isdigit()]
    if len(members) > 1 and members[-1].casefold() in ("value", "val"):
        members.pop()
    group = _SEPARATORS.sub("", bracketed[1].casefold())
    if not members:
        return _meaning_of_word(bracketed[1])  # `services[]`, `phone[0]`
    if group in ("company", "organization", "компания"):
        return "company" if _meaning_of_word(members[0]) == "name" else ""
    if len(members) == 1 and _meaning_of_word(bracketed[1]) == "name":
        # name[first], name[last] of WPForms and Jotform
        part = members[0].casefold()
        return {"first": "first_name", "last": "last_name", "middle": "middle_name"}.get(part, "")
    if len(members) == 1 and _meaning_of_word(bracketed[1]) in ("phone", "email"):
        return _meaning_of_word(bracketed[1]) if members[0].casefold() in ("full", "value", "number") else ""
    return _meaning_of_word(members[0]) if group in _WRAPPERS and len(members) == 1 else ""


def _meaning_of_word(word: str) -> str:
    """Look a plain name up, then without its number, then without its builder's prefix."""
    plain = word.casefold().replace("ё", "е")
    if plain == "trap" or plain == "redirect":
        return plain
    for spelling in (plain, _TAIL.sub("", plain)):
        bare = _SEPARATORS.sub("", spelling)
        if bare in _TOO_VAGUE or (spelling != plain and bare.endswith("text")):
            return ""
        if found := _MEANINGS.get(bare):
            # only the exact words steer the machinery; `charset`, `redirect_2` or `trap 1` are a form's own fields
            return found if found not in ("trap", "redirect", "charset") or plain == "_charset_" else ""
        rest = _PREFIX.sub("", bare, count=1)
        if rest != bare and not bare.startswith("formname") and (found := _MEANINGS.get(rest)):
            return found if found not in ("trap", "redirect", "charset", "submission_id") else ""
    return ""


@dataclass(frozen=True, slots=True)
class Meant:
    """A form, understood.

    known   meaning → (label, value) of what was said under it, blanks left out, in order
    others  (label, value) of everything else, in order
    """

    known: dict[str, list[tuple[str, str]]]
    others: list[tuple[str, str]]

    def values(self, *meanings: str) -> list[str]:
        """Return everything said under some meanings."""
        return [value for what in meanings for _, value in self.known.get(what, ())]

    def first(self, what: str) -> str:
        """Return the first thing said under a meaning, or ""."""
        return self.known[what][0][1] if what in self.known else ""

    def joined(self, what: str, separator: str = ", ") -> str:
        """Return everything said under a meaning, without repeats."""
        return separator.join(dict.fromkeys(self.values(what)))


class Answer(NamedTuple):
    """One field of a form.

    name    the form's own name of it
    label   what a person calls it: its title, else the name again
    value   what was answered
    hint    what it holds by the builder's own account: a key of the table above, which counts where the name says
            nothing. "" where the builder does not say
    """

    name: str
    label: str
    value: str
    hint: str = ""


def understand(form: FormData) -> Meant:
    """Sort the fields of a form into those that are understood and the others."""
    return sort(answers(form))


def sort(given: Iterable[Answer]) -> Meant:
    """Sort answers into those that are understood and the others."""
    known: dict[str, list[tuple[str, str]]] = {}
    others: list[tuple[str, str]] = []
    for name, label, value, hint in given:
        value = value.strip()
        what = meaning(name) or hint
        if not what and label != name:
            what = meaning(label)
        if not what:
            if value or label:
                others.append((label or "?", value))
        elif value:
            known.setdefault(what, []).append((label, value))
    return Meant(known, others)


def answers(form: FormData) -> list[Answer]:
    """Give the fields of a form; Elementor's six for each of its own become one."""
    if not any(name.startswith(("fields[", "meta[")) for name, _ in form.fields):
        return [Answer(name, name, value) for name, value in form.fields]
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for name, value in form.fields:
        if found := _ELEMENTOR.fullmatch(name):
            groups.setdefault((found[1], found[2]), {})[found[3]] = value
    groups = {key: said for key, said in groups.items() if "value" in said and ("title" in said or "id" in said)}
    given: list[Answer] = []
    for name, value in form.fields:
        found = _ELEMENTOR.fullmatch(name)
        said = groups.get((found[1], found[2])) if found else None
        if found is None or said is None:
            given.append(Answer(name, name, value))
        elif found[3] == "value":
            # an upload's or a list's value is empty or joined; the raw one is whole
            label, hint = said.get("title") or found[2], TYPES.get(said.get("type", ""), "")
            given.append(Answer(found[2], label, value or said.get("raw_value", ""), hint))
    return given
