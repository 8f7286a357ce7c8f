"""An open store with short verbs, for the tests of this folder."""

from itertools import count
from pathlib import Path

from engine.security.keyring import open_keyring
from engine.store import deliveries, messages
from engine.store.store import open_store

START = 1_700_000_000_000_000


class Bench:
    """An open store with a synchronous writer, a clock that ticks a microsecond a look, and short verbs."""

    def __init__(self, folder: Path, **options):
        self.folder = folder
        ticks = count(START)
        self.keys = open_keyring(folder)
        self.store = open_store(folder, self.keys, now=lambda: next(ticks), **options)
        self.writer = self.store.writer
        self.reader = self.store.reader

    def call(self, function, *args, **options):
        return self.writer.call(lambda tx: function(tx, *args, **options))

    def receive(self, raw=b"MSH|^~\\&|A|B\rPID|1||1001\r", *, at=START, policy=None, **fields):
        fields = {"channel": "adt", "control_id": "", "sender": "A|B", "type": "ADT^A01", **fields}
        new = messages.NewMessage(raw=raw, received_at=at, **fields)
        return self.call(messages.receive, new, **(policy or {}))

    def route(self, message_id, *destinations, state="TRANSFORMED", payload=b'{"a":1}', **fields):
        to = [messages.NewDelivery(name, payload) for name in destinations]
        return self.call(messages.route, messages.Routed(message_id, state, START + 1, to, **fields))

    def deliver(self, message_id, destination="odoo", state="SENT", **fields):
        done = deliveries.Delivered(message_id, destination, state, START + 2, **fields)
        return self.call(deliveries.deliver, done)
