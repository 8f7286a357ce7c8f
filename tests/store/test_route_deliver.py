import pytest
from store_bench import Bench

from engine.store import deliveries, messages
from engine.store.search import backlog, counts, show


def test_c2_filtered_keeps_the_reason(bench):
    new = bench.receive()
    assert bench.route(new.id, state="FILTERED", reason="message_type")
    shown = show(bench.reader, new.id)
    assert (shown["state"], shown["reason"], shown["deliveries"]) == ("FILTERED", "message_type", [])


def test_c2_error_keeps_code_text_and_place(bench):
    new = bench.receive()
    bench.route(
        new.id, state="ERROR", error_code="step.failed", error_text="no such table", error_place="t[2]"
    )
    shown = show(bench.reader, new.id)
    assert (shown["error_code"], shown["error_place"]) == ("step.failed", "t[2]")
    assert shown["events"][0]["kind"] == "error"


def test_c2_happens_once(bench):
    new = bench.receive()
    assert bench.route(new.id, "odoo")
    assert not bench.route(new.id, "odoo", "other")
    assert not bench.route(99, "odoo")
    assert [d["destination"] for d in show(bench.reader, new.id)["deliveries"]] == ["odoo"]


def test_open_deliveries_come_in_order_of_receipt_with_payload_and_keys(bench):
    for n in range(5):
        new = bench.receive(b"m%d" % n, ordering_key=n, also_keys=(10 + n,) if n == 3 else ())
        bench.route(new.id, "odoo", "file", payload=b"payload %d" % n)
    found = deliveries.open_deliveries(bench.reader, "adt", "file", after_id=2, limit=2)
    assert [(d.message_id, d.payload, d.ordering_keys) for d in found] == [
        (3, b"payload 2", (2,)),
        (4, b"payload 3", (3, 13)),
    ]
    assert deliveries.payload(bench.reader, 1, "odoo") == b"payload 0"
    assert deliveries.payload(bench.reader, 1, "nowhere") is None


def test_c3_sent_keeps_record_request_and_response(bench):
    new = bench.receive()
    bench.route(new.id, "odoo")
    assert bench.deliver(new.id, record="res.partner,12", request=b"asked", response=b"answered")
    assert deliveries.exchange(bench.reader, new.id, "odoo") == (b"asked", b"answered")
    assert show(bench.reader, new.id)["deliveries"][0]["record"] == "res.partner,12"
    assert deliveries.open_deliveries(bench.reader, "adt", "odoo") == []


def test_c3_retry_keeps_when_and_why_and_sends_the_same_payload(bench):
    new = bench.receive()
    bench.route(new.id, "odoo", payload=b"payload")
    bench.deliver(new.id, state="QUEUED", attempts=2, next_at=77, error_code="net.refused", request=b"r")
    (again,) = deliveries.open_deliveries(bench.reader, "adt", "odoo")
    assert (again.attempts, again.next_at, again.payload) == (2, 77, b"payload")
    assert show(bench.reader, new.id)["events"][0]["kind"] == "retry"
    assert bench.deliver(new.id)


@pytest.mark.parametrize("state", ["SENT", "ERROR", "DISCARDED"])
def test_c3_changes_only_what_is_open(bench, state):
    new = bench.receive()
    bench.route(new.id, "odoo")
    assert bench.deliver(new.id, state=state, request=b"first")
    assert not bench.deliver(new.id, state="SENT", request=b"second")
    assert show(bench.reader, new.id)["deliveries"][0]["state"] == state
    assert deliveries.exchange(bench.reader, new.id, "odoo")[0] == b"first"


def test_totals_and_backlog_agree_with_the_rows(bench):
    for n in range(4):
        bench.route(bench.receive(b"%d" % n).id, "odoo")
    bench.deliver(1)
    bench.deliver(2, state="ERROR", error_code="odoo.access")
    bench.receive(b"new")
    assert backlog(bench.reader) == {"adt": {"RECEIVED": 1, "QUEUED/odoo": 2, "ERROR/odoo": 1}}
    assert counts(bench.reader) == {
        "adt": {"received": 5, "transformed": 4, "queued/odoo": 4, "sent/odoo": 1, "error/odoo": 1}
    }


# What a restart finds after a kill, built by hand: DESIGN, one message.


def reopened(bench):
    bench.store.close()
    return Bench(bench.folder)


def test_killed_before_c1_nothing_is_found(bench):
    again = reopened(bench)
    assert messages.unrouted(again.reader, "adt") == []
    again.store.close()


def test_killed_after_c1_the_message_is_found_once_and_a_resend_makes_no_second(bench):
    bench.receive(b"raw", control_id="1", ack=b"ACK")
    again = reopened(bench)
    assert [(m.id, m.raw, m.attempts) for m in messages.unrouted(again.reader, "adt")] == [(1, b"raw", 0)]
    assert again.receive(b"raw", control_id="1").ack == b"ACK"
    again.store.close()


def test_killed_in_the_steps_the_starts_are_counted_until_poison(bench):
    bench.receive(b"raw")
    for attempts in (1, 2):
        bench = reopened(bench)
        bench.call(messages.mark_attempt, 1, attempts)
        assert messages.unrouted(bench.reader, "adt")[0].attempts == attempts
    bench.route(1, state="ERROR", error_code="poison", error_text="killed the engine twice")
    bench.call(messages.mark_attempt, 1, 3)
    assert show(bench.reader, 1)["attempts"] == 2
    bench.store.close()


def test_killed_before_c3_the_delivery_is_found_unchanged(bench):
    bench.route(bench.receive().id, "odoo", payload=b"payload")
    again = reopened(bench)
    (found,) = deliveries.open_deliveries(again.reader, "adt", "odoo")
    assert (found.payload, found.attempts) == (b"payload", 0)
    again.store.close()
