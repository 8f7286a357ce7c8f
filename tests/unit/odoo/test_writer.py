"""Deliveries into an Odoo: no duplicate, no needless write, and no delivery pays for another's mistake."""

import pytest

from engine.model import Operation
from engine.odoo.connection import probe
from engine.odoo.errors import OdooError
from engine.states import Result


def test_new_then_unchanged_then_one_column(odoo):
    made = odoo.partner(
        "a", ref="R1", phone="1", country_id={"find": {"code": "US"}}, email=None, active=True
    )
    first, again = odoo.deliver([made]), odoo.deliver([made])
    assert (first[0].result, odoo.results(first[0])) == (Result.SENT, ["created"])
    assert (again[0].result, odoo.results(again[0]), again[0].request) == (Result.SENT, ["unchanged"], b"[]")
    assert again[0].record == first[0].record
    made.values["phone"] = "2"
    changed = odoo.deliver([made])[0]
    assert odoo.results(changed) == ["updated"]
    assert b'"values":{"phone":"2"}' in changed.request


def test_an_unchanged_record_is_not_written(odoo):
    made = odoo.partner("a")
    odoo.deliver([made])
    odoo.wire.paths.clear()
    odoo.deliver([made])
    assert not any(b'"load"' in body or path.endswith("/load") for path, body in odoo.wire.paths)


def test_references_of_one_delivery_and_of_another(odoo):
    visit = odoo.event("e", partner_ids=[{"key": odoo.key("p")}, {"key": odoo.key("q")}])
    outcomes = odoo.deliver([odoo.partner("p"), visit], [odoo.partner("x"), odoo.partner("q")])
    assert [outcome.result for outcome in outcomes] == [Result.SENT, Result.SENT]
    number = int(outcomes[0].record.split()[0].split(",")[1])
    assert len(odoo.find("calendar.event", [["id", "=", number]], "partner_ids")[0]["partner_ids"]) == 2


def test_a_record_that_nobody_makes(odoo):
    lost = odoo.deliver([odoo.event("e", partner_ids=[{"key": odoo.key("nobody")}])], [odoo.partner("a")])
    assert (lost[0].result, lost[0].code) == (Result.PERMANENT, "odoo.reference")
    assert lost[0].place == "calendar.event.partner_ids"
    assert lost[1].result == Result.SENT


def test_many2many_of_all_kinds(odoo):
    odoo.deliver([odoo.partner("a"), odoo.partner("b", ref=odoo.key("ref"))])
    kinds = [
        {"key": odoo.key("a")},
        {"xml_id": "base.main_partner"},
        {"find": {"ref": odoo.key("ref")}},
        {"find": {"ref": odoo.key("nothing")}, "otherwise": "leave"},
    ]
    made = odoo.event("e", partner_ids=kinds)
    outcome = odoo.deliver([made])[0]
    assert outcome.result == Result.SENT, outcome
    number = int(outcome.record.split(",")[1])
    assert len(odoo.find("calendar.event", [["id", "=", number]], "partner_ids")[0]["partner_ids"]) == 3
    assert odoo.results(odoo.deliver([made])[0]) == ["unchanged"]


def test_bad_ones_do_not_hold_the_good_ones(odoo):
    outcomes = odoo.deliver(
        [odoo.partner("a")],
        [odoo.partner("b", country_id={"xml_id": "base.zz"}), odoo.partner("b2")],
        [odoo.partner("c", type="nonsense")],
        [odoo.partner("d", nofield="x")],
        [odoo.partner("e", country_id={"find": {"code": "??"}})],
        [odoo.partner("f", name="")],
        [odoo.partner("g", country_id={"find": {"code": ""}})],
    )
    assert [(outcome.result, outcome.code, outcome.place) for outcome in outcomes] == [
        (Result.SENT, "", ""),
        (Result.PERMANENT, "odoo.reference", "res.partner.country_id"),
        (Result.PERMANENT, "odoo.value", "res.partner.type"),
        (Result.PERMANENT, "odoo.unknown_field", "res.partner.nofield"),
        (Result.PERMANENT, "odoo.reference", "res.partner.country_id"),
        (Result.PERMANENT, "odoo.validation", "res.partner"),
        (Result.SENT, "", ""),
    ]
    assert outcomes[1].record == "", "what comes after a failed operation does not run"
    assert "nonsense" not in outcomes[2].text


