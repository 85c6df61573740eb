from __future__ import annotations

import pytest

from channels import form_files

PDF = "https://files.example/a/plan.pdf"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (PDF, [PDF]),
        (f"  {PDF}\n", [PDF]),
        (f"{PDF}, {PDF}?x=1", [PDF, f"{PDF}?x=1"]),
        (f"{PDF};https://files.example/b,c.png", [PDF, "https://files.example/b,c.png"]),
        (f"{PDF}\n{PDF}", [PDF, PDF]),
        (f"see {PDF}", []),
        (f"{PDF} please", []),
        ("ftp://files.example/a.pdf", []),
        ("plan.pdf", []),
        ("https://files.example/" + "a" * 3_000 + ".pdf", []),
        ("", []),
    ],
)
def test_a_value_is_addresses_or_it_is_words(value, found):
    assert form_files.addresses_in(value) == found


@pytest.mark.parametrize(
    ("address", "name", "kind"),
    [
        (PDF, "plan.pdf", "file"),
        ("https://files.example/a/%D0%9F%D0%BB%D0%B0%D0%BD.JPG?sig=1#x", "План.JPG", "image"),
        ("https://files.example/voice.ogg", "voice.ogg", "audio"),
        ("https://files.example/film.mp4", "film.mp4", "video"),
        ("https://files.example/..%2F..%2Fetc%2Fpasswd.txt", "etc passwd.txt", "file"),
    ],
)
def test_an_address_that_ends_like_a_file_is_one(address, name, kind):
    (file,) = form_files.linked([address, address])
    assert (file.name, file.kind, file.reference, file.part) == (name, kind, address, -1)


@pytest.mark.parametrize(
    "address",
    ["https://shop.example/", "https://shop.example/page.html", "https://shop.example/pdf", "https://[x/.pdf"],
)
def test_a_page_is_no_file_unless_the_builder_says_so(address):
    assert form_files.linked([address]) == ()
    assert len(form_files.linked([address], surely=True)) == 1


def test_a_value_cannot_bring_files_without_end():
    value = " ".join(f"https://files.example/{number}.pdf" for number in range(1_000))
    assert len(form_files.linked([value])) == 30
