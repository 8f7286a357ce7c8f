"""A process with one MLLP listener. Argument: its settings as JSON. First line out: the port.

It answers a message with `A<message>`; `STATUS` with the listener's status, `RSS` with the resident memory in
KB, `STOP` with a stop of the listener (and `A…` before), after which the process ends.
"""

import json
import sys
from pathlib import Path

from twisted.internet import reactor

from engine.spec.component import BuildContext
from listeners.mllp import Mllp


def resident() -> int:
    lines = Path("/proc/self/status").read_text().split("\n")
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


class Answers:
    def receive(self, incoming):
        raw = incoming.raw
        if incoming.error is not None:
            incoming.answer(incoming.error.code.encode())
        elif raw == b"STATUS":
            incoming.answer(json.dumps(listener.status()).encode())
        elif raw == b"RSS":
            incoming.answer(str(resident()).encode())
        elif raw == b"STOP":
            reactor.callLater(0.05, incoming.answer, b"ASTOP")
            listener.stop().addCallback(lambda _: reactor.stop())
        else:
            incoming.answer(b"A" + raw)


listener = Mllp(**json.loads(sys.argv[1])).build(BuildContext(channel="test", reactor=reactor))
listener.start(Answers()).addCallback(lambda address: print(address.port, flush=True))
reactor.run()
