"""When two spellings are the same address."""

from __future__ import annotations

import email_validator
import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.kernel import addresses
from core.kernel.addresses import EMAIL, PHONE, Address


@pytest.mark.parametrize(
    ("typed", "country"),
    [
        ("8 (916) 123-45-67", "RU"),
        ("8 (916) 123-45-67", "ru"),
        ("+7 916 123-45-67", "RU"),
        ("+7 916 123-45-67", ""),
        ("+7 916 123-45-67", "AM"),
        ("+7 (0) 916 123-45-67", "RU"),
        ("+ 7 916 123 45 67", "RU"),
        ("(+7) 916 123 45 67", "RU"),
        ("+8 916 123 45 67", "RU"),
        ("007 916 123 45 67", "RU"),
        ("007 916 123 45 67", "DE"),
        ("8 10 7 916 123 45 67", "RU"),
        ("79161234567", "RU"),
        ("79161234567", "AM"),
        ("9161234567", "RU"),
        ("８９１６１２３４５６７", "RU"),
        ("٨٩١٦١٢٣٤٥٦٧", "RU"),
        ("8\u00a0916\u00a0123.45.67", "RU"),
        ("8(916)123\u201145\u201367", "RU"),
        ("\u202a+7 916 123-45-67\u202c", "RU"),
        ("tel:+7-916-123-45-67", "RU"),
        ("tel:+7%20916%20123-45-67;ext=12", "RU"),
        ("whatsapp:+79161234567", "US"),
        ("+7 916 123-45-67 доб. 12", "RU"),
        ("+7 916 123-45-67 ext. 12", "RU"),
        ("+7 916 123-45-67 x12", "RU"),
        ("8 916 123-45-67 (Vera)", "RU"),
        ("тел. 8 916 123-45-67, Вера", "RU"),
        ("\t8 916\n123 45 67 ", "RU"),
    ],
)
def test_a_phone_is_recognised_in_every_spelling(typed, country):
    assert addresses.phone(typed, country) == "+79161234567"


@pytest.mark.parametrize(
    ("typed", "country", "meant"),
    [
        ("091 12-34-56", "AM", "+37491123456"),
        ("00374 91 123456", "RU", "+37491123456"),
        ("030/901820", "DE", "+4930901820"),
        ("(212) 555-0123", "US", "+12125550123"),
        ("1-800-FLOWERS", "US", "+18003569377"),
        ("8 800 555 35 35", "RU", "+78005553535"),
        ("8 916 123-45-67", "AM", "+79161234567"),
        ("8 701 234 56 78", "KZ", "+77012345678"),
        # a range not in use as far as the library knows, but of a length that the plan allows
        ("8 (123) 456-78-90", "RU", "+71234567890"),
    ],
)
def test_a_phone_is_read_by_the_rules_of_its_country(typed, country, meant):
    assert addresses.phone(typed, country) == meant


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "call me",
        "123",
        "112",
        "916-12-34",
        "0000000000",
        "1111111",
        "+",
        "tel:",
        "vera@example.com",
        "9" * 300,
        "8 (916",
        "+99999999999999999999",
        "\x00",
        chr(0xD800),
        "20.11.2026",
    ],
)
@pytest.mark.parametrize("country", ["RU", "", "ZZ", "Россия"])
def test_what_is_no_phone_gives_none(typed, country):
    assert addresses.phone(typed, country) is None


@pytest.mark.parametrize(
    "typed",
    [
        "8 (916) 123-45-67, 8 495 111-22-33",
        "8 (916) 123-45-67 / 8 495 111-22-33",
        "8 916 123-45-67 или 8 495 111-22-33 (офис)",
        "+79161234567+74951112233",
        "8 916 123-45-67; 8 495 111-22-33; +7 916 123 45 67",
    ],
)
def test_several_phones_in_one_field_are_all_read(typed):
    assert addresses.phones(typed, "RU") == ("+79161234567", "+74951112233")
    assert addresses.phone(typed, "RU") == "+79161234567"


@given(st.text(max_size=60), st.sampled_from(["RU", "AM", "US", "DE", "", "??"]))
def test_reading_a_phone_never_fails_and_is_stable(typed, country):
    found = addresses.phone(typed, country)
    if found is not None:
        assert found.startswith("+")
        assert found[1:].isdecimal()
        assert addresses.phone(found, country) == found
        assert addresses.phone(found, "") == found


