"""Makes compression dictionaries by itself: each kind of body of each channel gets one once there is enough to learn.

Guarantees: a dictionary is used only after the transaction that stores it is durable, so no body can ever need
one that was lost; training (a tenth of a second) is done in a thread with a connection of its own. Refuses to
keep a dictionary that does not pay (see `maintenance.train`), and tries again when four times as much has come;
to learn from a channel whose content is not kept. One that pays is made anew when ten times as much has come.
"""

from __future__ import annotations

from functools import partial
from threading import Thread
from typing import Any

from twisted.logger import Logger

from engine.store import maintenance
from engine.store.bodies import Kind
from engine.store.maintenance import SAMPLES, Trained
from engine.store.store import Store

MORE = 10  # times as many bodies as a dictionary was made of: messages have changed since
COUNTED_BY = {Kind.RAW: "received", Kind.PAYLOAD: "queued", Kind.EXCHANGE: "sent"}
Subject = tuple[str, Kind]  # channel, kind
log = Logger()


class Trainer:
    """Looks after the dictionaries of an open store; `look` is to be called now and then, on the reactor thread."""

    def __init__(self, store: Store, reactor: Any) -> None:
        self._store = store
        self._reactor = reactor
        self._at: dict[Subject, int] = {}  # how many bodies must have come before it is tried (again)
        self._busy = False
        self._closed = False

    def look(self) -> None:
        """Begin to train one dictionary, when one is due."""
        subject = None if self._busy or self._closed else self._due()
        if subject is not None:
            self._busy = True
            Thread(target=self._train, args=subject, name="isthmus-training", daemon=True).start()

    def close(self) -> None:
        """Begin no more."""
        self._closed = True

    def _due(self) -> tuple[str, Kind, int] | None:
        """What to train, and how many bodies of it have come."""
        reader = self._store.reader
        made: dict[Subject, int] = {
            (channel, kind): bodies
            for channel, kind, bodies in reader.rows(
                "SELECT channel, kind, max(bodies) FROM dictionary GROUP BY channel, kind"
            )
        }
        done: set[Subject] = set()
        for (name,) in reader.rows("SELECT name FROM setting WHERE name LIKE 'storage:%'"):
            done |= {(name.partition(":")[2], kind) for kind in COUNTED_BY}  # content is not to be kept there
        counted: dict[tuple[str, str], int] = {}
        for channel, name, value in reader.rows("SELECT channel, name, value FROM counter"):
            counted[channel, name] = counted.get((channel, name), 0) + value
        for (channel, name), value in counted.items():
            for kind, counter in COUNTED_BY.items():
                subject = channel, kind
                due = max(self._at.get(subject, SAMPLES), made.get(subject, 0) * MORE)
                if name == counter and subject not in done and value >= due:
                    self._at[subject] = value * 4
                    return *subject, value
        return None

    def _train(self, channel: str, kind: Kind, bodies: int) -> None:
        """In the thread."""
        trained = None
        try:
            reader = self._store.open_reader()
            try:
                trained = maintenance.train(reader, channel, kind)
            finally:
                reader.db.close()
        except Exception as error:  # the store says so itself where it matters
            log.warn("no dictionary was made: {kind}", kind=type(error).__name__)
        self._reactor.callFromThread(self._trained, trained, bodies)

    def _trained(self, trained: Trained | None, bodies: int) -> None:
        if trained is None or self._closed:
            self._busy = False
        else:
            self._store.writer.submit(partial(_save, trained, bodies), self._saved)

    def _saved(self, _: Any, error: BaseException | None) -> None:
        """It is durable: compress with it from the next transaction on."""
        if error is None:
            self._store.writer.submit(lambda tx: tx.codec.use_dictionaries())
        self._busy = False


def _save(trained: Trained, bodies: int, tx: Any) -> None:
    maintenance.save_dictionary(tx, trained, bodies)
