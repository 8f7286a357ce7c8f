"""The MLLP destination: outcomes by acknowledgement, time-outs, reconnects; and TLS in real processes."""

import json
import socket
import threading

import pytest
from twisted.internet import defer
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from destinations.mllp import Mllp, MllpClient, answers, judge
from engine.errors import DeliveryError
from engine.hl7.mllp import Framer, frame
from engine.model import Meta, Scope
from engine.spec.component import BuildContext

MESSAGE = "MSH|^~\\&|A|B|C|D|20260101||ADT^A01|{}|P|2.5\rPID|1||7\r"


def reply(code, control_id="1", err=""):
    return f"MSH|^~\\&|C|D|A|B|20260101||ACK|9|P|2.5\rMSA|{code}|{control_id}\r{err}".encode()


class Server:
    """A client endpoint whose other end is held by the test."""

    def __init__(self):
        self.transports = []
        self.protocols = []
        self.refuse = False

    def connect(self, factory):
        if self.refuse:
            return defer.fail(ConnectionRefusedError())
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        transport.aborted = False
        transport.abortConnection = lambda: setattr(transport, "aborted", True)
        protocol.makeConnection(transport)
        self.protocols.append(protocol)
        self.transports.append(transport)
        return defer.succeed(protocol)

    def got(self):
        found = [one.raw for one in Framer().feed(self.transports[-1].value())]
        self.transports[-1].clear()
        return found

    def say(self, data):
        self.protocols[-1].dataReceived(data)

    def hang_up(self):
        self.protocols[-1].connectionLost(Failure(ConnectionDone()))


class Desk:
    def __init__(self, **settings):
        self.clock = Clock()
        self.server = Server()
        self.client = MllpClient(self.clock, self.server, timeout=30, **settings)
        self.results = []

    def send(self, raw):
        at = len(self.results)
        self.results.append(None)
        self.client.send(raw).addBoth(lambda result: self.results.__setitem__(at, result))

    def failures(self):
        return [(one.value.result, one.value.code) for one in self.results if isinstance(one, Failure)]


def test_answers_are_matched_in_order_over_one_connection():
    desk = Desk()
    for raw in (b"1", b"2", b"3"):
        desk.send(raw)
    assert desk.server.got() == [b"1", b"2", b"3"]
    for byte in frame(b"a") + frame(b"b"):
        desk.server.say(bytes([byte]))
    assert desk.results == [b"a", b"b", None]
    desk.server.say(frame(b"c") + frame(b"stray"))
    assert desk.results == [b"a", b"b", b"c"]
    assert desk.client.strays == 1
    assert len(desk.server.transports) == 1
    assert desk.clock.getDelayedCalls() == []


def test_no_answer_is_unknown_and_closes_so_that_a_late_one_meets_nobody():
    desk = Desk()
    desk.send(b"1")
    desk.clock.advance(10)
    desk.send(b"2")
    desk.clock.advance(21)
    assert desk.failures() == [("unknown", "mllp.no_answer")] * 2
    assert desk.server.transports[0].aborted
    desk.send(b"3")
    assert len(desk.server.transports) == 2
    desk.server.protocols[0].dataReceived(frame(b"late"))
    desk.server.protocols[0].connectionLost(Failure(ConnectionDone()))
    assert desk.results[2] is None
    desk.server.say(frame(b"c"))
    assert desk.results[2] == b"c"


def test_connection_lost_after_sending_is_unknown_then_it_connects_again():
    desk = Desk()
    desk.send(b"1")
    desk.server.hang_up()
    assert desk.failures() == [("unknown", "mllp.lost")]
    assert not desk.client.connected
    desk.send(b"2")
    desk.server.say(frame(b"b"))
    assert desk.results[1] == b"b"
    assert desk.clock.getDelayedCalls() == []


def test_refused_is_retry():
    desk = Desk()
    desk.server.refuse = True
    desk.send(b"1")
    assert desk.failures() == [("retry", "mllp.connect")]


