"""Whatever comes over MLLP is stored as it came, answered truthfully, and disturbs nobody after it.

Each row sends bytes on one connection, reads every answer, then sends a good message: the engine is alive, and
that message is stored byte for byte, on its own. The table of docs/guarantees.md is this one.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

import pytest
from engine_process import EMPTY, ROOT, Client, EngineProcess, adt, fields, until, verdict

VT, END = b"\x0b", b"\x1c\r"
MB = 1024 * 1024


def framed(raw: bytes) -> bytes:
    return VT + raw + END


def header(control_id: str, kind: str = "ADT^A04", more: str = "") -> bytes:
    return f"MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20261122080000||{kind}|{control_id}|P|2.5.1{more}\r".encode()


AA = ("", "", "")
NO_HEADER = ("MSH^1", "100", "hl7.no_header")
LATIN1 = header("L1", more="||||||8859/1") + "PID|1||7||Müller^Zoë\r".encode("latin-1")
NUL = adt("N1", name="Do\0e^Jane")
TWO = adt("T1", "1") + adt("T2", "2")
BATCH = (
    b"FHS|^~\\&|EHR|RGH\rBHS|^~\\&|EHR|RGH|||||||B7\r" + adt("B1", "1") + adt("B2", "2") + b"BTS|2\rFTS|1\r"
)
JUNK_BATCH = b"BHS|^~\\&|EHR|RGH\r" + adt("J1") + b"BTS|1\rlost text\r"
UTF16 = adt("U1").decode().encode("utf-16")
UTF16LE = adt("U2").decode().encode("utf-16-le")
BOM = b"\xef\xbb\xbf" + adt("M1")
LF = adt("LF1").replace(b"\r", b"\n")
SHORT = b"MSH|^~\\&|EHR|RGH\rPID|1||1\r"


@dataclass
class Case:
    """Bytes in, answers out (MSA-1, MSA-2, ERR-2, ERR-3.1, ERR-5.1), rows made (state, code, bytes)."""

    name: str
    sent: bytes
    answers: list[tuple[str, ...]]
    rows: list[tuple[str, str | None, bytes]]


def good(*raws: bytes) -> list[tuple[str, None, bytes]]:
    return [("TRANSFORMED", None, raw) for raw in raws]


CASES = [
    Case(
        "text without MSH", framed(b"hello"), [("AR", "", *NO_HEADER)], [("ERROR", "hl7.no_header", b"hello")]
    ),
    Case("empty frame", framed(b""), [("AR", "", "", "100", "mllp.empty")], []),
    Case("lone CR", framed(b"\r"), [("AR", "", "", "100", "mllp.empty")], []),
    Case("MSH alone", framed(b"MSH"), [("AR", "", *NO_HEADER)], [("ERROR", "hl7.no_header", b"MSH")]),
    Case(
        "short header",
        framed(SHORT),
        [("AR", "", "MSH^1^9^1", "101", "hl7.header_short")],
        [("ERROR", "hl7.header_short", SHORT)],
    ),
    Case(
        "UTF-16 with BOM",
        framed(UTF16),
        [("AR", "", "MSH^1^18^1", "102", "hl7.charset.wide")],
        [("ERROR", "hl7.charset.wide", UTF16)],
    ),
    Case(
        "UTF-16 without BOM",
        framed(UTF16LE),
        [("AR", "", "MSH^1^18^1", "102", "hl7.charset.wide")],
        [("ERROR", "hl7.charset.wide", UTF16LE)],
    ),
    Case(
        "frame never closed, then another",
        VT + adt("C1") + framed(adt("C2")),
        [("AR", "C1", "", "100", "mllp.unclosed"), ("AA", "C2", *AA)],
        [("ERROR", "mllp.unclosed", adt("C1")), *good(adt("C2"))],
    ),
    Case(
        "end byte without CR, then another",
        VT + adt("E1") + b"\x1c" + framed(adt("E2")),
        [("AA", "E1", *AA), ("AA", "E2", *AA)],
        good(adt("E1"), adt("E2")),
    ),
    Case(
        "end byte without CR, then silence",
        VT + adt("E3") + b"\x1c",
        [("AA", "E3", *AA)],
        good(adt("E3")),
    ),
    Case(
        "two MSH in one frame",
        framed(TWO),
        [("AA", "T1", *AA), ("AA", "T2", *AA)],
        good(adt("T1", "1"), adt("T2", "2")),
    ),
    Case("MSH-10 missing", framed(adt("")), [("AA", "", *AA)], good(adt(""))),
    Case(
        "MSH-9 missing",
        framed(header("K1", "")),
        [("AR", "K1", "MSH^1^9^1", "101", "hl7.no_type")],
        [("ERROR", "hl7.no_type", header("K1", ""))],
    ),
    Case("Latin-1 with MSH-18", framed(LATIN1), [("AA", "L1", *AA)], good(LATIN1)),
    Case("NUL byte", framed(NUL), [("AA", "N1", *AA)], good(NUL)),
    Case("byte order mark", framed(BOM), [("AA", "M1", *AA)], good(BOM)),
    Case("LF instead of CR", framed(LF), [("AA", "LF1", *AA)], good(LF)),
    Case("doubled start block", VT + framed(adt("V1")), [("AA", "V1", *AA)], good(adt("V1"))),
    Case(
        "line ends between frames",
        b"\r\n" + framed(adt("R1")) + b"\r\n",
        [("AA", "R1", *AA)],
        good(adt("R1")),
    ),
    Case(
        "no frame at all, then a framed one",
        adt("X1") + framed(adt("X2")),
        [("AR", "X1", "", "100", "mllp.unframed"), ("AA", "X2", *AA)],
        [("ERROR", "mllp.unframed", adt("X1").rstrip()), *good(adt("X2"))],
    ),
    Case(
        "text before MSH",
        framed(b"POST / HTTP/1.1\r" + adt("H1")),
        [("AR", "H1", *NO_HEADER)],
        [("ERROR", "hl7.no_header", b"POST / HTTP/1.1\r" + adt("H1"))],
    ),
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    running = EngineProcess(tmp_path_factory.mktemp("bad"), EMPTY.format(port=0, listener="", options=""))
    running.start()
    yield running
    running.terminate()
    assert running.faults == []


@pytest.fixture
def fresh(engine):
    """The running engine; `fresh.new()` gives the rows that came since."""
    before = max((row.id for row in engine.stored()), default=0)
    until(lambda: not engine.open())

    def new():
        until(lambda: not engine.open())
        return [row for row in engine.stored() if row.id > before]

    engine.new = new
    return engine


def proven_alive(client: Client, control_id: str) -> bytes:
    """A good message on this connection is accepted; gives its bytes."""
    raw = adt(control_id, "4711")
    assert verdict(client.send(raw)) == ("AA", control_id, "", "", "")
    return raw


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "_"))
@pytest.mark.parametrize("how", ["at_once", "byte_by_byte"])
def test_a_row_of_the_table(fresh, case, how):
    tail = f"{case.name}-{how}"
    sent = case.sent.replace(
        b"|2.5.1", f"|2.5.1^{how}".encode()
    )  # the same control ids, other senders' bytes
    sent = sent.replace(b"|EHR|", f"|EHR-{how}|".encode())
    rows = [
        (
            state,
            code,
            raw.replace(b"|2.5.1", f"|2.5.1^{how}".encode()).replace(b"|EHR|", f"|EHR-{how}|".encode()),
        )
        for state, code, raw in case.rows
    ]
    with fresh.connect() as client:
        if how == "at_once":
            client.write(sent)
        else:
            for at in range(len(sent)):
                client.write(sent[at : at + 1])
        answers = [verdict(client.answer()) for _ in case.answers]
        assert answers == case.answers
        raw = proven_alive(client, tail)
    found = [(row.state, row.code, row.raw) for row in fresh.new()]
    assert found == [*rows, ("TRANSFORMED", None, raw)]


def test_a_batch_is_answered_by_a_batch(fresh):
    with fresh.connect() as client:
        answer = client.send(BATCH)
        raw = proven_alive(client, "after-batch")
    assert [line[1:3] for line in fields(answer, b"MSA")] == [["AA", "B1"], ["AA", "B2"]]
    assert fields(answer, b"BHS")[0][11] == "B7", "BHS-12 names the batch that is answered"
    assert [line[1] for line in fields(answer, b"BTS") + fields(answer, b"FTS")] == ["2", "1"]
    found = [(row.state, row.raw) for row in fresh.new()]
    assert found == [
        ("FILTERED", BATCH),
        ("TRANSFORMED", adt("B1", "1")),
        ("TRANSFORMED", adt("B2", "2")),
        ("TRANSFORMED", raw),
    ]


def test_text_outside_the_messages_of_a_batch_is_kept_and_refused(fresh):
    with fresh.connect() as client:
        answer = client.send(JUNK_BATCH)
        raw = proven_alive(client, "after-junk")
    assert [line[1] for line in fields(answer, b"MSA")] == ["AA", "AR"]
    assert fields(answer, b"ERR")[0][5].startswith("batch.junk")
    kept = [(row.state, row.code, row.raw) for row in fresh.new()]
    assert kept == [
        ("FILTERED", None, JUNK_BATCH),
        ("TRANSFORMED", None, adt("J1")),
        ("ERROR", "batch.junk", b"lost text\r"),
        ("TRANSFORMED", None, raw),
    ]


@pytest.mark.parametrize("empty", [b"BHS|^~\\&|A|B\rBTS|0\r", b"FHS|^~\\&|A|B\r", b"FHS|^~\\&|A\rFTS|0\r"])
def test_a_batch_without_messages_is_answered_too(fresh, empty):
    with fresh.connect() as client:
        assert client.send(empty)[:3] == empty[:3]
        raw = proven_alive(client, f"after-empty-{len(empty)}")
    assert [row.raw for row in fresh.new()] == [empty, raw]


def test_the_same_bytes_get_the_stored_answer_and_no_second_row(fresh):
    raw, other = adt("D1"), adt("D1", name="Roe^Rick")
    first = fresh.send(raw)
    assert fresh.send(raw) == first
    assert verdict(fresh.send(other)) == ("AA", "D1", "", "", "")
    assert fresh.send(raw) == first, "both are known now"
    assert [(row.raw, row.flags) for row in fresh.new()] == [(raw, 0), (other, 1)]


def test_an_unfinished_message_sent_again_whole_is_accepted(fresh):
    """The end block was lost; the same bytes come again in a good frame: they are not what was refused."""
    raw = adt("W1")
    with fresh.connect() as client:
        client.write(VT + raw + framed(raw))
        assert [verdict(client.answer())[:2] for _ in range(2)] == [("AR", "W1"), ("AA", "W1")]
        assert verdict(client.send(raw))[:2] == ("AA", "W1"), "and now it is known"
    assert [(row.state, row.code, row.raw) for row in fresh.new()] == [
        ("ERROR", "mllp.unclosed", raw),
        ("TRANSFORMED", None, raw),
    ]


def test_the_rest_of_a_lost_connection_is_kept_but_not_accepted(fresh):
    raw = adt("Z1")
    with fresh.connect() as client:
        client.write(VT + raw[:60])
    until(lambda: len(fresh.new()) == 1)
    assert [(row.state, row.code, row.raw) for row in fresh.new()] == [("ERROR", "mllp.truncated", raw[:60])]
    with fresh.connect() as client:
        client.write(VT + raw[:60])
        client.socket.shutdown(socket.SHUT_WR)  # it still reads: so it is told
        assert verdict(client.answer())[4] == "mllp.truncated"
    assert verdict(fresh.send(raw))[:2] == ("AA", "Z1")
    assert fresh.new()[-1].raw == raw


def test_a_slow_sender_delays_nobody(fresh):
    slow, quick = adt("S1", "1"), adt("S2", "2")
    with fresh.connect() as client:
        client.write(VT + slow[:40])
        assert verdict(fresh.send(quick))[:2] == ("AA", "S2")
        client.write(slow[40:] + b"\x1c")
        client.write(b"\r")
        assert verdict(client.answer())[:2] == ("AA", "S1")
    assert [row.raw for row in fresh.new()] == [quick, slow]


def test_answers_keep_the_order_of_their_messages(fresh):
    """Many messages are sent without waiting; good and bad ones are answered in turn."""
    sent = [adt(f"P{n}") if n % 3 else b"no message %d" % n for n in range(60)]
    with fresh.connect() as client:
        client.write(b"".join(map(framed, sent)))
        answers = [verdict(client.answer())[:2] for _ in sent]
    assert answers == [("AA", f"P{n}") if n % 3 else ("AR", "") for n in range(60)]
    assert [row.raw for row in fresh.new()] == sent


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "_"))
def test_the_table_in_the_documentation_says_so(case):
    lines = (ROOT / "docs" / "guarantees.md").read_text().splitlines()
    (row,) = [line for line in lines if line.startswith(f"| {case.name} |")]
    for code, _, _, condition, ours in case.answers:
        assert f"{code} {condition}".strip() in row and ours in row
    assert ("ERROR" in row) == any(state == "ERROR" for state, _, _ in case.rows)
