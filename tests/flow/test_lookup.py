"""`lookup`: one call a batch, cached, and messages that wait, in order, while nobody answers."""

import sqlite3

import pytest
import yaml
from desk import HEADER, Desk, FlowReactor, Sent, scripted
from pydantic import ValidationError
from reloading import reload
from structlog.testing import capture_logs
from twisted.internet.defer import ensureDeferred
from twisted.internet.testing import StringTransportWithDisconnection

from engine.errors import ConfigError, IsthmusError
from engine.lookup.http import HttpConnection
from engine.lookup.sql import SqlConnection
from engine.odoo.connection import OdooConnection
from engine.odoo.errors import OdooError
from engine.spec.component import BuildContext, registry
from engine.spec.lookups import LookupDown
from engine.states import Result

CONFIG = """
connections:
  clinic: {{odoo: {{url: "sandbox:"}}}}
  wards: {{sql: {{url: "sqlite:///{folder}/wards.db"}}}}
channels:
  adt:
    listener: {{mllp: {{port: 2575}}}}
    transformers:
      - lookup: {step}
      - condition_free: {{}}
    destinations:
      out:
        scripted: {{name: out}}
        filters: [{{condition: "found is absent or found"}}]
""".replace("      - condition_free: {{}}\n", "")
PARTNER = (
    "{var: found, connection: clinic, model: res.partner, match: {ref: \"{{ msg['PID-3.1'] }}\"}, fields: [name],"
    " value: name, ttl: 100s%s}"
)


class Odoo:
    """Takes the place of the network: counts what is asked of the sandbox, or fails."""

    def __init__(self):
        self.calls, self.fault = [], None

    async def search_read(self, model, domain, fields, **more):
        self.calls.append(domain)
        if self.fault is not None:
            raise self.fault
        refs = domain[0][2]
        return [
            {"id": n, "ref": ref, "name": f"N{ref}"} for n, ref in enumerate(refs) if not ref.startswith("X")
        ]


@pytest.fixture
def odoo(monkeypatch):
    found = Odoo()
    monkeypatch.setattr(OdooConnection, "client", lambda self, reactor, data_dir: found)
    return found


def start(tmp_path, step):
    return Desk(tmp_path, CONFIG.format(step=step, folder=tmp_path))


def receive(desk, *pairs):
    sent = []
    for control_id, patient in pairs:
        raw = HEADER.format(kind="ADT^A08", control_id=control_id, patient=patient)
        sent.append(Sent(raw.encode(), desk.now()))
        desk.engine.channels["adt"].receive(sent[-1])
    desk.settle()
    assert all(b"MSA|AA" in one.answers[0] for one in sent)


def test_one_call_a_batch_and_a_cache(tmp_path, odoo):
    with scripted() as destinations:
        desk = start(tmp_path, PARTNER % "")
        receive(desk, *[(f"C{n}", f"P{n % 3}") for n in range(10)])
        assert odoo.calls == [[["ref", "in", ["P0", "P1", "P2"]]]]
        assert destinations["out"].effects == [f"C{n}" for n in range(10)]
        receive(desk, ("D1", "P1"), ("D2", "XX"))
        receive(desk, ("D3", "XX"), ("D4", "P2"))
        assert odoo.calls[1:] == [[["ref", "in", ["XX"]]]] * 2  # what is not there is asked again
        desk.advance(101)
        receive(desk, ("E1", "P1"))
        assert odoo.calls[3:] == [[["ref", "in", ["P1"]]]]
        assert desk.open() == {"adt": 0}
        desk.stop()


def test_messages_wait_through_an_outage_in_their_order(tmp_path, odoo):
    with scripted() as destinations:
        desk = start(tmp_path, PARTNER % "")
        odoo.fault = OdooError("gone", result=Result.UNKNOWN, code="odoo.disconnected")
        receive(desk, ("C1", "P1"), ("C2", "P2"))
        receive(desk, ("C3", "P1"))
        assert {row[0] for row in desk.rows("SELECT state FROM message")} == {"RECEIVED"}
        assert "odoo.disconnected" in desk.engine.channels["adt"].status()["why"]
        for _ in range(5):
            desk.advance(1)
        assert len(odoo.calls) == 3  # at 0, 1 and 3 seconds
        desk.crash()
        assert {row[0] for row in desk.rows("SELECT state FROM message")} == {"RECEIVED"}
        odoo.fault = None
        for _ in range(5):
            desk.advance(20)
        assert destinations["out"].effects == ["C1", "C2", "C3"]
        assert desk.engine.channels["adt"].status()["why"] == ""
        desk.stop()


