"""A process that forwards messages. Arguments: settings of the destination and messages, as JSON.

Prints the outcomes as JSON: [[result, code, text, response], ...].
"""

import json
import sys

from twisted.internet import reactor

from destinations.mllp import Mllp
from engine.model import Delivery
from engine.spec.component import BuildContext

settings, messages = json.loads(sys.argv[1]), json.loads(sys.argv[2])
destination = Mllp(**settings).build(BuildContext(channel="test", reactor=reactor))


def show(outcomes):
    print(
        json.dumps([[out.result, out.code, out.text, out.response.decode()] for out in outcomes]), flush=True
    )
    return destination.stop()


def begin():
    destination.start()
    batch = [Delivery(number, "lab", (number,), raw.encode()) for number, raw in enumerate(messages)]
    done = destination.deliver(batch).addCallback(show)
    done.addErrback(lambda failure: print(failure, flush=True))
    done.addBoth(lambda _: reactor.stop())


reactor.callWhenRunning(begin)
reactor.run()
