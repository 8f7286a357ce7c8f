"""A FHIR server for tests on a real port, and questions to any server, each in a process of its own.

python tests/fhir_ask.py serve                     the server with a state of `fhir_server`; prints its base
python tests/fhir_ask.py talk BASE                 a request for each line, JSON: [method, path, body, headers];
                                                   its answer, a line each: [status, body, code, result of the error]

The login of `talk` is FHIR_AUTH, the `auth` of a connection in YAML.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread
from twisted.web.server import Site

JSON = "application/fhir+json"
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]


def serve() -> None:
    """Serve until it is ended."""
    from fhir_server import FhirServer
    from fhir_subscriptions import Subscriptions, over_http
    from twisted.internet import reactor as installed

    reactor: Any = installed
    server = FhirServer()
    Subscriptions(server, lambda: reactor, over_http(reactor))
    port = reactor.listenTCP(0, Site(server.resource(reactor)), interface="127.0.0.1")
    server.base = f"http://127.0.0.1:{port.getHost().port}/fhir"
    print(server.base, flush=True)
    reactor.run()


async def talk(reactor: Any, base: str) -> None:
    """Requests of standard input, one after the other, until it ends."""
    from engine.fhirserver.connection import FhirConnection
    from engine.fhirserver.errors import FhirError

    auth = yaml.safe_load(os.environ.get("FHIR_AUTH") or "{}")
    settings = {"base": base, **({"auth": auth} if auth else {})}
    client = FhirConnection.model_validate(settings).client(reactor)
    while line := await deferToThread(sys.stdin.readline):
        method, path, body, headers = json.loads(line)
        data = b"" if body is None else json.dumps(body).encode()
        try:
            answer = await client.send(method, path, data, {"Content-Type": JSON, **headers}, harmless=False)
            told = [answer.status, json.loads(answer.body or b"null"), "", ""]
        except FhirError as error:
            told = [error.status, json.loads(error.body or b"null"), error.code, error.result]
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        react(lambda reactor: ensureDeferred(talk(reactor, sys.argv[2])))
