"""`split`: the parts of a message come to be exactly once, in order, whatever crashes."""

import pytest
from desk import Desk, scripted

from engine.errors import StepTimeout

CONFIG = """
channels:
  adt:
    format: {format}
    listener: {{mllp: {{port: 2575}}}}
    transformers:
      - split: {each}
    destinations:
      out: {{scripted: {{name: out}}}}
"""
RAW = (
    b"MSH|^~\\&|LAB|RGH|ISTHMUS|CLINIC|20261122080000||ORU^R01|C1|P|2.5.1\rPID|1||P1^^^RGH^MR\r"
    b"OBR|1||A\rOBX|1|NM|a\rOBR|2||B\rOBX|1|NM|b\rOBX|2|NM|c\rOBR|3||C\r"
)


@pytest.fixture
def desk(tmp_path):
    with scripted() as destinations:
        desk = Desk(tmp_path, CONFIG.format(format="hl7v2", each="OBR"))
        desk.out = destinations["out"]
        yield desk
        desk.stop()


def receive(desk, raw):
    from desk import Sent

    incoming = Sent(raw, desk.now())
    desk.engine.channels["adt"].receive(incoming)
    return incoming


def stored(desk):
    from engine.store import messages

    return [
        (*row[1:], messages.raw(desk.engine.store.reader, row[0]).decode().split("\r")[2:-1])
        for row in desk.rows("SELECT id, control_id, state, parent_id FROM message ORDER BY id")
    ]


WHOLE = [
    ("C1", "FILTERED", None, ["OBR|1||A", "OBX|1|NM|a", "OBR|2||B", "OBX|1|NM|b", "OBX|2|NM|c", "OBR|3||C"]),
    ("C1-1", "TRANSFORMED", 1, ["OBR|1||A", "OBX|1|NM|a"]),
    ("C1-2", "TRANSFORMED", 1, ["OBR|2||B", "OBX|1|NM|b", "OBX|2|NM|c"]),
    ("C1-3", "TRANSFORMED", 1, ["OBR|3||C"]),
]


def test_groups_become_messages(desk):
    answer = receive(desk, RAW)
    desk.settle()
    assert b"MSA|AA|C1" in answer.answers[0]
    assert stored(desk) == WHOLE
    assert desk.rows("SELECT DISTINCT ordering_key <> 0, also_keys FROM message") == [(1, None)]
    assert desk.rows("SELECT count(DISTINCT ordering_key) FROM message") == [(1,)]
    assert desk.out.effects == ["C1-1", "C1-2", "C1-3"]
    assert "split into 3" in desk.rows("SELECT reason FROM message WHERE id = 1")[0][0]
    assert desk.open() == {"adt": 0}
    receive(desk, RAW)  # sent again: answered, not split again
    receive(desk, RAW.replace(b"C1", b"C2").partition(b"OBR|2")[0])  # of one group: goes on itself
    desk.settle()
    assert [row[0] for row in stored(desk)] == ["C1", "C1-1", "C1-2", "C1-3", "C2"]
    assert desk.out.effects[3:] == ["C2"]


def test_a_crash_at_any_moment_makes_no_part_twice_and_loses_none(tmp_path):
    for turns in range(14):
        with scripted() as destinations:
            folder = tmp_path / str(turns)
            folder.mkdir()
            desk = Desk(folder, CONFIG.format(format="hl7v2", each="OBR"))
            receive(desk, RAW)
            for _ in range(turns):
                desk.reactor.advance(0)
                desk.reactor.run_handed(wait=desk.engine.writer._committing is not None)
            desk.crash()
            receive(desk, RAW)
            desk.settle()
            assert [(row[0], row[1]) for row in stored(desk)] == [row[:2] for row in WHOLE], turns
            assert list(dict.fromkeys(destinations["out"].effects)) == ["C1-1", "C1-2", "C1-3"]
            assert desk.open() == {"adt": 0}
            desk.stop()


def test_parts_of_other_formats_have_keys_of_their_own(tmp_path):
    with scripted():
        desk = Desk(tmp_path, CONFIG.format(format="{delimited: {rows: file, mrn: mrn}}", each="row"))
        receive(desk, b"mrn,name\n1,A\n2,B\n")
        desk.settle()
        rows = desk.rows("SELECT ordering_key, parent_id, size FROM message ORDER BY id")
        assert len(rows) == 3 and len({row[0] for row in rows}) == 2 and rows[0][0] == rows[1][0]
        desk.stop()


def test_a_replay_is_split_again(desk):
    receive(desk, RAW)
    desk.settle()
    desk.act("replay", "C1")
    assert [row[2] for row in stored(desk)] == [None, 1, 1, 1, 1, 5, 5, 5]
    assert desk.out.effects == ["C1-1", "C1-2", "C1-3"] * 2


@pytest.mark.parametrize("error", [StepTimeout, MemoryError, ValueError])
def test_parts_that_cannot_be_read_are_an_error_of_the_message_and_hold_up_nobody(desk, error):
    form = desk.engine.channels["adt"].router.pipelines["adt"].format
    identify = form.identify

    def fails(raw, header, path):
        if header.control_id.startswith("C1") and raw.count(b"OBR") == 1:
            raise error
        return identify(raw, header, path)

    form.identify = fails
    receive(desk, RAW)
    receive(desk, RAW.replace(b"|C1|", b"|C2|"))
    desk.settle()
    assert desk.rows("SELECT control_id, state FROM message WHERE parent_id IS NULL") == [
        ("C1", "ERROR"),
        ("C2", "FILTERED"),
    ]
    assert desk.out.effects == ["C2-1", "C2-2", "C2-3"]
