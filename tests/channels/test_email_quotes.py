from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.email import letters, quotes
from tests.channels.payloads.letters import letter


@pytest.mark.parametrize(
    "announcement",
    [
        # Gmail
        "On Mon, 5 May 2026 at 10:00, Vera Petrova <vera@example.com> wrote:",
        "On Mon, May 5, 2026 at 10:00 AM Vera Petrova <vera.with.a.long.name@example.com>\nwrote:",
        "вт, 5 мая 2026 г. в 10:00, Вера Петрова <vera@example.com>:",
        "5 мая 2026 г., 10:00 пользователь Вера <vera@example.com> написал:",
        "E, 5. mai 2026 kell 10:00 Vera Petrova (<vera@example.com>) kirjutas:",
        "Kontakt Vera Petrova (<vera@example.com>) kirjutas kuupäeval E, 5. mai 2026 kell 10:00:",
        "V V pon., 5. maj 2026 ob 10:00 je oseba Vera <vera@example.com> napisala:",
        "Երք, 5 մյս, 2026 թ., 10:00-ին Vera <vera@example.com> գրել է․",
        "Le lun. 5 mai 2026 à 10:00, Vera <vera@example.com> a écrit :",
        "Am Mo., 5. Mai 2026 um 10:00 Uhr schrieb Vera <vera@example.com>:",
        # Apple Mail
        "> On 5 May 2026, at 10:00, Vera <vera@example.com> wrote:\n>",
        "5 мая 2026 г., в 10:00, Вера <vera@example.com> написал(а):",
        "Vera <vera@example.com> je 5. maj 2026 ob 10:00 napisal:",
        # Thunderbird
        "On 05/05/2026 10:00, Vera wrote:",
        "05.05.2026 10:00, Вера пишет:",
        "05.05.2026 10:00, Vera kirjutas:",
        # Yandex, Mail.ru
        '05.05.2026, 10:00, "Вера" <vera@example.com>:',
        "Понедельник, 5 мая 2026, 10:00 +03:00 от Вера <vera@example.com>:",
        # in no language known here
        "Tme 5. Touko 2026 klo 10.00 Vera (vera@example.com) xyzzy:",
    ],
)
def test_a_quote_is_folded_with_what_announces_it(announcement: str) -> None:
    folded = quotes.fold(f"My answer.\n\n{announcement}\n\n> Your words\n>\n>> older words\n")
    assert folded.own == "My answer."
    assert folded.quoted.startswith(announcement)
    assert folded.quoted.endswith("> Your words\n>\n>> older words")


@pytest.mark.parametrize(
    "announcement",
    [
        "On Mon, 5 May 2026 at 10:00, Vera Petrova <vera@example.com> wrote:",
        "5 мая 2026 г., в 10:00, Вера <vera@example.com> написал(а):",
        "-----Original Message-----",
        "-------- Исходное сообщение --------",
        "-------- Forwarded Message --------",
        "---------- Algne kiri ----------",
        "----- Izvirno sporočilo -----",
        "-------- Սկզբնական հաղորդագրություն --------",
        "From: Vera <vera@example.com>\nSent: Monday, 5 May 2026 10:00\nTo: Ivan\nSubject: Invoice",
        "________________________________\nFrom: Vera <vera@example.com>\nDate: Monday\nTo: Ivan\nSubject: Invoice",
        "От: Вера <vera@example.com>\nОтправлено: 5 мая 2026 г. 10:00\nКому: Ivan\nТема: Счёт",
        "*От:* Вера\n*Дата:* 5 мая\n*Кому:* Ivan\n*Тема:* Счёт",
        "Saatja: Vera <vera@example.com>\nSaadetud: 5. mai 2026\nAdressaat: Ivan\nTeema: Arve",
        "Od: Vera <vera@example.com>\nPoslano: 5. maj 2026\nZa: Ivan\nZadeva: Račun",
        "Ումից՝ Vera\nՈւմից: Vera <vera@example.com>\nՈւղարկված է: 5 մայիսի\nՈւմ: Ivan\nԹեմա: Հաշիվ".partition("\n")[2],
    ],
)
def test_a_quote_without_marks_is_folded_to_the_end(announcement: str) -> None:
    folded = quotes.fold(f"My answer.\n\n{announcement}\n\nYour words\nin two lines\n")
    assert folded == quotes.Folded("My answer.", f"{announcement}\n\nYour words\nin two lines")


