"""Every value of a path changed at once: as one by one, in time in proportion to the message."""

import pytest

from engine.errors import HL7Error
from engine.hl7 import edit, paths
from engine.hl7.er7 import Message
from engine.hl7.segment import Segment
from engine.model import ABSENT, CLEAR

RAW = (
    b"MSH|^~\\&|EHR|HOSP|ISTHMUS|CLINIC|20260329||ADT^A01^ADT_A01|M1|P|2.5.1\r"
    b'PID|1||1^a&b^^H^MR~2^^^H^SS~""~~3\\T\\4^c~2^^^H^SS||van Dam&van^Anna^""||""|F\r'
    b"OBX|1|NM|A||5\rOBX|2|ST|B||x~y~z\rOBX|3|ST|C\rZPI\r"
)
PATHS = [
    "PID-3", "PID-3.1", "PID-3.2", "PID-3.2.1", "PID-3[2].1", "PID-3[5=SS].1", "PID-3[9]", "PID-3[5=XX].1", "PID-5.1.2",
    "PID-5.3", "PID-7", "PID-8", "PID-30", "OBX-5", "OBX[2]-5", "OBX[2]-5[3]", "OBX[9]-5", "MSH-3", "MSH-9.2", "ZPI-1",
    "QQQ-1", "PID-3[3]",
]  # fmt: skip
CHANGES = {
    "longer": lambda value: f"<{value}>", "upper": str.upper, "same": lambda value: value, "empty": lambda value: "",
    "cleared": lambda value: CLEAR, "delimiters": lambda value: "a^b&c~d|e\\", "quotes": lambda value: '""',
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("path", PATHS)
def test_as_one_by_one(path, name):
    new = CHANGES[name]
    at_once, singly = Message(RAW), Message(RAW)
    told = at_once.change(path, lambda value: new(value) if value is not CLEAR else value)
    for place in reversed(singly.places(path)):
        value = singly[place]
        if value is not ABSENT and value is not CLEAR and new(value) != value:
            singly[place] = new(value)
    assert bytes(at_once) == bytes(singly)
    assert told == (bytes(at_once) != RAW)


def test_a_cleared_repetition_can_be_changed_too():
    msg = Message(RAW)
    assert msg.change("PID-3[3]", lambda value: "" if value is CLEAR else value)
    assert msg.encoded("PID-3[3]") == "" and msg["PID-3[2].1"] == "2" and msg["PID-3[5].1"] == "3&4"


def test_what_does_not_fit_is_refused_and_nothing_is_changed():
    msg = Message(RAW.replace(b"|2.5.1", b"|2.5.1||||||8859/1"))
    for path, text, code in (("PID-3.1", "\u5c71", "hl7.charset.encode"), ("MSH-2", "^", "hl7.set")):
        with pytest.raises(HL7Error) as caught:
            msg.change(path, lambda value, text=text: text)
        assert caught.value.code == code and bytes(msg) == msg.raw


def test_thousands_of_repetitions_are_taken_apart_once():
    """Counts the characters that are taken apart or put together, not the time."""
    looked_at = 0

    class Counting(str):
        def split(self, *given):
            nonlocal looked_at
            looked_at += len(self)
            return super().split(*given)

    texts = [f"{number}^^^H^MR" for number in range(5_000)]
    segment = Message(RAW).segments("PID")[0]
    assert isinstance(segment, Segment)
    segment.fields[3] = Counting("~".join(texts))
    assert edit.change(segment, paths.compile("PID-3.1"), lambda value: f"x{value}")
    assert segment.fields[3] == "~".join(f"x{text}" for text in texts)
    assert 0 < looked_at < 3 * sum(map(len, texts))
    looked_at, segment.fields[3] = 0, Counting("~".join(texts))
    assert edit.fill(segment, paths.compile("PID-3.2"), "7", [paths.compile("PID-3.1")])
    assert segment.fields[3] == "~".join(text.replace("^", "^7", 1) for text in texts)
    assert 0 < looked_at < 3 * sum(map(len, texts))


def test_reading_one_repetition_after_the_other_takes_a_field_apart_once():
    msg = Message(RAW)
    (segment,) = msg.segments("PID")
    segment.fields[3] = "~".join(f"{number}^x" for number in range(100))
    first = segment.texts(3)
    assert [msg[f"PID-3[{number}].1"] for number in range(1, 101)] == [str(number) for number in range(100)]
    assert segment.texts(3) is first
    msg["PID-3[50].1"] = "changed"
    assert msg["PID-3[50].1"] == "changed" and msg["PID-3[51].1"] == "50" and len(segment.texts(3)) == 100


@pytest.mark.parametrize("path", [path for path in PATHS if path.count(".") < 2])
def test_filled_as_one_by_one(path):
    """Where PID-3.3 is absent, for one; `ZPI` and `QQQ` have nothing beside it."""
    at_once, singly = Message(RAW), Message(RAW)
    told = at_once.fill(f"{path}.3", "é^", [f"{path}.1", f"{path}.5"])
    for place in singly.places(path):
        if singly[f"{place}.3"] is ABSENT and any(singly[f"{place}.{n}"] for n in (1, 5)):
            singly[f"{place}.3"] = "é^"
    assert bytes(at_once) == bytes(singly)
    assert told == (bytes(at_once) != RAW)