def test_one_key_in_many_deliveries(odoo):
    shared = [odoo.partner("doc", name="Dr A") for _ in range(3)] + [odoo.partner("doc", name="Dr B")]
    outcomes = odoo.deliver(*([odoo.partner(f"p{number}"), doc] for number, doc in enumerate(shared)))
    records = {outcome.record.split()[0] for outcome in outcomes}
    assert {outcome.result for outcome in outcomes} == {Result.SENT}
    assert len(records) == 1
    number = int(records.pop().split(",")[1])
    assert odoo.find("res.partner", [["id", "=", number]], "name")[0]["name"] == "Dr B"


def test_a_lost_answer_makes_no_second_record(odoo):
    ref = odoo.key("ref")
    odoo.wire.lose = lambda path, body: path.endswith("/load") or b'"load"' in body
    lost = odoo.deliver([odoo.partner("a", ref=ref)])[0]
    assert (lost.result, lost.code) == (Result.UNKNOWN, "odoo.disconnected")
    odoo.wire.lose = lambda path, body: False
    assert odoo.deliver([odoo.partner("a", ref=ref)], attempts=1)[0].result == Result.SENT
    assert len(odoo.find("res.partner", [["ref", "=", ref]], "id")) == 1


def test_write_and_archive_make_nothing(odoo):
    write = Operation("write", "res.partner", odoo.key("a"), values={"phone": "7"})
    archive = Operation("archive", "res.partner", odoo.key("a"))
    none = odoo.deliver([write, archive])[0]
    assert (none.result, none.record) == (Result.SENT, "")
    assert odoo.results(none) == ["skipped: no such record", "nothing to archive"]
    there = odoo.deliver([odoo.partner("a"), write, archive, archive])[0]
    assert odoo.results(there) == ["created", "updated", "archived", "unchanged"]
    number = int(there.record.split(",")[1])
    row = odoo.find("res.partner", [["id", "=", number]], "phone", "active")[0]
    assert (row["phone"], row["active"]) == ("7", False)


def between(odoo, act):
    """Let `act` happen once between the comparison of a record and its load."""
    waiting = [act]

    def lose(path, body):
        if (path.endswith("/load") or b'"load"' in body) and waiting:
            waiting.pop()()
        return False

    odoo.wire.lose = lose


def test_a_record_deleted_while_it_is_compared_is_made_anew_whole(odoo):
    made = odoo.partner("a", ref=odoo.key("ref"), phone="1")
    number = int(odoo.deliver([made])[0].record.split(",")[1])
    made.values["name"] = "P b"
    between(odoo, lambda: odoo.wait(odoo.client.call("res.partner", "unlink", [number])))
    again = odoo.deliver([made])[0]
    assert again.result == Result.SENT
    rows = odoo.find("res.partner", [["ref", "=", odoo.key("ref")]], "name", "phone")
    assert [(row["name"], row["phone"]) for row in rows] == [("P b", "1")]


def test_a_record_deleted_while_it_is_compared_misses_no_required_field(odoo):
    made = odoo.partner("a", ref=odoo.key("ref"), phone="1")
    number = int(odoo.deliver([made])[0].record.split(",")[1])
    made.values["phone"] = "2"
    between(odoo, lambda: odoo.wait(odoo.client.call("res.partner", "unlink", [number])))
    again = odoo.deliver([made])[0]
    assert (again.result, again.text) == (Result.SENT, "")
    rows = odoo.find("res.partner", [["ref", "=", odoo.key("ref")]], "name", "phone")
    assert [(row["name"], row["phone"]) for row in rows] == [("P a", "2")]


def test_reschedule_keeps_the_end(odoo):
    odoo.deliver([odoo.event("e")])
    outcome = odoo.deliver([odoo.event("e", start="2027-01-04 09:00:00")])[0]
    number = int(outcome.record.split(",")[1])
    row = odoo.find("calendar.event", [["id", "=", number]], "start", "stop")[0]
    assert (row["start"], row["stop"]) == ("2027-01-04 09:00:00", "2027-01-04 10:30:00")


