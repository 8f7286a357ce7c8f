"""Which operations run next: every delivery ends once, in order, and nothing waits for ever."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from engine.model import Delivery, Operation
from engine.odoo.errors import OdooError
from engine.odoo.jobs import LOADED, Job, select, touched
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
    ran: list[tuple[int, int]] = []
    while any(each.active for each in jobs):
        group = select(jobs)
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
