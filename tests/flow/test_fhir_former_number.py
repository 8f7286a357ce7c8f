"""HL7 v2 → FHIR: a number that was changed (A47) is one of before; who has a new one is not deleted with it (A29)."""

import pytest
from desk import scripted
from fhir_desk import FhirDesk

from tests.flow.test_fhir_destination import CONFIG, one, pid, send, states


@pytest.fixture
def desk(tmp_path):
    with scripted():
        made = FhirDesk(tmp_path, CONFIG)
        yield made
        made.stop()


def uses(desk):
    return {item["value"]: item.get("use") for item in one(desk, "Patient")["identifier"]}


def changed(desk, new, old, **how):
    send(desk, "ADT^A47", pid(new), f"MRG|{old}^^^RGH^MR", **how)


def test_a_changed_number_is_deleted_without_its_patient(desk):
    send(desk, "ADT^A28", pid("1"))
    changed(desk, "5", "1")
    assert uses(desk) == {"1": "old", "5": "usual"}
    before = one(desk, "Patient")
    send(desk, "ADT^A29", pid("1", name="Other^Name"))
    assert one(desk, "Patient") == before and before.get("active") is not False
    send(desk, "ADT^A29", pid("5"))
    assert one(desk, "Patient")["active"] is False
    assert set(states(desk)) == {"SENT"}


def test_a_number_that_nobody_knew_is_one_of_before_as_well(desk):
    changed(desk, "5", "1")
    before = one(desk, "Patient")
    send(desk, "ADT^A29", pid("1"))
    assert one(desk, "Patient") == before
    assert uses(desk) == {"1": "old", "5": "usual"}


def test_the_number_of_before_comes_back(desk):
    send(desk, "ADT^A28", pid("1"))
    changed(desk, "5", "1")
    changed(desk, "1", "5")
    assert uses(desk) == {"1": "usual", "5": "old"}
    send(desk, "ADT^A29", pid("5"))
    assert one(desk, "Patient").get("active") is not False
    send(desk, "ADT^A29", pid("1"))
    assert one(desk, "Patient")["active"] is False


@pytest.mark.parametrize("deleted, active", [("1", True), ("5", False)])
def test_all_at_once_ends_as_one_after_the_other(desk, deleted, active):
    """The server was away: the messages go out in one batch."""
    desk.server.faults = lambda method, path: (503, {}, b"")
    send(desk, "ADT^A28", pid("1"))
    changed(desk, "5", "1")
    send(desk, "ADT^A29", pid(deleted))
    assert "SENT" not in states(desk)
    desk.server.faults = lambda method, path: None
    desk.until(lambda: set(states(desk)) == {"SENT"})
    assert (one(desk, "Patient").get("active") is not False) is active


def test_who_was_deleted_before_stays_deleted(desk):
    desk.server.faults = lambda method, path: (503, {}, b"")
    send(desk, "ADT^A28", pid("1"))
    send(desk, "ADT^A29", pid("1"))
    changed(desk, "5", "1")
    desk.server.faults = lambda method, path: None
    desk.until(lambda: set(states(desk)) == {"SENT"})
    assert one(desk, "Patient")["active"] is False and uses(desk) == {"1": "old", "5": "usual"}


def test_the_same_again_makes_no_version(desk):
    send(desk, "ADT^A28", pid("1"))
    changed(desk, "5", "1")
    (history,) = desk.server.versions["Patient"].values()
    count = len(history)
    changed(desk, "5", "1")
    send(desk, "ADT^A08", pid("1"), "PV1|1|O")
    send(desk, "ADT^A31", pid("5"))
    assert len(history) == count and uses(desk) == {"1": "old", "5": "usual"}


def test_who_is_another_resource_is_not_touched(desk):
    """Both numbers are Patients already: the old one is not given to the new one, and its deletion is its own."""
    send(desk, "ADT^A28", pid("1"))
    send(desk, "ADT^A28", pid("5"))
    changed(desk, "5", "1")
    send(desk, "ADT^A29", pid("1"))
    found = {item["identifier"][0]["value"]: item for item in desk.server.all("Patient").values()}
    assert {number: len(item["identifier"]) for number, item in found.items()} == {"1": 1, "5": 1}
    assert found["1"]["active"] is False and found["5"].get("active") is not False


def test_a_number_that_the_patient_still_has_is_none_of_before(desk):
    send(desk, "ADT^A28", pid("1"))
    both = pid("5").replace("5^^^RGH^MR", "5^^^RGH^MR~1^^^RGH^MR")
    send(desk, "ADT^A47", both, "MRG|1^^^RGH^MR")
    assert uses(desk) == {"1": None, "5": None}
