"""Fingerprints stay the same, tell causes apart, and hold nothing of a patient."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_bench import START

from engine.odoo.errors import classify, row_error
from engine.store import operate
from engine.store.causes import error_groups, fingerprint, normal
from engine.store.search import backlog, find, show

PLACES = [
    "PID-3", "MSH-9.2", "parse: MSH", "route", "res.partner.email", "ir.model.data",
    "transformers[0] code_table: PID-8.1",
    "filters[1] condition", "destinations.odoo", "destinations.Clinic_A.filters[0] condition", "MRG-1",
    "destinations.odoo: patient.yaml:12:5",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_names_things_is_kept(place):
    assert normal(place) == place


@pytest.mark.parametrize(
    ("place", "kept"),
    [
        ("res.partner,4711", "…"),
        ("res.partner(4711,)", "…"),
        ("/opt/clinic/templates/patient.yaml:12:5", "patient.yaml:12:5"),
        ("OBX[37]-5", "OBX-5"),
        ("PID-3[5=MR].1", "PID-3.1"),
        ("PID-5: Keller^Nora", "PID-5: …"),
        ("key patient/RGH/100234", "key …"),
        ("'Nora Keller' in PID-5", "… in PID-5"),
        (None, ""),
        ("", ""),
    ],
)
def test_what_differs_from_message_to_message_is_not(place, kept):
    assert normal(place) == kept


def test_the_fingerprint_is_fixed_for_good():
    """Runbooks and tickets name it: a change of these values is a change that breaks them."""
    assert fingerprint("odoo.value", "res.partner.email") == "6b92782f"
    assert fingerprint("patient.no_identifier", "destinations.odoo: PID-3") == "ced23607"
    assert fingerprint(None, None) == "0ad83173"


def test_causes_are_told_apart():
    found = {fingerprint(code, place) for code in ("odoo.value", "odoo.validation") for place in PLACES}
    assert len(found) == 2 * len(PLACES)


VALUES = st.one_of(
    st.integers(1000, 10**12).map(str),
    st.from_regex(r"[A-Z][a-z]{2,12}\^[A-Z][a-z]{2,12}", fullmatch=True),
    st.from_regex(r"[A-Z][a-z]{3,12}", fullmatch=True),
    st.from_regex(r"[a-z]{3,9}@[a-z]{3,9}\.org", fullmatch=True),
    st.from_regex(r"\+?[0-9]{3} [0-9]{6,9}", fullmatch=True),
    st.from_regex(r"(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]", fullmatch=True),
    st.text(st.characters(codec="utf-8", exclude_characters=string.ascii_letters), min_size=3, max_size=20),
)


@given(VALUES, VALUES, st.sampled_from(PLACES))
def test_values_in_a_place_neither_show_nor_matter(one, other, place):
    for form in ("{place}: {value}", "{place} '{value}'", "{place} record {value},"):
        first, second = (form.format(place=place, value=value) for value in (one, other))
        assert not set(one.split()) & set(normal(first).split()) - {"…", ""} or one.split() <= place.split()
        assert fingerprint("code", first) == fingerprint("code", second)


@given(VALUES, VALUES)
def test_what_odoo_says_of_two_patients_has_one_cause(one, other):
    for make in (
        lambda v: row_error(
            {"message": f"Value '{v}' is wrong for {v}", "field": "email"}, "res.partner", [v]
        ),
        lambda v: row_error({"message": f"The record {v} has no name"}, "res.partner", [v]),
        lambda v: classify("odoo.exceptions.ValidationError", f"{v} is refused", "res.partner", values=[v]),
    ):
        first, second = make(one), make(other)
        assert fingerprint(first.code, first.where) == fingerprint(second.code, second.where)
        assert one not in normal(first.where)


@given(st.text(max_size=300), st.text(max_size=40))
def test_every_place_has_a_cause(place, code):
    assert len(fingerprint(code, place)) == 8
    assert len(normal(place)) <= 120
    assert normal(normal(place)) == normal(place)


@pytest.fixture
def failed(bench):
    """Two patients, two causes: three deliveries in ERROR of one, two messages in ERROR of the other."""
    for n in range(1, 6):
        bench.receive(b"m%d" % n, at=START + n, mrn=f"MRN{n}")
    for n in (1, 2, 3):
        bench.route(n, "odoo", "file")
        bench.deliver(n, "file")
        bench.deliver(
            n, "odoo", "ERROR", error_code="odoo.value", error_place=f"res.partner.email: {4000 + n}",
            error_text="the value is refused (mend the value, then replay)",
        )  # fmt: skip
    for n in (4, 5):
        bench.route(n, state="ERROR", error_code="patient.no_identifier", error_place="odoo: PID-3",
                    error_text="there is no patient identifier")  # fmt: skip
    return bench


def ids(rows):
    return [row.id for row in rows]


def test_groups_tell_what_where_since_when_and_what_to_do(failed):
    value, identifier = error_groups(failed.reader)
    assert (value.destination, value.code, value.place, value.count) == (
        "odoo",
        "odoo.value",
        "res.partner.email: …",
        3,
    )
    assert (value.first_id, value.last_id, value.text) == (
        1,
        3,
        "the value is refused (mend the value, then replay)",
    )
    assert (value.first_at, value.last_at) == (START + 2, START + 2)
    assert (identifier.destination, identifier.count, identifier.last_id) == ("", 2, 5)
    assert identifier.first_at == START + 1
    assert error_groups(failed.reader, "siu") == []


def test_a_cause_chooses_its_messages(failed):
    value, identifier = (group.cause for group in error_groups(failed.reader))
    assert ids(find(failed.reader, cause=value)) == [3, 2, 1]
    assert ids(find(failed.reader, cause=identifier)) == [5, 4]
    assert ids(find(failed.reader, cause=identifier, destination="odoo")) == []
    assert ids(find(failed.reader, cause="00000000")) == []


def test_an_act_by_cause_leaves_the_other_deliveries_alone(failed):
    value = error_groups(failed.reader)[0].cause
    assert failed.call(operate.resend, [1, 2], "anna", cause=value) == [(1, "odoo"), (2, "odoo")]
    assert failed.call(operate.discard, [3, 4], "anna", cause=value) == [(3, "odoo", False)]
    assert find(failed.reader, ids=[1])[0].deliveries == {"odoo": "QUEUED", "file": "SENT"}


def test_a_discarded_error_leaves_the_groups_and_keeps_its_state(failed):
    cause = error_groups(failed.reader)[1].cause
    assert failed.call(operate.discard, [4, 1], "anna", note="known test patient") == [
        (1, "odoo", False),
        (4, "", False),
    ]
    assert failed.call(operate.discard, [4], "anna") == [], "once is enough"
    assert [(group.code, group.count) for group in error_groups(failed.reader)] == [
        ("odoo.value", 2), ("patient.no_identifier", 1),
    ]  # fmt: skip
    shown = show(failed.reader, 4)
    assert (shown["state"], shown["events"][-1]["kind"]) == ("ERROR", "discard")
    assert (shown["events"][-1]["actor"], shown["events"][-1]["detail"]) == ("anna", "known test patient")
    assert ids(find(failed.reader, cause=cause)) == [5]
    assert ids(find(failed.reader, state="ERROR")) == [5, 4]
    assert ids(find(failed.reader, state="ERROR", dismissed=False)) == [5]
    assert [row.dismissed for row in find(failed.reader, state="ERROR")] == [False, True]
    assert backlog(failed.reader)["adt"]["ERROR"] == 1


def test_a_replay_takes_the_place_of_its_error(failed):
    ((_, one, _), (_, two, _)) = failed.call(operate.replay, [4, 5], "anna")
    assert [group.code for group in error_groups(failed.reader)] == ["odoo.value"]
    failed.route(one, state="ERROR", error_code="patient.no_identifier", error_place="odoo: PID-3")
    failed.route(two, "odoo")
    assert [(group.code, group.count, group.last_id) for group in error_groups(failed.reader)][1:] == [
        ("patient.no_identifier", 1, one)
    ]


def test_a_replay_discards_what_it_replaces(failed):
    ((old, new, replaced),) = failed.call(operate.replay, [1], "anna")
    assert (old, replaced) == (1, ((1, "odoo", False),))
    (odoo, file) = show(failed.reader, 1)["deliveries"]
    assert (odoo["state"], odoo["note"], file["state"]) == ("DISCARDED", f"replayed as {new}", "SENT")
