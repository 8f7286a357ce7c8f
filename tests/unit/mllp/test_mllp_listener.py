"""The listener on Twisted's memory reactor: order, back-pressure, time-outs, counts."""

import pytest
from mllp_desk import Desk
from structlog.testing import capture_logs
from twisted.internet.address import IPv4Address, IPv6Address

from engine.hl7.mllp import frame
from listeners.mllp_connection import TURN


def test_message_and_answer():
    desk = Desk()
    protocol, transport = desk.connect()
    protocol.dataReceived(frame(b"MSH|1"))
    (incoming,) = desk.channel.got
    assert (incoming.raw, incoming.peer, incoming.error) == (b"MSH|1", "127.0.0.1:40000", None)
    assert incoming.received_at > 1_700_000_000_000_000
    incoming.answer(b"MSA|AA")
    desk.turn()
    assert transport.value() == b"\x0bMSA|AA\x1c\r"


def test_answers_go_out_in_order_of_arrival_in_one_write():
    desk = Desk()
    protocol, transport = desk.connect()
    protocol.dataReceived(b"".join(frame(b"%d" % number) for number in range(5)))
    got = desk.channel.got
    got[2].answer(b"c")
    got[1].answer([b"b1", b"b2"])
    desk.turn()
    assert transport.writes == []
    got[0].answer(b"a")
    got[3].answer(None)
    desk.turn()
    assert transport.writes == [frame(b"a") + frame(b"b1") + frame(b"b2") + frame(b"c")]
    got[4].answer(b"e")
    desk.turn()
    assert transport.writes[1:] == [frame(b"e")]


def test_answering_twice_is_refused():
    desk = Desk()
    protocol, transport = desk.connect()
    protocol.dataReceived(frame(b"1"))
    desk.channel.got[0].answer(None)
    with pytest.raises(RuntimeError):
        desk.channel.got[0].answer(b"x")
    desk.turn()
    assert transport.value() == b""


def test_bad_frames_are_handed_over_and_counted():
    desk = Desk()
    protocol, _ = desk.connect()
    protocol.dataReceived(b"\x0bA" + frame(b"B") + frame(b""))
    assert [got.error and got.error.code for got in desk.channel.got] == ["mllp.unclosed", None, "mllp.empty"]
    status = desk.listener.status()
    assert (status["frames"], status["bad_frames"], status["in_flight"]) == (3, 2, 3)


def test_a_thousand_messages_in_one_segment_then_reading_stops_until_half_is_answered():
    desk = Desk(max_in_flight=10)
    protocol, transport = desk.connect()
    protocol.dataReceived(b"".join(frame(b"%d" % number) for number in range(1000)))
    assert len(desk.channel.got) == TURN and transport.producerState == "paused"
    desk.turn()
    assert desk.channel.raws == [b"%d" % number for number in range(1000)]
    assert transport.producerState == "paused"
    for incoming in desk.channel.got[:994]:
        incoming.answer(b"a")
    desk.turn()
    assert transport.producerState == "paused"  # 6 left
    desk.channel.got[994].answer(b"a")
    desk.turn()
    assert transport.producerState == "producing"
    assert transport.value() == frame(b"a") * 995


def test_nobody_waits_for_a_peer_that_sends_thousands_of_frames_at_once():
    desk = Desk(max_in_flight=100_000)
    hostile, transport = desk.connect()
    other, _ = desk.connect()
    hostile.dataReceived(b"\x0ba" * 1000 + frame(b"last"))
    other.dataReceived(frame(b"other"))
    assert desk.channel.raws == [b"a"] * TURN + [b"other"]
    assert transport.producerState == "paused", "nothing more is read before all is handed over"
    desk.listener.pause()
    desk.turn()
    assert desk.channel.raws[-1] == b"last" and len(desk.channel.got) == 1002
    assert transport.producerState == "paused"
    desk.listener.resume()
    assert transport.producerState == "producing"


@pytest.mark.parametrize("how", ["half", "lost", "stopped"])
def test_thousands_of_frames_and_the_end_of_the_connection(how):
    """Who sends and goes away loses nothing, and is answered where that is possible."""
    desk = Desk()
    protocol, transport = desk.connect()
    protocol.dataReceived(frame(b"1") * 1000 + b"\x0b2")
    desk.channel.got[0].answer(b"a")
    if how == "half":
        protocol.readConnectionLost()
    elif how == "lost":
        desk.lose(protocol)
    else:
        desk.listener.stop()
    desk.turn()
    unfinished = [b"2"] if how != "stopped" else []
    assert desk.channel.raws == [b"1"] * 1000 + unfinished
    for incoming in desk.channel.got[1:]:
        incoming.answer(b"a")
    desk.turn()
    sent = 0 if how == "lost" else 1000 + len(unfinished)
    assert transport.value() == frame(b"a") * sent
    assert transport.disconnecting == (how != "lost")


