"""The header alone: what can be read of it, what cannot, and what the answer must say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import HL7Error
from engine.hl7 import ack, batch, peek
from engine.hl7.er7 import Message
from engine.hl7.peek import HeaderError

HEAD = (
    b"MSH|^~\\&|EHR|HOSP|ISTHMUS|CLINIC|20260329||ADT^A01^ADT_A01| M1 |P^T|2.5.1^DEU|||AL|NE||UNICODE UTF-8\r"
)


def test_every_field_that_others_need() -> None:
    h = peek.peek(HEAD)
    assert (h.separator, h.encoding_characters) == ("|", "^~\\&")
    assert (h.sending_application, h.sending_facility) == ("EHR", "HOSP")
    assert (h.receiving_application, h.receiving_facility) == ("ISTHMUS", "CLINIC")
    assert (h.message_code, h.trigger, h.structure, h.type) == ("ADT", "A01", "ADT_A01", "ADT^A01")
    assert (h.control_id, h.processing_id, h.version, h.datetime) == ("M1", "P^T", "2.5.1", "20260329")
    assert (h.accept_ack, h.application_ack, h.charset, h.sender) == ("AL", "NE", "UNICODE UTF-8", "EHR|HOSP")
    assert (h.field(1), h.field(3), h.field(40)) == ("|", "EHR", "")


@pytest.mark.parametrize(
    ("field9", "type_", "structure"),
    [
        (b"ACK", "ACK", ""),
        (b"ORU^^ORU_R01", "ORU", "ORU_R01"),
        (b"ORU^R01", "ORU^R01", ""),
        (b"CUSTOM^PAT", "CUSTOM^PAT", ""),
        (b"ADT^A01~ADT^A04", "ADT^A01", ""),
        (b" ADT ^ A01 ", "ADT^A01", ""),
    ],
)
def test_message_types(field9: bytes, type_: str, structure: str) -> None:
    h = peek.peek(b"MSH|^~\\&|||||||" + field9 + b"|1|P|2.4")
    assert (h.type, h.structure) == (type_, structure)


@pytest.mark.parametrize("version", [b"", b"2.999", b"9", b"x", b"2.9"])
def test_an_empty_control_id_and_any_version_are_no_errors(version: bytes) -> None:
    h = peek.peek(b"MSH|^~\\&|||||||ADT^A01||P|" + version)
    assert (h.control_id, h.version) == ("", version.decode())


@pytest.mark.parametrize(
    "lead", [b"", b"\x0b", b"\xef\xbb\xbf", b"\r\n", b" ", b"FHS|^~\\&|a\rBHS|^~\\&|b\r\n"]
)
@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\x1c\r", b""])
def test_what_stands_around_the_header(lead: bytes, end: bytes) -> None:
    assert peek.peek(lead + HEAD[:-1] + end).charset == "UNICODE UTF-8"


def test_delimiters_are_bytes_whatever_the_charset() -> None:
    """`ESC ( B` is a switch of character sets in MSH-18's ISO IR159, and no delimiters."""
    raw = b"MSH|\x1b(B&||||||||||||||||ISOIR159"
    with pytest.raises(HeaderError) as refused:
        peek.peek(raw)
    assert refused.value.header is not None
    assert refused.value.header.delimiters == Message(raw).delimiters


def test_the_header_in_its_charset() -> None:
    raw = "MSH|^~\\&|Klinik Süd|||||| ADT|1|P|2.3||||||8859/1\r".encode("latin-1")
    assert (peek.peek(raw).sending_application, peek.peek(raw).codec) == ("Klinik Süd", "iso8859_1")


@pytest.mark.parametrize(
    ("raw", "code", "condition", "control_id"),
    [
        (b"", "hl7.empty", "100", None),
        (b"\r", "hl7.empty", "100", None),
        (b"\x0b\x1c\r", "hl7.empty", "100", None),
        (b"hello world", "hl7.no_header", "100", None),
        (b"MSH", "hl7.no_header", "100", None),
        (b"MSH hello", "hl7.no_header", "100", None),
        (b"MSHX|^~\\&|", "hl7.no_header", "100", None),
        (b"PID|1\r", "hl7.no_header", "100", None),
        (HEAD.decode().encode("utf-16"), "hl7.charset.wide", "102", None),
        (HEAD.decode().encode("utf-16-le"), "hl7.charset.wide", "102", None),
        (HEAD.decode().encode("utf-32-be"), "hl7.charset.wide", "102", None),
        (b"MSH|", "hl7.header_short", "101", ""),
        (b"MSH|^~\\&|A|B", "hl7.header_short", "101", ""),
        (b"MSH|^~\\&|A|B|C|D|1|||M7|P|2.5", "hl7.no_type", "101", "M7"),
        (b"MSH|^~\\&|A|B|C|D|1||^A01|M7|P|2.5", "hl7.no_type", "101", "M7"),
        (b"hello\rMSH|^~\\&|A|B|C|D|1||ADT^A01|M7|P|2.5", "hl7.no_header", "100", "M7"),
        (b"{}\r\nFHS|a\rMSH|^~\\&|A|B|C|D|1||ADT^A01|M7|P|2.5", "hl7.no_header", "100", "M7"),
    ],
)
def test_refusals_carry_their_answer(raw: bytes, code: str, condition: str, control_id: str | None) -> None:
    with pytest.raises(HeaderError) as caught:
        peek.peek(raw)
    error = caught.value
    assert (error.code, error.ack, error.condition) == (code, "AR", condition)
    assert (error.header and error.header.control_id) == control_id
    assert error.todo and error.where