def test_html_is_compared_as_odoo_keeps_it(odoo):
    made = odoo.partner("a", comment="first line\nsecond & last")
    assert odoo.results(odoo.deliver([made])[0]) == ["created"]
    assert odoo.results(odoo.deliver([made])[0]) == ["unchanged"]


def test_merge_and_later_messages_for_the_old_number(odoo):
    emails = [odoo.partner("a", email="a@x.org"), odoo.partner("b", email="b@x.org"), odoo.partner("c")]
    visit = odoo.event("e", partner_ids=[{"key": odoo.key("b")}])
    survivor = odoo.deliver([*emails, odoo.partner("d"), visit])[0].record.split()[-1]
    merge = odoo.merge("a", "b", "c", "d")
    merged, again = odoo.deliver([merge])[0], odoo.deliver([merge])[0]
    assert (merged.result, merged.record, odoo.results(merged)) == (Result.SENT, survivor, ["merged"])
    assert (again.record, odoo.results(again)) == (survivor, ["done already"])
    old = odoo.deliver([odoo.partner("b", name="P a", phone="5")])[0]
    assert (old.record, odoo.results(old)) == (survivor, ["updated"])
    number = int(survivor.split(",")[1])
    row = odoo.find("res.partner", [["id", "=", number]], "email", "phone")[0]
    assert (row["email"], row["phone"]) == ("a@x.org", "5")
    assert odoo.find("calendar.event", [["partner_ids", "in", [number]]], "id")


def test_merge_with_records_that_are_not_there(odoo):
    assert odoo.results(odoo.deliver([odoo.merge("a", "b")])[0]) == ["nothing to merge"]
    known = odoo.deliver([odoo.partner("a")])[0].record
    alias = odoo.deliver([odoo.merge("a", "b")])[0]
    taken = odoo.deliver([odoo.merge("new", "a")])[0]
    assert [alias.record, taken.record] == [known, known]
    for name in ("a", "b", "new"):
        assert odoo.deliver([odoo.partner(name, name="One")])[0].record == known


def test_merge_of_a_contact_that_was_archived(odoo):
    odoo.deliver([odoo.partner("a"), odoo.partner("b", ref=odoo.key("ref"))])
    odoo.deliver([Operation("archive", "res.partner", odoo.key("b"))])
    merged = odoo.deliver([odoo.merge("a", "b")])[0]
    assert (merged.result, odoo.results(merged)) == (Result.SENT, ["merged"])
    left = odoo.find("res.partner", [["ref", "=", odoo.key("ref")]], "name", "active")
    assert [(one["name"], one["active"]) for one in left] == [("P a", True)]


def test_merge_whose_answer_was_lost(odoo):
    odoo.deliver([odoo.partner("a"), odoo.partner("b")])
    odoo.wire.lose = lambda path, body: "action_merge" in path or b"action_merge" in body
    assert odoo.results(odoo.deliver([odoo.merge("a", "b")])[0]) == ["merged"]


def test_merge_of_a_model_without_odoos_merge(odoo):
    first = odoo.deliver([odoo.event("a"), odoo.event("b")])[0]
    survivor = first.record.split()[-1]
    outcome = odoo.deliver([odoo.merge("a", "b", model="calendar.event")])[0]
    assert (outcome.result, outcome.record) == (Result.SENT, survivor)
    assert odoo.deliver([odoo.event("b", name="kept")])[0].record == survivor
    retired = int(first.record.split()[0].split(",")[1])
    assert odoo.find("calendar.event", [["id", "=", retired]], "active")[0]["active"] is False


def test_adoption(odoo):
    refs = [odoo.key(name) for name in ("one", "two", "two")]
    rows = [{"name": "found", "ref": ref} for ref in refs]
    ids = odoo.wait(odoo.client.call("res.partner", "create", vals_list=rows))
    writer = odoo.writer(adopt={"res.partner": "ref"})
    outcomes = odoo.deliver(
        [odoo.partner("a", ref=refs[0])],
        [odoo.partner("b", ref=refs[1])],
        [odoo.partner("c", ref=odoo.key("three"))],
        writer=writer,
    )
    assert outcomes[0].record == f"res.partner,{ids[0]}"
    assert (outcomes[1].result, outcomes[1].code) == (Result.PERMANENT, "odoo.ambiguous")
    assert odoo.results(outcomes[2]) == ["created"]
    assert odoo.deliver([odoo.partner("a", phone="1")])[0].record == f"res.partner,{ids[0]}"


