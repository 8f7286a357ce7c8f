"""Acknowledgements: the form of every version, and nothing invented."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import HL7Error
from engine.hl7 import ack, peek
from engine.hl7.er7 import Message
from engine.hl7.peek import HeaderError

NOW = 1_767_225_600_000_000  # 2026-01-01 00:00:00 UTC
ERROR = HL7Error(
    "PID-3 holds no identifier",
    code="hl7.required",
    where="PID-3.1",
    todo="send PID-3",
    ack="AE",
    condition="101",
)


def head(
    version: str = "2.5.1", kind: str = "ADT^A01^ADT_A01", control: str = "M1", rest: str = ""
) -> peek.Header:
    return peek.peek(f"MSH|^~\\&|EHR|HOSP|ISTHMUS|CLINIC|2026||{kind}|{control}|P|{version}{rest}\r".encode())


def build(header: peek.Header, code: str = "AA", **more: object) -> str:
    return ack.build(header, code, ack_id="A9", now=NOW, **more).decode()  # type: ignore[arg-type]


def test_an_acceptance_in_full() -> None:
    assert build(head()) == (
        "MSH|^~\\&|ISTHMUS|CLINIC|EHR|HOSP|20260101000000+0000||ACK^A01^ACK|A9|P|2.5.1\rMSA|AA|M1\r"
    )


@pytest.mark.parametrize(
    ("version", "type_", "error", "has_text"),
    [
        ("2.1", "ACK", "ERR|PID^1^3^101", True),
        ("2.2", "ACK", "ERR|PID^1^3^101", True),
        ("2.3", "ACK^A01", "ERR|PID^1^3^101&Required field missing&HL70357", True),
        ("2.3.1", "ACK^A01^ACK", "ERR|PID^1^3^101&Required field missing&HL70357", True),
        ("2.4", "ACK^A01^ACK", "ERR|PID^1^3^101&Required field missing&HL70357", True),
        ("2.5", "ACK^A01^ACK", "", True),
        ("2.5.1", "ACK^A01^ACK", "", True),
        ("2.6", "ACK^A01^ACK", "", True),
        ("2.7", "ACK^A01^ACK", "", False),
        ("2.8.2", "ACK^A01^ACK", "", False),
        ("2.9", "ACK^A01^ACK", "", False),
        ("2.999", "ACK^A01^ACK", "", False),
        ("", "ACK^A01^ACK", "", True),
        ("junk", "ACK^A01^ACK", "", True),
    ],
)
def test_the_form_of_each_version(version: str, type_: str, error: str, has_text: bool) -> None:
    modern = "ERR||PID^1^3^1^1|101^Required field missing^HL70357|E|hl7.required^^L||send PID-3|"
    modern += "PID-3 holds no identifier"
    lines = build(head(version), "AE", error=ERROR).split("\r")
    fields = lines[0].split("|")
    assert (fields[8], fields[9], fields[10], fields[11]) == (type_, "A9", "P", version)
    assert lines[1] == "MSA|AE|M1" + ("|PID-3 holds no identifier" if has_text else "")
    assert lines[2] == (error or modern)
    assert lines[3:] == [""]


def test_an_empty_control_id_stays_empty() -> None:
    assert build(head(control="")).endswith("\rMSA|AA|\r")


def test_the_control_id_is_echoed_to_the_letter() -> None:
    assert build(head(control=" M\\T\\1 ")).endswith("\rMSA|AA| M\\T\\1 \r")


def test_a_message_without_trigger_event() -> None:
    assert "||ACK|A9|" in build(head(kind="ORU^^ORU_R01"))


@pytest.mark.parametrize("code", ["CA", "CE", "CR", "AR"])
def test_other_codes(code: str) -> None:
    text = build(head(), code)
    assert f"\rMSA|{code}|M1" in text
    assert ("\rERR|" in text) is (code != "CA")
    with pytest.raises(ValueError, match="0008"):
        build(head(), "OK")


def test_text_goes_to_msa_3_where_the_version_has_it() -> None:
    assert build(head(), text="a|b\nc").endswith("\rMSA|AA|M1|a\\F\\b c\r")
    assert build(head("2.8"), text="a").endswith("\rMSA|AA|M1\r")
    assert len(build(head(), text="x" * 500).split("|")[-1]) <= 83


def test_the_senders_delimiters_and_charset() -> None:
    raw = "MSH@~&#\\@Süd~1@H@ME@X@2026@@ADT~A01@M1@P@2.4@@@@@@8859/1\r".encode("latin-1")
    text = ack.build(peek.peek(raw), "AE", ack_id="1", now=NOW, error=ERROR)
    assert text.startswith("MSH@~&#\\@ME@X@Süd~1@H@".encode("latin-1"))
    assert b"@@ACK~A01~ACK@1@P@2.4@@@@@@8859/1\r" in text
    assert b"\rERR@PID~1~3~101\\Required field missing\\HL70357\r" in text


def test_doubled_or_missing_encoding_characters_are_answered_in_good_ones() -> None:
    for sent, answered in (
        (b"^~\\\\&", b"^~\\&"),
        (b"", b"^~\\&"),
        (b"^~", b"^~\\&"),
        (b"^~\\&#", b"^~\\&#"),
    ):
        raw = b"MSH|" + sent + b"|A|B|C|D|1||ADT^A01|M1|P|2.7\r"
        assert ack.build(peek.peek(raw), "AA", ack_id="1", now=NOW).startswith(
            b"MSH|" + answered + b"|C|D|A|B|"
        )


@pytest.mark.parametrize(
    ("where", "old", "new"),
    [
        ("PID-3[2].4.1", "PID^1^3^", "PID^1^3^2^4^1"),
        ("OBX[3]-5", "OBX^3^5^", "OBX^3^5^1"),
        ("NK1", "NK1^1^^", "NK1^1"),
        ("channel adt", "^^^", ""),
        ("MSH-9", "MSH^1^9^", "MSH^1^9^1"),
        ("", "^^^", ""),
    ],
)
def test_locations(where: str, old: str, new: str) -> None:
    error = HL7Error("x", where=where, condition="207")
    assert f"\rERR|{old}207&" in build(head("2.4"), "AE", error=error)
    assert f"\rERR||{new}|207^" in build(head("2.5"), "AE", error=error)


@pytest.mark.parametrize("raw", [b"", b"hello", b"MSH", "MSH|^~\\&|".encode("utf-16")])
def test_an_answer_without_a_header(raw: bytes) -> None:
    with pytest.raises(HeaderError) as caught:
        peek.peek(raw)
    message = Message(ack.nak(caught.value.ack, caught.value, ack_id="7", now=NOW))
    assert message["MSA-1"] == "AR"
    assert message["MSA-2"] == ""
    assert (message["MSH-9"], message["MSH-10"], message["MSH-12"]) == ("ACK", "7", "2.5.1")
    assert message["ERR-3.1"] == caught.value.condition
    assert message["ERR-8"] == caught.value.what


def test_an_answer_to_a_readable_header_names_its_control_id() -> None:
    with pytest.raises(HeaderError) as caught:
        peek.peek(b"MSH|^~\\&|A|B|C|D|1|||M7|P|2.3\r")
    answer = ack.nak("AR", caught.value, ack_id="7", now=NOW)
    assert answer.startswith(b"MSH|^~\\&|C|D|A|B|")
    assert ack.read(answer) == ("AR", "M7", "MSH-9 message type is empty")


def test_reading_answers_of_others() -> None:
    start = "MSH|^~\\&|A|B|C|D|1||ACK|1|P|2.4\r"
    for body, text in (
        ("MSA|AA|M1|fine", "fine"),
        ("MSA|AE|M1|bad \\T\\ worse", "bad & worse"),
        ("MSA|AE|M1\rERR|PID^1^3^101&Required field missing&HL70357", "Required field missing"),
        ("MSA|AR|M1\rERR||PID^1^3|101^Missing^HL70357|E||||send it", "send it"),
        ("MSA|ce|M1\nERR|^^^207", "207"),
        ("MSA|AA|M1", ""),
    ):
        code = body[4:6].upper()
        assert ack.read((start + body).encode()) == (code, "M1", text)
    for bad in ("", "MSA|", "MSA|OK|M1"):
        with pytest.raises(HL7Error) as caught:
            ack.read((start + bad).encode())
        assert caught.value.code == "hl7.not_an_ack"
    with pytest.raises(HL7Error):
        ack.read(b"garbage")


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    st.sampled_from(["2.2", "2.4", "2.5.1", "2.8"]),
)
def test_any_text_makes_an_answer_that_can_be_read(text: str, version: str) -> None:
    error = HL7Error(text, where="PID-3", todo=text, code="x")
    answer = ack.build(head(version), "AE", ack_id="1", now=NOW, error=error, text=text)
    assert [s.name for s in Message(answer)] == ["MSH", "MSA", "ERR"]
    assert ack.read(answer)[:2] == ("AE", "M1")
    assert answer.count(b"\r") == 3
