"""Bodies of forms, as they are really sent, become names and values."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webhooks import charsets, forms, multiparts
from webhooks.errors import Malformed
from webhooks.forms import decode

URLENCODED = "application/x-www-form-urlencoded"
BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
VERA = (("name", "Вера"), ("phone", "8 (916) 123-45-67"), ("message", "3 окна\nсмету 😀"))


def chromium(*parts: bytes, boundary: str = BOUNDARY) -> bytes:
    line = b"--" + boundary.encode()
    return b"".join(line + b"\r\n" + part + b"\r\n" for part in parts) + line + b"--\r\n"


def text(name: str, value: str, encoding: str = "utf-8") -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode(encoding)


def upload(name: str, filename: str, content: bytes, content_type: str = "application/pdf") -> bytes:
    head = (
        f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: {content_type}\r\n\r\n'
    )
    return head.encode() + content


PARTS = (text("name", "Вера"), text("phone", "8 (916) 123-45-67"), text("message", "3 окна\r\nсмету 😀"))


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (
            b"name=%D0%92%D0%B5%D1%80%D0%B0&phone=8+%28916%29+123-45-67"
            b"&message=3+%D0%BE%D0%BA%D0%BD%D0%B0%0D%0A%D1%81%D0%BC%D0%B5%D1%82%D1%83+%F0%9F%98%80",
            URLENCODED,
        ),
        (urlencode(VERA).encode(), URLENCODED + "; charset=UTF-8"),
        (urlencode(VERA).encode(), URLENCODED + ';charset="utf-8"'),
        (urlencode(VERA).encode(), "text/plain;charset=UTF-8"),  # navigator.sendBeacon
        (urlencode(VERA).encode(), ""),
        (b"\xef\xbb\xbf" + urlencode(VERA).encode(), URLENCODED),
        ("name=Вера&phone=8+(916)+123-45-67&message=3+окна\nсмету+😀".encode(), URLENCODED),  # curl -d, unescaped
        (chromium(*PARTS), MULTIPART),
        (chromium(*PARTS), f'multipart/form-data; boundary="{BOUNDARY}"'),
        (chromium(*PARTS), f"Multipart/Form-Data; charset=utf-8; Boundary={BOUNDARY}"),
        (chromium(*PARTS), "multipart/form-data; boundary=another"),  # Zadarma
        (chromium(*PARTS), "multipart/form-data"),
        (chromium(*PARTS), URLENCODED),
        (chromium(*PARTS), ""),
        (chromium(*PARTS).replace(b"\r\n", b"\n"), MULTIPART),
        (chromium(*PARTS).removesuffix(b"--\r\n") + b"--", MULTIPART),
        (chromium(*PARTS).removesuffix(f"\r\n--{BOUNDARY}--\r\n".encode()), MULTIPART),
        (b"a preamble\r\n" + chromium(*PARTS), MULTIPART),
        (json.dumps(dict(VERA)).encode(), "application/json"),
        (json.dumps(dict(VERA), ensure_ascii=False).encode(), "application/json; charset=utf-8"),
        (json.dumps(dict(VERA)).encode(), "application/vnd.api+json"),
        (json.dumps(dict(VERA)).encode(), URLENCODED),  # curl -d '{…}'
        (json.dumps(dict(VERA)).encode(), "text/plain"),
        (json.dumps(dict(VERA)).encode(), ""),
        (json.dumps(dict(VERA), ensure_ascii=False).encode("utf-8-sig"), "application/json"),
        (json.dumps(dict(VERA), ensure_ascii=False).encode("utf-16"), "application/json"),
        (json.dumps(dict(VERA), ensure_ascii=False).encode("utf-16-be"), "application/json; charset=utf-16"),
        (json.dumps([{"name": name, "value": value} for name, value in VERA]).encode(), "application/json"),
        ("name=Вера\r\nphone=8 (916) 123-45-67\r\nmessage=3 окна\r\nсмету 😀\r\n".encode(), "text/plain"),
    ],
)
def test_the_same_form_in_every_wrapping_says_the_same(body, content_type):
    assert decode(body, content_type).fields == VERA


RUSSIAN = (("name", "Вера Иванова"), ("message", "Нужны окна, 5 шт. Перезвоните мне, пожалуйста"))


@pytest.mark.parametrize("encoding", ["windows-1251", "koi8-r", "cp866", "utf-8"])
@pytest.mark.parametrize(
    "content_type",
    [
        URLENCODED,
        URLENCODED + "; charset={}",
        URLENCODED + "; charset=utf-8",
        URLENCODED + "; charset=us-ascii",
        URLENCODED + "; charset=no-such-thing",
        URLENCODED + "; charset=unicode_escape",
        "",
    ],
)
def test_a_russian_form_is_read_whatever_its_charset_is_said_to_be(encoding, content_type):
    body = urlencode(RUSSIAN, encoding=encoding).encode()
    form = decode(body, content_type.format(encoding))
    assert form.fields == RUSSIAN
    assert form.charset == charsets.known(encoding)


@pytest.mark.parametrize("word", ["Вера", "ВЕРА", "вера", "Я", "Ёлкина Анна", "ул. Ленина, д. 5 №3", "iPhone 12 про"])
def test_a_word_or_two_is_enough_to_see_windows_1251(word):
    assert decode(urlencode({"q": word}, encoding="windows-1251").encode(), URLENCODED).first("q") == word


@pytest.mark.parametrize(("word", "encoding"), [("José", "cp1252"), ("Müller", "cp1252"), ("Łódź ulica", "cp1250")])
def test_western_names_are_not_taken_for_russian(word, encoding):
    assert decode(urlencode({"q": word}, encoding=encoding).encode(), URLENCODED).first("q") == word


def test_a_declared_latin_1_gives_way_to_utf_8_only():
    declared = URLENCODED + "; charset=iso-8859-1"
    assert decode(urlencode(RUSSIAN).encode(), declared).fields == RUSSIAN
    assert decode(b"q=Jos%E9", declared).first("q") == "José"


def test_one_charset_is_decided_on_for_the_whole_form():
    body = b"_charset_=windows-1251&name=%C2%E5%F0%E0&note=%D0%90"  # the note alone would be UTF-8
    assert decode(body, URLENCODED).fields[1:] == (("name", "Вера"), ("note", "Рђ"))


def test_the_charset_field_and_the_preference_are_believed():
    assert decode(b"_charset_=koi8-r&q=%F1", URLENCODED).first("q") == "Я"
    assert decode(b"q=%F1", URLENCODED, prefer="koi8-r").first("q") == "Я"
    assert decode(b"q=%D0%AF", URLENCODED, prefer="koi8-r").first("q") == "Я", "valid UTF-8 is UTF-8"


def test_bitrix_multipart_in_windows_1251_is_read():
    body = chromium(text("form_text_1", "Вера", "cp1251"), text("Телефон", "8 916 123-45-67", "cp1251"))
    assert decode(body, MULTIPART).fields == (("form_text_1", "Вера"), ("Телефон", "8 916 123-45-67"))


def test_a_part_may_say_its_own_charset():
    part = b'Content-Disposition: form-data; name="q"\r\nContent-Type: text/plain; charset=koi8-r\r\n\r\n\xf1'
    assert decode(chromium(part, text("name", "Вера")), MULTIPART).fields == (("q", "Я"), ("name", "Вера"))


def test_files_are_listed_and_found_again():
    content = b"%PDF-1.7\r\n\r\n--x\r\n\x00\xff"
    body = chromium(
        text("name", "Вера"),
        upload("plan", "план.pdf", content),
        upload("empty", "", b"", "application/octet-stream"),  # Chromium's empty file input
        text("message", "hi"),
        upload("photo", "C:\\Users\\Vera\\photo.jpg", b"JPEG", "image/jpeg"),
        upload("bad", "../../etc/passwd", b"root", "text/html; charset=utf-7"),
    )
    form = decode(body, MULTIPART)
    assert form.fields == (("name", "Вера"), ("message", "hi"))
    assert form.files == (
        forms.File("plan", "план.pdf", "application/pdf", len(content), 1),
        forms.File("photo", "photo.jpg", "image/jpeg", 4, 4),
        forms.File("bad", "passwd", "text/html", 4, 5),
    )
    assert multiparts.read_part(body, MULTIPART, 1) == content
    assert multiparts.read_part(body, "", 4) == b"JPEG"
    assert multiparts.read_part(body, MULTIPART, 9) is None
    assert multiparts.read_part(b"no parts", MULTIPART, 0) is None


@pytest.mark.parametrize(
    "disposition",
    [
        "form-data; name=\"plan\"; filename*=UTF-8''%D0%BF%D0%BB%D0%B0%D0%BD.pdf",
        "form-data; name=plan; filename=\"x.pdf\"; filename*=utf-8'ru'%D0%BF%D0%BB%D0%B0%D0%BD.pdf",
        'form-data; name="plan"; filename="план.pdf"',
    ],
)
def test_file_names_of_libraries_are_read(disposition):
    body = chromium(f"Content-Disposition: {disposition}\r\n\r\nx".encode())
    assert decode(body, MULTIPART).files[0][:2] == ("plan", "план.pdf")


def test_names_quoted_by_chromium_are_unquoted():
    body = chromium(b'Content-Disposition: form-data; name="a %22b%22"\r\n\r\n1')
    assert decode(body, MULTIPART).fields == (('a "b"', "1"),)


def test_json_is_flattened_as_php_would_name_it():
    body = b"""{"address": {"city": "Tver", "lines": ["1", "2"]}, "items": [{"id": 7}], "agree": true, "no": null,
        "big": 123456789012345678901234567890, "price": 1.10, "odd": NaN, "empty": {}, "": "nameless"}"""
    assert decode(body, "application/json").fields == (
        ("address[city]", "Tver"),
        ("address[lines]", "1"),
        ("address[lines]", "2"),
        ("items[0][id]", "7"),
        ("agree", "true"),
        ("no", ""),
        ("big", "123456789012345678901234567890"),
        ("price", "1.10"),
        ("odd", "NaN"),
        ("", "nameless"),
    )


def test_repeats_are_kept_in_order():
    expected = (("a", "1"), ("b", ""), ("a", "2"))
    assert decode(b"a=1&b&&a=2&", URLENCODED).fields == expected
    assert decode(b'{"a": 1, "b": "", "a": 2}', "").fields == expected
    assert decode(chromium(text("a", "1"), text("b", ""), text("a", "2")), MULTIPART).fields == expected


def test_the_query_is_part_of_the_form():
    assert decode(b"a=1", URLENCODED, "utm_source=google&a=2").fields == (
        ("a", "1"),
        ("utm_source", "google"),
        ("a", "2"),
    )
    assert decode(b"", "", "name=%D0%92%D0%B5%D1%80%D0%B0").fields == (("name", "Вера"),)


@pytest.mark.parametrize(
    ("body", "content_type", "fields"),
    [
        (b"na\x00me=a%00b\x00", URLENCODED, (("name", "ab"),)),
        (b'{"name": "a\\u0000b\\ud800c"}', "", (("name", "ab\ufffdc"),)),
        (b'{"name": "a\nb"}', "", (("name", "a\nb"),)),
        (chromium(text("na\x00me", "a\x00b")), MULTIPART, (("name", "ab"),)),
        (b"name=%1b%5b31m%07x%C2%85", URLENCODED, (("name", "[31mx"),)),
        ("name=Йё".encode(), URLENCODED, (("name", "Йё"),)),
        (b"name=100%&x=%zz%4", URLENCODED, (("name", "100%"), ("x", "%zz%4"))),
        (b"just words, call 8 916", "text/plain", (("message", "just words, call 8 916"),)),
        (b"[name]=Vera", URLENCODED, (("[name]", "Vera"),)),
    ],
)
def test_hostile_and_sloppy_text_is_cleaned(body, content_type, fields):
    assert decode(body, content_type).fields == fields


@pytest.mark.parametrize(
    ("body", "content_type", "sentence"),
    [
        (b"", "", "Nothing was sent"),
        (b" \r\n", "application/json", "Nothing was sent"),
        (b'{"a": ', "application/json", "cannot be read"),
        (b"hello", "application/json", "cannot be read"),
        (b'"hello"', "application/json", "must be an object"),
        (b"[1, 2]", "application/json", "must be an object"),
        (b"[]", "", "must be an object"),
        (b'[{"name": "a"}]', "", "must be an object"),
        (b'{"a":' * 50 + b"1" + b"}" * 50, "", "nested too deeply"),
        (b'{"a":' * 100_000, "application/json", "nested too deeply"),
        (b"[" * 100_000, URLENCODED, "nested too deeply"),
        (b"<?xml version='1.0'?><name>Vera</name>", "", "XML is not understood"),
        (b"<name>Vera</name>", "application/xml", "XML is not understood"),
        (b"name=Vera", MULTIPART, "no boundary was found"),
        (chromium(b"Nonsense\r\n\r\nx"), MULTIPART, "cannot be read"),
        (chromium(*[text("a", "1")] * 501), MULTIPART, "501|500"),
        (b"&".join([b"a=1"] * 501), URLENCODED, "too many fields: 500"),
        (json.dumps({"a": ["1"] * 501}).encode(), "", "too many fields: 500"),
        (b"a=" + b"x" * 65_537, URLENCODED, 'field "a" is too long: 65,537'),
        (b"x" * 1_001 + b"=1", URLENCODED, "name is too long"),
        (b"\x00\x01\x00\x00\xff" * 50, "", "binary data"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_a_reason(body, content_type, sentence):
    with pytest.raises(Malformed, match=sentence):
        decode(body, content_type)


def test_two_hundred_fields_lose_nothing():
    pairs = tuple((f"field {number}", "значение " * 20) for number in range(200))
    body = urlencode(pairs).encode()
    assert decode(body, URLENCODED).fields == pairs
    assert decode(chromium(*[text(*pair) for pair in pairs]), MULTIPART).fields == pairs
    assert decode(json.dumps(dict(pairs)).encode(), "").fields == pairs


TYPES = st.sampled_from(
    [
        URLENCODED,
        URLENCODED + "; charset=windows-1251",
        MULTIPART,
        "multipart/form-data; boundary=",
        "application/json",
        "text/plain",
        "",
        "application/octet-stream",
        "application/json; charset=utf-16",
        "multipart/mixed; boundary=ÿ",
        URLENCODED + "; charset=shift_jis",
        URLENCODED + "; charset=gb18030",
        "; charset=",
        URLENCODED + "; charset=utf-16",
    ]
)
SEEDS = [
    urlencode(VERA).encode(),
    urlencode(VERA[:2], encoding="cp1251").encode(),
    chromium(*PARTS, upload("f", "x.pdf", b"\x00\xff\r\n--")),
    json.dumps({"a": {"b": [1, None, "я"]}, **dict(VERA)}).encode(),
    "name=Вера\r\nphone=1\r\n".encode(),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real body that was cut, flipped, doubled or had something put into it."""
    body = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.integers(0, 40)))
        piece = draw(st.one_of(st.just(b""), st.just(body[start:end] * 2), st.binary(max_size=8)))
        body = body[:start] + piece + body[end:]
    return body


