from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.email import letters, threads

KEY = b"a key of thirty-two bytes, or so"
OTHER = b"another key"
THREAD = "k3ab7q2m4n5p6r7s"


def read(head: str, body: str = "words") -> letters.Letter:
    return letters.read(f"From: vera@example.com\nMessage-ID: <own@example.com>\n{head}\n{body}".encode())


@pytest.mark.parametrize(("part", "thread"), [("184467.0", THREAD), ("184467.0", ""), ("a-b", "1"), ("0", THREAD)])
def test_our_message_ids_are_ours_and_the_same_each_time(part: str, thread: str) -> None:
    made = threads.message_id(KEY, part, "hub.example", thread)
    assert made == threads.message_id(KEY, part, "hub.example", thread)
    assert made.startswith(f"<hub.{part}.") and made.endswith("@hub.example>") and ".." not in made
    assert threads.ours(KEY, made) == threads.Ours(part, thread)
    assert threads.ours(KEY, made.strip("<>").upper()) == threads.Ours(part.upper(), thread)
    assert threads.ours(OTHER, made) is None


def test_a_changed_id_is_not_ours() -> None:
    made = threads.message_id(KEY, "184467.0", "hub.example", THREAD)
    assert threads.ours(KEY, made.replace("184467", "184468")) is None
    assert threads.ours(KEY, made.replace(THREAD, THREAD[::-1])) is None
    assert threads.ours(KEY, "<CAF=one@mail.example.com>") is None
    assert threads.ours(KEY, "") is None


@pytest.mark.parametrize(
    ("part", "thread"), [("", ""), ("a b", ""), ("a>", ""), ("1", "Х"), ("1", "a.b"), ("1", "x" * 33)]
)
def test_ids_that_would_break_a_header_are_not_made(part: str, thread: str) -> None:
    with pytest.raises(ValueError):
        threads.message_id(KEY, part, "hub.example", thread)


@pytest.mark.parametrize("thread", ["", THREAD, "1"])
def test_a_token_says_its_thread_only_to_who_made_it(thread: str) -> None:
    token = threads.reply_token(KEY, thread)
    assert token == token.lower() and len(token) <= 49
    assert threads.thread_of_token(KEY, token) == thread
    assert threads.thread_of_token(KEY, token.upper()) == thread
    assert threads.thread_of_token(OTHER, token) is None
    assert threads.thread_of_token(KEY, "x" + token) is None
    assert threads.thread_of_token(KEY, token[:-1] + ("a" if token[-1] != "a" else "b")) is None


def test_a_token_is_no_mac_of_a_letter() -> None:
    mac = threads.reply_token(KEY, THREAD).rpartition("-")[2]
    assert threads.ours(KEY, f"<hub.{THREAD}.-.{mac}@hub.example>") is None


def test_answers_go_to_an_address_that_says_where_they_belong() -> None:
    address = threads.plus_address(KEY, "sales@hub.example", THREAD)
    assert address.startswith("sales+") and address.endswith("@hub.example")
    assert threads.plus_address(KEY, "s" * 50 + "@hub.example", THREAD) == "s" * 50 + "@hub.example"
    with pytest.raises(ValueError):
        threads.plus_address(KEY, "sales@hub.example", "not ours")


PLUS = threads.plus_address(KEY, "sales@hub.example", THREAD)
OURS = threads.message_id(KEY, "17.0", "hub.example", THREAD)
ELSE = threads.message_id(KEY, "18.0", "hub.example", "else")
FORGED = threads.message_id(OTHER, "17.0", "hub.example", "forged")
MARK = threads.body_mark(KEY, THREAD)


@pytest.mark.parametrize(
    ("head", "body", "found"),
    [
        (f"To: {PLUS}\n", "", (THREAD, "", "token")),
        (f"To: Sales <{PLUS.upper()}>\n", "", (THREAD, "", "token")),
        (f"Cc: x@example.com, {PLUS}\n", "", (THREAD, "", "token")),
        (f"Delivered-To: {PLUS}\nTo: sales@hub.example\n", "", (THREAD, "", "token")),
        (f"X-Original-To: {PLUS}\n", "", (THREAD, "", "token")),
        (f"To: {PLUS}\nIn-Reply-To: {ELSE}\n", "", (THREAD, ELSE, "token")),
        (f"In-Reply-To: {OURS}\n", "", (THREAD, OURS, "in_reply_to")),
        (f"In-Reply-To: <x@y> {OURS}\nReferences: {ELSE}\n", "", (THREAD, OURS, "in_reply_to")),
        (f"In-Reply-To: <x@y>\nReferences: {ELSE} {OURS} <x@y>\n", "", (THREAD, OURS, "references")),
        ("In-Reply-To: <rewritten@ses.example>\n", f"> {MARK}\n", (THREAD, "<rewritten@ses.example>", "body")),
        (
            "Content-Type: text/html\n",
            f"<p>a</p><span style='display:none'>{MARK}</span>",
            (THREAD, "", "body"),
        ),
        ("References: <root@x> <later@x>\n", "", (threads.root_thread("<root@x>"), "<later@x>", "root")),
        ("In-Reply-To: <root@x>\n", "", (threads.root_thread("<root@x>"), "<root@x>", "root")),
        ("", "", (threads.root_thread("<own@example.com>"), "", "root")),
        (f"In-Reply-To: {FORGED}\n", "", (threads.root_thread(FORGED), FORGED, "root")),
        ("To: sales+newsletter@hub.example\n", "", (threads.root_thread("<own@example.com>"), "", "root")),
        ("", threads.body_mark(OTHER, "x"), (threads.root_thread("<own@example.com>"), "", "root")),
    ],
)
def test_a_letter_finds_its_conversation(head: str, body: str, found: tuple[str, str, str]) -> None:
    assert threads.place(KEY, read(head, body)) == threads.Found(*found)


def test_a_conversation_keeps_its_thread_as_it_goes_back_and_forth() -> None:
    first = threads.place(KEY, read(""))
    ours = threads.message_id(KEY, "1.0", "hub.example", first.thread)
    answered = threads.place(KEY, letters.read(f"Message-ID: <2@x>\nIn-Reply-To: {ours}\n\nyes".encode()))
    again = threads.place(
        KEY, letters.read(b"Message-ID: <3@x>\nIn-Reply-To: <2@x>\nReferences: <own@example.com> <2@x>\n\nmore")
    )
    assert first.thread == answered.thread == again.thread


def test_letters_without_ids_have_threads_of_their_own() -> None:
    one, other = (threads.place(KEY, letters.read(b"From: v@example.com\n\n" + words)) for words in (b"a", b"b"))
    assert one.thread != other.thread and one.sign == other.sign == "root"


@given(st.text(max_size=300))
def test_nothing_anybody_writes_is_ours(text: str) -> None:
    assert threads.ours(KEY, text) is None
    assert threads.thread_of_token(KEY, text) is None
    assert len(threads.root_thread(text)) == 16
