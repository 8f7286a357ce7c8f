"""The optional check against the standard: finds what is wrong, names no value."""

import pytest

from engine.errors import HL7Error
from engine.hl7.validate import Problem, validate

GOOD = (
    b"MSH|^~\\&|A|B|C|D|20260101120000||ADT^A01^ADT_A01|1|P|2.5.1\rEVN||20260101120000\r"
    b"PID|||1001^^^HOSP^MR||Secretname^Anna\rPV1||I\r"
)


def test_a_good_message_has_no_errors() -> None:
    assert [p for p in validate(GOOD) if p.level == "error"] == []
    assert [p for p in validate(GOOD.replace(b"\r", b"\r\n")) if p.level == "error"] == []


def test_problems_are_named_by_place_and_without_values() -> None:
    raw = GOOD.replace(b"|||1001^^^HOSP^MR|", b"||||").replace(b"PV1||I", b"PV1||Secretclass")
    found = validate(raw)
    assert Problem("error", "PID-3", "is required and missing") in found
    assert Problem("warning", "PV1-2", "has a value that is not in table 0004") in found
    assert "Secret" not in repr(found)


def test_missing_segments_and_strange_ones() -> None:
    found = validate(GOOD.replace(b"PV1||I\r", b"QQQ|1\r"))
    assert any(p.what == "is required and missing" and p.where == "PV1" for p in found)
    assert Problem("error", "QQQ", "is no segment of HL7 2.5.1") in found
    found = validate(GOOD + b"Secret text\rZPI|1\r")
    assert [p for p in found if p.level == "error"] == [Problem("error", "segment 5", "has no segment name")]


def test_versions_without_tables_and_five_encoding_characters() -> None:
    raw = GOOD.replace(b"|2.5.1\r", b"|2.9\r").replace(b"^~\\&|", b"^~\\&#|")
    assert validate(raw)[0] == Problem(
        "warning", "MSH-12", "names a version without tables; checked as 2.8.2"
    )
    assert not any("hl7apy" in p.what for p in validate(GOOD.replace(b"^~\\&|", b"^~\\&#|")))


def test_without_a_header_there_is_nothing_to_validate() -> None:
    with pytest.raises(HL7Error):
        validate(b"PID|1")