def test_a_wrong_key_holds_loudly_and_messages_wait(tmp_path, odoo):
    with scripted() as destinations, capture_logs() as logs:
        desk = start(tmp_path, PARTNER % "")
        odoo.fault = OdooError("wrong key", result=Result.CONFIG, code="odoo.login", todo="make a new key")
        receive(desk, ("C1", "P1"))
        for _ in range(130):
            desk.advance(1)
        assert len(odoo.calls) == 3  # every minute
        told = [one for one in logs if one["event"].startswith("lookup.")]
        assert [(one["event"], one["log_level"]) for one in told] == [("lookup.held", "error")]
        assert told[0]["todo"] == "make a new key" and "odoo.login" in told[0]["why"]
        assert "odoo.login" in desk.engine.channels["adt"].status()["why"]
        assert desk.rows("SELECT state FROM message") == [("RECEIVED",)]
        odoo.fault = None
        desk.advance(60)
        assert destinations["out"].effects == ["C1"]
        desk.stop()


def test_who_waits_is_not_at_work_when_the_engine_dies(tmp_path, odoo):
    """Deaths during an outage are not the doing of the messages that wait for its end."""
    with scripted() as destinations:
        desk = start(tmp_path, PARTNER % "")
        odoo.fault = OdooError("gone", result=Result.UNKNOWN, code="odoo.disconnected")
        receive(desk, ("C1", "P1"), ("C2", "P2"))
        for _ in range(4):
            desk.crash()
            desk.advance(3)
        assert desk.rows("SELECT state, attempts FROM message") == [("RECEIVED", 0)] * 2
        odoo.fault = None
        for _ in range(5):
            desk.advance(20)
        assert destinations["out"].effects == ["C1", "C2"]
        desk.stop()


def test_what_waits_goes_on_after_a_reload_that_mends_it(tmp_path, odoo):
    with scripted() as destinations:
        desk = start(tmp_path, PARTNER % "")
        odoo.fault = OdooError("wrong key", result=Result.CONFIG, code="odoo.login")
        receive(desk, ("C1", "P1"), ("C2", "P2"))
        text = CONFIG.format(step="", folder=tmp_path).replace("lookup: ", "set: {vars: {found: x}}")
        reload(desk, text)
        desk.settle()
        assert destinations["out"].effects == ["C1", "C2"]
        desk.advance(200)
        assert len(odoo.calls) == 1 and desk.engine.channels["adt"].status()["why"] == ""
        desk.stop()


def test_what_is_refused_for_good_is_an_error_of_the_message(tmp_path, odoo):
    with scripted():
        desk = start(tmp_path, PARTNER % "")
        odoo.fault = OdooError("no field ref", result=Result.PERMANENT, code="odoo.field")
        receive(desk, ("C1", "P1"))
        assert desk.rows("SELECT state, error_code FROM message") == [("ERROR", "odoo.field")]
        desk.stop()


def test_nothing_found(tmp_path, odoo):
    with scripted():
        desk = start(tmp_path, PARTNER % ", otherwise: error")
        receive(desk, ("C1", "X1"))
        assert desk.rows("SELECT state, error_code FROM message") == [("ERROR", "lookup.nothing")]
        desk.stop()


def test_sql(tmp_path):
    db = sqlite3.connect(tmp_path / "wards.db")
    db.execute("CREATE TABLE ward (code TEXT, name TEXT)")
    db.execute("INSERT INTO ward VALUES ('P1', 'One')")
    db.commit()
    step = (
        "{path: PID-24, value: name, connection: wards, query: 'SELECT name FROM ward WHERE code = :code',"
        " match: {code: \"{{ msg['PID-3.1'] }}\"}}"
    )
    with scripted():
        desk = start(tmp_path, step)
        receive(desk, ("C1", "P1"), ("C2", "P2'; DROP TABLE ward; --"))
        pipeline = desk.engine.channels["adt"].router.pipelines["adt"]
        (lookup,) = pipeline.lookups
        assert lookup.fetches == 1 and lookup.ask(("P1",)) == {"name": "One"}
        assert db.execute("SELECT count(*) FROM ward").fetchone() == (1,)
        desk.stop()
    fetch = build(tmp_path, step)
    (tmp_path / "wards.db").unlink()
    with pytest.raises(LookupDown):
        fetch([("P1",)])
    with pytest.raises(IsthmusError, match="refuses"):
        sqlite3.connect(tmp_path / "wards.db").execute("CREATE TABLE a (b)").connection.commit()
        fetch([("P1",)])


def build(tmp_path, text, connections=None):
    """The fetch of a step, called at once."""
    made = connections or {
        "wards": SqlConnection(url=f"sqlite:///{tmp_path}/wards.db"),
        "clinic": OdooConnection(url="sandbox:"),
    }
    context = BuildContext(connections=made)
    registry.get("transformer", "lookup").settings.model_validate(yaml.safe_load(text)).build(context)
    (lookup,) = context.cache["lookups"]

    def fetch(keys):
        found = []
        ensureDeferred(lookup.fetch(keys)).addBoth(found.append)
        if isinstance(found[0], dict):
            return found[0]
        return found[0].raiseException()

    return fetch


