"""A destination that its configuration does not fit is held from the start, and started again until it does."""

import pytest
from desk import DESTINATIONS, Desk, Scripted, config, scripted

from engine.errors import ConfigError
from engine.states import Result

REFUSED = ConfigError("Odoo 19.0 has no field 'mobile' on res.partner", code="odoo.mapping")


@pytest.fixture
def make(tmp_path):
    with scripted():
        desks = []

        def start(refuses=REFUSED):
            out = DESTINATIONS["out"] = Scripted()
            out.refuses = refuses
            desks.append(Desk(tmp_path, config()))
            return desks[0], out

        yield start
        for desk in desks:
            desk.stop()


def status(desk):
    (found,) = desk.engine.channels["adt"].status()["destinations"]
    return found["state"], found["why"]


def test_nothing_is_sent_and_people_are_told(make):
    desk, out = make()
    assert status(desk) == ("held", f"odoo.mapping: {REFUSED.what}")
    desk.send(("a1", "A"))
    desk.advance(50)
    assert not out.sent and desk.open() == {"adt": 1}
    assert desk.rows("SELECT state FROM delivery") == [("QUEUED",)]


def test_it_goes_on_by_itself_when_it_is_mended(make):
    desk, out = make()
    desk.send(("a1", "A"))
    out.refuses = None
    desk.advance(61)
    assert out.effects == ["a1"] and status(desk) == ("closed", "")


def test_without_messages_too(make):
    desk, out = make()
    for _ in range(3):
        desk.advance(61)
        assert status(desk)[0] == "held"
    out.refuses = None
    desk.advance(61)
    assert status(desk) == ("closed", "")


def test_a_probe_that_is_refused_keeps_it_held(make):
    desk, out = make()
    out.auto = lambda delivery: Result.CONFIG
    desk.send(("a1", "A"))
    desk.advance(61)
    assert status(desk)[0] == "held" and desk.rows("SELECT state FROM delivery") == [("QUEUED",)]


def test_any_other_failure_of_a_start_is_tried_with_the_first_message(make):
    desk, out = make(refuses=OSError("no route"))
    desk.send(("a1", "A"))
    assert out.effects == ["a1"]