@settings(max_examples=300, deadline=None)
@given(damaged() | st.binary(max_size=200), TYPES, st.text(max_size=20))
def test_any_bytes_are_a_form_or_a_clear_refusal(body, content_type, query):
    try:
        form = decode(body, content_type, query)
    except Malformed as refusal:
        assert str(refusal).endswith((".", "body."))
        return
    said = "".join(name + value for name, value in form.fields)
    said += "".join(file.name + file.filename + file.content_type for file in form.files)
    said.encode("utf-8")
    assert "\x00" not in said
    for file in form.files:
        content = multiparts.read_part(body, content_type, file.part)
        assert content is not None
        assert len(content) == file.size


@given(
    st.lists(st.tuples(st.text("aя=&%+ \n", min_size=1, max_size=5), st.text("aяß=&%+ \n😀", max_size=5)), min_size=1)
)
def test_what_was_encoded_is_decoded_again(pairs):
    expected = tuple(pairs)
    assert decode(urlencode(pairs).encode(), URLENCODED).fields == expected
    assert decode(json.dumps([{"name": name, "value": value} for name, value in pairs]).encode(), "").fields == expected
    escaped = [text(name.replace("\n", "%0D%0A"), value.replace("\n", "\r\n")) for name, value in pairs]
    assert decode(chromium(*escaped), MULTIPART).fields == expected


def test_a_huge_body_takes_no_time_to_refuse():
    with pytest.raises(Malformed):
        decode(b"a=" + b"%D1%8F" * 1_700_000, URLENCODED)
    with pytest.raises(Malformed):
        decode(b"&" * 10_000_000 + b"a=1&" * 600, URLENCODED)
    body = chromium(text("name", "Вера"), upload("f", "x", b"\r\n--" * 2_500_000))
    assert decode(body, MULTIPART).files[0].size == 10_000_000
