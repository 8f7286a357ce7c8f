"""Files of several messages: cut without losing a line, and acknowledged as one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.hl7 import ack, batch, peek
from engine.hl7.er7 import Message

M1 = b"MSH|^~\\&|A|B|C|D|1||ADT^A01|M1|P|2.5\rPID|1||1\r"
M2 = b"MSH|^~\\&|A|B|C|D|1||ADT^A08|M2|P|2.5\rPID|1||2\r"
FHS = b"FHS|^~\\&|A|B|C|D|1||f||F1\r"
BHS = b"BHS|^~\\&|A|B|C|D|1||b||B1\r"


@pytest.mark.parametrize(
    ("raw", "kinds", "warnings"),
    [
        (M1, ["message"], []),
        (M1 + M2, ["message"] * 2, []),
        (FHS + BHS + M1 + M2 + b"BTS|2\rFTS|1\r", ["FHS", "BHS", "message", "message", "BTS", "FTS"], []),
        (BHS + M1 + b"BTS\r", ["BHS", "message", "BTS"], []),
        (BHS + M1, ["BHS", "message"], ["BHS without BTS: the file may have been cut off"]),
        (FHS + M1 + b"FTS|1", ["FHS", "message", "FTS"], []),
        (M1 + b"BTS|1\r", ["message", "BTS"], ["BTS without BHS"]),
        (FHS + M1 + b"BTS|1\rFTS\r", ["FHS", "message", "BTS", "FTS"], ["BTS without BHS"]),
        (BHS + M1 + b"BTS|3\r", ["BHS", "message", "BTS"], ["BTS-1 says 3 messages, there are 1"]),
        (b"oops\r" + M1, ["junk", "message"], ["line 1: text that belongs to no message"]),
        (BHS + b"oops\r" + M1 + b"BTS|1\rtail\r", ["BHS", "junk", "message", "BTS", "junk"],
         ["line 2: text that belongs to no message", "line 6: text that belongs to no message"]),
        (M1 + b"MSH\r" + M2, ["message"] * 2, []),
        (b"MSH\rhello", ["junk"], ["line 1: text that belongs to no message"]),
        (b"", [], []),
        (b"\xef\xbb\xbf\r\n\x0b\x1c\r", [], []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_kinds_and_warnings(raw: bytes, kinds: list[str], warnings: list[str], end: bytes) -> None:
    found = batch.split(raw.replace(b"\r", end))
    assert [item.kind for item in found.items] == kinds
    assert found.warnings == warnings


def test_messages_keep_their_bytes() -> None:
    found = batch.split(b"\xef\xbb\xbf" + FHS + M1 + b"\r\n" + M2.replace(b"\r", b"\r\n") + b"FTS|2")
    assert found.messages == [M1 + b"\r\n", M2.replace(b"\r", b"\r\n")]
    assert found.header("FHS").endswith(FHS)
    assert found.header("BHS") == b""
    assert [item.line for item in found.items] == [1, 2, 5, 7]


@pytest.mark.parametrize(
    "between", [b"\x1c\r\x0b", b"\x1c\x0b", b"\x1c\r\n\x0b", b"\x0b", b"\x1c\r", b"\x1c"]
)
def test_mllp_bytes_in_a_file_are_taken_off(between: bytes) -> None:
    assert batch.split(b"\x0b" + M1 + between + M2 + b"\x1c\r").messages == [M1, M2]


def test_junk_is_kept_as_it_came() -> None:
    found = batch.split(BHS + M1 + b"BTS|1\rwhat\ris this\r" + M2)
    assert [item.raw for item in found.junk] == [b"what\ris this\r"]
    assert found.messages == [M1, M2]


PIECES = st.sampled_from(
    [
        M1,
        M2,
        FHS,
        BHS,
        b"BTS|1\r",
        b"FTS|1\r",
        b"junk\r",
        b"\x0b",
        b"\x1c\r",
        b"\n",
        b"MSH",
        b"x\x1cy",
        b"\xef\xbb\xbf",
    ]
)


@given(st.lists(PIECES | st.binary(max_size=8), max_size=12))
def test_nothing_is_dropped(pieces: list[bytes]) -> None:
    raw = b"".join(pieces)
    found = batch.split(raw)
    blank = bytes.maketrans(b"", b"")
    noise = b"\x0b\x1c \t\r\n\xef\xbb\xbf"
    kept = b"".join(item.raw for item in found.items)
    assert kept.translate(blank, noise) == raw.translate(blank, noise)
    assert len(found.messages) <= raw.count(b"MSH")


@given(
    st.lists(
        st.sampled_from([M1, M2, FHS, BHS, b"\x1c\r\x0b", b"\x1c", b"\r\n", b"text\r", b"MSH hi\r"]),
        max_size=8,
    )
)
def test_as_many_messages_as_peek_counts(pieces: list[bytes]) -> None:
    raw = b"".join(pieces)
    assert len(batch.split(raw).messages) == peek.count_headers(raw)


NOW = 1_767_225_600_000_000


def test_the_batch_acknowledgement() -> None:
    found = batch.split(FHS + BHS + M1 + M2 + b"BTS|2\rFTS|1\r")
    acks = [ack.build(peek.peek(raw), "AA", ack_id=f"A{n}", now=NOW) for n, raw in enumerate(found.messages)]
    answer = batch.acknowledge(found, acks, ack_id="X", now=NOW)
    assert answer == (
        b"FHS|^~\\&|C|D|A|B|20260101000000+0000||||X|F1\r"
        b"BHS|^~\\&|C|D|A|B|20260101000000+0000||||X|B1\r" + acks[0] + acks[1] + b"BTS|2\rFTS|1\r"
    )
    again = batch.split(answer)
    assert not again.warnings
    assert [Message(raw)["MSA-2"] for raw in again.messages] == ["M1", "M2"]


def test_a_batch_without_header_is_answered_with_one() -> None:
    answer = batch.acknowledge(batch.split(M1 + M2), [b"MSH|^~\\&|\rMSA|AA|1\r"], ack_id="X", now=NOW)
    assert answer.startswith(b"BHS|^~\\&|||||20260101000000+0000||||X|\rMSH|")
    assert answer.endswith(b"BTS|1\r")


def test_the_batch_acknowledgement_uses_the_batchs_delimiters() -> None:
    found = batch.split(b"BHS@~&#\\@A@B@C@D@1@@b@@B1\r" + M1 + b"BTS@1\r")
    assert batch.acknowledge(found, [], ack_id="X", now=NOW).startswith(b"BHS@~&#\\@C@D@A@B@2026")
    assert not found.warnings
