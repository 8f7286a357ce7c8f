"""The message view: bytes never change but where they were set, three values, odd messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import HL7Error
from engine.hl7.er7 import Message
from engine.hl7.paths import PathError
from engine.model import ABSENT, CLEAR

A01 = (
    b"MSH|^~\\&|EHR|HOSP|ISTHMUS|CLINIC|20260329023015+0100||ADT^A01^ADT_A01|M1|P|2.5.1\r"
    b"EVN|A01|20260329\r"
    b'PID|1||1001^^^HOSP&1.2.3&ISO^MR~999^^^SSA^SS||van Dam&van&Dam^Anna^^^""||19800101|F^Female^HL70001|||'
    b'Main \\T\\ 1st^^Town||555~556|""| ||||X\\F\\Y\r'
    b"PV1|1|I|W^1^2\r"
    b"OBX|1|NM|A||5\rOBX|2|ST|B||x~y~z\rZPI|1|local\r"
)


def test_each_path_gives_the_whole_text_of_what_it_names() -> None:
    msg = Message(A01)
    assert msg["PID-3"] == "1001^^^HOSP&1.2.3&ISO^MR"
    assert msg["PID-3.1"] == "1001"
    assert msg["PID-3[2].1"] == msg["PID-3[5=SS].1"] == msg["PID-3[4.1=SSA].1"] == "999"
    assert msg["PID-3.4"] == "HOSP&1.2.3&ISO"
    assert msg["PID-3.4.2"] == "1.2.3"
    assert msg["PID-5.1"] == "van Dam&van&Dam"
    assert msg["PID-5.1.1"] == "van Dam"
    assert msg["PID-8"] == "F^Female^HL70001"
    assert msg["PID-8.1"] == "F"
    assert msg["PID-7"] == msg["PID-7.1"] == msg["PID-7.1.1"] == msg["PID-7[1].1"] == "19800101"
    assert msg["PID-11"] == "Main & 1st^^Town"
    assert msg["PID.5.2"] == msg["PID.patient_name.given_name"] == "Anna"
    assert msg["OBX[2]-5[3]"] == "z"
    assert msg["OBX[2]-5"] == "x"
    assert msg["ZPI-2"] == "local"
    assert msg["PID-19"] == "X|Y"


def test_header_fields_count_the_separator_as_the_first() -> None:
    msg = Message(A01)
    assert (msg["MSH-1"], msg["MSH-2"], msg["MSH-3"], msg["MSH-9.2"]) == ("|", "^~\\&", "EHR", "A01")
    assert msg.all("MSH-2") == ["^~\\&"]
    assert [r.text for r in msg.segments("MSH")[0].repetitions(2)] == ["^~\\&"]


def test_absent_clear_and_blank_are_three_things() -> None:
    msg = Message(A01)
    assert msg["PID-14"] is CLEAR
    assert msg["PID-14.3"] is CLEAR
    assert msg["PID-14[7=x].1"] is CLEAR
    assert msg["PID-5.5"] is CLEAR
    assert msg["PID-15"] == " "
    for path in (
        "PID-2",
        "PID-99",
        "NK1-1",
        "PID-3[3].1",
        "PID-3[5=XX].1",
        "PID-3.9",
        "PID-3.4.9",
        "OBX[3]-5",
    ):
        assert msg[path] is ABSENT, path
        assert path not in msg
    assert "PID-14" in msg
    assert msg.get("PID-2", "?") == "?"
    assert msg.get("PID-14", "?") is CLEAR


def test_all_walks_segments_and_repetitions_and_leaves_absent_ones_out() -> None:
    msg = Message(A01)
    assert msg.all("OBX-5") == ["5", "x", "y", "z"]
    assert msg.all("OBX[2]-5") == ["x", "y", "z"]
    assert msg.all("OBX-5[2]") == ["y"]
    assert msg.all("PID-3.1") == ["1001", "999"]
    assert msg.all("PID-3[5=SS].1") == ["999"]
    assert msg.all("PID-14") == [CLEAR]
    assert msg.all("OBX-9") == msg.all("NK1[4]-2") == []


def test_segments_are_walked_in_order_and_read_by_relative_paths() -> None:
    msg = Message(A01)
    assert [s.name for s in msg] == ["MSH", "EVN", "PID", "PV1", "OBX", "OBX", "ZPI"]
    assert [s.index for s in msg.segments("OBX")] == [4, 5]
    pid = msg.segments("PID")[0]
    assert (pid["3.1"], pid["3[2].1"], pid[7], pid["2"]) == ("1001", "999", "19800101", ABSENT)
    assert pid.get(2, "-") == "-"
    assert pid.all("3.5") == ["MR", "SS"]
    first, second = pid.repetitions(3)
    assert (first[1], first[4, 1], second[5], second[9]) == ("1001", "HOSP", "SS", ABSENT)
    assert second.value == "999^^^SSA^SS"
    assert pid.repetitions(2) == pid.repetitions(77) == []
    assert pid.repetitions(14)[0][3] is CLEAR
    with pytest.raises(PathError):
        pid["PID-3"]


def test_untouched_bytes_are_the_same_object() -> None:
    msg = Message(A01)
    assert msg["PID-5.1"]
    assert bytes(msg) is A01


def test_setting_changes_only_that_field() -> None:
    msg = Message(A01)
    msg["PID-5.2"] = "Ann|a^&~\\"
    assert bytes(msg) == A01.replace(b"^Anna^", b"^Ann\\F\\a\\S\\\\T\\\\R\\\\E\\^")
    assert msg["PID-5.2"] == "Ann|a^&~\\"
    assert msg.raw == A01


@pytest.mark.parametrize(
    ("path", "value", "before", "after"),
    [
        ("PID-8", "female", b"|F^Female^HL70001|", b"|female|"),
        ("PID-8.1", "M", b"|F^Female", b"|M^Female"),
        ("PID-3[2].1", "7", b"~999^", b"~7^"),
        ("PID-3[5=SS].1", "7", b"~999^", b"~7^"),
        ("PID-3[5=DL].1", "7", b"^SSA^SS|", b"^SSA^SS~7^^^^DL|"),
        ("PID-3[3]", "7", b"^SSA^SS|", b"^SSA^SS~7|"),
        ("PID-13", ABSENT, b"|555~556|", b"||"),
        ("PID-13", CLEAR, b"|555~556|", b'|""|'),
        ("PID-13", "1", b"|555~556|", b"|1~556|"),
        ("PID-13[2]", "1", b"|555~556|", b"|555~1|"),
        ("PID-14", "1", b'|""|', b"|1|"),
        ("PID-14.2", "1", b'|""|', b"|^1|"),
        ("PID-3.4.2", "9", b"&1.2.3&", b"&9&"),
        ("EVN-5.2.3", "u", b"20260329\rPID", b"20260329|||^&&u\rPID"),
        ("NK1-2", "kin", b"local\r", b"local\rNK1||kin\r"),
        ("OBX[2]-3", "C", b"|ST|B|", b"|ST|C|"),
        ("OBX[3]-3", "C", b"local\r", b"local\rOBX|||C\r"),
        ("MSH-11", "T", b"|M1|P|", b"|M1|T|"),
        ("PID-15", '""', b"| |", b"|\\X2222\\|"),
        ("PID-15", "a\r\nb", b"| |", b"|a\\X0D\\\\.br\\b|"),
    ],
)
def test_setting(path: str, value: str, before: bytes, after: bytes) -> None:
    msg = Message(A01)
    msg[path] = value
    assert A01.count(before) == 1
    assert bytes(msg) == A01.replace(before, after)
    assert msg[path] == value and (msg[path] is CLEAR) == (value is CLEAR)
    assert Message(bytes(msg))[path] == value


@pytest.mark.parametrize("path", ["PID-14.2", "PID-14.1", "PID-14[1].1.2", "PID-14"])
def test_emptying_a_part_of_a_cleared_field_leaves_it_cleared(path: str) -> None:
    msg = Message(A01)
    msg[path] = ABSENT
    assert (msg["PID-14"] is CLEAR) == (path != "PID-14")
    assert (bytes(msg) == A01) == (path != "PID-14")


@pytest.mark.parametrize(
    "path", ["PID-2", "PID-2.3", "PID-3[4]", "PID-3.9", "PID-3[5=XX].2", "NK1-2", "PID-40", "PID-7.2.2"]
)
def test_emptying_what_is_not_there_changes_nothing(path: str) -> None:
    msg = Message(A01)
    for nothing in (ABSENT, ""):
        msg[path] = nothing
        assert bytes(msg) == A01
    msg[path] = CLEAR
    assert msg[path] is CLEAR and Message(bytes(msg))[path] is CLEAR


def test_bytes_that_frame_mllp_are_escaped() -> None:
    msg = Message(A01)
    msg["PID-9"] = "a\x0bb\x1c"
    assert b"|a\\X0B\\b\\X1C\\|" in bytes(msg)


def test_setting_through_a_segment_and_copying() -> None:
    msg = Message(A01)
    twin = msg.copy()
    msg.segments("OBX")[1]["3.2"] = "text"
    assert b"|ST|B^text|" in bytes(msg)
    assert bytes(twin) == A01
    assert msg["OBX[2]-3.2"] == "text"


def test_encoded_text_keeps_its_delimiters() -> None:
    msg = Message(A01)
    assert msg.encoded("PID-11") == "Main \\T\\ 1st^^Town"
    assert msg.encoded("PID-11.1") == "Main \\T\\ 1st"
    assert msg.encoded("NK1-1") == msg.encoded("PID-2") == ""
    msg.set_encoded("PID-11", "A^B&C")
    assert msg["PID-11.2.2"] == "C"
    for text in ("a|b", "a\rb", "a\nPID"):
        with pytest.raises(HL7Error):
            msg.set_encoded("PID-11", text)


@pytest.mark.parametrize("path", ["MSH-1", "MSH-2", "OBX[5]-1"])
def test_what_cannot_be_set_says_why(path: str) -> None:
    msg = Message(A01)
    with pytest.raises(HL7Error) as caught:
        msg[path] = "x"
    assert caught.value.code == "hl7.set" and caught.value.where == path
    assert bytes(msg) == A01


def test_text_outside_the_charset_is_refused_and_nothing_is_changed() -> None:
    raw = A01.replace(b"|2.5.1\r", b"|2.5.1||||||8859/1\r")
    msg = Message(raw)
    msg["PID-5.2"] = "Zoë"
    with pytest.raises(HL7Error) as caught:
        msg["PID-5.2"] = "Łucja"
    assert caught.value.code == "hl7.charset.encode"
    assert "Łucja" not in str(caught.value)
    assert bytes(msg) == raw.replace(b"^Anna^", b"^Zo\xeb^")
    utf = Message(A01)
    utf["PID-5.2"] = "Łucja"
    assert Message(bytes(utf))["PID-5.2"] == "Łucja"


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\r"])
@pytest.mark.parametrize("lead", [b"", b"\xef\xbb\xbf", b"\x0b", b"\x0b\xef\xbb\xbf", b"\r\n \t", b"  "])
@pytest.mark.parametrize("tail", [b"", b"\x1c\r", b"\x1c", b"\r\r\n \n"])
def test_line_ends_bom_and_mllp_bytes_are_seen_through_and_kept(end: bytes, lead: bytes, tail: bytes) -> None:
    raw = lead + A01.replace(b"\r", end) + tail
    msg = Message(raw)
    assert [s.name for s in msg] == ["MSH", "EVN", "PID", "PV1", "OBX", "OBX", "ZPI"]
    assert msg["ZPI-2"] == "local"
    msg["ZPI-2"] = "new"
    assert bytes(msg) == raw.replace(b"local", b"new")
    msg["NK1-1"] = "1"
    lines = [s.name for s in Message(bytes(msg))]
    assert lines == ["MSH", "EVN", "PID", "PV1", "OBX", "OBX", "ZPI", "NK1"]
    assert bytes(msg).startswith(lead)


def test_a_segment_is_added_after_an_open_last_line() -> None:
    for last in (b"", b"\x1c"):
        msg = Message(b"MSH|^~\\&|A\nPID|1" + last)
        msg["PV1-2"] = "I"
        assert bytes(msg) == b"MSH|^~\\&|A\nPID|1\nPV1||I" + last


def test_lines_that_are_no_segments_stay_and_are_reported() -> None:
    msg = Message(b"MSH|^~\\&|A\rpid|1||7\rsecret text\rI|||x\rPID|1||8\r")
    assert msg["PID-3"] == "8"
    assert [s.name for s in msg][2:4] == ["secret text", "I"]
    assert msg.warnings == [
        "segment 2 has no segment name; did you mean PID?",
        "segment 3 has no segment name",
        "segment 4 has no segment name",
    ]
    assert "secret" not in repr(msg.segments())


@pytest.mark.parametrize(
    ("header", "reads", "warned"),
    [
        (b"MSH|^~\\&", "b", False),
        (b"MSH|^~\\&#", "b", False),
        (b"MSH|^~\\\\&", "b", True),
        (b"MSH|^~", "b", True),
        (b"MSH|~\\&", "b", True),
        (b"MSH|", "b", True),
        (b"MSH|HIS", "b", True),
        ("MSH|^\ufffd\\&".encode(), "b", True),
    ],
)
def test_odd_encoding_characters(header: bytes, reads: str, warned: bool) -> None:
    msg = Message(header + b"|X\rPID|1||a^b~c^d&e\\T\\\r")
    assert msg["PID-3.2"] == reads
    assert msg["PID-3[2].2.2"] == "e&"
    assert bool(msg.warnings) is warned
    assert bytes(msg) == msg.raw


def test_delimiters_of_ones_own() -> None:
    msg = Message(b"MSH@~&#\\@APP@FAC\rPID@1@@1~2&3~4\\5#T##F#")
    assert (msg["MSH-1"], msg["MSH-2"], msg["PID-3.2"], msg["PID-3[2].2.2"]) == ("@", "~&#\\", "2", "5\\@")
    msg["PID-5"] = "@~&#\\|^"
    assert bytes(msg).endswith(b"@@#F##S##R##E##T#|^")
    msg = Message(b"MSH^~|\\&^A^B^C^D^1^^ADT~A24^2\rPID^1^^11~~~F&&0~NI|12^^S~J")
    assert (msg["MSH-9.2"], msg["PID-3[2]"], msg["PID-5.2"]) == ("A24", "12", "J")


def test_one_character_for_two_purposes_still_reads() -> None:
    msg = Message(b"MSH|^^\\&|A\rPID|1||a^b")
    assert msg["PID-3.2"] == "b"
    assert "two purposes" in msg.warnings[0]


def test_a_field_separator_that_is_also_standard_leaves_no_separator() -> None:
    msg = Message(b"MSH^\rPID^1^^a~b")
    assert msg["PID-3[2]"] == "b"
    with pytest.raises(HL7Error, match="no separator"):
        msg["PID-3.2"] = "x"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "hl7.empty"),
        (b"\x0b\x1c\r", "hl7.empty"),
        (b"\xef\xbb\xbf\r\n", "hl7.empty"),
        (b"MSH", "hl7.no_header"),
        (b"hello", "hl7.no_header"),
        (b"MSHA^~\\&|", "hl7.no_header"),
        (b"PID|1\rxMSH|^~\\&|", "hl7.no_header"),
        ("MSH|^~\\&|A".encode("utf-16"), "hl7.charset.wide"),
        ("MSH|^~\\&|A".encode("utf-16-le"), "hl7.charset.wide"),
        ("MSH|^~\\&|A".encode("utf-16-be"), "hl7.charset.wide"),
        ("MSH|^~\\&|A".encode("utf-32"), "hl7.charset.wide"),
        ("MSH|^~\\&|A".encode("utf-32-le"), "hl7.charset.wide"),
        ("MSH|^~\\&|A".encode("utf-32-be"), "hl7.charset.wide"),
    ],
)
def test_what_has_no_header_is_refused(raw: bytes, code: str) -> None:
    with pytest.raises(HL7Error) as caught:
        Message(raw)
    assert (caught.value.code, caught.value.ack) == (code, "AR")


@pytest.mark.parametrize(
    ("codec", "name", "text"),
    [
        ("gb18030", "GB 18030-2000", "赵丽颖镕"),
        ("big5", "BIG-5", "許功蓋"),  # 0x5C as a second byte: a backslash to whoever splits bytes
        ("shift_jis", "ISO IR13", "表ソ能"),
        ("iso2022_jp_ext", "ASCII~ISO IR87", "山田太郎"),
        ("iso2022_jp_ext", "~ISO IR159", "丂山"),
        ("euc_kr", "KS X 1001", "김철수"),
        ("iso8859_5", "8859/5", "Иван"),
        ("iso8859_1", "8859/1", "Zoë"),
        ("utf_8", "UNICODE UTF-8", "Łucja 山"),
    ],
)
def test_multibyte_text_is_read_and_written_in_its_own_charset(codec: str, name: str, text: str) -> None:
    raw = f"MSH|^~\\&|A|B|C|D|1||ADT^A01|1|P|2.5||||||{name}\rPID|1||1||{text}^{text}~{text}|x\r".encode(
        codec
    )
    msg = Message(raw)
    assert not msg.warnings
    assert (msg["PID-5.1"], msg["PID-5[2].1"], msg["PID-6"]) == (text, text, "x")
    msg["PID-5.2"] = text[::-1]
    again = Message(bytes(msg))
    assert (again["PID-5.1"], again["PID-5.2"], again["PID-6"]) == (text, text[::-1], "x")
    assert msg.codec == codec


def test_hex_escapes_are_bytes_in_the_messages_charset() -> None:
    head = b"MSH|^~\\&|A|B|C|D|1||ADT^A01|1|P|2.5||||||"
    assert Message(head + b"8859/1\rPID|||\\XEB\\")["PID-3"] == "ë"
    assert Message(head + b"\rPID|||\\XC3AB\\")["PID-3"] == "ë"
    assert Message(head + b"\rPID|||\\XEB\\")["PID-3"] == "\\XEB\\"


def test_the_channels_charset_beats_msh_18() -> None:
    raw = "MSH|^~\\&|A|B|C|D|1||ADT^A01|1|P|2.5||||||UNICODE UTF-8\rPID|||Иван".encode("iso8859_5")
    assert Message(raw, charset="8859/5")["PID-3"] == "Иван"
    assert Message(raw, charset="8859/5").copy()["PID-3"] == "Иван"
    assert Message(raw).warnings


VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\uffff"), max_size=12)


@given(VALUES, st.sampled_from(["PID-5", "PID-5.1", "PID-5.3.2", "PID-3[2].4", "OBX[2]-5", "ZZZ-3", "MSH-3"]))
def test_what_is_set_is_read_back_after_a_trip_through_bytes(value: str, path: str) -> None:
    msg = Message(A01)
    msg[path] = value
    again = Message(bytes(msg))
    assert again[path] == msg[path] == value
    assert len(again.segments()) == len(msg.segments())
    for other in ("PID-7", "OBX-5", "PV1-3.2", "MSH-10"):
        assert again[other] == Message(A01)[other]


@given(st.binary(max_size=80), st.sampled_from([b"MSH|^~\\&|", b"MSH|", b"\x0bMSH^~|", b"FHS|x\rMSH#"]))
def test_any_bytes_after_a_header_can_be_read_and_come_back(rest: bytes, head: bytes) -> None:
    raw = head + rest
    msg = Message(raw)
    assert bytes(msg) == raw
    for segment in msg:
        for field in range(1, len(segment.fields) + 1):
            assert isinstance(segment[field], str)
            segment.all(f"{field}.1.1")
    for segment in msg:
        segment.changed = True
    msg._wording.changed = True
    assert bytes(msg) == raw
    assert all(isinstance(text, str) for text in msg.warnings)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        msg = Message(raw)
    except HL7Error as error:
        assert error.ack == "AR" and error.todo
    else:
        assert bytes(msg) == raw
