"""The samples, in their order, through the shipped channels into the Odoo stand-in, twice."""

from __future__ import annotations

import sqlite3

import pytest
from twisted.internet.task import Clock

from engine.model import Delivery
from engine.odoo.connection import OdooConnection
from engine.spec.channel import load
from engine.spec.component import BuildContext
from tests.component.shipped import CHANNELS, ShippedChannel

SAMPLES = sorted((CHANNELS.parent / "samples").glob("*.hl7"))


def wait(clock, deferred):
    """The result of a Deferred on a clock that is turned by hand."""
    found = []
    deferred.addBoth(found.append)
    for _ in range(2000):
        if found:
            break
        clock.advance(0.01)
    assert found, "no answer"
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]


@pytest.fixture
def send(tmp_path):
    """A function that sends one sample and gives the outcome, None when it was filtered."""
    clock = Clock()
    configuration = load(CHANNELS, {})
    connection = OdooConnection.model_validate(configuration.connections["clinic"]["odoo"])
    tables = configuration.tables
    running = {}
    for name, spec in configuration.channels.items():
        options = spec.options.model_dump()
        context = BuildContext(
            channel=name, base=CHANNELS.parent, data_dir=tmp_path, tables=tables, options=options,
            connections={"clinic": connection}, reactor=clock,
        )  # fmt: skip
        destination = spec.destinations[0].bound.settings.build(context)
        wait(clock, destination.start())
        running[name] = (ShippedChannel(configuration, spec, CHANNELS.parent), destination)
    numbers = iter(range(1, 1000))

    def run(raw):
        channel, destination = running["siu" if b"|SIU^" in raw[:120] else "adt"]
        filtered, scope = channel.prepare(raw)
        if filtered:
            return None
        payload = destination.render(scope)
        assert payload is not None
        (outcome,) = wait(clock, destination.deliver([Delivery(next(numbers), "odoo", (1,), payload)]))
        return outcome

    run.data = tmp_path
    return run


def test_samples_end_in_odoo(send):
    for path in SAMPLES:
        outcome = send(path.read_bytes())
        if outcome is None:
            assert "filtered" in path.name
            continue
        assert (outcome.result, outcome.code) == ("sent", ""), (path.name, outcome.code, outcome.text)


def test_what_stands_in_odoo_at_the_end(send):
    for path in SAMPLES:
        send(path.read_bytes())
    (database,) = send.data.glob("*sandbox*.db")
    with sqlite3.connect(database) as odoo:
        partners = {
            ref: (name, phone, street2)
            for ref, name, phone, street2 in odoo.execute(
                "select ref, name, phone, street2 from res_partner where ref is not null and active"
            )
        }
        events = dict(odoo.execute("select name, active from calendar_event"))
        ((note,),) = odoo.execute("select comment from res_partner where ref = '100310'")
    assert partners["100234"] == ("Nora Anne Keller-Boyd", None, None)
    assert partners["100310"] == ("Chidi Abara", "+1 309 5550142", None)
    assert "100599" not in partners  # merged away
    assert "<p>Sex: male</p><p>Marital status: Single</p>" in note
    assert events == {
        "Outpatient: Chidi Abara": 1,
        "Inpatient: Nora Anne Keller": 1,
        "Follow-up consultation: Chidi Abara": 0,
        "[No-show] Annual check-up: Nora Anne Keller-Boyd": 1,
    }


def rows(path):
    with sqlite3.connect(path) as database:
        return {
            name: database.execute(f'select count(*) from "{name}"').fetchone()[0]
            for (name,) in database.execute("select name from sqlite_master where type = 'table'")
            if "partner" in name or "calendar_event" in name
        }


def test_sending_everything_again_makes_no_record(send):
    for path in SAMPLES:
        send(path.read_bytes())
    (database,) = send.data.glob("*sandbox*.db")
    before = rows(database)
    assert before
    for path in SAMPLES:
        send(path.read_bytes())
    assert rows(database) == before
