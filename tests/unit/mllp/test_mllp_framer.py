"""The framer: every odd input, cut in every way."""

import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.hl7.mllp import KEPT, Framer, frame, frameable

A = b"MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\rPID|1||7\r"
B = b"MSH|^~\\&|A|B|C|D|20260101||ADT^A08|2|P|2.5\rPID|1||8"

# bytes, what comes out while they arrive, what comes out when the connection closes
CASES = {
    "one": (frame(A), [(A, "")], []),
    "two": (frame(A) + frame(B), [(A, ""), (B, "")], []),
    "white space between": (b"\r\n" + frame(A) + b" \t\r\n" + frame(B) + b"\r\n", [(A, ""), (B, "")], []),
    "end without CR, then a frame": (b"\x0b" + A + b"\x1c" + frame(B), [(A, ""), (B, "")], []),
    "end without CR": (b"\x0b" + A + b"\x1c", [], [(A, "")]),
    "FS inside": (frame(A + b"\x1cx\x1c\x1c"), [(A + b"\x1cx\x1c\x1c", "")], []),
    "FS LF is content": (frame(A + b"\x1c\n"), [(A + b"\x1c\n", "")], []),
    "doubled start": (b"\x0b" + frame(A), [(A, "")], []),
    "doubled end": (frame(A) + b"\x1c\r" + frame(B), [(A, ""), (B, "")], []),
    "never closed, then a frame": (b"\x0b" + A + frame(B), [(A, "unclosed"), (B, "")], []),
    "empty": (frame(b"") + frame(B), [(b"", "empty"), (B, "")], []),
    "blank": (frame(b" \r\n") + frame(B), [(b" \r\n", "empty"), (B, "")], []),
    "cut off": (b"\x0b" + A, [], [(A, "truncated")]),
    "only a start": (b"\x0b", [], [(b"", "truncated")]),
    "no frame": (b"MSH|^~\\&|x", [], [(b"MSH|^~\\&|x", "unframed")]),
    "no start": (A.strip() + b"\x1c\r" + frame(B), [(A.strip(), "unframed"), (B, "")], []),
    "junk, then a frame": (b"\x00\x01 junk \r" + frame(B), [(b"\x00\x01 junk", "unframed"), (B, "")], []),
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", [], [(b"GET / HTTP/1.1", "unframed")]),
    "NUL and high bytes": (frame(b"MSH\x00\xff\xfe"), [(b"MSH\x00\xff\xfe", "")], []),
    "nothing": (b"\r\n\x1c\r \x1c", [], []),
}


def told(frames):
    return [(found.raw, found.error.code.removeprefix("mllp.") if found.error else "") for found in frames]