@given(
    st.sampled_from(["", "8", "7", "+7", "8 ", "+7 ("]),
    st.text("0123456789", min_size=9, max_size=9),
    st.text(" -().\u00a0", max_size=2),
)
@example("8", "300000000", "")
def test_the_short_cut_for_the_commonest_phone_agrees_with_the_library(prefix, digits, separator):
    typed = f"{prefix}9{separator}{digits}"
    expected = phonenumbers.parse((prefix or "8") + "9" + digits, "RU")
    if phonenumbers.is_valid_number(expected):
        assert addresses.phones(typed, "RU") == (
            phonenumbers.format_number(expected, phonenumbers.PhoneNumberFormat.E164),
        )


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("vera@example.com", "vera@example.com"),
        (" Vera@Example.COM ", "vera@example.com"),
        ("Vera <Vera@example.com>", "vera@example.com"),
        ("mailto:vera@example.com?subject=hello", "vera@example.com"),
        ("vera@example.com.", "vera@example.com"),
        ('"vera@example.com",', "vera@example.com"),
        ("ｖｅｒａ@ｅｘａｍｐｌｅ.com", "vera@example.com"),
        ("vera\u200b@example.com", "vera@example.com"),
        ("vera.i+shop@example.co.uk", "vera.i+shop@example.co.uk"),
        ("Вера@Почта.РФ", "вера@xn--80a1acny.xn--p1ai"),
        ("вера@xn--80a1acny.xn--p1ai", "вера@xn--80a1acny.xn--p1ai"),
        ("vera@faß.de", "vera@xn--fa-hia.de"),
        ("vera@exchange.local", "vera@exchange.local"),
        ("vera@shop.test", "vera@shop.test"),
        ("o'hara@example.com", "o'hara@example.com"),
    ],
)
def test_an_email_has_one_spelling(typed, meant):
    assert addresses.email(typed) == meant


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "@",
        "vera",
        "vera@",
        "@example.com",
        "vera@example",
        "vera@@example.com",
        "a..b@example.com",
        "vera@-x.com",
        "vera@1.2.3.4",
        "8 916 123-45-67",
        "vera@exa mple.com",
        chr(0xD800) + "@x.com",
        "\ufffd@x.com",
        "a" * 400,
        "vera@example.com, boris@example.com",
    ],
)
def test_what_is_no_email_gives_none(typed):
    assert addresses.email(typed) is None


@given(st.text(max_size=40) | st.emails())
def test_reading_an_email_never_fails_and_is_stable(typed):
    found = addresses.email(typed)
    if found is not None:
        assert addresses.email(found) == found
        assert addresses.email(found.upper()) in (found, None) or not found.isascii()


_LABEL = st.text("abz09-xn", min_size=1, max_size=8)


@given(
    st.text("abz09._+-", min_size=1, max_size=12), st.lists(_LABEL, min_size=1, max_size=3), st.text("abz", max_size=4)
)
def test_the_short_cut_for_the_commonest_email_agrees_with_the_library(local, labels, ending):
    typed = f"{local}@{'.'.join(labels)}.{ending}"
    try:
        checked = email_validator.validate_email(typed, check_deliverability=False)
    except email_validator.EmailNotValidError:
        assert addresses.email(typed) is None or typed.endswith(".") or typed.startswith(".")
    else:
        assert addresses.email(typed) == f"{checked.local_part}@{checked.ascii_domain}"


def test_addresses_are_shown_as_people_write_them():
    vera = Address(PHONE, "+79161234567")
    assert addresses.display(vera, "RU") == "8 (916) 123-45-67"
    assert addresses.display(vera, "AM") == "+7 916 123-45-67"
    assert addresses.display(vera) == "+7 916 123-45-67"
    assert addresses.display(Address(EMAIL, "вера@xn--80a1acny.xn--p1ai")) == "вера@почта.рф"
    assert addresses.display(Address(EMAIL, "vera@example.com")) == "vera@example.com"
    assert addresses.display(Address(PHONE, "anonymous")) == "anonymous"
    assert addresses.display(Address("telegram", "1:2")) == "1:2"
    assert str(vera) == "phone:+79161234567"
