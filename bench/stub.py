"""An Odoo that costs nearly nothing: `load`, `search_read` and `read` of JSON-2, kept in memory.

    python -m bench.stub [--port P]

For measuring the way to Odoo without Odoo. It keeps what `load` brings, so that lookups and comparisons answer
as they would. Prints `ready PORT`; `GET /bench` tells how many rows and calls came.
"""

from __future__ import annotations

import argparse
import gc
from typing import Any

import orjson
from twisted.internet import reactor as installed
from twisted.internet.protocol import Factory, Protocol

reactor: Any = installed
VERSION = {"version": "19.0", "version_info": [19, 0, 0, "final", 0, ""]}
FIELDS = (
    "name", "ref", "street", "street2", "city", "zip", "phone", "mobile", "email", "website", "function",
    "comment", "vat", "barcode", "company_name", "lang", "tz", "company_registry",
)  # fmt: skip


class Records:
    """External ids and values of all models."""

    def __init__(self) -> None:
        self.xids: dict[str, tuple[str, int]] = {}
        self.values: dict[int, dict[str, Any]] = {}
        self.calls = self.rows = 0

    def answer(self, model: str, method: str, body: dict[str, Any]) -> Any:
        """What Odoo would say."""
        self.calls += 1
        if method == "load":
            return {
                "ids": [self.load(model, body["fields"], row) for row in body["data"]],
                "messages": [],
                "nextrow": 0,
            }
        if method == "read":
            known = (number for number in body["ids"] if number in self.values)
            return [
                {"id": number, **{name: self.values[number].get(name, False) for name in body["fields"]}}
                for number in known
            ]
        if method == "search_read" and model == "ir.model.data":
            return self.named(body["domain"])
        if method == "fields_get":
            return {
                name: {"type": "char", "string": name, "required": False, "readonly": False}
                for name in FIELDS
            }
        return [] if method == "search_read" else {}

    def load(self, model: str, fields: list[str], row: list[str]) -> int:
        """One row, new or known."""
        self.rows += 1
        xid = row[fields.index("id")]
        _, number = self.xids.setdefault(xid, (model, len(self.xids) + 1))
        self.values.setdefault(number, {}).update(zip(fields[1:], row[1:], strict=True))
        return number

    def named(self, domain: list[list[Any]]) -> list[dict[str, Any]]:
        """External ids by module and names."""
        terms = {field: value for field, _, value in domain}
        names = terms.get("name", [])
        found = []
        for number, name in enumerate([names] if isinstance(names, str) else names):
            record = self.xids.get(f"{terms.get('module')}.{name}")
            if record:
                found.append({"id": number, "name": name, "model": record[0], "res_id": record[1]})
        return found


class Server(Protocol):
    """One HTTP/1.1 connection."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.data = b""

    def dataReceived(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.data) < end + 4 + length:
                return
            path = self.data.split(b" ", 2)[1].decode()
            body = self.data[end + 4 : end + 4 + length]
            self.data = self.data[end + 4 + length :]
            self.answer(path, body, b"connection: close" in head)

    def answer(self, path: str, body: bytes, close: bool) -> None:
        """One response."""
        parts = path.split("/")
        if path == "/bench":
            value: Any = {"rows": self.records.rows, "calls": self.records.calls}
        elif parts[1:2] == ["json"]:
            value = self.records.answer(parts[3], parts[4], orjson.loads(body))
        else:
            value = VERSION
        data = orjson.dumps(value)
        transport: Any = self.transport
        transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n%b\r\n%b"
            % (len(data), b"Connection: close\r\n" if close else b"", data)
        )
        if close:
            transport.loseConnection()


class _Factory(Factory):
    noisy = False

    def __init__(self) -> None:
        self.records = Records()

    def buildProtocol(self, addr: Any) -> Protocol:
        """A connection to the same records."""
        return Server(self.records)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="A stand-in for Odoo that costs nearly nothing.")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    port = reactor.listenTCP(given.port, _Factory(), 512, "127.0.0.1")
    gc.freeze()
    print("ready", port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