def chunks(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", range(1, 10))
def test_packets_of_every_size(name, size):
    data, during, after = CASES[name]
    framer = Framer()
    assert told([found for chunk in chunks(data, size) for found in framer.feed(chunk)]) == during
    assert told(framer.close()) == after
    assert framer.buffered == 0
    assert not framer.open


@pytest.mark.parametrize("name", CASES)
def test_every_single_cut(name):
    data, during, after = CASES[name]
    for cut in range(len(data) + 1):
        framer = Framer()
        assert told(framer.feed(data[:cut]) + framer.feed(data[cut:])) == during, cut
        assert told(framer.close()) == after, cut


@pytest.mark.parametrize("name", CASES)
def test_after_it_the_next_message_is_whole(name):
    framer = Framer()
    framer.feed(CASES[name][0])
    framer.expire()
    assert told(framer.feed(frame(B)))[-1] == (B, "")


def test_errors_are_answers_that_name_the_next_step():
    for data, *_ in CASES.values():
        framer = Framer()
        for found in framer.feed(data) + framer.close():
            if found.error:
                assert (found.error.ack, found.error.condition) == ("AR", "100")
                assert found.error.where == "MLLP"
                assert found.error.todo
            assert found.complete is (found.error is None or found.error.code == "mllp.empty")


@given(st.lists(st.binary(min_size=1, max_size=40).filter(frameable), max_size=6), st.data())
@settings(max_examples=150, deadline=None)
def test_any_messages_in_any_chunks(messages, data):
    wire = b"".join(frame(raw) for raw in messages)
    framer = Framer()
    frames = []
    while wire:
        size = data.draw(st.integers(1, len(wire)))
        frames += framer.feed(wire[:size])
        wire = wire[size:]
    assert told(frames + framer.close()) == [(raw, "") for raw in messages]


def pieces():
    return st.lists(
        st.one_of(st.sampled_from([b"\x0b", b"\x1c", b"\r", b"\x1c\r", b" ", b"x", b"y" * 9]), st.binary())
    )


@given(pieces(), st.integers(1, 7), st.integers(4, 30))
@settings(max_examples=300, deadline=None)
def test_chunking_never_matters_and_memory_is_bounded(parts, size, limit):
    wire = b"".join(parts)
    whole = Framer(limit)
    expected = told(whole.feed(wire)) + told(whole.close())
    framer = Framer(limit)
    found = []
    for chunk in chunks(wire, size):
        found += framer.feed(chunk)
        if framer.open:
            assert framer.buffered <= 2 * limit + size + 1
    assert told(found + framer.close()) == expected
    assert framer.buffered == 0


def test_fs_at_the_end_is_settled_by_silence():
    framer = Framer()
    assert not framer.feed(b"\x0b" + A + b"\x1c")
    assert framer.unsettled
    assert told(framer.expire()) == [(A, "")]
    assert not framer.unsettled
    assert told(framer.feed(b"\r" + frame(B))) == [(B, "")]  # the CR came late


def test_silence_inside_a_message_settles_nothing():
    framer = Framer()
    framer.feed(b"\x0b" + A)
    assert framer.open
    assert not framer.unsettled
    assert framer.expire() == []
    assert told(framer.feed(b"x\x1c\r")) == [(A + b"x", "")]


def test_junk_is_one_frame_a_run_and_keeps_64_kib():
    framer = Framer()
    found = [one for _ in range(50) for one in framer.feed(b"j" * 10_000)]
    assert told(found) == [(b"j" * KEPT, "unframed")]
    assert framer.buffered == 0
    assert framer.unsettled
    assert told(framer.expire()) == []
    framer.feed(b"again")
    assert told(framer.feed(frame(B))) == [(b"again", "unframed"), (B, "")]


@pytest.mark.parametrize("size", [1, 3, 1000, 100_000])
def test_too_large_is_skipped_to_its_end(size):
    framer = Framer(1000)
    large = bytes(range(32, 127)) * 100
    wire = frame(large) + frame(B) + b"\x0b" + large + frame(B) + b"\x0b" + large + b"\x1c" + frame(B)
    found = [one for chunk in chunks(wire, size) for one in framer.feed(chunk)]
    assert told(found) == [(large[:1000], "too_large"), (B, "")] * 3
    assert [one.complete for one in found] == [True, True, False, True, True, True]
    assert found[0].error.condition == "104"


def test_the_limit_itself_is_allowed():
    for size in (1, 7, 5000):
        framer = Framer(1000)
        found = [
            one
            for chunk in chunks(frame(b"x" * 1000) + frame(b"x" * 1001), size)
            for one in framer.feed(chunk)
        ]
        assert [one.error and one.error.code for one in found] == [None, "mllp.too_large"]


def test_memory_goes_back_after_20_mb():
    framer = Framer()
    chunk = b"x" * 65536
    tracemalloc.start()
    try:
        framer.feed(b"\x0b")
        for _ in range(320):
            assert framer.feed(chunk) == []
        found = framer.feed(b"\x1c\r")
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert told(found) == [(chunk, "too_large")]
    assert kept < 200_000
    assert peak < 40_000_000  # a growing bytearray may be copied once
    assert sys.getsizeof(framer._buffer) < 100


class Counting(bytearray):
    """Counts the bytes that are searched: linear time, without a clock."""

    searched = 0

    def find(self, what, start=0, end=None):
        found = super().find(what, start, len(self) if end is None else end)
        Counting.searched += max(0, (len(self) if found < 0 else found + 1) - start)
        return found


@pytest.mark.parametrize(
    "wire",
    [
        b"\x0ba" * 10_000, b"\x1c\r" * 10_000 + b"\x0b", b"\x0b" * 20_000 + b"\x1c", b"\x0b" + b"\x1cx" * 10_000,
        b"a\x1c" * 10_000, b"\x0ba\x1c" * 7_000, b"x\x1c\r" * 7_000 + b"\x0b",
    ],
)  # fmt: skip
def test_hostile_bytes_are_read_in_linear_time(wire):
    framer = Framer()
    framer._buffer = Counting()
    Counting.searched = 0
    framer.feed(wire)
    assert len(wire) / 2 < Counting.searched < 5 * len(wire)


def test_one_byte_at_a_time_is_linear():
    Counting.searched = 0
    framer = Framer()
    framer._buffer = Counting()
    wire = b"\x0b" + b"x" * 20_000 + b"\x1c\r"
    framer.feed(wire[:2])
    framer._buffer = Counting(framer._buffer)
    for byte in wire[2:-1]:
        framer.feed(bytes([byte]))
    assert isinstance(framer._buffer, Counting)
    assert 20_000 < Counting.searched < 5 * len(wire)
    assert told(framer.feed(wire[-1:])) == [(b"x" * 20_000, "")]


@pytest.mark.parametrize(
    ("data", "good"),
    [(A, True), (b"x\x1c", True), (b"", False), (b"\r", False), (b"a\x0bb", False), (b"a\x1c\r", False)],
)
def test_frameable_is_the_truth(data, good):
    assert frameable(data) is good
    assert (told(Framer().feed(frame(data))) == [(data, "")]) is good