def test_call_with_a_guard(odoo):
    archive = Operation(
        "call", "res.partner", odoo.key("a"), method="action_archive", unless={"active": False}
    )
    assert odoo.deliver([archive])[0].code == "odoo.missing"
    assert odoo.results(odoo.deliver([odoo.partner("a"), archive, archive])[0]) == [
        "created",
        "called",
        "done already",
    ]


def test_call_whose_answer_was_lost(odoo):
    odoo.deliver([odoo.partner("a"), odoo.partner("b")])
    odoo.wire.lose = lambda path, body: "action_archive" in path or b"action_archive" in body
    key = odoo.key("a")
    guarded = Operation("call", "res.partner", key, method="action_archive", unless={"active": False})
    assert odoo.results(odoo.deliver([guarded])[0]) == ["called"]
    blind = Operation("call", "res.partner", odoo.key("b"), method="action_archive")
    outcome = odoo.deliver([blind])[0]
    assert (outcome.result, outcome.code) == (Result.PERMANENT, "odoo.call_unknown")


def test_plan_writes_nothing(odoo):
    odoo.deliver([odoo.partner("a", phone="1")])
    wanted = [
        odoo.partner("a", phone="2"),
        odoo.partner("a", phone="2"),
        odoo.partner("new"),
        odoo.event("e", partner_ids=[{"key": odoo.key("new")}]),
        Operation("archive", "res.partner", odoo.key("none")),
        odoo.merge("a", "gone"),
    ]
    odoo.wire.paths.clear()
    changes = odoo.wait(odoo.writer().plan(wanted))
    assert [(c.field, c.old, c.new) for c in changes if c.key == odoo.key("a") and c.op == "upsert"] == [
        ("phone", "1", "2"),
        ("", None, None),
    ]
    assert {c.field for c in changes if c.key == odoo.key("e")} == {
        "name",
        "start",
        "stop",
        "user_id",
        "partner_ids",
    }
    assert [c.note for c in changes if c.op in {"archive", "merge"}] == [
        "nothing to archive",
        "would name the survivor",
    ]
    assert not any(b'"load"' in body or path.endswith(("/load", "/create")) for path, body in odoo.wire.paths)
    with pytest.raises(OdooError) as caught:
        odoo.wait(odoo.writer().plan([odoo.event("f", partner_ids=[{"key": odoo.key("nobody")}])]))
    assert caught.value.code == "odoo.reference"


def test_two_hundred_in_few_calls(odoo):
    odoo.deliver([odoo.partner("warm")])
    odoo.wire.paths.clear()
    many = [[odoo.partner(f"p{number}", phone=str(number))] for number in range(200)]
    assert {outcome.result for outcome in odoo.deliver(*many)} == {Result.SENT}
    assert len(odoo.wire.paths) <= 3
    again = odoo.deliver(*many)
    assert {tuple(odoo.results(outcome)) for outcome in again} == {("unchanged",)}


def test_probe(odoo):
    assert odoo.wait(probe(odoo.client, odoo.module, ["res.partner", "calendar.event"])) == []
    assert odoo.wait(odoo.client.version())[0] >= 16


def test_refused(odoo):
    from engine.odoo.client import OdooClient
    from engine.odoo.writer import Writer

    wrong = OdooClient(odoo.wire, odoo.client._database, "not the key", login="engine")
    outcome = odoo.deliver([odoo.partner("a")], writer=Writer(wrong, odoo.clock.seconds, odoo.module))[0]
    assert (outcome.result, outcome.code) == (Result.CONFIG, "odoo.login")
    unknown = odoo.deliver([Operation("upsert", "hms.patient", odoo.key("a"), values={"name": "x"})])[0]
    assert (unknown.result, unknown.code) == (Result.CONFIG, "odoo.unknown_model")