def test_odoo_itself(tmp_path):
    with scripted():
        desk = start(tmp_path, "{path: PID-24, " + (PARTNER % "").removeprefix("{var: found, "))
        client = desk.engine.builder.connections["clinic"].client(desk.reactor, tmp_path / "data")
        made = []
        rows = [{"name": "One", "ref": "P1"}, {"name": "Two", "ref": "P2"}]
        ensureDeferred(client.call("res.partner", "create", vals_list=rows)).addCallback(made.append)
        desk.settle()
        assert len(made[0]) == 2
        receive(desk, ("C1", "P1"), ("C2", "P2"), ("C3", "P3"))
        (lookup,) = desk.engine.channels["adt"].router.pipelines["adt"].lookups
        assert lookup.fetches == 1
        assert [lookup.ask((ref,))["name"] for ref in ("P1", "P2")] == ["One", "Two"] and lookup.ask(
            ("P3",)
        ) is None
        desk.stop()


def test_http():
    step = "{var: a, connection: terms, resource: /codes, pointer: /items/0, match: {code: \"{{ msg['PID-8'] }}\"}}"
    reactor = FlowReactor()
    terms = HttpConnection(url="http://127.0.0.1:8000/api", token="secret-token")
    context = BuildContext(connections={"terms": terms}, reactor=reactor)
    registry.get("transformer", "lookup").settings.model_validate(yaml.safe_load(step)).build(context)
    (lookup,) = context.cache["lookups"]

    def ask(status, body, key="F & M"):
        found = []
        ensureDeferred(lookup.fetch([(key,)])).addBoth(found.append)
        reactor.advance(0)
        assert reactor.tcpClients, found
        host, port, factory = reactor.tcpClients.pop()[:3]
        assert (host, port) == ("127.0.0.1", 8000)
        transport = StringTransportWithDisconnection()
        transport.protocol = factory.buildProtocol(None)
        transport.protocol.makeConnection(transport)
        asked = transport.value()
        assert asked.startswith(b"GET /api/codes?code=F+%26+M HTTP/1.1\r\n")
        assert b"Authorization: Bearer secret-token" in asked
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n"
        transport.protocol.dataReceived(head.encode() + body)
        return found[0] if isinstance(found[0], dict) else found[0].value

    assert ask(200, b'{"items": [{"name": "x"}]}') == {("F & M",): {"name": "x"}}
    assert ask(200, b'{"items": []}') == ask(404, b"") == {}
    for status in (401, 403, 429, 500, 503):
        down = ask(status, b"")
        assert isinstance(down, LookupDown) and down.held == (status in (401, 403))
    for status, body in ((400, b""), (302, b""), (200, b"<html>")):
        error = ask(status, body)
        assert isinstance(error, IsthmusError) and not isinstance(error, LookupDown)
    silent = []
    ensureDeferred(lookup.fetch([("F",)])).addErrback(lambda failure: silent.append(failure.value))
    reactor.advance(11)
    assert isinstance(silent[0], LookupDown)


@pytest.mark.parametrize(
    "text",
    [
        "{var: a, match: {x: 1}}",
        "{var: a, path: PID-3, table: sex, match: {code: 1}}",
        "{var: a, connection: c, table: t, match: {x: 1}}",
        "{var: a, connection: c, match: {}}",
        "{var: msg, table: t, match: {code: 1}}",
        "{path: PID-3, connection: c, model: m, match: {x: 1}}",
        "{var: a, connection: c, query: 'SELECT :b', match: {x: 1}}",
        "{var: a, connection: c, query: 'DELETE FROM t WHERE a = :x', match: {x: 1}}",
    ],
)
def test_bad_settings(text, tmp_path):
    with pytest.raises(ValidationError):
        build(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{var: a, connection: clinik, model: m, match: {x: 1}}", "clinic"),
        ("{var: a, connection: clinic, match: {x: 1}}", "missing"),
        ("{var: a, connection: clinic, model: m, query: 'SELECT :x', match: {x: 1}}", "not for"),
        ("{var: a, connection: clinic, model: m, match: {partner_id.ref: 1}}", "another record"),
        ("{var: a, connection: wards, model: m, match: {x: 1}}", "not for"),
        ("{var: a, table: nope, match: {code: 1}}", "no code table"),
    ],
)
def test_what_cannot_be_built(text, hint, tmp_path):
    with pytest.raises(ConfigError, match=hint):
        build(tmp_path, text)
