"""A process that is killed at a named point: C1, C2 and C3 under load on a real reactor.

Writes one line to standard output for everything whose `done` was called: `c1 ID`, `c2 ID`, `c3 ID`.
"""

import os
import sys
from pathlib import Path

from twisted.internet import reactor

from engine.security.keyring import open_keyring
from engine.store import deliveries, messages
from engine.store.store import open_store

MESSAGES = 600
AT_ONCE = 20


def main(folder: Path) -> None:
    store = open_store(folder, open_keyring(folder), reactor=reactor)
    writer = store.writer
    numbers = iter(range(MESSAGES))
    left = [MESSAGES]

    def say(line: str) -> None:
        os.write(1, f"{line}\n".encode())

    def start() -> None:
        n = next(numbers, None)
        if n is None:
            return
        new = messages.NewMessage("adt", b"message %d " % n * 50, n, control_id=str(n), ack=b"ack %d" % n)
        writer.submit(lambda tx: messages.receive(tx, new), received)

    def received(result: messages.Received, error: BaseException | None) -> None:
        assert error is None
        say(f"c1 {result.id}")
        start()
        to = [messages.NewDelivery("odoo", b"payload %d" % result.id)]
        done = messages.Routed(result.id, "TRANSFORMED", 1, to)
        writer.submit(lambda tx: messages.route(tx, done), lambda r, e: routed(result.id, r, e))

    def routed(message_id: int, result: bool, error: BaseException | None) -> None:
        assert result and error is None
        say(f"c2 {message_id}")
        done = deliveries.Delivered(message_id, "odoo", "SENT", 2, request=b"asked %d" % message_id)
        writer.submit(lambda tx: deliveries.deliver(tx, done), lambda r, e: delivered(message_id, r, e))

    def delivered(message_id: int, result: bool, error: BaseException | None) -> None:
        assert result and error is None
        say(f"c3 {message_id}")
        left[0] -= 1
        if not left[0]:
            store.close().addCallback(lambda _: reactor.stop())

    for _ in range(AT_ONCE):
        reactor.callWhenRunning(start)
    reactor.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