def test_before_tls_is_up_nothing_is_written():
    desk = Desk(secure=True)
    desk.send(b"1")
    desk.send(b"2")
    assert desk.server.transports[0].value() == b""
    desk.server.protocols[0].handshakeCompleted()
    assert desk.server.got() == [b"1", b"2"]
    desk.server.hang_up()
    assert desk.failures() == [("unknown", "mllp.lost")] * 2
    desk.send(b"3")
    desk.server.hang_up()
    desk.send(b"4")
    desk.clock.advance(31)
    assert desk.failures()[2:] == [("retry", "mllp.connect"), ("retry", "mllp.tls")]


def test_answer_that_ends_without_cr_is_taken_after_the_grace():
    desk = Desk()
    desk.send(b"1")
    desk.server.say(b"\x0ba\x1c")
    assert desk.results == [None]
    desk.clock.advance(0.6)
    assert desk.results == [b"a"]


def test_answer_that_ends_with_the_connection_counts():
    desk = Desk()
    desk.send(b"1")
    desk.send(b"2")
    desk.server.say(b"\x0ba\x1c")
    desk.server.hang_up()
    assert desk.results[0] == b"a"
    assert desk.failures() == [("unknown", "mllp.lost")]


def test_unreadable_answer_is_unknown():
    desk = Desk()
    desk.send(b"1")
    desk.server.say(b"junk" + frame(b"a"))
    assert desk.failures() == [("unknown", "mllp.bad_answer")]


@pytest.mark.parametrize("raw", [b"", b"a\x0bb", b"a\x1c\rb"])
def test_what_cannot_be_framed_is_not_sent(raw):
    desk = Desk()
    desk.send(raw)
    assert desk.failures() == [("permanent", "mllp.unframeable")]
    assert desk.server.transports == []


def test_close_tells_who_waits():
    desk = Desk()
    desk.send(b"1")
    closed = []
    desk.client.close().addCallback(closed.append)
    assert desk.failures() == [("unknown", "mllp.lost")]
    assert not closed
    desk.server.hang_up()
    assert closed == [None]


@pytest.mark.parametrize(
    ("answer", "retry_on", "result", "code"),
    [
        (reply("AA"), [], "sent", ""),
        (reply("CA"), [], "sent", ""),
        (reply("AE"), [], "permanent", "mllp.ack_ae"),
        (reply("CE"), [], "permanent", "mllp.ack_ce"),
        (reply("AE"), ["AE"], "retry", "mllp.ack_ae"),
        (reply("AE", err="ERR|||207\r"), [], "permanent", "mllp.ack_ae"),
        (reply("AR"), [], "permanent", "mllp.ack_ar"),
        (reply("AR", err="ERR||PID^1^3|101^x^HL70357|E\r"), [], "permanent", "mllp.ack_ar"),
        (reply("AR", err="ERR|||207^x^HL70357|E\r"), [], "retry", "mllp.ack_ar"),
        (reply("CR", err="ERR|||101|E\rERR|||206|E\r"), [], "retry", "mllp.ack_cr"),
        (reply("AR", err="ERR|PID^1^3^207&Application internal error&HL70357\r"), [], "retry", "mllp.ack_ar"),
        (reply("ZZ"), [], "unknown", "mllp.not_an_ack"),
        (b"hello", [], "unknown", None),
    ],
)
def test_outcome_by_acknowledgement(answer, retry_on, result, code):
    outcome = judge(7, answer, retry_on)
    assert (outcome.message_id, outcome.result) == (7, result)
    assert outcome.response == answer
    assert code is None or outcome.code == code


def test_text_of_the_outcome_never_repeats_what_the_receiver_wrote():
    outcome = judge(7, reply("AE", err="ERR||PID^1^5|101|E|||Jane Doe unknown|Jane Doe\r"), [])
    assert outcome.text == "the receiver answered AE, 101 Required field missing"
    assert outcome.place == "PID^1^5"
    assert judge(7, reply("AE", err="ERR||Jane Doe|x|E\r"), []).place == ""


