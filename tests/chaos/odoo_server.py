"""The Odoo stand-in as a process that misbehaves on command, and writes down in which order things took effect.

    python odoo_server.py PORT FOLDER

`FOLDER/mode.json` says how it behaves; it is read again whenever it changes, and `FOLDER/applied.json` is a copy
of what is in force. Every change of a partner's phone is logged by a trigger of the database, in the transaction
that makes it, so the log is the order of effects and nothing else.

| mode | what a caller meets |
|---|---|
| `{}` | Odoo, well |
| `{"down": true}` | nobody listens |
| `{"flap": S}` | S seconds up, S seconds down, and so on |
| `{"fault": NAME, "delay": S, "share": P}` | that fault, with that delay, for that share of the calls (all) |
| `{"mix": {NAME: P, ...}, "delay": S}` | each fault with its probability, each call with a random delay up to S |
| `{"refuse": REF}` | every row with this `ref` is refused by a rule of the database |
| `{"key": KEY}` | the API key is this one |
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from twisted.internet import reactor as installed
from twisted.internet.task import LoopingCall
from twisted.web.server import NOT_DONE_YET, Site

from engine.odoo.sandbox import Sandbox
from engine.odoo.sandbox.server import Fault, SandboxResource

reactor: Any = installed
HTML = {"Content-Type": "text/html; charset=utf-8"}
JSON = {"Content-Type": "application/json; charset=utf-8"}
LOG = """
CREATE TABLE IF NOT EXISTS effect (n INTEGER PRIMARY KEY AUTOINCREMENT, ref TEXT, phone TEXT);
CREATE TRIGGER IF NOT EXISTS effect_new AFTER INSERT ON res_partner WHEN NEW.phone IS NOT NULL
  BEGIN INSERT INTO effect (ref, phone) VALUES (NEW.ref, NEW.phone); END;
CREATE TRIGGER IF NOT EXISTS effect_change AFTER UPDATE OF phone ON res_partner WHEN NEW.phone IS NOT OLD.phone
  BEGIN INSERT INTO effect (ref, phone) VALUES (NEW.ref, NEW.phone); END;
CREATE TABLE IF NOT EXISTS refused (ref TEXT);
CREATE TRIGGER IF NOT EXISTS refuse BEFORE INSERT ON res_partner WHEN NEW.ref IN (SELECT ref FROM refused)
  BEGIN SELECT RAISE(ABORT, 'refused by a rule'); END;
"""


@dataclass(frozen=True)
class Trouble(Fault):
    """`silent`: no answer ever. `answer`: that answer in place of the true one, after the request was done."""

    silent: bool = False
    answer: tuple[int, dict[str, str], bytes] | None = None


FAULTS: dict[str, dict[str, Any]] = {
    "none": {},
    "lost": {"lost": True},
    "drop": {"drop": True},
    "half": {"half": True},
    "silent": {"silent": True},
    "500": {"status": 500},
    "404": {"status": 404},
    "429": {"status": 429},
    "502": {"status": 502},
    "503": {"status": 503},
    "garbage": {"answer": (200, JSON, b'{"ids": [1, 2')},
    "page": {"answer": (200, HTML, b"<html><body>Maintenance</body></html>")},
    "empty": {"answer": (200, JSON, b"")},
    "null": {"answer": (200, JSON, b"null")},
    "late503": {"answer": (503, HTML, b"<html><body>busy</body></html>")},
}


class Resource(SandboxResource):
    """The sandbox with two faults more."""

    def render(self, request: Any) -> Any:
        fault = mode.next()
        self._faults = lambda _number, _path: fault
        if fault.silent:
            request.notifyFinish().addErrback(lambda _: None)
            return NOT_DONE_YET
        return super().render(request)

    def _send(self, request: Any, fault: Fault, answer: Any) -> int:
        replaced = getattr(fault, "answer", None)
        return super()._send(request, fault, replaced or answer)


class Mode:
    """What is in force."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port, self.folder = port, folder
        self.sandbox = Sandbox(folder / "odoo.db")
        self.sandbox.db.connection.executescript(LOG)
        self.site = Site(Resource(self.sandbox, reactor), reactor=reactor)
        self.site.displayTracebacks = False
        self.rng = random.Random(1)
        self.told: dict[str, Any] = {}
        self.seen = ""
        self.listening: Any = None
        self.flapping: Any = None
        self.busy = False

    def next(self) -> Trouble:
        """What goes wrong with the next request."""
        delay, name = float(self.told.get("delay", 0)), self.told.get("fault", "none")
        if "mix" in self.told:
            names = list(self.told["mix"])
            weights = list(self.told["mix"].values())
            name = self.rng.choices(["none", *names], [max(0.0, 1 - sum(weights)), *weights])[0]
            delay *= self.rng.random()
        elif self.rng.random() >= float(self.told.get("share", 1)):
            name = "none"
        return Trouble(delay=delay, **FAULTS[name])

    async def look(self) -> None:
        """Is there a new mode?"""
        file = self.folder / "mode.json"
        text = file.read_text() if file.exists() else "{}"
        if self.busy or text == self.seen:
            return
        self.busy = True
        self.seen, self.told = text, json.loads(text)
        self.sandbox._key = self.told.get("key", "sandbox")
        run = self.sandbox.db.connection.execute
        run("DELETE FROM refused")
        run("INSERT INTO refused SELECT ?1 WHERE ?1 IS NOT NULL", (self.told.get("refuse"),))
        if self.flapping is not None:
            self.flapping.stop()
            self.flapping = None
        await self.listen(not self.told.get("down"))
        if "flap" in self.told:
            self.flapping = LoopingCall(lambda: self.listen(self.listening is None))
            self.flapping.start(float(self.told["flap"]), now=False)
        temporary = self.folder / "applied.new"
        temporary.write_text(text)
        temporary.replace(self.folder / "applied.json")
        self.busy = False

    async def listen(self, wanted: bool) -> None:
        """Open or close the port."""
        if wanted and self.listening is None:
            self.listening = reactor.listenTCP(self.port, self.site, interface="127.0.0.1")
        elif not wanted and self.listening is not None:
            port, self.listening = self.listening, None
            await port.stopListening()


if __name__ == "__main__":
    from twisted.internet.defer import Deferred

    mode = Mode(int(sys.argv[1]), Path(sys.argv[2]))
    LoopingCall(lambda: Deferred.fromCoroutine(mode.look())).start(0.02)
    reactor.run()
