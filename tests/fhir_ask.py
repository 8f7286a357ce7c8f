"""A FHIR server for tests on a real port, and questions to any server, each in a process of its own.

python tests/fhir_ask.py serve                     the server with a state of `fhir_server`; prints its base
python tests/fhir_ask.py find BASE TYPE QUERY      prints the resources that a search finds, as JSON

The login of `find` is FHIR_AUTH, the `auth` of a connection in YAML.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import yaml
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react
from twisted.web.server import Site

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


async def find(reactor: Any, base: str, kind: str, query: str) -> None:
    """Print what a search finds."""
    from engine.fhirserver.connection import FhirConnection

    auth = yaml.safe_load(os.environ.get("FHIR_AUTH") or "{}")
    settings = {"base": base, **({"auth": auth} if auth else {})}
    client = FhirConnection.model_validate(settings).client(reactor)
    found = [one async for page in client.search(kind, parse_qsl(query)) for one in page.matches]
    print(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        react(lambda reactor: ensureDeferred(find(reactor, *sys.argv[2:])))