def test_what_an_aborted_connection_did_not_hand_over_is_not_taken():
    desk = Desk()
    protocol, _ = desk.connect()
    protocol.dataReceived(frame(b"1") * 1000)
    desk.listener.stop()
    desk.listener.close()
    desk.lose(protocol)
    desk.turn()
    assert len(desk.channel.got) == TURN, "nothing of the rest was acknowledged: it will come again"


def test_reading_goes_on_only_when_no_reason_is_left():
    desk = Desk(max_in_flight=1)
    protocol, transport = desk.connect()
    desk.listener.pause()
    assert transport.producerState == "paused"
    protocol.dataReceived(frame(b"1"))  # was in hand
    protocol.pauseProducing()  # the peer does not read its answers
    desk.listener.resume()
    assert transport.producerState == "paused"
    desk.channel.got[0].answer(b"a")
    desk.turn()
    assert transport.producerState == "paused"
    protocol.resumeProducing()
    assert transport.producerState == "producing"


def test_connections_that_come_while_paused_are_not_read():
    desk = Desk()
    desk.listener.pause()
    _, transport = desk.connect()
    assert transport.producerState == "paused"
    desk.listener.resume()
    assert transport.producerState == "producing"


def test_fs_and_silence_end_a_frame():
    desk = Desk()
    protocol, _ = desk.connect()
    protocol.dataReceived(b"\x0bA\x1c")
    desk.turn(0.4)
    assert desk.channel.got == []
    desk.turn(0.2)
    assert desk.channel.raws == [b"A"]
    assert desk.channel.got[0].error is None


def test_junk_and_silence_are_answered():
    desk = Desk()
    protocol, transport = desk.connect()
    protocol.dataReceived(b"MSH|^~\\&|no frame\r")
    desk.turn(0.6)
    assert desk.channel.got[0].error.code == "mllp.unframed"
    desk.channel.got[0].answer(b"AR")
    desk.turn()
    assert transport.value() == frame(b"AR")
    assert not transport.disconnecting


def test_unfinished_frame_is_answered_and_closed_after_its_silence():
    desk = Desk(frame_timeout=60)
    protocol, transport = desk.connect()
    protocol.dataReceived(b"\x0bA")
    desk.turn(59)
    protocol.dataReceived(b"B")
    desk.turn(59)
    assert desk.channel.got == []
    with capture_logs() as logs:
        desk.turn(2)
    assert [log["event"] for log in logs] == ["mllp.frame_timeout"]
    assert (desk.channel.got[0].raw, desk.channel.got[0].error.code) == (b"AB", "mllp.truncated")
    assert not transport.disconnecting
    desk.channel.got[0].answer(b"AR")
    desk.turn()
    assert transport.value() == frame(b"AR")
    assert transport.disconnecting


def test_time_without_reading_does_not_count():
    desk = Desk(frame_timeout=60)
    protocol, transport = desk.connect()
    protocol.dataReceived(b"\x0bA\x1c")
    desk.listener.pause()
    desk.turn(1000)
    assert desk.channel.got == []
    desk.listener.resume()
    desk.turn(0.4)
    assert desk.channel.got == []
    protocol.dataReceived(b"x\x1c\r")  # waited in the kernel
    assert desk.channel.raws == [b"A\x1cx"]
    assert not transport.disconnecting


@pytest.mark.parametrize("idle_timeout", [0, 30])
def test_idle_connections_are_closed_only_when_asked_for(idle_timeout):
    desk = Desk(idle_timeout=idle_timeout)
    protocol, transport = desk.connect()
    desk.turn(20)
    protocol.dataReceived(frame(b"1"))
    desk.turn(20)
    assert not transport.disconnecting
    desk.turn(100)  # an answer is due: not idle
    assert not transport.disconnecting
    desk.channel.got[0].answer(b"a")
    desk.turn()
    desk.turn(40)
    assert transport.disconnecting is bool(idle_timeout)


def test_a_connection_that_does_not_close_is_aborted():
    desk = Desk(frame_timeout=60)
    _, transport = desk.connect()
    desk.listener.stop()
    desk.turn(59)
    assert not transport.aborted
    desk.turn(2)
    assert transport.aborted


