"""A desk beside a FHIR server, on one clock: requests of the engine reach it over a network of memory."""

from datetime import UTC, datetime, timedelta
from typing import Any

from desk import START, Desk
from fhir_server import FhirServer
from network import Network
from twisted.web.server import Site

PORT = 9000
CONNECTION = """
connections:
  ehr: {fhir: {base: "http://127.0.0.1:9000/fhir"}}
"""


def of(text, version):
    """The same channel and connection in this version."""
    text = text.replace("format: fhir", f"format: {{fhir: {{version: {version}}}}}")
    return text.replace('/fhir"}', f'/fhir", version: {version}}}')


class FhirDesk(Desk):
    """`server` outlives restarts of the engine."""

    def __init__(self, folder: Any, config: str, seed: int = 0) -> None:
        self.server = FhirServer(f"http://127.0.0.1:{PORT}/fhir", self.time)
        if "version: R5" in config:  # as the connection says
            self.server.version = "5.0.0"
        self.network: Network | None = None
        super().__init__(folder, config, seed)

    def time(self) -> datetime:
        """By the test's clock."""
        passed = self.reactor.seconds() if hasattr(self, "reactor") else 0  # before the first start
        return datetime.fromtimestamp(START / 1e6, UTC) + timedelta(seconds=passed)

    def settle(self) -> None:
        if self.network is None or self.network.reactor is not self.reactor:
            site = Site(self.server.resource(self.reactor), reactor=self.reactor)
            self.network = Network(self.reactor, {PORT: site})
        for _ in range(10_000):
            super().settle()
            if not self.network.move():
                return
        raise AssertionError("it never comes to rest")

    def until(self, what: Any, seconds: float = 600, step: float = 0.5) -> None:
        """Let time pass until `what()` is true."""
        for _ in range(int(seconds / step)):
            if what():
                return
            self.advance(step)
        raise AssertionError("waited in vain")
