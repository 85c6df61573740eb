"""What somebody wrote themselves in a letter, and what their mailer put below it: quotes, signatures.

Every mailer announces a quote in its own words and language, and none marks its end. In this order:

1. our own line `MARKER`, which our letters begin with: all from there on is quoted;
2. what mailers put in HTML around a quote (`gmail_quote`, `divRplyFwdMsg`, …): found there, cut in the text;
3. in the text: `-----Original Message-----`, blocks of `From: … Sent: … To: …`, `On …, Vera wrote:` (on up to three
   lines, in eleven languages; in any language where lines with `>` follow), `>` lines, `-- `, `Sent from my iPhone`.

Answers between the lines of a quote make no sense without it, so then only what follows the last own line is folded.
Where nothing would be left (a forwarded letter), nothing is folded. The whole text is always there: `own` and `quoted`
together are all of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from channels.email import html as markup

MARKER = "## reply above this line ##"

_LOOK_BACK = 3  # lines an announcement may take
_LONGEST_ANNOUNCEMENT = 400
_MOST_ANNOUNCEMENTS = 100

_MARKER = re.compile(r"#{1,3}\s*reply above this line\s*#{1,3}", re.IGNORECASE)

# `On 5 May 2026 at 10:00, Vera Petrova <vera@example.com> wrote:`; the verb may stand anywhere before the colon.
_WROTE = re.compile(
    r"""\b(?:wrote|writes
      | пиш[еу]т|(?:на)?писал[аи]?(?:\(а\))?|пише|жазды|піша|напісаў
      | գրել\s+է|գրեց|գրում\s+է|գրել\s+էր
      | kirjutas|kirjutab|kirjoitti
      | (?:na)?pisal[ao]?(?:[/(]a\)?)?|je\s+pisal[ao]?|napisał(?:\(a\))?|napsal(?:\(a\))?
      | schrieb|a\s+écrit|escribió|escreveu|ha\s+scritto|rašė|rakstīja|skrev
    )(?!\w)""",
    re.IGNORECASE | re.VERBOSE,
)
# Without a colon: some of Russia's mailers, and Gmail in Armenian.
_WROTE_LAST = re.compile(r"(?:пишет|написал|написала|написал\(а\)|գրել\s+է\s*[.․])\s*$", re.IGNORECASE)
_DATED = re.compile(r"\b\d{1,2}[:.]\d\d\b|\b(?:19|20)\d\d\b|\b\d{1,2}[./-]\d{1,2}[./-]\d\d")
_ADDRESSED = re.compile(r"[^\s@]@[^\s@]")
_CLOCK_OR_ADDRESS = re.compile(r"\b\d{1,2}[:.]\d\d\b|[^\s@]@[^\s@]")

_DIVIDER = re.compile(
    r"""\s*>*\s*(?:
        [-_—=]{2,}\s*(?:
            original\s+(?:message|appointment) | forwarded\s+message | reply\s+message
          | (?:исходное|оригинальное|пересылаемое|пересланное|перенаправленное)\s+(?:сообщение|письмо)
          | нач(?:ало|\.)\s+(?:переадресованного|пересланного|пересылаемого)\s+(?:сообщения|письма)
          | սկզբնական\s+(?:հաղորդագրություն|նամակ) | բնօրինակ\s+հաղորդագրություն
          | (?:փոխանցված|վերահասցեավորված)\s+(?:հաղորդագրություն|նամակ)
          | algne\s+(?:sõnum|kiri) | algsõnum | edastatud\s+(?:sõnum|kiri)
          | izvirno\s+sporočilo | (?:posredovano|posreduj)\s+sporočilo
          | ursprüngliche\s+nachricht | weitergeleitete\s+nachricht | message\s+(?:d'origine|transféré)
        )\s*[-_—=]*
      | begin\s+forwarded\s+message: | начало\s+переадресованного\s+сообщения:
      | _{20,}
    )\s*""",
    re.IGNORECASE | re.VERBOSE,
)

# The four or five lines of headers that Outlook puts over a quote: the first must be From, two more must follow.
_FROM = r"from|от|от кого|отправитель|ումից|ուղարկող|saatja|kellelt|od|pošiljatelj|von|de|da|od kogo|від|lähettäjä"
_OTHERS = (
    r"sent|date|to|cc|subject|reply-to|importance|"
    r"отправлено|дата|кому|копия|тема|отправлен|послано|"
    r"ուղարկված է|ուղարկված|ամսաթիվ|ում|պատճեն|թեմա|"
    r"saadetud|kuupäev|saaja|kellele|adressaat|koopia|teema|"
    r"poslano|datum|za|zadeva|kp|prejemnik|"
    r"gesendet|an|betreff|envoyé|à|objet|enviado|para|asunto|inviato|a|oggetto|надіслано|копія|päiväys"
)
_HEADER_FROM = re.compile(rf"\s*>*\s*\*?(?:{_FROM})\s*\*?\s*[:։]\*?\s+\S.*", re.IGNORECASE)
_HEADER_OTHER = re.compile(rf"\s*>*\s*\*?(?:{_OTHERS})\s*\*?\s*[:։]\*?(?:\s.*)?", re.IGNORECASE)

_MOBILE = re.compile(
    r"""\s*(?:
        sent\s+(?:from|via|with|using)\s+(?:my\s+|the\s+|a\s+)?\w.{0,60}
      | get\s+outlook\s+for\s+\w.{0,40}
      | отправлено\s+(?:с|со|из|через|от|при\s+помощи)\s+\S.{0,60}
      | послано\s+(?:с|из)\s+\S.{0,60}
      | получить\s+outlook\s+для\s+\w.{0,40} | скачать\s+outlook\s+для\s+\w.{0,40}
      | ուղարկված\s+է\s+\S.{0,60}
      | saadetud\s+(?:minu\s+)?\w.{0,60} | hankige\s+outlook\s.{0,40}
      | poslano\s+(?:z|s|iz|prek)\s+\S.{0,60} | prenesite\s+outlook\s.{0,40}
      | von\s+meine[mr]\s+\S.{0,40}\sgesendet | envoyé\s+(?:de|depuis)\s+mon\s+\S.{0,40}
      | надіслано\s+(?:з|із)\s+\S.{0,40}
    )\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_SIGNATURE = re.compile(r"--\s?|—|[_]{2,5}|--\s?<br>")

# What mailers write around a quote in HTML; the first of them is where it begins.
_QUOTED_MARKUP = re.compile(
    r"""<(?:
        (?:div|blockquote|section|span|table|p)\b[^<>]{0,500}?\bclass\s*=\s*["']?[^"'<>]{0,200}?\b(?:
            gmail_quote(?:_container)?|gmail_extra|moz-cite-prefix|yahoo_quoted|yahoo-quoted|protonmail_quote|
            tutanota_quote|zmail_extra|js-helper-quote|mail-quote-collapse|quoted-text|OutlookMessageHeader|
            ms-outlook-mobile-reference-message|mcntSubject)\b
      | (?:div|hr|span|blockquote|p|a)\b[^<>]{0,500}?\b(?:id|name)\s*=\s*["']?(?:x_)*(?:
            divRplyFwdMsg|appendonsend|stopSpelling|replySplit|reply-intro|yahoo_quoted|isForwardContent|
            ms-outlook-mobile-body-separator-line|mail-editor-reference-message-container|_MailOriginal|
            OLK_SRC_BODY_SECTION|zwchr|lineBreakAtBeginningOfMessage_quote)
      | blockquote\b[^<>]{0,500}?\btype\s*=\s*["']?cite
    )""",
    re.IGNORECASE | re.VERBOSE,
)


class Folded(NamedTuple):
    """The sender's own words, and what is folded away below them: quotes, signature."""

    own: str
    quoted: str


def fold(text: str, html: str = "") -> Folded:
    """Part a letter's own words from what it quotes. `own` is never empty unless `text` is."""
    lines = text.split("\n")
    cut = _cut(lines, html)
    top = _below(lines, cut)
    own, quoted = _joined(lines[top:cut]), "\n\n".join(filter(None, (_joined(lines[:top]), _joined(lines[cut:]))))
    if not _has_words(own):
        return Folded(text.strip("\n").rstrip(), "")
    return Folded(own, quoted)


def own_words(text: str, html: str = "") -> str:
    """Return what somebody wrote themselves and nothing else; "" where a letter only quotes, or has but a signature.

    For words that are handed on to somebody else, who must not see what they answer. `fold` shows rather too much.
    """
    lines = text.split("\n")
    end = _signature_start(lines, _quote_start(lines, html))
    own = lines[_below(lines, end) : end]
    while (first := next((number for number, line in enumerate(own) if _is_quoted(line)), None)) is not None:
        start, last = _announced(own, first), first
        while start and not own[start - 1].strip():
            start -= 1
        while last < len(own) and (_is_quoted(own[last]) or not own[last].strip()):
            last += 1
        own[start:last] = [""]
    words = _joined(own)
    return words if _has_words(words) else ""


def _cut(lines: Sequence[str], html: str) -> int:
    """Return the number of the first line that is folded away."""
    return _signature(lines, _quote_start(lines, html))


def _quote_start(lines: Sequence[str], html: str) -> int:
    """Return the number of the line with which the quote begins."""
    marked = next((number for number, line in enumerate(lines) if _MARKER.search(line)), None)
    end = _first_quote(lines)
    if marked is not None:
        return min(_announced(lines, marked), end)  # Outlook's block of headers announces the marker as well
    if html and end == len(lines) and (found := _cut_by_markup(lines, html)):
        return found
    return end


def _first_quote(lines: Sequence[str]) -> int:
    """Return where the quote begins after which there are no own words."""
    announcements = 0
    for number, line in enumerate(lines):
        if not line or line.isspace():
            continue
        if _is_divider(lines, number) or _is_header_block(lines, number):
            return _announced(lines, number)
        if announcements < _MOST_ANNOUNCEMENTS and (start := _announcement(lines, number, False)) >= 0:
            announcements += 1
            if _is_all_quoted(lines, start, number + 1):
                return start
    # `>` lines at the end, whatever announces them, perhaps with a signature below
    for end in (len(lines), _signature_start(lines, len(lines))):
        start = end
        while start and (_is_quoted(lines[start - 1]) or not lines[start - 1].strip()):
            start -= 1
        if any(map(_is_quoted, lines[start:end])):
            return _announced(lines, start)
    return len(lines)


def _announcement(lines: Sequence[str], last: int, is_followed: bool) -> int:
    """Return the first of the lines that announce a quote and end with line `last`; -1 if they do not.

    `is_followed`: a quote is known to follow, so a date or address before a colon is enough, in whatever language.
    """
    said = ""
    addressed = -1
    for start in range(last, max(last - _LOOK_BACK, -1), -1):
        line = lines[start].strip()
        if not line or _is_quoted(line) or len(line) + len(said) > _LONGEST_ANNOUNCEMENT:
            break
        said = f"{line} {said}".strip()
        if start == last and not (said.endswith((":", "։")) or _WROTE_LAST.search(said)):
            return -1
        if not (is_followed or _WROTE.search(said)):
            continue
        if _DATED.search(said):
            return start
        if addressed < 0 and _ADDRESSED.search(said):
            addressed = start
    return addressed


def _announced(lines: Sequence[str], number: int) -> int:
    """Go back over what announces the quote that begins at a line."""
    at = number
    while at and not lines[at - 1].strip():
        at -= 1
    start = _announcement(lines, at - 1, True) if at and number - at <= 2 else -1
    return start if start >= 0 else number


def _is_all_quoted(lines: Sequence[str], start: int, end: int) -> bool:
    """Tell whether no own words follow an announcement: what follows has `>` to the end, or has none at all."""
    following = [line for line in lines[end : _signature_start(lines, len(lines))] if line.strip()]
    if following and _is_quoted(following[0]):
        return all(map(_is_quoted, following))
    return bool(_CLOCK_OR_ADDRESS.search(" ".join(lines[start:end])))


def _is_divider(lines: Sequence[str], number: int) -> bool:
    line = lines[number]
    if len(line) > 200 or not _DIVIDER.fullmatch(line):
        return False
    if line.strip("_ \t>"):
        return True
    # Outlook's long line alone divides nothing
    after = next((at for at in range(number + 1, min(number + 4, len(lines))) if lines[at].strip()), None)
    return after is not None and _is_header_block(lines, after)


def _is_header_block(lines: Sequence[str], number: int) -> bool:
    if len(lines[number]) > 1_000 or not _HEADER_FROM.fullmatch(lines[number]):
        return False
    following = [line[:1_000] for line in lines[number + 1 : number + 9] if line.strip()][:6]
    return sum(1 for line in following if _HEADER_OTHER.fullmatch(line)) >= 2


def _is_quoted(line: str) -> bool:
    return line.startswith((">", " >"))


# --- by what HTML says ---


def _cut_by_markup(lines: Sequence[str], html: str) -> int:
    """Find in the text the place where HTML says that a quote begins; 0 where that cannot be."""
    found = _QUOTED_MARKUP.search(html)
    if found is None:
        return 0
    letters = _letters(markup.to_text(html[: found.start()]))
    if not letters:
        return 0
    position = 0
    for number, line in enumerate(lines):
        if position >= len(letters):
            return _announced(lines, number) if any(rest.strip() for rest in lines[number:]) else 0
        words = _letters(line)
        if not letters.startswith(words[: len(letters) - position], position):
            return 0
        position += len(words)
    return 0


def _letters(text: str) -> str:
    """Keep what two renderings of the same words have in common."""
    return "".join(re.findall(r"[^\W_]+", re.sub(r"<\S*>|\[[^\]]*\]", " ", text))).casefold()


# --- signatures ---


def _signature(lines: Sequence[str], end: int) -> int:
    """Return where the signature above line `end` begins."""
    start = _signature_start(lines, end)
    return start if _has_words(_joined(lines[:start])) else end


def _signature_start(lines: Sequence[str], end: int) -> int:
    last = end
    while last and not lines[last - 1].strip():
        last -= 1
    for number in range(max(last - 15, 0), last):
        if _SIGNATURE.fullmatch(lines[number].rstrip("\r")) and not any(map(_is_quoted, lines[number:last])):
            last = number
            break
    while last and not lines[last - 1].strip():
        last -= 1
    if last and _is_mobile(lines[last - 1]):
        last -= 1
    return last if any(line.strip() for line in lines[last:end]) else end


def _is_mobile(line: str) -> bool:
    """Tell whether it is the line of a telephone (`Sent from my iPhone`) and no sentence that begins like it."""
    return len(line) < 120 and not line.rstrip().endswith(("?", "!", ":", ",")) and bool(_MOBILE.fullmatch(line))


# --- answers below the quote ---


def _below(lines: Sequence[str], end: int) -> int:
    """Return where the own words begin below a quote that opens the letter; 0 where none does."""
    first = next((number for number in range(end) if _is_quoted(lines[number])), end)
    if _has_words(_joined(lines[: _announced(lines, first)])):
        return 0
    own = first
    while own < end and (_is_quoted(lines[own]) or not lines[own].strip()):
        own += 1
    return 0 if any(map(_is_quoted, lines[own:end])) or own == end else own


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines).strip("\n").rstrip()


def _has_words(text: str) -> bool:
    return any(character.isalnum() for character in text) or bool(text.strip("->_—=*# \t\n"))
