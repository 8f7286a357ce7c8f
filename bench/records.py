"""Patients into an Odoo: through the destination, in batches, beside one search and one write for each record.

ODOO_URL, ODOO_DB, ODOO_API_KEY (and ODOO_LOGIN for 16 to 18) name a server; without them it is the sandbox.
The keys of the records are new in every run, so that `new` is new.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
from pydantic import SecretStr
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from bench.processes import BenchError
from destinations.odoo import Odoo, OdooDestination
from engine.model import Delivery, Operation
from engine.odoo.client import OdooClient
from engine.odoo.connection import OdooConnection
from engine.spec.component import BuildContext
from engine.states import Result

Say = Callable[[str], None]


def run(folder: Path, count: int, single: int, say: Say = lambda line: None) -> dict[str, Any]:
    """`count` records in batches, `single` of them one by one. Records per second."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    outcome: list[Any] = []

    def finish(result: Any) -> None:
        outcome.append(result)
        reactor.stop()

    reactor.callWhenRunning(
        lambda: Deferred.fromCoroutine(_run(reactor, folder, count, single, say)).addBoth(finish)
    )
    reactor.run()
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    figures: dict[str, Any] = outcome[0]
    return figures


async def _run(reactor: Any, folder: Path, count: int, single: int, say: Say) -> dict[str, Any]:
    url = os.environ.get("ODOO_URL", "sandbox:")
    connection = OdooConnection(
        url=url,
        database=os.environ.get("ODOO_DB", "clinic"),
        api_key=SecretStr(os.environ.get("ODOO_API_KEY", "sandbox")),
        login=os.environ.get("ODOO_LOGIN", ""),
    )
    settings = Odoo(connection="odoo", operations=[{"upsert": "res.partner", "key": "k", "values": {}}])
    context = BuildContext(connections={"odoo": connection}, reactor=reactor, data_dir=folder)
    destination = settings.build(context)
    await destination.start()
    client = connection.client(reactor, folder)
    version = await client.version()
    mark = f"{time.time_ns() // 1_000_000:x}"
    say(f"Odoo {version[0]}.{version[1]} at {url}: {count} patients in batches of {destination.batch_size}")
    figures: dict[str, Any] = {"odoo": f"{version[0]}.{version[1]}", "url": url, "records": count}
    for name, phone in (("new", "555-0100"), ("unchanged", "555-0100"), ("changed", "555-0199")):
        took = await _timed(_deliver(destination, mark, count, phone))
        figures[f"{name}_per_s"] = round(count / took, 1)
        say(f"batched {name:10} {count / took:8.1f} records/s")
    for name, phone in (("new", "555-0100"), ("changed", "555-0199")):
        took = await _timed(_one_by_one(client, f"{mark}s", single, phone))
        figures[f"single_{name}_per_s"] = round(single / took, 1)
        say(f"one by one {name:7} {single / took:8.1f} records/s")
        figures[f"{name}_gain"] = round(figures[f"{name}_per_s"] * took / single, 1)
    return figures


async def _timed(work: Coroutine[Any, Any, None]) -> float:
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


def _values(mark: str, number: int, phone: str) -> dict[str, str]:
    return {
        "name": f"Bench{number} Patient",
        "ref": f"{mark}-{number}",
        "street": f"{number} Main Street",
        "city": "Springfield",
        "zip": f"{number % 99999:05}",
        "phone": phone,
        "email": f"p{number}@example.org",
    }


async def _deliver(destination: OdooDestination, mark: str, count: int, phone: str) -> None:
    for first in range(0, count, destination.batch_size):
        batch = [
            Delivery(
                number + 1,
                "odoo",
                (number,),
                msgspec.json.encode(
                    [
                        Operation(
                            "upsert", "res.partner", f"patient/{mark}/{number}", _values(mark, number, phone)
                        )
                    ]
                ),
            )
            for number in range(first, min(first + destination.batch_size, count))
        ]
        for one in await destination.deliver(batch):
            if one.result != Result.SENT:
                raise BenchError(f"a record was not written: {one.text}", code=one.code or "bench.odoo")


async def _one_by_one(client: OdooClient, mark: str, count: int, phone: str) -> None:
    """What most integrations do: search by a reference, then write or create."""
    for number in range(count):
        values = _values(mark, number, phone)
        found = await client.search_read("res.partner", [["ref", "=", values["ref"]]], ["id"], limit=1)
        if found:
            await client.call("res.partner", "write", [found[0]["id"]], vals=values)
        else:
            await client.call("res.partner", "create", vals_list=[values])
