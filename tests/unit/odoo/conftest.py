"""One Odoo for the contract tests: a real one where ODOO_URL names it, and the sandbox where it can be had.

ODOO_URL, ODOO_DB, ODOO_LOGIN, ODOO_API_KEY: the user needs the rights of docs/odoo.md.
"""

import http.client
import importlib.util
import os
import uuid
from urllib.parse import urlsplit

import msgspec
import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from engine.model import Delivery, Operation
from engine.odoo.client import OdooClient
from engine.odoo.errors import OdooError
from engine.odoo.transport import SandboxTransport
from engine.odoo.writer import Writer
from engine.states import Result

KINDS = []
if (
    importlib.util.find_spec("engine.odoo.sandbox.sandbox")
    or importlib.util.find_spec("engine.odoo.sandbox").origin
):
    KINDS.append("sandbox")
if os.environ.get("ODOO_URL"):
    KINDS.append("server")


class Blocking:
    """A transport that waits for the answer: a test needs no reactor then."""

    def __init__(self, url):
        self.parts = urlsplit(url)

    def request(self, method, path, headers, body):
        wire = http.client.HTTPConnection(self.parts.hostname, self.parts.port, timeout=60)
        try:
            wire.request(method, path, body, headers)
            answer = wire.getresponse()
            return succeed((answer.status, dict(answer.getheaders()), answer.read()))
        finally:
            wire.close()


class Cut:
    """Loses answers on their way back: what was asked is done, and the client does not know it."""

    def __init__(self, inner):
        self.inner = inner
        self.paths = []
        self.lose = lambda path, body: False

    def request(self, method, path, headers, body):
        self.paths.append((path, body))
        if not self.lose(path, body):
            return self.inner.request(method, path, headers, body)
        gone = OdooError("lost", result=Result.UNKNOWN, code="odoo.disconnected")
        return self.inner.request(method, path, headers, body).addCallback(lambda _: fail(gone))


class World:
    """A client, a writer, and keys that no other test has."""

    def __init__(self, kind, folder):
        self.clock = Clock()
        if kind == "sandbox":
            inner, names = (
                SandboxTransport.open(folder / "odoo.db", self.clock),
                ("clinic", "sandbox", "engine"),
            )
        else:
            inner = Blocking(os.environ["ODOO_URL"])
            names = tuple(os.environ[f"ODOO_{name}"] for name in ("DB", "API_KEY", "LOGIN"))
        self.wire = Cut(inner)
        self.client = OdooClient(self.wire, names[0], names[1], login=names[2])
        self.run_id = uuid.uuid4().hex[:10]
        self.module = "isthmus_test"

    def writer(self, **options):
        return Writer(self.client, self.clock.seconds, self.module, **options)

    def key(self, name):
        return f"{self.run_id}/{name}"

    def partner(self, label, **values):
        return Operation("upsert", "res.partner", self.key(label), values={"name": f"P {label}", **values})

    def event(self, label, **values):
        times = {"start": "2027-01-04 10:00:00", "stop": "2027-01-04 10:30:00", "user_id": None}
        return Operation(
            "upsert", "calendar.event", self.key(label), values={"name": label, **times, **values}
        )

    def merge(self, survivor, *retired, model="res.partner"):
        keys = [self.key(name) for name in retired]
        return Operation("merge", model, self.key(survivor), retired=keys)

    def wait(self, pending):
        """The result of a Deferred or coroutine."""
        got = []
        made = pending if isinstance(pending, Deferred) else Deferred.fromCoroutine(pending)
        made.addBoth(got.append)
        for _ in range(10_000):
            if got:
                break
            self.clock.advance(0)
        if hasattr(got[0], "raiseException"):
            got[0].raiseException()
        return got[0]

    def deliver(self, *payloads, writer=None, attempts=0):
        """Outcomes of deliveries, each given as a list of operations."""
        batch = [
            Delivery(number, "clinic", (number,), msgspec.json.encode(made), attempts)
            for number, made in enumerate(payloads)
        ]
        outcomes = self.wait((writer or self.writer()).deliver(batch))
        assert sorted(outcome.message_id for outcome in outcomes) == list(range(len(payloads)))
        return sorted(outcomes, key=lambda outcome: outcome.message_id)

    def results(self, outcome):
        return [item.get("result", item.get("error")) for item in msgspec.json.decode(outcome.response)]

    def find(self, model, domain, *fields):
        context = {"active_test": False}
        return self.wait(self.client.search_read(model, domain, list(fields), context=context))


@pytest.fixture(params=KINDS or [pytest.param("none", marks=pytest.mark.skip(reason="no Odoo to test with"))])
def odoo(request, tmp_path):
    return World(request.param, tmp_path)
