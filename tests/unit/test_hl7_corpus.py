"""Every HL7v2 file of the corpus: bytes come back, every field can be read, every header is answered.

The requirements are numbered as in the list of what real senders do; this is where each is tested
(`c` this module, the others `tests/unit/hl7/test_<name>.py`; `later` belongs to routing or mapping).

| no | requirement                                   | tested by                                              |
|----|-----------------------------------------------|--------------------------------------------------------|
| 1  | CR, LF, CRLF, mixed terminators               | c, er7 line_ends_bom_and_mllp_bytes                    |
| 2  | byte order mark                               | c, er7 line_ends_bom_and_mllp_bytes, peek              |
| 3  | MSH-18: spellings, unknown, wrong             | c charsets, charset, er7 multibyte_text                |
| 4  | delimiters of the sender's own                | c delimiters, er7 delimiters_of_ones_own, ack          |
| 5  | odd MSH-2                                     | c delimiters, er7 odd_encoding_characters              |
| 6  | batches, complete or not                      | c batches, batch                                       |
| 7  | MLLP bytes and blank lines inside             | c mllp, er7 line_ends_bom_and_mllp_bytes, batch        |
| 8  | lines that are no segments                    | c lines_that_are_no_segments, er7, validate            |
| 9  | MSH-9 short, empty, local                     | c message_types, peek message_types                    |
| 10 | EVN-1 differs, EVN missing                    | c event_comes_from_msh_9                               |
| 11 | MSH-12 unknown or missing                     | c versions, peek any_version, ack form_of_each_version |
| 12 | MSH-10 empty                                  | c empty_control_ids, ack empty_control_id              |
| 13 | dates                                         | c dates, dates                                         |
| 14 | PID-8 spellings                               | c sex; the code table itself later                     |
| 15 | identifiers and names repeat                  | c identifiers, er7                                     |
| 16 | several PID/MRG groups                        | c groups_of_merges                                     |
| 17 | SIU resource groups and notes in order        | c groups_of_appointments                               |
| 18 | escapes                                       | c escapes, escapes                                     |
| 19 | `""` and blanks                               | c nulls, er7 absent_clear_and_blank                    |
| 20 | Z segments                                    | c z_segments, er7                                      |
| 21 | large payloads, many OBX                      | c large                                                |
| 22 | required data missing                         | c missing_required_field, ack, peek                    |
"""

from pathlib import Path

import pytest

from engine.errors import HL7Error
from engine.hl7 import ack, batch, dates, peek
from engine.hl7.er7 import Message
from engine.model import ABSENT, CLEAR
from tests.corpus import HL7V2, needs_corpus

FILES = sorted(path for path in HL7V2.rglob("*") if path.is_file())
pytestmark = needs_corpus
NOW = 1_767_225_600_000_000
WITHOUT_MSH = {"samples.lit257.hl7", "samples.lit306.hl7"}  # a file header and trailer alone


def raw(name: str) -> bytes:
    return (HL7V2 / name).read_bytes()


def read(name: str) -> Message:
    return Message(raw(name))


def cut(data: bytes) -> list[bytes]:
    return batch.split(data).messages


