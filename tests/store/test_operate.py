import pytest
from store_bench import START

from engine.store import commands, deliveries, messages, operate
from engine.store.causes import error_groups
from engine.store.search import find, show


def ids(rows):
    return [row.id for row in rows]


@pytest.fixture
def filled(bench):
    for n in range(1, 7):
        bench.receive(
            b"m%d" % n, at=START + n, control_id=f"C{n}", mrn=f"MRN{n % 2}", visit=f"V{n}",
            channel="adt" if n < 5 else "siu", type="ADT^A01" if n % 2 else "ADT^A08",
        )  # fmt: skip
    for n in (1, 2, 3):
        bench.route(n, "odoo", "file")
    bench.route(4, state="ERROR", error_code="step.table", error_place="sex")
    bench.deliver(1, "odoo")
    bench.deliver(2, "odoo", state="ERROR", error_code="odoo.required", error_place="name")
    bench.deliver(3, "odoo", state="ERROR", error_code="odoo.required", error_place="name")
    return bench


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [6, 5, 4, 3, 2, 1]),
        ({"ids": [2, 5, 99]}, [5, 2]),
        ({"ids": []}, []),
        ({"channel": "siu"}, [6, 5]),
        ({"state": "RECEIVED"}, [6, 5]),
        ({"state": "TRANSFORMED", "limit": 2}, [3, 2]),
        ({"after": 3}, [2, 1]),
        ({"since": START + 2, "until": START + 4}, [3, 2]),
        ({"control_id": "C4"}, [4]),
        ({"control_id": ""}, []),
        ({"mrn": "MRN1"}, [5, 3, 1]),
        ({"mrn": "MRN"}, []),
        ({"visit": "V6", "mrn": "MRN0"}, [6]),
        ({"type": "ADT"}, [6, 5, 4, 3, 2, 1]),
        ({"type": "AD"}, []),
        ({"type": "ADT^A08"}, [6, 4, 2]),
        ({"delivery_state": "QUEUED"}, [3, 2, 1]),
        ({"delivery_state": "QUEUED", "destination": "odoo"}, []),
        ({"delivery_state": "SENT"}, [1]),
        ({"error_code": "odoo.required"}, [3, 2]),
        ({"error_code": "odoo.required", "destination": "file"}, []),
        ({"error_code": "step.table"}, [4]),
        ({"error_code": "step.table", "error_place": "sex"}, [4]),
        ({"error_code": "step.table", "error_place": "other"}, []),
        ({"channel": "' OR 1=1 --"}, []),
    ],
)
def test_find(filled, filters, expected):
    assert ids(find(filled.reader, **filters)) == expected


def test_find_tells_the_state_of_each_delivery_and_refuses_unknown_filters(filled):
    assert find(filled.reader, ids=[2])[0].deliveries == {"odoo": "ERROR", "file": "QUEUED"}
    with pytest.raises(TypeError):
        find(filled.reader, colour="red")


def test_errors_are_grouped_by_cause(filled):
    groups = [(g.channel, g.destination, g.code, g.place, g.count) for g in error_groups(filled.reader)]
    assert groups == [("adt", "odoo", "odoo.required", "name", 2), ("adt", "", "step.table", "sex", 1)]
    assert error_groups(filled.reader, "siu") == []


def test_show_hides_what_is_only_for_the_machine(filled):
    shown = show(filled.reader, 2)
    assert shown["raw"] == b"m2"
    assert shown["deliveries"][0]["payload"] == b'{"a":1}'
    assert not {"mrn", "visit", "digest", "ordering_key"} & shown.keys()
    assert show(filled.reader, 99) is None


def test_a_replay_is_a_new_message_with_the_same_bytes(filled):
    made = filled.call(operate.replay, [4, 2, 2, 99, 5], "anna")  # 5 is to be routed anyway
    assert made == [(2, 7, ((2, "file", True), (2, "odoo", False))), (4, 8, ())]
    assert messages.raw(filled.reader, 8) == b"m4"
    new, old = show(filled.reader, 8), show(filled.reader, 4)
    assert (new["state"], new["parent_id"], new["control_id"], new["attempts"]) == ("RECEIVED", 4, "C4", 0)
    assert (old["state"], old["children"]) == ("ERROR", [8])
    assert (old["events"][-1]["kind"], old["events"][-1]["actor"]) == ("replay", "anna")
    assert ids(find(filled.reader, mrn="MRN0", parent_id=4)) == [8]
    assert filled.receive(b"m4", control_id="C4", at=START + 9).duplicate_of == 4, "not of its replay"


def test_a_resend_sends_the_same_payload_again(filled):
    assert filled.call(operate.resend, [1, 2, 3], "anna", destination="odoo") == [
        (1, "odoo"),
        (2, "odoo"),
        (3, "odoo"),
    ]
    found = deliveries.open_deliveries(filled.reader, "adt", "odoo")
    assert [(d.message_id, d.attempts, d.payload) for d in found] == [(n, 0, b'{"a":1}') for n in (1, 2, 3)]
    assert filled.call(operate.resend, [1], "anna") == [], "it is open already"
    assert error_groups(filled.reader) == error_groups(filled.reader, "adt")
    assert show(filled.reader, 1)["events"][-1]["kind"] == "resend"


def test_what_an_operator_discards_meanwhile_stays_discarded(filled):
    assert filled.call(operate.discard, [2], "anna", note="typed by hand") == [
        (2, "file", True),
        (2, "odoo", False),
    ]
    assert not filled.deliver(2, "file"), "the answer came too late"
    (odoo, file) = show(filled.reader, 2)["deliveries"]
    assert (odoo["state"], file["state"], file["note"]) == ("DISCARDED", "DISCARDED", "typed by hand")
    assert filled.call(operate.discard, [1], "anna", destination="odoo") == [], "it was sent"


def test_a_command_is_taken_once_and_again_by_the_next_engine(bench):
    one = bench.call(commands.add, "anna", "channel.stop", {"name": "adt"})
    two = bench.call(commands.add, "anna", "replay", {"ids": [1, 2]})
    assert commands.waiting(bench.reader)
    taken = bench.call(commands.take, 1)
    assert [(c.id, c.verb, c.args) for c in taken] == [
        (one, "channel.stop", {"name": "adt"}),
        (two, "replay", {"ids": [1, 2]}),
    ]
    assert bench.call(commands.take, 1) == []
    assert not commands.waiting(bench.reader)
    assert bench.call(commands.finish, one, {"ok": True})
    assert not bench.call(commands.finish, one, {"ok": False})
    assert [c.id for c in bench.call(commands.take, 2)] == [two]
    assert bench.call(commands.finish, two, error="no such channel")
    assert commands.get(bench.reader, one).result == {"ok": True}
    assert commands.get(bench.reader, two).state == "failed"
    assert commands.get(bench.reader, 99) is None


def test_an_engine_says_how_it_does(bench):
    bench.call(commands.heartbeat, bench.store.epoch, {"channels": {"adt": "started"}})
    told = commands.engine_status(bench.reader)
    assert told["status"] == {"channels": {"adt": "started"}}
    assert told["epoch"] == bench.store.epoch
