"""The destination: its settings, what it renders, and its refusals."""

import msgspec
import pytest
from pydantic import ValidationError
from twisted.internet.testing import MemoryReactorClock

from destinations.odoo import Odoo
from engine.errors import ConfigError, IsthmusError
from engine.model import Meta, Operation, Scope
from engine.odoo.connection import OdooConnection
from engine.spec.component import BuildContext, registry

OPERATIONS = [
    {
        "upsert": "res.partner",
        "key": "patient/{{ msg['PID-3'] }}",
        "values": {"name": "{{ msg['PID-5'] }}", "active": True},
    }
]


def context(**more):
    connection = OdooConnection(url="http://127.0.0.1:1", database="db", api_key="secretkey")
    return BuildContext("adt", connections={"clinic": connection}, reactor=MemoryReactorClock(), **more)


def test_it_is_registered():
    found = registry.get("destination", "odoo")
    assert found is not None
    assert found.settings.model_validate(found.example_settings).connection == "clinic"


def test_render_gives_operations():
    made = Odoo(connection="clinic", operations=OPERATIONS).build(context())
    payload = made.render(Scope({"PID-3": "7", "PID-5": "DOE\ud800"}, Meta()))
    operation = msgspec.json.decode(payload, type=list[Operation])[0]
    assert (operation.op, operation.model, operation.key) == ("upsert", "res.partner", "patient/7")
    assert operation.values == {"name": "DOE�", "active": True}
    assert (made.batch_size, made.in_flight) == (200, 1)


def test_render_of_nothing():
    silent = [{**OPERATIONS[0], "when": "False"}]
    assert Odoo(connection="clinic", operations=silent).build(context()).render(Scope({}, Meta())) is None


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"template": "patient", "operations": OPERATIONS},
        {"template": "patient", "batch_size": 201},
        {"template": "patient", "batch_size": 0},
        {"template": "patient", "unknown": 1},
    ],
)
def test_settings_that_cannot_be(settings):
    with pytest.raises(ValidationError):
        Odoo(connection="clinic", **settings)


def test_an_unknown_connection_and_template():
    with pytest.raises(ConfigError) as caught:
        Odoo(connection="other", operations=OPERATIONS).build(context())
    assert caught.value.code == "odoo.connection"
    with pytest.raises(IsthmusError):
        Odoo(connection="clinic", template="no-such-template").build(context())


def test_models_of_a_template():
    made = Odoo(connection="clinic", template="patient").build(context())
    assert {spec.model for spec in made.template.specs} == {"res.partner", "calendar.event"}


@pytest.mark.parametrize(
    "settings",
    [{"url": "odoo.example.org"}, {"url": "https://x", "module": "a.b"}, {"url": "sandbox:", "x": 1}],
)
def test_connections_that_cannot_be(settings):
    with pytest.raises(ValidationError):
        OdooConnection(**settings)


def test_a_connection_is_shared_and_keeps_its_secret():
    connection = OdooConnection(url="http://127.0.0.1:1", api_key="secretkey")
    reactor = MemoryReactorClock()
    assert connection.client(reactor, None) is connection.client(reactor, None)
    assert "secretkey" not in repr(connection) + connection.model_dump_json()


def test_the_sandbox_needs_a_place():
    with pytest.raises(ConfigError) as caught:
        OdooConnection(url="sandbox:").client(MemoryReactorClock(), None)
    assert caught.value.code == "odoo.sandbox"


def test_a_server_that_is_down_does_not_stop_the_start():
    from twisted.internet import error
    from twisted.python.failure import Failure

    where = context()
    made = Odoo(connection="clinic", operations=OPERATIONS).build(where)
    got = []
    made.start().addBoth(got.append)
    _, _, factory, _, _ = where.reactor.tcpClients[0]
    factory.clientConnectionFailed(None, Failure(error.ConnectionRefusedError()))
    where.reactor.advance(1)
    assert got == [None]
