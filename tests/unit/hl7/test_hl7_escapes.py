"""Escape sequences, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.hl7.delimiters import Delimiters, delimiters
from engine.hl7.escapes import escape, unescape

PLAIN = delimiters("|", "^~\\&")
OTHER = delimiters("@", "~&#\\")
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\uffff"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f", "a|b^c&d~e\\f"),
        ("one\\.br\\two", "one\ntwo"),
        ("\\H\\bold\\N\\ plain", "bold plain"),
        ("\\X41\\\\X4243\\", "ABC"),
        ("\\XC3A4\\", "ä"),
        ("\\X4\\", "\\X4\\"),
        ("\\XZZ\\", "\\XZZ\\"),
        ("\\C2842\\ \\M1B2442\\ \\Z01\\", "\\C2842\\ \\M1B2442\\ \\Z01\\"),
        ("\\.sp+2\\x\\.in5\\", "\\.sp+2\\x\\.in5\\"),
        ("\\Q\\", "\\Q\\"),
        ("C:\\TEMP\\file", "C:\\TEMP\\file"),
        ("open \\F", "open \\F"),
        ("\\\\F\\", "\\|"),
        ("\\E\\F\\E\\", "\\F\\"),
        ("\\P\\", "\\P\\"),
        ("\\", "\\"),
        ("nothing", "nothing"),
    ],
)
def test_reading(text: str, value: str) -> None:
    assert unescape(text, PLAIN) == value


def test_the_messages_own_delimiters_count() -> None:
    assert unescape("a#F#b#T#c#R#d#S#e#E#", OTHER) == "a@b\\c&d~e#"
    assert unescape("a\\F\\", OTHER) == "a\\F\\"
    assert unescape("\\P\\", delimiters("|", "^~\\&#")) == "#"
    assert unescape("\\XEB\\", PLAIN, "iso8859_1") == "ë"


@given(TEXT, st.sampled_from([PLAIN, OTHER, delimiters("|", "^~\\&#"), delimiters("^", "~|\\&")]))
def test_round_trip(text: str, given_: Delimiters) -> None:
    written = escape(text, given_)
    assert unescape(written, given_) == text
    for char in (
        given_.field,
        given_.component,
        given_.repetition,
        given_.subcomponent,
        "\r",
        "\n",
        "\x0b",
        "\x1c",
    ):
        assert char not in written


@given(TEXT)
def test_reading_never_fails(text: str) -> None:
    assert isinstance(unescape(text, PLAIN, "ascii"), str)
