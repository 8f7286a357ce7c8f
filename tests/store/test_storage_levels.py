import pytest
from store_bench import START, Bench

from engine.store import deliveries, maintenance, messages, operate
from engine.store.bodies import Kind
from engine.store.levels import set_levels
from engine.store.search import show

RAW, ACK = b"MSH|the message", b"MSA|AA|the ack"


@pytest.fixture(params=["full", "no-content", "metadata"])
def level(request):
    return request.param


@pytest.fixture
def levelled(bench, level):
    bench.call(set_levels, {"adt": level, "other": "full"})
    bench.level = level
    return bench


def receive(bench, control_id="C1", **fields):
    return bench.receive(RAW, control_id=control_id, ack=ACK, ack_code="AA", **fields)


def kinds(bench, message_id):
    rows = bench.reader.rows("SELECT id & 15 FROM body WHERE id >> 12 = ? ORDER BY id", (message_id,))
    return [Kind(row[0]).name for row in rows]


FINISHED = {
    "full": ["RAW", "PAYLOAD", "EXCHANGE", "PAYLOAD", "EXCHANGE"],
    "no-content": ["ACK"],
    "metadata": [],
}


def test_content_goes_with_the_commit_of_the_last_delivery_and_not_before(levelled):
    one = receive(levelled).id
    assert kinds(levelled, one) == ["RAW"], "it is not routed yet"
    levelled.route(one, "odoo", "file")
    assert kinds(levelled, one) == ["RAW", "PAYLOAD", "PAYLOAD"]
    levelled.deliver(one, "odoo", request=b"q", response=b"a")
    levelled.deliver(one, "file", state="QUEUED", error_code="down", error_text="refused")
    assert messages.raw(levelled.reader, one) == RAW
    assert deliveries.payload(levelled.reader, one, "file") == b'{"a":1}', "it is still to be sent"
    levelled.deliver(one, "file", request=b"q", response=b"a")
    assert kinds(levelled, one) == FINISHED[levelled.level]
    shown = show(levelled.reader, one)
    assert (shown["state"], [d["state"] for d in shown["deliveries"]], shown["ack"]) == (
        "TRANSFORMED", ["SENT", "SENT"], "AA",
    )  # fmt: skip
    assert maintenance.check(levelled.reader) == []


def test_a_filtered_message_and_one_without_destinations_are_finished(levelled):
    filtered, empty = receive(levelled).id, receive(levelled, "C2").id
    levelled.route(filtered, state="FILTERED", reason="not ours")
    levelled.route(empty)
    left = {"full": ["RAW"], "no-content": ["ACK"], "metadata": []}[levelled.level]
    assert kinds(levelled, filtered) == kinds(levelled, empty) == left
    assert show(levelled.reader, filtered)["reason"] == (None if levelled.level == "metadata" else "not ours")


def test_errors_keep_their_content_until_somebody_decides(levelled):
    failed, given_up = receive(levelled).id, receive(levelled, "C2").id
    levelled.route(failed, state="ERROR", error_code="step", error_text="no such code")
    levelled.route(given_up, "odoo")
    levelled.deliver(given_up, state="ERROR", error_code="odoo.required", error_text="name is required")
    assert kinds(levelled, failed) == ["RAW"]
    assert kinds(levelled, given_up) == ["RAW", "PAYLOAD"]
    assert show(levelled.reader, given_up)["deliveries"][0]["error_text"] == "name is required"
    assert levelled.call(operate.resend, [given_up], "anna") == [(given_up, "odoo")]
    levelled.deliver(given_up, state="ERROR", error_code="odoo.required", error_text="name is required")
    levelled.call(operate.discard, [given_up], "anna", note="by hand")
    left = {"full": ["RAW", "PAYLOAD"], "no-content": ["ACK"], "metadata": []}[levelled.level]
    assert kinds(levelled, given_up) == left
    (delivery,) = show(levelled.reader, given_up)["deliveries"]
    assert (delivery["state"], delivery["error_code"]) == ("DISCARDED", "odoo.required")
    texts = (delivery["error_text"], delivery["note"])
    assert texts == ((None, None) if levelled.level == "metadata" else ("name is required", "by hand"))


def test_a_message_that_is_sent_again_is_recognised_and_its_answer_is_known(levelled):
    one = receive(levelled).id
    levelled.route(one, "odoo")
    levelled.deliver(one)
    again = receive(levelled)
    assert (again.duplicate_of, again.ack_code) == (one, "AA")
    assert again.ack == (None if levelled.level == "metadata" else ACK)
    assert levelled.receive(b"other bytes", control_id="C1").differs


def test_without_content_nothing_is_replayed_or_resent_and_it_is_said_which(levelled):
    one = receive(levelled).id
    levelled.route(one, "odoo")
    levelled.deliver(one)
    kept = levelled.level == "full"
    assert levelled.call(operate.contentless, [one]) == ([] if kept else [one])
    assert levelled.call(operate.resend, [one], "anna") == ([(one, "odoo")] if kept else [])
    assert bool(levelled.call(operate.replay, [one], "anna")) is kept


def test_a_late_answer_obeys_the_level(levelled):
    one = levelled.receive(RAW, control_id="C1").id
    levelled.route(one)
    levelled.call(messages.answer_with, one, ACK, "AA")
    again = receive(levelled)
    assert (again.ack_code, again.ack) == ("AA", None if levelled.level == "metadata" else ACK)


def test_other_channels_keep_theirs(levelled):
    one = receive(levelled, channel="other").id
    levelled.route(one)
    assert kinds(levelled, one) == ["RAW"]


def test_the_next_process_obeys_the_level_without_a_configuration(bench, folder):
    bench.call(set_levels, {"adt": "no-content"})
    one = bench.receive(RAW, control_id="C1", ack=ACK, ack_code="AA", at=START).id
    bench.route(one, "odoo")
    bench.deliver(one, state="ERROR", error_code="x")
    bench.store.close()
    again = Bench(folder)
    again.call(operate.discard, [one], "anna")
    assert kinds(again, one) == ["ACK"]
    again.store.close()
