"""Paths read together give what each gives alone, whatever the message looks like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.hl7.er7 import Message
from engine.hl7.paths import PathError
from engine.hl7.reading import Reader
from engine.model import CLEAR

PATHS = [
    "MSH-1", "MSH-2", "MSH-9.2", "PID-3", "PID-3.1", "PID-3[1].1", "PID-3[2].1", "PID-3[5=MR].1", "PID-5", "PID-5.1",
    "PID-5.2", "PID-5.1.2", "PID-8.1", "PID[2]-5.1", "PID.patient_name.family_name", "OBX-5", "OBX[2]-5.3", "PID-99",
]  # fmt: skip
PIECES = st.text('ab^~\\&|"\r\n@T.', max_size=12)


@given(
    st.lists(st.sampled_from(["PID", "OBX", "PID|", "|", "|", "\r", '""', "^", "~", "\\T\\"]) | PIECES),
    st.booleans(),
)
def test_together_as_alone(pieces: list[str], odd: bool) -> None:
    head = 'MSH|"^~&|A' if odd else "MSH|^~\\&|A|B||C|||ADT^A01"
    message = Message(f"{head}\rPID|{''.join(pieces)}".encode())
    alone = [message[path] for path in PATHS]
    together = Reader(PATHS).read(Message(message.raw))
    assert together == alone
    assert [value is CLEAR for value in together] == [value is CLEAR for value in alone]


def test_what_was_set_is_read() -> None:
    message = Message(b"MSH|^~\\&|A\rPID|1||7^^^H~8||X^Y\r")
    reader = Reader(["PID-5.1", "PID-3.1", "ZZZ-1"])
    assert reader.read(message) == ["X", "7", ""]
    message["PID-5.1"] = "A&B"
    message["ZZZ-1"] = "new"
    assert reader.read(message) == ["A&B", "7", "new"]


def test_a_path_that_cannot_be_is_refused_at_once() -> None:
    with pytest.raises(PathError):
        Reader(["PID-0"])
