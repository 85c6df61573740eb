from __future__ import annotations

import re
from html.parser import HTMLParser

import nh3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.email import html

LOADS = ("src", "srcset", "background", "poster", "data", "action", "formaction", "xlink:href", "ping", "style")


class Seen(HTMLParser):
    """What a page would find."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]


def assert_harmless(markup: str) -> None:
    seen = Seen(markup)
    forbidden = "script style form input button iframe frame object embed svg math link meta base video audio template"
    assert not set(seen.tags) & set(forbidden.split())
    for tag, name, value in seen.attributes:
        assert not name.startswith("on") and name not in ("class", "id", "srcdoc", "srcset", "background"), (tag, name)
        assert not re.match(r"\s*(?:java|vb)script:", value, re.IGNORECASE)
        if name in LOADS and name != "style":
            assert value.startswith(("cid:", "data:image/")), (tag, name, value)
        if name == "style":
            assert "url" not in value.lower() and "position" not in value.lower() and "expression" not in value.lower()


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<a href='javascript:alert(1)'>x</a>",
        "<a href=' &#106;avascript:alert(1)'>x</a>",
        "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
        "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
        "<svg><style><img src=x onerror=alert(1)></style></svg>",
        "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
        "<form action=https://evil.example><input name=password><button>go</button></form>",
        "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
        "<base href=https://evil.example><link rel=stylesheet href=https://evil.example/x.css>",
        "<meta http-equiv=refresh content='0;url=https://evil.example'>",
        "<style>@import 'https://evil.example/x.css'</style>",
        "<p style='position:fixed;top:0;background:url(https://evil.example/x)'>x</p>",
        "<p style='background-color:expression(alert(1))'>x</p>",
        "<p style='color:\\75\\72\\6c(https://evil.example)'>x</p>",
        "<body background=https://evil.example/x onload=alert(1)>x</body>",
        "<td background=https://evil.example/x>x</td>",
        "<video poster=https://evil.example/x><source src=https://evil.example/y></video>",
        "<img srcset='https://evil.example/x 2x' src='https://evil.example/y'>",
        "<img src='data:image/svg+xml,<svg onload=alert(1)>'>",
        "<img src='//evil.example/x'>",
        "<img src='\\\\evil.example\\x'>",
        "<img src='file:///etc/passwd'>",
        "<!--[if mso]><script>alert(1)</script><![endif]-->",
        "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
        "<object data=https://evil.example/x></object><embed src=https://evil.example/x>",
        "<a href=https://ok.example ping=https://evil.example>x</a>",
        "<img alt='\"><script>alert(1)</script>' src=cid:x>",
    ],
)
def test_nothing_runs_or_loads(attack: str) -> None:
    assert_harmless(html.safe(attack))
    assert_harmless(html.safe(f"<table><tr><td>{attack}</td></tr></table>"))


PIECES = st.lists(
    st.one_of(
        st.sampled_from(["<img src=", "http://x", "cid:a", "<svg>", "<style>", "</style>", "<math>", "<!--", "-->"]),
        st.sampled_from(["onerror=", "<a href=", "javascript:", "<p style=", "url(", "<table>", "<td>", "<noscript>"]),
        st.sampled_from("<>\"'/= x"),
    ),
    max_size=20,
)


@given(PIECES)
def test_no_heap_of_pieces_runs_or_loads(pieces: list[str]) -> None:
    markup = html.safe("".join(pieces))
    assert_harmless(markup)
    html.to_text("".join(pieces))


def test_remote_pictures_load_only_when_asked() -> None:
    assert html.safe('<img src="https://x.example/a?b=1&amp;c" alt="logo" width="10">') == (
        '<img data-src="https://x.example/a?b=1&amp;c" alt="logo" width="10">'
    )
    assert 'data-src="https://x.example/a"' in html.safe('<img src="//x.example/a">')


def test_a_sender_cannot_write_data_src_themselves() -> None:
    assert html.safe('<img data-src="javascript:alert(1)" src="cid:x">') == '<img src="cid:x">'


def test_pictures_of_the_letter_itself_are_shown_from_where_they_are_kept() -> None:
    markup = '<img src="cid:logo@01"><img src="CID:other">'
    assert html.safe(markup) == '<img src="cid:logo@01"><img src="CID:other">'
    assert html.safe(markup, {"logo@01": '/files/1?a=1&b="'}) == (
        '<img src="/files/1?a=1&amp;b=&quot;"><img src="CID:other">'
    )


def test_pictures_inside_the_letter_stay() -> None:
    assert html.safe('<img src="data:image/png;base64,AAAA">') == '<img src="data:image/png;base64,AAAA">'


def test_links_open_elsewhere_and_tell_nothing() -> None:
    seen = Seen(html.safe('<a href="https://x.example" target="_top" rel="opener">x</a>'))
    assert sorted(seen.attributes) == [
        ("a", "href", "https://x.example"),
        ("a", "rel", "noopener noreferrer nofollow"),
        ("a", "target", "_blank"),
    ]


def test_looks_stay_as_far_as_they_are_harmless() -> None:
    styles = "color: red; background-color: rgb(1, 2, 3); text-align: right; position: absolute; width: calc(1px)"
    seen = Seen(html.safe(f'<table bgcolor="#fff"><tr><td style="{styles}">x</td></tr></table>'))
    found = {(tag, name): value.replace(" ", "") for tag, name, value in seen.attributes}
    assert found[("table", "bgcolor")] == "#fff"
    assert found[("td", "style")] == "color:red;background-color:rgb(1,2,3);text-align:right"


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>One&nbsp;<b>two</b>,</p><p>three<br>four</p>", "One two,\n\nthree\nfour"),
        ("<div>a</div><div>b</div>", "a\nb"),
        ("<div><div>a</div></div><div><br></div><div>b</div>", "a\n\nb"),
        ("a\n  b\tc", "a b c"),
        ("<ul><li>one<li>two<ol start=3><li>x<li>y</ol></ul>", "- one\n- two\n  3. x\n  4. y"),
        ("<blockquote>a<br>b<blockquote>c</blockquote></blockquote>d", "> a\n> b\n> > c\nd"),
        ("<table><tr><td>a<td>b<tr><td>c</table>", "a b\nc"),
        ('<a href="https://x.example/">x.example</a>', "x.example"),
        ('<a href="https://x.example/y">here</a>', "here <https://x.example/y>"),
        ('<a href="mailto:v@example.com">v@example.com</a>', "v@example.com"),
        ('<a href="javascript:x">here</a>', "here"),
        (f'<a href="https://x.example/{"y" * 400}">here</a>', "here"),
        ('<img src=x alt="Logo">!<img alt="🙂"><img>', "[Logo]!🙂"),
        ("<pre>a  b\n c</pre>", "a  b\n c"),
        ('<p>a</p><div style="DISPLAY: none">hidden <b>x</b><br></div><p hidden>y</p>b', "a\n\nb"),
        ("<style>p{}</style><script>x</script><title>t</title>words", "words"),
        ("&lt;p&gt; &amp;amp; &#x41;", "<p> &amp; A"),
        ("<h1>T</h1>a<hr>b", "T\n\na\n——————————\nb"),
        ("<p>a\u200b\u00adb</p>", "ab"),
        ("", ""),
    ],
)
def test_html_becomes_text_people_can_read(markup: str, text: str) -> None:
    assert html.to_text(markup) == text


def test_what_was_tamed_keeps_its_words() -> None:
    deep = html.safe("<div>" * 50_000 + "words" + "</div>" * 50_000)
    assert nh3.clean_text("words") in deep and deep.count("<div>") == 0
    many = html.safe("<p>" + "".join(f"<b id={n}>w" for n in range(5000)) + "<p>x" * 5000)
    assert html.to_text(many).count("w") == 5000
    assert len(many) < 1_000_000
    opened = "<p>" + "<b><i><u><em><small><big><tt><font>" * 3 + "<p>x" * 200_000
    assert html.to_text(html.safe(opened)).count("x") == 200_000
    assert html.to_text("a &amp; b " * 60_000).count("a") == 60_000


@pytest.mark.parametrize("size", [10, 2000])
def test_ordinary_letters_are_never_tamed(size: int) -> None:
    markup = "<div><p>Hello <b>you</b>, <span>a &amp; b</span></p></div>" * size
    assert html.safe(markup).count("<b>") == size
    assert html.safe(markup).count("<div>") == size