@pytest.fixture(params=FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_bytes_come_back_and_every_field_can_be_read(path: Path) -> None:
    data = path.read_bytes()
    if path.name in WITHOUT_MSH:
        with pytest.raises(HL7Error) as caught:
            Message(data)
        assert caught.value.code == "hl7.no_header"
        return
    msg = Message(data)
    assert bytes(msg) == data
    for segment in msg.segments():
        for number in range(1, len(segment.fields) + 2):
            value = segment[number]
            assert isinstance(value, str) and (value or value is ABSENT or value is CLEAR)
            for repetition in segment.repetitions(number):
                assert isinstance(repetition.value + repetition[1] + repetition[2, 1], str)
            assert segment[f"{number}.1"] == segment.get(f"{number}[1].1", ABSENT)
    assert bytes(msg) is data
    for segment in msg.segments():
        segment.changed = True
    msg._wording.changed = True
    assert bytes(msg) == data, "writing every segment again must give the same bytes"


def test_setting_one_field_changes_one_segment(path: Path) -> None:
    data = path.read_bytes()
    if path.name in WITHOUT_MSH:
        return
    msg = Message(data)
    last = msg.segments()[-1]
    before = [*last.fields, *[""] * 200]
    last["30.2"] = "x y"
    again = Message(bytes(msg))
    assert [s.text for s in again][:-1] == [s.text for s in Message(data)][:-1]
    assert again.segments()[-1]["30.2"] == "x y"
    after = again.segments()[-1].fields
    assert [text for n, text in enumerate(after) if n != 30] == (before[:30] + before[31:])[: len(after) - 1]


def test_every_message_gets_a_truthful_answer(path: Path) -> None:
    for data in cut(path.read_bytes()):
        try:
            header = peek.peek(data)
        except peek.HeaderError as error:
            answer = ack.nak(error.ack, error, ack_id="1", now=NOW)
            assert ack.read(answer).code == "AR"
            assert error.header is not None and ack.read(answer).control_id == error.header.control_id
            continue
        for code in ("AA", "AE"):
            answer = ack.build(
                header, code, ack_id="1", now=NOW, error=None if code == "AA" else HL7Error("x")
            )
            reply, view = Message(answer), Message(data)
            assert reply["MSA-1"] == code
            assert reply["MSA-2"] == view["MSH-10"]
            assert (reply["MSH-5"], reply["MSH-6"]) == (view["MSH-3"], view["MSH-4"])
            assert (reply["MSH-11"], reply["MSH-12"]) == (view["MSH-11"], view["MSH-12"])
            assert ("ERR-1" in reply or "ERR-3" in reply) is (code == "AE")


def test_cutting_loses_nothing(path: Path) -> None:
    data = path.read_bytes()
    found = batch.split(data)
    noise = b"\x0b\x1c \t\r\n\xef\xbb\xbf"
    assert b"".join(i.raw for i in found.items).translate(None, noise) == data.translate(None, noise)
    assert len(found.messages) == peek.count_headers(data)


def test_one_value_is_what_the_view_gives(path: Path) -> None:
    for data in cut(path.read_bytes()):
        view = Message(data)
        try:
            header = peek.peek(data)
        except peek.HeaderError:
            continue
        for place in (
            "PID-3.1",
            "PID-3",
            "PID-5.1.1",
            "PID-2.1",
            "SCH-1.1",
            "PV1-19",
            "OBX[2]-3.2",
            "MSH-10",
        ):
            assert peek.value(data, place, header) == str(view[place]), place


def test_charsets() -> None:
    wrong = read("Bugs5382__node-hl7/hl7.parser.test.lit002.hl7")
    assert wrong["MSH-18"] == "8859/1" and wrong.codec == "utf_8" and "read as utf_8" in wrong.warnings[0]
    unknown = read("cosyte__hl7/unknown-charset.hl7")
    assert unknown["MSH-18"] == "ISO IR 999" and unknown["PID-5.1"]
    for path in FILES:
        text = path.read_bytes().decode("utf-8")
        if path.name not in WITHOUT_MSH and not text.isascii():
            assert "".join(s.text for s in Message(path.read_bytes())).count("\ufffd") == text.count("\ufffd")


@pytest.mark.parametrize(
    ("codec", "name"), [("iso8859_1", "8859/1"), ("gb18030", "GB 18030-2000"), ("cp1252", "")]
)
def test_transcoded_copies_read_the_same(codec: str, name: str) -> None:
    tried = 0
    for path in FILES:
        if path.name in WITHOUT_MSH:
            continue
        for data in cut(path.read_bytes()):
            view = Message(data)
            try:
                other = "\r".join(s.text for s in view).encode(codec)
            except UnicodeEncodeError:
                continue
            if other.isascii():
                continue
            moved = Message(other, charset=codec if name else None)
            assert [s.text for s in moved] == [s.text for s in view], path.name
            tried += 1
    assert tried > 3


def test_delimiters() -> None:
    msg = read("cosyte__hl7/custom-msh-delimiters.hl7")
    assert msg["MSH-1"] == "@" and msg["MSH-9.1"] == "ADT" and "~" not in msg["PID-5.1"]
    msg = read("hapifhir__hapi-hl7v2/segmentfinder_a24.hl7")
    assert (msg["MSH-9.2"], msg["PID-5.1"], msg["PID[2]-5.2"]) == ("A24", "SMITH", "JOHN")
    for name, warned in (
        ("CDCgov__prime-reportstream/Expected_HL7_to_HL7_ELIMS.hl7", False),
        ("LinuxForHealth__hl7v2-fhir-converter/sample_unix.hl7", True),
        ("cosyte__hl7/invalid-encoding-characters.hl7", True),
        ("hapifhir__hapi-hl7v2/EncodingCharactersTest.lit001.hl7", True),
    ):
        msg = read(name)
        assert any("MSH-2" in text for text in msg.warnings) is warned, name
        assert peek.peek(raw(name)).trigger


def test_batches() -> None:
    for name, messages, warns in (
        ("OpenIntegrationEngine__engine/test-hl7-batch-input.hl7", 1, 2),
        ("johnpaulett__python-hl7/samples.lit177.hl7", 2, 0),
        ("johnpaulett__python-hl7/samples.lit242.hl7", 1, 1),
        ("OpenIntegrationEngine__engine/batch01.hl7", 3, 0),
        ("cosyte__hl7/mixed-terminators.hl7", 2, 0),
        ("cosyte__hl7/malformed-mid-stream.hl7", 3, 0),
    ):
        found = batch.split(raw(name))
        assert (len(found.messages), len(found.warnings)) == (messages, warns), name
    empty = batch.split(raw("johnpaulett__python-hl7/samples.lit257.hl7"))
    assert empty.items[0].kind == "FHS" and not empty.messages


def test_mllp_bytes_and_blank_lines() -> None:
    assert read("cosyte__hl7/mllp-framing-stripped.hl7")["PID-5.1"] == "Doe"
    assert peek.peek(raw("cosyte__hl7/mllp-framing-stripped.hl7")).control_id == "MSGVQ001"
    assert all(s.name for s in read("OpenIntegrationEngine__engine/TestADT.hl7"))


def test_lines_that_are_no_segments() -> None:
    for name in (
        "hapifhir__hapi-hl7v2/CorrectInvalidMessageBeforeParsing.lit001.hl7",
        "hapifhir__hapi-hl7v2/NewPipeParserTest.lit016.hl7",
        "cosyte__hl7/segment-case.hl7",
    ):
        assert any("has no segment name" in text for text in read(name).warnings), name
    assert any("did you mean PID" in text for text in read("cosyte__hl7/segment-case.hl7").warnings)


def test_message_types() -> None:
    for name, type_ in (
        ("CDCgov__prime-reportstream/MSG-to-Coding-missing-msg2.hl7", "ORU"),
        ("hapifhir__hapi-hl7v2/EscapeTest.lit001.hl7", "ORU"),
        ("hapifhir__hapi-hl7v2/cv.04_001_chem.hl7", "ERP^Z99"),
        ("LinuxForHealth__hl7v2-fhir-converter/Hl7CustomMessageTest.lit001.hl7", "CUSTOM^PAT"),
    ):
        header = peek.peek(raw(name))
        assert header.type == type_, name
    with pytest.raises(peek.HeaderError) as caught:
        peek.peek(raw("crs4__hl7apy/test_parser.lit211.hl7"))
    assert caught.value.code == "hl7.no_type"


def test_the_event_comes_from_msh_9() -> None:
    assert peek.peek(raw("microsoft__FHIR-Converter/ADT-A02-01.hl7")).trigger == "A02"
    assert read("microsoft__FHIR-Converter/ADT-A02-01.hl7")["EVN-1"] == "A01"


def test_versions() -> None:
    assert peek.peek(raw("hapifhir__hapi-hl7v2/NewPipeParserTest.lit017.hl7")).version == "2.999"
    assert peek.peek(raw("cosyte__hl7/version-mismatch.hl7")).version


def test_empty_control_ids() -> None:
    header = peek.peek(raw("hapifhir__hapi-hl7v2/CorrectInvalidMessageBeforeParsing.lit001.hl7"))
    assert header.control_id == ""
    assert ack.read(ack.build(header, "AA", ack_id="1", now=NOW)) == ("AA", "", "")


def test_dates_of_the_corpus_are_read_or_refused_with_a_reason() -> None:
    seen = {"read": 0, "refused": 0}
    for path in FILES:
        for data in cut(path.read_bytes()):
            msg = Message(data)
            for place in ("PID-7.1", "MSH-7.1", "EVN-2.1", "PV1-44.1", "OBX-14.1", "OBR-7.1", "SCH-11.4"):
                for value in msg.all(place):
                    if value is CLEAR:
                        continue
                    found = dates.parse(value)
                    seen["read" if found else "refused"] += 1
                    assert bool(dates.why_not(value)) is (found is None)
    assert seen["read"] > 1000 and seen["refused"] < seen["read"] / 20, seen


def test_sex_is_read_whole_or_by_component() -> None:
    msg = read("CDCgov__prime-reportstream/oml_o21-full.hl7")
    assert (msg["PID-8"], msg["PID-8.1"]) == ("F^Female^HL70001", "F")


def test_identifiers_are_chosen_by_type() -> None:
    chosen = 0
    for path in FILES:
        for data in cut(path.read_bytes()):
            msg = Message(data)
            kinds = msg.all("PID[1]-3.5")
            if "MR" in kinds and len(kinds) > 1:
                assert msg["PID-3[5=MR].1"] in msg.all("PID[1]-3.1") or msg["PID-3[5=MR].1"] is ABSENT
                chosen += 1
    assert chosen > 5


def test_groups_of_merges_are_walked_in_order() -> None:
    for name in ("ADT-A40-02.hl7", "ADT-A41-02.hl7"):
        names = [s.name for s in read(f"microsoft__FHIR-Converter/{name}") if s.name in ("PID", "MRG")]
        assert names == ["PID", "MRG"] * (len(names) // 2) and len(names) > 2, name


def test_groups_of_appointments_are_walked_in_order() -> None:
    msg = Message(next(path for path in FILES if path.name == "SIU-S12_1.hl7").read_bytes())
    names = [s.name for s in msg]
    assert names.index("RGS") < names.index("AIS")
    assert [s.index for s in msg.segments("RGS")] == [n for n, name in enumerate(names) if name == "RGS"]
    assert [s["1"] for s in msg.segments("RGS")] == msg.all("RGS-1")


def test_escapes_are_resolved_in_reading_only() -> None:
    found = 0
    for path in FILES:
        for data in cut(path.read_bytes()):
            for segment in Message(data):
                for number in range(3, len(segment.fields)):
                    if "\\T\\" in segment.fields[number] and segment.wording.delimiters.escape == "\\":
                        assert all("\\T\\" not in value for value in segment.all(number))
                        assert "\\T\\" in segment.text
                        found += 1
    assert found > 50


def test_nulls() -> None:
    assert any(
        segment[number] is CLEAR
        for segment in read("cosyte__hl7/null-fields.hl7")
        for number in range(1, len(segment.fields))
    )
    blank = [
        v
        for s in read("OpenIntegrationEngine__engine/test-hl7-whitespace-input.hl7")
        for n in range(1, len(s.fields))
        for r in s.repetitions(n)
        for v in (r[c] for c in range(1, 9))
        if v and v.isspace()
    ]
    assert blank


def test_z_segments_are_values_like_others() -> None:
    found = [s for p in FILES if p.name not in WITHOUT_MSH for s in read(str(p)) if s.name[:1] == "Z"]
    assert len({id(s.wording) for s in found}) > 10
    assert any(s[1] is not ABSENT for s in found)


def test_large_messages() -> None:
    assert len(read("OpenIntegrationEngine__engine/large.hl7").segments("OBX")) > 60
    covid = raw("CDCgov__prime-reportstream/test-0001-input-covid-19.hl7")
    assert len(covid) > 70_000 and all(Message(m)["MSH-10"] for m in cut(covid))


def test_a_missing_required_field_is_named() -> None:
    with pytest.raises(peek.HeaderError) as caught:
        peek.peek(raw("cosyte__hl7/missing-required-field.hl7"))
    error = caught.value
    reply = Message(ack.nak(error.ack, error, ack_id="1", now=NOW))
    assert (reply["ERR-2"], reply["ERR-3.1"]) == ("MSH^1^9^1", "101")