def test_an_answer_belongs_to_its_control_id():
    message = MESSAGE.format(1).encode()
    assert answers(message, reply("AA", "1"))
    assert not answers(message, reply("AA", "2"))
    assert not answers(message, reply("AA", ""))
    assert answers(message, reply("AR", ""))


def test_an_application_ack_after_the_commit_ack_is_not_taken_for_the_next_message():
    desk = Desk(accepts=answers)
    desk.send(MESSAGE.format(1).encode())
    desk.server.say(frame(reply("CA", "1")))
    desk.send(MESSAGE.format(2).encode())
    desk.server.say(frame(reply("AE", "1")) + frame(reply("CA", "2")))
    assert desk.results == [reply("CA", "1"), reply("CA", "2")]
    assert desk.client.strays == 1


def test_render_prefers_the_text():
    destination = Mllp(host="127.0.0.1", port=1, in_flight=5).build(BuildContext(reactor=Clock()))
    scope = Scope(MESSAGE.encode(), Meta())
    assert destination.render(scope) == MESSAGE.encode()
    scope.text = "MSH|é"
    assert destination.render(scope) == b"MSH|\xc3\xa9"
    assert (destination.batch_size, destination.in_flight) == (5, 1)


class Receiver(threading.Thread):
    """A plain blocking MLLP server: acknowledges with the codes given, then closes."""

    def __init__(self, codes):
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(10)
        self.port = self.socket.getsockname()[1]
        self.codes = list(codes)
        self.start()

    def run(self):
        framer = Framer()
        with self.socket, self.socket.accept()[0] as peer:
            while self.codes:
                for found in framer.feed(peer.recv(65536)):
                    control_id = found.raw.split(b"|")[9].decode()
                    peer.sendall(frame(reply(self.codes.pop(0), control_id)))


def forward(run, settings, count=1):
    messages = [MESSAGE.format(number) for number in range(count)]
    process = run("forward.py", json.dumps(settings), json.dumps(messages))
    out, err = process.communicate(timeout=20)
    assert out, err
    return [(result, code, text) for result, code, text, _ in json.loads(out)]


def test_real_connection(run):
    receiver = Receiver(["AA", "AE", "CA"])
    found = forward(run, {"host": "127.0.0.1", "port": receiver.port}, 3)
    receiver.join(10)
    assert [result for result, *_ in found] == ["sent", "permanent", "sent"]


def test_real_refusal(run):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ((result, code, text),) = forward(run, {"host": "127.0.0.1", "port": port})
    assert (result, code) == ("retry", "mllp.connect")
    assert "refused" in text


def test_real_tls(run, authority, stranger):
    certificate, key = authority.issue("server")
    mine, my_key = authority.issue("client")
    ca = str(authority.folder / "ca.pem")
    identity = {"ca": ca, "certificate": mine, "key": my_key}
    server = run(
        "serve.py", json.dumps({"port": 0, "tls": {"certificate": certificate, "key": key, "client_ca": ca}})
    )
    port = int(server.stdout.readline())

    def outcome(host="127.0.0.1", **tls):
        ((result, code, text),) = forward(run, {"host": host, "port": port, "tls": tls, "timeout": 5})
        return result, code, text

    # serve.py answers with A<message>: no acknowledgement, but it came back over TLS
    assert outcome(**identity)[:2] == ("unknown", "mllp.not_an_ack")
    assert outcome(**identity, server_name="localhost")[:2] == ("unknown", "mllp.not_an_ack")
    result, code, text = outcome(ca=str(stranger.folder / "stranger.pem"))
    assert (result, code) == ("retry", "mllp.connect")
    assert "certificate verify failed" in text
    assert outcome(**identity, server_name="other.example")[:2] == ("retry", "mllp.connect")
    assert outcome(ca=ca)[0] in {"retry", "unknown"}  # no client certificate: refused, never sent


def test_errors_are_delivery_errors():
    failures = []
    Desk().client.send(b"").addErrback(failures.append)
    assert failures[0].check(DeliveryError)
