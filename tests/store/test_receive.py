from store_bench import START

from engine.store import messages
from engine.store.messages import Received
from engine.store.search import counts, show

SECOND = 1_000_000


def test_c1_stores_the_message_byte_for_byte_with_its_answer(bench):
    raw = bytes(range(256))
    new = bench.receive(raw, control_id="1", ack=b"ACK", ack_code="AA", peer="10.0.0.1")
    assert new == Received(1, 0, b"ACK", "AA", False, "RECEIVED")
    assert messages.raw(bench.reader, 1) == raw
    assert messages.ack_of(bench.reader, 1) == (b"ACK", "AA")
    assert messages.raw(bench.reader, 2) is None


def test_the_same_bytes_again_get_the_stored_answer_and_no_row(bench):
    bench.receive(b"same", control_id="1", ack=b"first answer", ack_code="AA")
    again = bench.receive(b"same", control_id="1", ack=b"second answer", ack_code="AA", at=START + SECOND)
    assert again == Received(1, 1, b"first answer", "AA", False, "RECEIVED")
    assert bench.reader.rows("SELECT count(*) FROM message") == [(1,)]
    assert counts(bench.reader) == {"adt": {"received": 1, "duplicate": 1}}


def test_a_duplicate_whose_answer_is_not_known_yet_says_so_and_gets_the_late_one(bench):
    bench.receive(b"same", control_id="1")
    assert bench.receive(b"same", control_id="1").ack is None
    bench.route(1, "odoo", ack=b"late", ack_code="AE")
    again = bench.receive(b"same", control_id="1")
    assert (again.duplicate_of, again.ack, again.ack_code, again.state) == (1, b"late", "AE", "TRANSFORMED")


def test_two_identical_ones_in_one_group_make_one_row(bench):
    def both(tx):
        new = messages.NewMessage("adt", b"same", START, control_id="1", sender="A|B", ack=b"ACK")
        return [messages.receive(tx, new), messages.receive(tx, new)]

    first, second = bench.writer.call(both)
    assert (first.duplicate_of, second.duplicate_of, second.ack) == (0, 1, b"ACK")


def test_another_sender_channel_or_an_empty_control_id_never_matches(bench):
    bench.receive(b"same", control_id="1")
    assert bench.receive(b"same", control_id="1", sender="X|B").duplicate_of == 0
    assert bench.receive(b"same", control_id="1", channel="siu").duplicate_of == 0
    assert bench.receive(b"same", control_id="").duplicate_of == 0
    assert bench.receive(b"same", control_id="").duplicate_of == 0


def test_a_control_id_is_remembered_for_the_window(bench):
    bench.receive(b"same", control_id="1")
    inside = bench.receive(b"same", control_id="1", at=START + SECOND, policy={"window": SECOND})
    outside = bench.receive(b"same", control_id="1", at=START + SECOND + 1, policy={"window": SECOND})
    assert (inside.duplicate_of, outside.duplicate_of) == (1, 0)


def test_other_bytes_under_a_known_control_id_are_flagged(bench):
    bench.receive(b"one", control_id="1", ack=b"1")
    other = bench.receive(b"two", control_id="1", ack=b"2", ack_code="AA")
    assert (other.id, other.differs, other.ack, other.state) == (2, True, b"2", "RECEIVED")
    assert show(bench.reader, 2)["flags"] == messages.ID_REUSED
    assert bench.receive(b"one", control_id="1").duplicate_of == 1
    assert bench.receive(b"two", control_id="1").duplicate_of == 2


def test_other_bytes_are_rejected_when_the_policy_says_so(bench):
    bench.receive(b"one", control_id="1", ack=b"1")
    policy = {"on_reuse": "reject", "reuse_ack": b"no", "reuse_ack_code": "AR"}
    other = bench.receive(b"two", control_id="1", ack=b"2", ack_code="AA", policy=policy)
    assert (other.differs, other.ack, other.ack_code, other.state) == (True, b"no", "AR", "ERROR")
    shown = show(bench.reader, other.id)
    assert (shown["error_code"], shown["error_place"]) == (messages.REUSED_CODE, "MSH-10")
    assert shown["answer"] == b"no"
    assert [event["kind"] for event in shown["events"]] == ["error"]
    assert messages.unrouted(bench.reader, "adt")[-1].id == 1


def test_bytes_that_cannot_be_read_arrive_as_error(bench):
    new = bench.receive(b"\x00junk", state="ERROR", error_code="hl7.no_msh", error_text="no MSH", ack=b"AR")
    assert new.state == "ERROR"
    assert messages.unrouted(bench.reader, "adt") == []
    assert messages.raw(bench.reader, new.id) == b"\x00junk"
    assert not bench.route(new.id, "odoo"), "an ERROR is not routed"


def test_broken_text_is_no_reason_to_refuse_a_message(bench):
    broken = "\udcff\x00é"
    fields = {"control_id": broken, "sender": broken, "type": broken, "mrn": broken, "peer": broken}
    new = bench.receive(b"\xff\x00", **fields)
    assert bench.receive(b"\xff\x00", **fields).duplicate_of == new.id
    assert bench.route(new.id, "odoo", reason=broken, error_text=broken, error_place=broken)
    assert bench.deliver(new.id, record=broken, note=broken, error_text=broken)


def test_ids_are_never_used_again(bench):
    bench.receive(b"one")
    bench.call(lambda tx: tx.execute("DELETE FROM message"))
    assert bench.receive(b"two").id == 2


def test_merge_keys_come_back(bench):
    bench.receive(b"merge", ordering_key=-5, also_keys=(2**63 - 1, -(2**63)))
    assert messages.unrouted(bench.reader, "adt")[0].ordering_keys == (-5, 2**63 - 1, -(2**63))
