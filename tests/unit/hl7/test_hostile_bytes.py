"""Inputs that once broke a promise of the HL7 layer; most were found by tests/fuzz."""

from __future__ import annotations

import pytest

from channels.batches import is_batch
from engine.errors import HL7Error
from engine.hl7 import ack, batch, paths
from engine.hl7.delimiters import NEVER, delimiters, locate
from engine.hl7.er7 import Message
from engine.hl7.escapes import escape, unescape
from engine.hl7.mllp import frameable
from engine.hl7.peek import HeaderError, count_headers, peek, value

BOM = b"\xef\xbb\xbf"
HEADER = b"MSH|^~\\&|A|B|C|D|20260301||ADT^A01|1|P|2.5.1\r"


@pytest.mark.parametrize("lead", [BOM, BOM + BOM, b"\x0b" + BOM, b" \r\n" + BOM])
@pytest.mark.parametrize("name", ["M\u00fcller".encode("latin-1"), "山田".encode("gbk"), "Müller".encode()])
def test_a_byte_order_mark_before_a_message_that_is_not_utf8(lead, name):
    raw = lead + HEADER + b"PID|||7||" + name + b"\r"
    view = Message(raw)
    assert view["MSH-9.1"] == peek(raw).message_code == "ADT"
    assert bytes(view) == raw and not [text for text in view.warnings if "segment" in text]
    view["PID-8"] = "F"
    assert bytes(view) == lead + HEADER + b"PID|||7||" + name + b"|||F\r"


def test_gbk_does_not_eat_the_header_after_a_byte_order_mark():
    assert Message(BOM + HEADER, charset="GBK")["MSH-10"] == "1"


@pytest.mark.parametrize("lead", [b"\xbf", b"\xbb\xbf", b"\xef\xbb", b"\xef\xef\xbb\xbf", b"\xbf\xef\xbb"])
def test_a_part_of_a_byte_order_mark_is_text(lead):
    assert locate(lead + HEADER) == -1
    assert locate(b"x\r" + lead + HEADER) == -1
    with pytest.raises(HeaderError):
        peek(lead + HEADER)


@pytest.mark.parametrize("lead", [b"\r", b"\r\r", b" \r", b"\n", b"\x0b\r"])
def test_writing_after_a_leading_line_end_keeps_every_line_once(lead):
    view = Message(lead + HEADER + b"PID|||7\r")
    view["PID-8"] = "F"
    view["ZZZ-1"] = "x"
    assert bytes(view).count(b"MSH") == 1
    assert [segment.name for segment in Message(bytes(view))] == ["MSH", "PID", "ZZZ"]


@pytest.mark.parametrize(
    ("field", "encoding"), [("|", "~~\\&"), ("\\", "`"), ("^", ""), ("~", ","), ("|", "&&&&"), ("&", "@")]
)
def test_missing_separators_are_written_so_that_they_are_read_alike(field, encoding):
    given = delimiters(field, encoding)
    assert NEVER in given
    assert NEVER not in given.encoding_characters and field not in given.encoding_characters
    assert delimiters(field, given.encoding_characters)[:5] == given[:5]


@pytest.mark.parametrize(("field", "encoding"), [(".", "^~\\&"), ("|", ".~\\&"), ("|", "^~\\.")])
def test_an_escaped_line_end_holds_no_delimiter(field, encoding):
    given = delimiters(field, encoding)
    assert "." not in escape("a\nb", given)
    assert unescape(escape("a\nb.c", given), given) == "a\nb.c"


def test_a_plus_sign_as_delimiter_does_not_shift_the_fields_of_the_answer():
    header = peek(HEADER.replace(b"|", b"+"))
    answer = ack.build(header, "AE", ack_id="I1", now=10**15, error=HL7Error("no", condition="198"))
    assert peek(answer).type == "ACK^A01" and ack.read(answer).control_id == "1"


def test_the_text_of_an_error_code_holds_no_delimiter():
    raw = HEADER.replace(b"|", b"-")
    answer = Message(
        ack.build(peek(raw), "AE", ack_id="I1", now=0, error=HL7Error("no", code="a.b", condition="198"))
    )
    assert answer["ERR-3.2"] == "Non-Conformant Cardinality" and answer["ERR-5.1"] == "a.b"


def test_framing_bytes_of_a_header_do_not_break_the_answer():
    for odd in (b"1\x1c", b"1\x0b2", b"\x1c1"):
        raw = HEADER.replace(b"|1|P", b"|" + odd + b"|P").replace(b"2.5.1", b"2.5.1\x0b")
        answer = ack.build(peek(raw), "AA", ack_id="I1", now=0)
        assert frameable(answer) and ack.read(answer).control_id == odd.decode("ascii").strip()
    reply = batch.acknowledge(batch.split(b"BHS|^~\\&|A\x1c|B\x0b\r" + HEADER), [], ack_id="I1", now=0)
    assert frameable(reply)


def test_an_ellipsis_of_the_sender_stays_one():
    raw = "MSH|^~\\&|A…|B|C|D|2026||ADT^A01|1|P|2.5.1\r".encode("cp1252")
    assert ack.build(peek(raw), "AA", ack_id="I1", now=0).split(b"|")[4] == b"A\x85"


def test_a_separator_byte_inside_a_header_ends_neither_header_nor_view():
    raw = HEADER.replace(b"20260301", b"2026\x1c0301")
    assert peek(raw).control_id == Message(raw)["MSH-10"] == "1"


@pytest.mark.parametrize(
    "raw",
    [
        HEADER + b"PID\rPID|||6\r",
        HEADER + b" PID|||5\rPID|||6\r",
        HEADER + b"\x0bPID|||5\rPID|||6\r",
        HEADER + b"\nPID|||5\rPID|||6\r",
        HEADER + b"NTE|PID|||5\rPID|||6\r",
        HEADER + b"PID|||6\x0b\r",
        HEADER + b"PID|||6",
        HEADER,
    ],
)
def test_the_quick_read_of_a_key_is_the_read_of_the_view(raw):
    assert value(raw, "PID-3.1", peek(raw)) == str(Message(raw)["PID-3.1"])


def test_messages_that_an_end_block_parts_are_two():
    raw = HEADER.rstrip(b"\r") + b"\x1c" + HEADER
    assert is_batch(raw)
    parts = batch.split(raw + b"BTS|2\r")
    assert [peek(one).control_id for one in parts.messages] == ["1", "1"]
    assert [item.line for item in parts.items] == [1, 1, 2]


def test_a_count_of_thousands_of_digits_is_no_count():
    found = batch.split(b"BHS|^~\\&|A\r" + HEADER + b"BTS|" + b"9" * 5000 + b"\r")
    assert found.messages == [HEADER] and not found.warnings


@pytest.mark.parametrize("blank", [b" " * 70, b"\r\n" * 40, b"\x0b" + b"\t" * 64, BOM * 30])
def test_a_batch_after_many_blanks_is_one(blank):
    assert is_batch(blank + HEADER + HEADER) and count_headers(blank + HEADER + HEADER) == 2
    assert is_batch(blank + b"BHS|^~\\&\r" + HEADER)
    assert not is_batch(blank + HEADER)


@pytest.mark.parametrize(
    ("path", "column"), [("\n", 1), ("PID-3\n", 6), ("PID\t-3", 4), (" PID-3", 1), ("PID -3", 4)]
)
def test_a_blank_in_a_path_is_pointed_at(path, column):
    with pytest.raises(paths.PathError) as caught:
        paths.compile(path)
    assert caught.value.column == column