def test_max_connections_refuses_counts_and_logs():
    desk = Desk(max_connections=2)
    first, _ = desk.connect()
    desk.connect()
    with capture_logs() as logs:
        _, third = desk.connect()
    assert third.aborted
    assert (logs[0]["event"], logs[0]["log_level"], logs[0]["peer"]) == (
        "mllp.refused",
        "warning",
        "127.0.0.1:40000",
    )
    assert (desk.listener.status()["refused"], desk.listener.status()["connections"]) == (1, 2)
    desk.lose(first)
    _, fourth = desk.connect()
    assert not fourth.aborted


@pytest.mark.parametrize(
    ("host", "kind", "welcome"),
    [
        ("10.1.2.3", IPv4Address, True),
        ("10.2.2.3", IPv4Address, False),
        ("::ffff:10.1.9.9", IPv6Address, True),
        ("fe80::1%eth0", IPv6Address, False),
        ("2001:db8::7", IPv6Address, True),
    ],
)
def test_allow(host, kind, welcome):
    desk = Desk(allow=["10.1.0.0/16", "2001:db8::/32"])
    with capture_logs() as logs:
        _, transport = desk.connect(host, kind)
    assert transport.aborted is not welcome
    assert len(logs) == (not welcome)


def test_half_close_is_answered_then_closed():
    desk = Desk()
    protocol, transport = desk.connect()
    protocol.dataReceived(frame(b"1") + b"\x0b2\x1c")
    protocol.readConnectionLost()
    assert desk.channel.raws == [b"1", b"2"]
    assert not transport.disconnecting
    for incoming in desk.channel.got:
        incoming.answer(b"a")
    desk.turn()
    assert transport.value() == frame(b"a") * 2
    assert transport.disconnecting


def test_lost_connection_drops_and_counts_answers_and_hands_over_the_rest():
    desk = Desk()
    protocol, transport = desk.connect()
    protocol.dataReceived(frame(b"1") + frame(b"2") + frame(b"3") + b"\x0b4")
    desk.channel.got[1].answer(b"a")
    desk.lose(protocol)
    assert desk.channel.raws == [b"1", b"2", b"3", b"4"]
    assert desk.channel.got[3].error.code == "mllp.truncated"
    desk.channel.got[0].answer(b"a")
    desk.channel.got[2].answer(None)
    desk.channel.got[3].answer(b"a")
    desk.turn()
    assert transport.value() == b""
    assert desk.listener.status()["dropped_answers"] == 3
    assert desk.listener.status()["in_flight"] == 0


def test_stop_lets_due_answers_out_and_reads_no_more():
    desk = Desk()
    busy, transport = desk.connect()
    _, idle = desk.connect()
    busy.dataReceived(frame(b"1") + b"\x0b2")
    done = []
    desk.listener.stop().addCallback(done.append)
    assert idle.disconnecting
    assert transport.producerState == "paused"
    busy.dataReceived(b"\x1c\r" + frame(b"3"))
    assert desk.channel.raws == [b"1"]
    assert not transport.disconnecting
    desk.channel.got[0].answer(b"a")
    desk.turn()
    assert transport.value() == frame(b"a")
    assert transport.disconnecting
    assert not done
    for protocol in list(desk.listener.connections):
        desk.lose(protocol)
    assert done == [None]
    assert desk.channel.raws == [b"1"]  # the unfinished one was never acknowledged: it will come again
    assert desk.reactor.getDelayedCalls() == []


def test_close_aborts_what_is_left():
    desk = Desk()
    protocol, transport = desk.connect()
    protocol.dataReceived(frame(b"1"))
    desk.listener.stop()
    done = []
    desk.listener.close().addCallback(done.append)
    assert transport.aborted
    desk.lose(protocol)
    assert done == [None]


def test_a_channel_that_raises_gets_no_more_and_nothing_is_answered():
    desk = Desk()
    protocol, transport = desk.connect()

    def fail(incoming):
        raise OSError("disk")

    desk.channel.receive = fail
    with pytest.raises(OSError, match="disk"):
        protocol.dataReceived(frame(b"1") + frame(b"2"))
    assert transport.aborted
    assert desk.listener.frames == 1
    assert transport.value() == b""


def test_status_names_the_silent_first():
    desk = Desk()
    desk.connect("127.0.0.1")
    desk.turn(5)
    protocol, _ = desk.connect("127.0.0.2")
    desk.turn(5)
    protocol.dataReceived(frame(b"1"))
    assert desk.listener.status()["peers"] == [
        {"peer": "127.0.0.1:40000", "idle_s": 10.0, "in_flight": 0},
        {"peer": "127.0.0.2:40000", "idle_s": 0.0, "in_flight": 1},
    ]
