"""A channel that registers, beside a server that keeps Subscriptions and tells of changes."""

from urllib.parse import urlsplit

import pytest
from desk import scripted
from fhir_desk import CONNECTION, FhirDesk
from fhir_subscriptions import Subscriptions
from web import answer, open_connection, request

SECRETS = "0123456789abcdef"
CHANNEL = """
channels:
  hook:
    format: {{fhir: {{version: {version}}}}}
    listener:
      fhir_subscription:
        port: 8080
        path: /fhir/hook
        connection: ehr
        subscribe: {{url: "{url}", {what}}}
        {more}
    destinations: {{out: {{scripted: {{name: out}}}}}}
"""
TOPIC = "topic: http://example.org/topic/patient, heartbeat: 60"


def config(what="criteria: Patient?", more="", url="http://127.0.0.1:8080/fhir/hook", version="R4"):
    connection = CONNECTION.replace('/fhir"}', f'/fhir", version: {version}}}')
    return connection + CHANNEL.format(what=what, more=more, url=url, version=version)


class Clinic(FhirDesk):
    """A desk beside a server that keeps Subscriptions."""

    def __init__(self, folder, text, how="hapi", prepare=None):
        self.how, self.prepare = how, prepare
        super().__init__(folder, text)

    def start(self):
        if not hasattr(self, "subscriptions"):
            self.subscriptions = Subscriptions(self.server, lambda: self.reactor, self.reach, self.how)
            if self.prepare is not None:
                self.prepare(self)
        super().start()

    def again(self):
        """A new engine, after the old one ended in order."""
        self.stop()
        self.elapsed = self.reactor.seconds()
        self.start()

    def reach(self, method, url, headers, body, done):
        """A request of the server to the listener."""
        path = urlsplit(url).path
        transport = open_connection(self)
        transport.protocol.dataReceived(request(body, headers, path, method))

        def look():
            if b"\r\n\r\n" in transport.value():
                done(answer(transport)[0])
            else:
                self.reactor.callLater(0.1, look)

        look()

    def there(self):
        return self.subscriptions.all()

    def one(self):
        (found,) = self.there()
        return found

    def status(self):
        return self.engine.channels["hook"].status()

    def active(self, number=1):
        def all_active():
            found = self.there()
            told = [one["status"] for one in self.status()["listener"]["subscriptions"]]
            return len(found) == number and told == ["active"] * number == [one["status"] for one in found]

        self.until(all_active, 3000)

    def writes(self):
        return [line for line in self.server.log if not line.startswith("GET") and "_search" not in line]

    def quiet(self, seconds=1000):
        """It goes on and writes nothing."""
        before = len(self.writes())
        for _ in range(int(seconds / 10)):
            self.advance(10)
        assert self.writes()[before:] == []


@pytest.fixture(name="make")
def make_clinic(tmp_path):
    """Clinics that are stopped at the end."""
    made = []
    with scripted() as destinations:

        def start(text=None, how="hapi", prepare=None):
            desk = Clinic(tmp_path, text or config(), how, prepare)
            desk.destinations = destinations
            made.append(desk)
            return desk

        yield start
        for desk in made:
            desk.stop()
