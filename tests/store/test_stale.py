"""Which messages an act would put over newer data."""

import pytest
from store_bench import START

from engine.store import operate, stale
from engine.store.stale import Order, Stale


@pytest.fixture(params=[True, False], ids=["order kept", "order unknown"])
def bench(bench, request):
    if request.param:
        channels = {"adt": Order("PID-3.1", {"odoo": "0"}), "siu": Order("PID-3.1", {"odoo": "0"})}
        channels["lab"] = Order("PID-3.1", {"odoo": "1"})
        bench.call(stale.keep_order, channels)
    bench.known = request.param
    return bench


def key(bench, patient):
    return bench.keys.blind(f"key:{patient}")


def arrive(bench, patient, state="SENT", channel="adt", also=(), **fields):
    """A message of this patient with one delivery in this state; gives its id."""
    number = bench.receive(
        patient.encode(), at=START, channel=channel, mrn=patient, ordering_key=key(bench, patient),
        also_keys=tuple(key(bench, one) for one in also),
    ).id  # fmt: skip
    if state in ("RECEIVED", "FILTERED", "MESSAGE ERROR"):
        if state != "RECEIVED":
            bench.route(number, state=state.rpartition(" ")[2], reason="filtered")
        return number
    bench.route(number, "odoo")
    if state != "QUEUED":
        bench.deliver(number, "odoo", state, **fields)
    return number


def asked(bench, verb, *ids, **only):
    return stale.stale(bench.reader, verb, ids, **only)


@pytest.mark.parametrize("verb", ["replay", "resend"])
def test_a_later_message_of_the_same_key_that_was_delivered(bench, verb):
    old, other = arrive(bench, "1001", "ERROR"), arrive(bench, "2002", "ERROR")
    arrive(bench, "1001")
    newest = arrive(bench, "1001")
    assert asked(bench, verb, old, other) == [Stale(old, "odoo", newest)]
    assert asked(bench, verb, newest) == []
    assert asked(bench, "discard", old) == []


@pytest.mark.parametrize("verb", ["replay", "resend"])
@pytest.mark.parametrize("state", ["FILTERED", "ERROR", "MESSAGE ERROR", "DISCARDED", "RECEIVED"])
def test_what_was_not_delivered_does_not_count(bench, verb, state):
    old = arrive(bench, "1001", "ERROR")
    arrive(bench, "1001", state)
    assert asked(bench, verb, old) == []


def test_what_waits_counts_for_all_that_goes_behind_it(bench):
    failed, sent = arrive(bench, "1001", "ERROR"), arrive(bench, "2002", "SENT")
    behind, later = arrive(bench, "1001", "QUEUED"), arrive(bench, "2002", "QUEUED")
    assert asked(bench, "resend", failed) == [], "it goes on from its place, before what waits for it"
    assert asked(bench, "replay", failed) == [Stale(failed, "odoo", behind)]
    assert asked(bench, "resend", sent) == [Stale(sent, "odoo", later)]


def test_merges_belong_to_every_patient_that_they_name(bench):
    survivor, retired = arrive(bench, "1", "ERROR"), arrive(bench, "2", "ERROR")
    merge = arrive(bench, "1", also=["2"])
    assert asked(bench, "replay", survivor, retired) == [
        Stale(survivor, "odoo", merge), Stale(retired, "odoo", merge),
    ]  # fmt: skip
    after = arrive(bench, "2")
    assert asked(bench, "resend", merge) == [Stale(merge, "odoo", after)]


def test_a_replay_is_as_old_as_what_it_repeats(bench):
    first, second = arrive(bench, "1001"), arrive(bench, "1001")
    ((_, again, _),) = bench.call(operate.replay, [first], "anna")
    bench.route(again, "odoo")
    bench.deliver(again)
    assert asked(bench, "replay", second) == [], "what came later holds what was received earlier"
    assert asked(bench, "replay", again) == [Stale(again, "odoo", second)]
    ((_, latest, _),) = bench.call(operate.replay, [second], "anna")
    bench.route(latest, "odoo")
    bench.deliver(latest)
    assert asked(bench, "resend", first) == [Stale(first, "odoo", latest)]
    assert asked(bench, "resend", second) == [], "the same data"


def test_what_is_done_again_after_it_does_not_count(bench):
    one, two, three = (arrive(bench, "1001") for _ in range(3))
    for verb in ("replay", "resend"):
        assert asked(bench, verb, one, two, three) == []
        assert asked(bench, verb, one, three) == [Stale(one, "odoo", two)]


def test_only_within_an_order_scope(bench):
    old = arrive(bench, "1001", "ERROR")
    arrive(bench, "1001", channel="lab")
    assert asked(bench, "resend", old) == []
    joined = arrive(bench, "1001", channel="siu")
    assert asked(bench, "resend", old) == ([Stale(old, "odoo", joined)] if bench.known else [])


def test_the_filters_of_the_act_hold_here_too(bench):
    number = bench.receive(b"x", mrn="1001", ordering_key=key(bench, "1001")).id
    bench.route(number, "odoo", "file")
    bench.deliver(number, "odoo", "ERROR", error_code="odoo.value", error_place="res.partner.name")
    bench.deliver(number, "file")
    later = bench.receive(b"y", mrn="1001", ordering_key=key(bench, "1001")).id
    bench.route(later, "file")
    bench.deliver(later, "file")
    assert asked(bench, "resend", number) == [Stale(number, "file", later)]
    assert asked(bench, "resend", number, code="odoo.value") == []
    assert asked(bench, "resend", number, destination="odoo") == []


def test_without_an_ordering_key_nothing_is_stale(bench):
    one, two = bench.receive(b"one").id, bench.receive(b"two").id
    for number in (one, two):
        bench.route(number, "odoo")
        bench.deliver(number)
    assert asked(bench, "replay", one) == []


def test_another_ordering_key_than_the_patient_is_found_too(bench):
    if bench.known:
        bench.call(stale.keep_order, {"adt": Order("PV1-19", {"odoo": "0"})})
    visit = key(bench, "V1")
    ids = [bench.receive(b"%d" % n, mrn=f"P{n}", ordering_key=visit).id for n in range(2)]
    for number in ids:
        bench.route(number, "odoo")
        bench.deliver(number)
    assert asked(bench, "replay", ids[0]) == [Stale(ids[0], "odoo", ids[1])]


def test_the_usual_question_is_answered_by_indexes(bench):
    for sql, values, index in (
        (stale._BY_MRN, (1, "[1]"), "message_mrn"),
        (stale._MERGES, (1,), "message_merge"),
    ):
        plan = str(bench.reader.rows(f"EXPLAIN QUERY PLAN {sql}", values))
        assert index in plan
        assert "SCAN m" not in plan or f"SCAN m USING INDEX {index}" in plan
