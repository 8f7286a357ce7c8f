"""Names of HL7's tables, and that nobody pays for them at start."""

import subprocess
import sys

import pytest

from engine.hl7 import names
from engine.hl7.paths import PathError


def test_a_component() -> None:
    found = names.describe("PID-3.4")
    assert (found.name, found.datatype, found.table) == ("Assigning Authority", "HD", "0363")
    assert found.within == ("Patient Identification", "Patient Identifier List")
    assert [part.name for part in found.parts] == ["Namespace ID", "Universal ID", "Universal ID Type"]


def test_a_field() -> None:
    found = names.describe("PID-3")
    assert (found.name, found.datatype, found.required, found.repeats) == (
        "Patient Identifier List",
        "CX",
        True,
        0,
    )
    assert names.describe("PID-8").table == "0001"
    assert names.describe("PID-8.1").name == "Administrative Sex"
    assert names.describe("PID-5.1.1").name == "Surname"


def test_a_segment() -> None:
    found = names.describe("PV1")
    assert found.name == "Patient Visit"
    assert found.parts[1].name == "Patient Class"
    assert names.fields("PV1")[2].datatype == "IS"
    assert names.fields("QQQ") == {}


def test_versions_differ() -> None:
    assert names.describe("PID-3", "2.3").name == "Patient ID Internal ID"
    assert names.exists("EVN-1", "2.5") and not names.exists("EVN-1", "2.8")
    assert not names.exists("PID-99") and names.exists("ZPI-99")


@pytest.mark.parametrize(
    ("asked", "got"),
    [("2.5.1", "2.5.1"), ("2.9", "2.8.2"), ("2.999", "2.8.2"), ("2.0", "2.5.1"), ("", "2.5.1"), ("x", "2.5.1"),
     ("2.5.2", "2.5.1"), ("9", "2.5.1")],
)  # fmt: skip
def test_a_version_without_tables_is_answered_by_the_nearest(asked: str, got: str) -> None:
    assert names.nearest(asked) == got
    assert names.describe("PID-5", asked).version == got


@pytest.mark.parametrize(
    ("path", "version", "says"),
    [
        ("PID-99", "2.5", "its last is 39"),
        ("PIX-3", "2.5", "did you mean PID"),
        ("EVN-1", "2.8", "HL7 2.1 to 2.7 have it"),
        ("PID-8.2", "2.5.1", "PID-8 has no components"),
        ("PID-3.44", "2.5.1", "its last is 10"),
        ("PID-5.1.9", "2.5.1", "its last is 5"),
        ("ZPI-1", "2.5", "local segment"),
        ("QQ9", "2.5", "no segment QQ9"),
    ],
)
def test_places_that_do_not_exist(path: str, version: str, says: str) -> None:
    with pytest.raises(PathError) as caught:
        names.describe(path, version)
    assert says in str(caught.value)


def test_messages_and_tables() -> None:
    assert "SIU_S12" in names.messages()
    segments = names.segments_of("SIU_S12")
    assert segments[:3] == ["MSH", "SCH", "TQ1"] and {"RGS", "AIS", "AIP", "PID"} <= set(segments)
    assert names.segments_of("ZZZ_Z01") == []
    assert names.table("1") == names.table("0001") == names.table("HL70001")
    assert "F" in names.table("0001")[1]
    assert names.table("9999") == ("", ())


def test_named_paths_of_every_field_of_pid_come_back_as_numbers() -> None:
    for version in names.versions():
        for number, (reference, _) in names._fields("PID", version).items():
            if reference[3]:
                found = names.position("x", "PID", [reference[3].lower()])
                assert any(
                    names._fields("PID", v).get(found[0], ((0, 0, 0, None),))[0][3] == reference[3]
                    for v in names.versions()
                ), (version, number)


def test_reading_messages_does_not_load_hl7apy() -> None:
    code = (
        "import sys, engine.hl7.er7, engine.hl7.ack, engine.hl7.batch, engine.hl7.dates, engine.hl7.names,"
        " engine.hl7.validate\nengine.hl7.er7.Message(b'MSH|^~\\\\&|A')['PID-5.1']\n"
        "assert not [m for m in sys.modules if m.startswith(('hl7apy', 'twisted', 'sqlite3'))]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