@pytest.mark.parametrize(
    "line",
    [
        "-- \nVera Petrova\n+7 916 123-45-67",
        "--\nVera",
        "Sent from my iPhone",
        "Get Outlook for Android",
        "Отправлено с iPhone",
        "Отправлено из мобильной Яндекс.Почты",
        "Отправлено из Mail.ru для Android",
        "Saadetud minu iPhone'ist",
        "Poslano iz mojega iPhona",
        "Ուղարկված է իմ iPhone-ից",
    ],
)
@pytest.mark.parametrize("quote", ["", "\n\nOn 5 May 2026 at 10:00, Vera <v@example.com> wrote:\n\n> words"])
def test_signatures_are_folded(line: str, quote: str) -> None:
    assert quotes.fold(f"My answer.\n\n{line}{quote}") == quotes.Folded("My answer.", f"{line}{quote}")


def test_our_own_marker_goes_before_anything_else() -> None:
    text = "My answer.\n\nVera, 05.05.2026 10:00:\n\n| ## Reply above this line ##\n| From: us\n\n> older"
    folded = quotes.fold(text)
    assert folded.own == "My answer."
    assert folded.quoted.startswith("Vera, 05.05.2026 10:00:")


def test_an_answer_below_the_quote_is_found() -> None:
    text = "On Mon, 5 May 2026 10:00, Vera <v@example.com> wrote:\n> one\n> two\n\nMy answer.\n\n-- \nIvan"
    assert quotes.fold(text).own == "My answer."
    assert quotes.fold(text).quoted.endswith("> two\n\n-- \nIvan")


def test_answers_between_the_lines_keep_what_they_answer() -> None:
    text = "Vera wrote on 5 May 2026:\n> Price?\n100.\n> When?\nTomorrow.\n\n> Regards\n> Vera"
    folded = quotes.fold(text)
    assert folded.own == "Vera wrote on 5 May 2026:\n> Price?\n100.\n> When?\nTomorrow."
    assert folded.quoted == "> Regards\n> Vera"


@pytest.mark.parametrize(
    "text",
    [
        "---------- Forwarded message ---------\nFrom: Vera <v@example.com>\nSubject: x\nTo: y\n\nLook at this",
        "> only\n> quoted",
        "Sent from my iPhone",
        "-- \nVera",
        "You wrote:\nthe price is 100. In 2024 we wrote:\nless.\nWhy?",
        "I shall come at 10:00:\n- with the contract\n- and the keys",
        "From: Moscow\nI need a delivery to Tallinn.",
        "Отправлено вчера с курьером, когда ждать?",
        "Prices > 100 are fine\nand < 50 as well",
        "Price -- 100\n-- agreed? --\nyes",
    ],
)
def test_own_words_that_look_like_quotes_stay(text: str) -> None:
    assert quotes.fold(text) == quotes.Folded(text, "")


@pytest.mark.parametrize(
    "opening",
    [
        '<div class="gmail_quote">',
        "<blockquote type=cite>",
        '<div id="divRplyFwdMsg">',
        '<div id="x_divRplyFwdMsg">',
        '<div class="moz-cite-prefix">',
        '<div class="x yahoo_quoted" id="yahoo_quoted_1">',
        '<div id="appendonsend">',
        '<div class="protonmail_quote">',
    ],
)
def test_what_mailers_put_around_a_quote_in_html_folds_the_text(opening: str) -> None:
    html = f"<div>My <b>answer</b>,<br>in two lines.</div>{opening}Abc def:<br>Your words</div>"
    folded = quotes.fold("My *answer*,\nin two lines.\n\nAbc def:\nYour words", html)
    assert folded == quotes.Folded("My *answer*,\nin two lines.", "Abc def:\nYour words")


def test_html_that_says_something_else_than_the_text_folds_nothing() -> None:
    assert quotes.fold("My answer.\nMore.", '<p>Other</p><div class="gmail_quote">x</div>').own == "My answer.\nMore."


@pytest.mark.parametrize(
    ("sample", "own"),
    [
        ("gmail_reply_ru", "Спасибо, оплатим завтра."),
        ("outlook_reply", "We agree – please send the contract.\n\nRegards,\nIvan"),
        ("vacation", "I am away until Monday; nothing you send is lost."),
    ],
)
def test_letters_of_real_mailers_are_folded(sample: str, own: str) -> None:
    read = letters.read(letter(sample))
    assert quotes.fold(read.text, read.html).own == own


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["> x", ">", "", "-- ", "wrote:", "On 5 May 2026 10:00, a@b.c wrote:", quotes.MARKER, "From: a"]
        ),
        st.sampled_from(
            ["Sent: b", "To: c", "-----Original Message-----", "_" * 32, "Sent from my iPhone", "word", ":"]
        ),
        st.text(max_size=20),
    ),
    max_size=15,
)


@given(LINES, st.text(max_size=50))
def test_nothing_is_lost_and_something_is_left(lines: list[str], html: str) -> None:
    text = "\n".join(lines)
    folded = quotes.fold(text, html)
    assert bool(folded.own) == bool(text.strip("\n").rstrip())
    assert sorted(f"{folded.own}\n{folded.quoted}".split()) == sorted(text.split())
