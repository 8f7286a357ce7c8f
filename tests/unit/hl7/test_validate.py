"""The optional check against the standard: finds what is wrong, names no value."""

import pytest

from engine.errors import HL7Error
from engine.hl7.findings import Problem, read, told
from engine.hl7.validate import validate

GOOD = (
    b"MSH|^~\\&|A|B|C|D|20260101120000||ADT^A01^ADT_A01|1|P|2.5.1\rEVN||20260101120000\r"
    b"PID|||1001^^^HOSP^MR||Secretname^Anna\rPV1||I\r"
)


def test_a_good_message_has_no_errors() -> None:
    assert validate(GOOD, level="structure") == []
    assert validate(GOOD.replace(b"\r", b"\r\n"), level="structure") == []


def test_problems_are_named_by_place_and_without_values() -> None:
    raw = GOOD.replace(b"|||1001^^^HOSP^MR|", b"||||").replace(b"PV1||I", b"PV1||Secretclass")
    found = validate(raw)
    assert Problem("structure", "PID-3", "is required and missing") in found
    assert Problem("tables", "PV1-2", "has a value that is not in table 0004") in found
    assert "Secret" not in repr(found)


def test_missing_segments_and_strange_ones() -> None:
    found = validate(GOOD.replace(b"PV1||I\r", b"QQQ|1\r"))
    assert any(p.what == "is required and missing" and p.where == "PV1" for p in found)
    assert Problem("structure", "QQQ", "is no segment of HL7 2.5.1") in found
    found = validate(GOOD + b"Secret text\rZPI|1\r", level="structure")
    assert found == [Problem("structure", "segment 5", "has no segment name")]


def test_versions_without_tables_and_five_encoding_characters() -> None:
    raw = GOOD.replace(b"|2.5.1\r", b"|2.9\r").replace(b"^~\\&|", b"^~\\&#|")
    assert validate(raw)[0] == Problem("tables", "MSH-12", "names a version without tables; checked as 2.8.2")
    assert not any("hl7apy" in p.what for p in validate(GOOD.replace(b"^~\\&|", b"^~\\&#|")))


def test_without_a_header_there_is_nothing_to_validate() -> None:
    with pytest.raises(HL7Error):
        validate(b"PID|1")


def test_levels_add_to_each_other() -> None:
    raw = GOOD.replace(b"PV1||I", b"PV1||Q").replace(b"^Anna", b"^Anna||20261345")
    structure, tables, strict = (validate(raw, level=level) for level in ("structure", "tables", "strict"))
    assert [one.where for one in tables if one not in structure] == ["PV1-2"]
    assert [str(one) for one in strict if one not in tables] == ["PID-7 is not written as a date and time"]


@pytest.mark.parametrize(
    ("birth", "right"),
    [
        ("1980", True), ("198002", True), ("19800229", True), ("198002291530", True), ("", True),
        ('""', True), ("19800229153000.1234+0100", True), ("19800230", False), ("1980-02-29", False),
        ("29 Feb 1980", False), ("1980022", False), ("1980022925", False),
    ],
)  # fmt: skip
def test_how_a_date_is_written(birth: str, right: bool) -> None:
    found = validate(GOOD.replace(b"^Anna", f"^Anna||{birth}".encode()))
    assert [one.where for one in found if one.level == "strict"] == ([] if right else ["PID-7"])


def test_a_structure_that_the_message_does_not_name_is_known_by_its_event() -> None:
    raw = GOOD.replace(b"ADT^A01^ADT_A01", b"ADT^A04").replace(b"PV1||I\r", b"")
    assert Problem("structure", "PV1", "is required and missing") in validate(raw)
    found = validate(GOOD.replace(b"ADT^A01^ADT_A01", b"XYZ^Q99"), level="structure")
    assert Problem("structure", "MSH-9", "is no message of HL7 2.5.1") in found


def test_what_is_told_can_be_read_again_and_has_its_condition() -> None:
    raw = GOOD.replace(b"|||1001^^^HOSP^MR|", b"|||||").replace(b"PV1||I", b"PV1||Q") + b"PV1||I\r"
    found = validate(raw, level="tables")
    text = f"{told(map(str, found))} (the sender must mend it)"
    assert [(one.where, one.what, one.condition) for one in read(text)] == [
        (one.where, one.what, one.condition) for one in found
    ]
    conditions = {one.where: one.condition for one in found}
    assert conditions == {"PID-3": "101", "PID-5": "101", "PV1": "198", "PV1-2": "103"}
    assert Problem("structure", "PV1", "is required and missing").condition == "100"
    assert told(["A b"] * 12).endswith("; and 2 more")
    assert read("the value is not in the table") == []
