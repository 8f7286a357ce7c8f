"""MSH-18: its spellings, its lies, and bytes that are nothing."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.hl7 import charset


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("ASCII", "ascii"),
        ("UNICODE UTF-8", "utf_8"),
        ("UTF-8", "utf_8"),
        ("utf8", "utf_8"),
        ("UNICODE", "utf_8"),
        ("8859/1", "iso8859_1"),
        ("ISO 8859-1", "iso8859_1"),
        ("ISO-8859-15", "iso8859_15"),
        ("8859/15", "iso8859_15"),
        ("GB 18030-2000", "gb18030"),
        ("BIG-5", "big5"),
        ("KS X 1001", "euc_kr"),
        ("ISO IR87", "iso2022_jp_ext"),
        ("ISO IR159", "iso2022_jp_ext"),
        ("ISO IR6", "ascii"),
        ("windows-1252", "cp1252"),
        ("CP1251", "cp1251"),
        ("CNS 11643-1992", None),
        ("8859/12", None),
        ("ISO IR 999", None),
        ("PRELIM", None),
        ("", None),
    ],
)
def test_spellings_of_table_0211(name: str, codec: str | None) -> None:
    assert charset.codec_of(name) == codec
    assert codec is None or codecs.lookup(codec)


def test_every_part_of_8859_that_exists() -> None:
    for part in (*range(1, 12), *range(13, 17)):
        assert charset.codec_of(f"8859/{part}") == f"iso8859_{part}"


@pytest.mark.parametrize(
    ("raw", "declared", "text", "codec", "warns"),
    [
        ("Zoë".encode(), "", "Zoë", "utf_8", False),
        ("Zoë".encode(), "UNICODE UTF-8", "Zoë", "utf_8", False),
        ("Zoë".encode("latin-1"), "8859/1", "Zoë", "iso8859_1", False),
        ("Zoë".encode("latin-1"), "", "Zoë", "cp1252", True),
        ("Zoë".encode("latin-1"), "UNICODE UTF-8", "Zoë", "cp1252", True),
        ("Zoë".encode("latin-1"), "ASCII", "Zoë", "cp1252", True),
        ("Zoë".encode(), "8859/1", "Zoë", "utf_8", True),
        ("Łucja".encode(), "8859/1", "Łucja", "utf_8", True),
        ("Zoë".encode(), "ASCII", "Zoë", "utf_8", True),
        ("Zoë".encode(), "PRELIM", "Zoë", "utf_8", True),
        ("Zoë".encode(), "ISO IR 999", "Zoë", "utf_8", True),
        ("ТА".encode("iso8859_5"), "8859/5", "ТА", "iso8859_5", False),  # valid UTF-8 by chance
        ("Иван".encode(), "8859/5", "Иван", "utf_8", True),
        (b"\x81\x8d\xff", "", "\x81\x8d\xff", "latin_1", True),
        ("“x”".encode("cp1252"), "", "“x”", "cp1252", True),
        ("Zoë".encode(), "~ISO IR87", "Zoë", "utf_8", True),
    ],
)
def test_decoding(raw: bytes, declared: str, text: str, codec: str, warns: bool) -> None:
    found = charset.decode(raw, declared)
    assert (found.text, found.codec, bool(found.warning)) == (text, codec, warns)


def test_an_override_is_believed_and_falls_back_when_impossible() -> None:
    assert charset.decode("Zoë".encode(), "", charset="8859/1").text == "ZoÃ«"
    assert charset.decode("Zoë".encode("latin-1"), "", charset="utf-8").text == "Zoë"
    assert charset.decode("Zoë".encode("koi8-u", "replace"), "", charset="koi8-u").codec == "koi8-u"


@pytest.mark.parametrize(
    "name", ["utf-16", "utf-7", "hz", "unicode_escape", "idna", "rot13", "cp037", "no", "a\0b"]
)
def test_overrides_that_cannot_carry_er7_are_refused(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        charset.override(name)
    assert caught.value.code == "hl7.charset"


@given(
    st.binary(max_size=60),
    st.sampled_from(["", "8859/1", "UNICODE UTF-8", "ASCII", "ISO IR87", "GB 18030-2000", "x"]),
)
def test_every_byte_string_decodes_without_replacement_characters(raw: bytes, declared: str) -> None:
    found = charset.decode(raw, declared)
    assert "\ufffd" not in found.text or "\ufffd".encode(found.codec) in raw


ACCEPTED = ["ascii", "utf-8", "gb18030", "gbk", "gb2312", "big5", "shift_jis", "euc_jp", "euc_kr", "iso2022_jp_ext",
            "cp932", "koi8-r", "cp1252", "iso8859-5", "tis-620", "mac-roman", "iso2022_kr"]  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_in_every_accepted_set_delimiters_and_line_ends_mean_themselves(name: str) -> None:
    ascii_ = bytes(b for b in range(0x20, 0x7F)) + b"\r\n"
    assert ascii_.decode(charset.override(name)) == ascii_.decode("ascii")