@given(st.binary(max_size=100), st.sampled_from([b"", b"MSH|", b"MSH|^~\\&|||||||A"]))
def test_any_bytes_are_read_or_refused(rest: bytes, head: bytes) -> None:
    try:
        header = peek.peek(head + rest)
    except HL7Error:
        return
    assert header.message_code
    assert isinstance(header.sender + header.type + header.version + header.control_id, str)


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        (b"", 0),
        (b"MSH", 0),
        (HEAD, 1),
        (HEAD + HEAD, 2),
        (HEAD + b"NTE|1||MSH|no\r", 1),
        (HEAD + b"NTE|1||x\nMSH|yes\n", 2),
        (HEAD + b"\x1c\r\x0b" + HEAD, 2),
        (b"\xef\xbb\xbf" + HEAD + b"MSH hello\r", 1),
        (HEAD + b"\x1c\x0b" + HEAD + b" " + HEAD, 3),
    ],
)
def test_counting_messages(raw: bytes, count: int) -> None:
    assert peek.count_headers(raw) == count


PID = b'PID|1||1001^^^HOSP&1.2^MR~9|""|Doe^J\\T\\o|\r'


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
@pytest.mark.parametrize(
    "path",
    ["PID-3.1", "PID-3", "PID-3.4.2", "PID-3.5", "PID-3[2].1", "PID-3[5=MR].1", "PID-4", "PID-4.1", "PID-5.2", "PID-6",
     "PID-9", "PV1-2", "MSH-10", "NTE[2]-3", "NTE-3"],
)  # fmt: skip
def test_one_value_is_what_the_view_gives(path: str, end: bytes) -> None:
    raw = (HEAD + PID + b"NTE|1||xPID|1||7\rNTE|2||b\r").replace(b"\r", end)
    assert peek.value(raw, path, peek.peek(raw)) == peek.value(raw, path) == str(Message(raw)[path])


def test_one_value_of_what_is_unreadable_is_empty() -> None:
    assert peek.value(b"hello", "PID-3.1") == ""


@given(
    st.text(st.sampled_from('ab1^~&\\"|\r\nPIDNTE \x1cé'), max_size=60),
    st.sampled_from(["PID-3.1", "PID-3", "NTE-2.2.1"]),
)
def test_one_value_is_what_the_view_gives_for_any_text(text: str, path: str) -> None:
    raw = HEAD + text.encode()
    assert peek.value(raw, path, peek.peek(raw)) == str(Message(raw)[path])


@pytest.mark.parametrize(
    "noise", [b"\x0b", b"\x1c", b" ", b"MSH", b" MSH", b"\xef\xbb\xbf", b"\rMSH", b"MSH|", b"\\", b"\r"]
)
def test_time_grows_with_the_bytes_and_not_faster(noise: bytes) -> None:
    raw = noise * 300_000  # a quadratic search would take minutes and meet the time limit of the tests
    assert peek.count_headers(raw) == (1 if noise == b"MSH|" else 0)
    assert peek.count_headers(raw + b"\r" + HEAD) == (2 if noise == b"MSH|" else 1)
    try:
        peek.peek(raw)
    except HeaderError as error:
        assert error.ack == "AR"
    Message(HEAD + raw)["PID-3.1"]
    batch.split(raw)


LINE = [b"MSH", b"^~\\&", b"A", b"B", b"C", b"D", b"2026", b"", b"ADT^A01", b"1", b"P", b"2.5"]
ODD = [b"", b" 7 ", b"a|b", b"\xe9", b"\x1b$B", b"x\ny", b"\t", b"\x0b", b"\x1c", b"^", b"\xef\xbb\xbf"]


@pytest.mark.parametrize("field", range(1, 12))
@pytest.mark.parametrize("odd", ODD)
def test_a_kind_that_is_known_changes_nothing(field: int, odd: bytes) -> None:
    """The same header and the same answer, whether the kind of message was seen before or not."""

    def seen(raw: bytes) -> tuple[object, ...]:
        try:
            h = peek.peek(raw)
        except HeaderError as error:
            return (error.code,)
        texts = [h.field(number) for number in range(1, 20)]
        return texts, h.control_id, h.type, h.sender, h.codec, ack.build(h, "AA", ack_id="I1", now=0)

    fields = LINE.copy()
    fields[field] = odd
    raw = b"|".join(fields) + b"\rPID|1||7"
    peek._kinds.clear()
    alone = seen(raw)
    peek._kinds.clear()
    peek.peek(b"|".join(LINE) + b"\rPID|1||7")
    assert seen(raw) == seen(raw) == alone
