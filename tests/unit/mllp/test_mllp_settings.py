"""The listener's settings: where it listens, what it refuses to be built from."""

import pytest
from mllp_desk import Channel, Desk
from pydantic import ValidationError
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock

from engine.errors import ConfigError
from engine.spec.component import BuildContext
from listeners.mllp import Mllp


def test_a_port_in_use_is_a_configuration_error():
    reactor = MemoryReactorClock()

    def taken(*args, **kwargs):
        raise CannotListenError("127.0.0.1", 2575, OSError(98, "Address already in use"))

    reactor.listenTCP = taken
    failures = []
    Mllp(port=2575).build(BuildContext(channel="adt", reactor=reactor)).start(Channel()).addErrback(
        failures.append
    )
    assert failures[0].check(ConfigError)
    assert str(failures[0].value) == (
        "adt: port 2575 on 127.0.0.1 cannot be opened: Address already in use "
        "(choose another port or interface, or stop the program that has it)"
    )


def test_clear_text_stays_at_home_unless_told_otherwise(authority):
    assert Desk().reactor.tcpServers[0][3] == "127.0.0.1"
    assert Desk(interface="0.0.0.0").reactor.tcpServers[0][3] == "0.0.0.0"
    certificate, key = authority.issue("server")
    reactor = MemoryReactorClock()
    secure = Mllp(port="2575", tls={"certificate": certificate, "key": key})
    secure.build(BuildContext(reactor=reactor)).start(Channel())
    assert reactor.sslServers[0][0] == 2575
    assert reactor.sslServers[0][4] == "0.0.0.0"


@pytest.mark.parametrize(
    "settings",
    [
        {"port": 70000},
        {"port": "x"},
        {"port": 1, "allow": ["10.0.0.1/8"]},
        {"port": 1, "max_in_flight": 0},
        {},
    ],
)
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ValidationError):
        Mllp(**settings)
