"""What is cancelled or deleted on a FHIR server never comes back by a change of something else."""

import pytest

from tests.unit.canonical.served import APPOINTMENT, ENCOUNTER, but, types

NUMBER = [{"system": "urn:n", "value": "1"}]


@pytest.mark.parametrize(
    ("status", "action"),
    [("cancelled", "cancelled"), ("entered-in-error", "deleted"), ("noshow", "rescheduled")],
)
def test_what_is_cancelled_stays_so_whatever_of_it_changes(status, action):
    was = but(APPOINTMENT, status=status)
    moved = but(was, start="2026-04-01T16:00:00Z", end="2026-04-01T16:30:00Z")
    assert types(moved, was) == [f"appointment.{action}"]
    other = but(was, participant=[{"actor": {"identifier": NUMBER[0], "type": "Patient"}}])
    assert types(other, was) == [f"appointment.{'modified' if status == 'noshow' else action}"]


@pytest.mark.parametrize(("status", "action"), [("cancelled", "cancelled"), ("entered-in-error", "deleted")])
def test_a_cancelled_visit_stays_so_whatever_of_it_changes(status, action):
    was = but(ENCOUNTER, status=status)
    assert types(but(was, location=[{"location": {"display": "Ward 9"}}]), was) == [f"encounter.{action}"]
    assert types(but(was, **{"class": {"code": "EMER"}}), was) == [f"encounter.{action}"]
