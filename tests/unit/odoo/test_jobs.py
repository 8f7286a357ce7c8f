"""Which operations run next: every delivery ends once, in order, and nothing waits for ever."""

import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine.odoo.jobs
from engine.model import Delivery, Operation
from engine.odoo.errors import OdooError
from engine.odoo.jobs import LOADED, Job, Schedule, makes, touched
from engine.states import Result

operations = st.builds(
    Operation,
    op=st.sampled_from(["upsert", "write", "archive", "call", "merge"]),
    model=st.sampled_from(["a", "b"]),
    key=st.sampled_from("klmn"),
    values=st.dictionaries(st.just("f"), st.sampled_from("xyz")),
    retired=st.lists(st.sampled_from("klmn"), max_size=2),
)
batches = st.lists(st.lists(operations, max_size=4), min_size=1, max_size=8)


def job(number, made):
    return Job(Delivery(number, "d", (number,), msgspec.json.encode(made)))


@given(batches, st.data())
def test_a_batch_ends_in_order(batch, data):
    jobs = [job(number, made) for number, made in enumerate(batch)]
    schedule = Schedule(jobs)
    ran: list[tuple[int, int]] = []
    while any(each.active for each in jobs):
        group = schedule.select()
        assert group, "nobody waits for a record, so somebody is free"
        assert len({(each.head.model, each.head.op in LOADED or each.head.op) for each in group}) == 1
        seen = {}
        for each in group:
            for key in touched(each.head):
                assert seen.setdefault(key, each.head) == each.head, "one wave, one value for a key"
        for each in list(group):
            number = each.delivery.message_id
            ran.append((number, each.position))
            if data.draw(st.booleans()) or data.draw(st.booleans()):
                each.done(each.head.model, 1, {})
            else:
                each.fail(OdooError("no", result=Result.PERMANENT))
    assert all(each.outcome is not None for each in jobs)
    for number, each in enumerate(jobs):
        mine = [position for owner, position in ran if owner == number]
        assert mine == list(range(len(mine)))
        assert (each.outcome.result == Result.SENT) == (each.position == len(each.operations))
    order = {step: index for index, step in enumerate(ran)}
    for early, later in ((a, b) for a in ran for b in ran if a[0] < b[0]):
        one, two = batch[early[0]][early[1]], batch[later[0]][later[1]]
        if set(touched(one)) & set(touched(two)) and one != two:
            assert order[early] < order[later], "operations on one key keep the order of their deliveries"


def test_a_payload_that_is_none_is_an_outcome():
    for payload in (b"", b"{}", b"[1]", b'[{"op": "drop"}]', b"\xff"):
        broken = Job(Delivery(7, "d", (), payload))
        assert broken.outcome is not None
        assert (broken.outcome.message_id, broken.outcome.code) == (7, "odoo.payload")


def test_nothing_to_do_is_sent():
    assert job(1, []).outcome.result == Result.SENT


def asked_anew(jobs):
    """What `Schedule.select` must give: by looking at all that the jobs have still to do."""
    active = [each for each in jobs if each.active]
    claimed, groups = {}, {}
    for each in active:
        head, mine = each.head, each.operations[each.position :]
        free = all(key not in claimed or claimed[key] == head for key in touched(head))
        others = [one for other in active if other is not each for one in other.operations[other.position :]]
        waits = each.waiting and any(each.waiting[0] in makes(one) for one in others)
        if free and not waits:
            groups.setdefault(("load" if head.op in LOADED else head.op, head.model), []).append(each)
        for one in mine:
            for key in touched(one):
                claimed[key] = one if one is head and claimed.get(key, one) == one else None
    return max(groups.values(), key=len, default=[])


@settings(deadline=None)
@given(batches, st.data())
def test_what_is_counted_off_is_what_is_still_to_do(batch, data):
    """Through failures and waits, up to the end of everything or a deadlock."""
    jobs = [job(number, made) for number, made in enumerate(batch)]
    schedule = Schedule(jobs)
    for _ in range(100):
        group = schedule.select()
        assert group == asked_anew(jobs)
        if not group:
            stuck = next((each for each in jobs if each.active and each.waiting), None)
            if stuck is None:
                break
            stuck.fail(OdooError("no", result=Result.RETRY))
        for each in group:
            act = data.draw(st.sampled_from(["done", "fail", "wait", "done"]))
            if act == "done":
                each.done(each.head.model, 1, {})
            elif act == "fail" or each.waiting:
                each.fail(OdooError("no", result=Result.PERMANENT))
            else:
                each.waiting = (each.head.model, data.draw(st.sampled_from("klmn"))), "f"
    assert not any(each.active for each in jobs)


def steps(batch):
    """The lines of engine.odoo.jobs that run until a batch is through; the last delivery waits for the first one."""
    jobs = [job(number, made) for number, made in enumerate(batch)]
    count = 0

    def line(frame, event, argument):
        nonlocal count
        count += event == "line"
        return line

    def call(frame, event, argument):
        return line if frame.f_code.co_filename == engine.odoo.jobs.__file__ else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        schedule = Schedule(jobs)
        jobs[-1].waiting = ("a", batch[0][-1].key), "f"
        while group := schedule.select():
            for each in group:
                each.done(each.head.model, each.position, {})
    finally:
        sys.settrace(before)
    assert not any(each.active for each in jobs)
    return count


@pytest.mark.parametrize("deliveries", [1, 3])
def test_the_work_grows_with_the_operations_and_not_with_their_square(deliveries):
    def batch(size):
        made = [
            [Operation("upsert", "a", f"{number}/{n}") for n in range(size)] for number in range(deliveries)
        ]
        return [*made, [Operation("upsert", "b", "waits")]]

    few, many = steps(batch(100)), steps(batch(400))
    assert few * 3 < many < few * 5
