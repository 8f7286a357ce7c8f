"""A listener is edited under a running engine: that port alone moves, or none does."""

from __future__ import annotations

import pytest
from reloading import TWO, make_desk, reload  # noqa: F401
from twisted.internet.error import CannotListenError


def ports(desk):
    """The ports that are open."""
    return {name: channel.listener.port.opened for name, channel in desk.engine.channels.items()}


def test_a_listener_moves_alone(make):
    desk, _ = make()
    old = desk.engine.channels["adt"].listener
    siu = desk.engine.channels["siu"].listener
    assert reload(desk, TWO.replace("2575", "2580"))["changes"] == {"adt": ["listener"]}
    channel = desk.engine.channels["adt"]
    assert channel.listener is not old and channel.listener.port.opened and not old.port.opened
    assert not channel.listener.paused and desk.engine.channels["siu"].listener is siu
    assert reload(desk, TWO.replace("port: 2575", "port: 2580, max_connections: 3"))["taken"]
    assert desk.engine.channels["adt"].listener.settings.max_connections == 3


def test_two_channels_change_places(make):
    desk, _ = make()
    swapped = TWO.replace("2575", "x").replace("2576", "2575").replace("x", "2576")
    assert reload(desk, swapped)["taken"]
    assert [c.listener.settings.port for c in desk.engine.channels.values()] == [2576, 2575]
    assert all(ports(desk).values())


@pytest.mark.parametrize("port", [2590, 2576])
def test_a_port_that_cannot_be_opened_leaves_every_port_as_it_was(make, monkeypatch, port):
    desk, _ = make()
    listen = desk.reactor.listenTCP
    third = f"  lab:\n    listener: {{mllp: {{port: {port}, max_connections: 9}}}}\n"
    edited = TWO.replace("2575", "2580") + third
    if port == 2576:  # it is given up by siu, and nobody gets it
        edited = edited.replace(
            "siu:\n    listener: {mllp: {port: 2576}}", "siu:\n    listener: {mllp: {port: 2591}}"
        )

    def taken(number, factory, *rest, **more):
        if number == port and factory._listener.settings.max_connections == 9:
            raise CannotListenError("", number, OSError(98, "Address already in use"))
        return listen(number, factory, *rest, **more)

    monkeypatch.setattr(desk.reactor, "listenTCP", taken)
    before = {name: channel.listener for name, channel in desk.engine.channels.items()}
    told = reload(desk, edited)
    assert not told["taken"] and f"port {port}" in told["problems"][0]
    assert {name: channel.listener for name, channel in desk.engine.channels.items()} == before
    assert all(ports(desk).values()) and not any(listener.paused for listener in before.values())
    desk.send(("a1", "A"))
    assert desk.states()["a1"] == "SENT"


def test_a_paused_and_a_stopped_channel_stay_so(make):
    desk, _ = make()
    desk.channel("pause", "adt")
    desk.channel("stop", "siu")
    text = TWO.replace("port: 2575", "port: 2580").replace("port: 2576", "port: 2581")
    assert reload(desk, text.replace("{name: out}}", "{name: out}, on_error: hold_lane}"))["taken"]
    assert {name: c.state for name, c in desk.engine.channels.items()} == {"adt": "paused", "siu": "stopped"}
    desk.send(("a1", "A"))
    assert desk.states()["a1"] == "RECEIVED"
    desk.channel("resume", "adt")
    assert desk.states()["a1"] == "SENT"
    assert not ports(desk)["siu"]
    desk.channel("start", "siu")
    assert desk.engine.channels["siu"].where.endswith(":2581")
