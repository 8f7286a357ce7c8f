import os
import socket

import pytest

from engine import systemd


@pytest.mark.parametrize("abstract", [False, True])
def test_a_notice_arrives_as_one_datagram(tmp_path, abstract):
    name = f"@isthmus-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd_side:
        systemd_side.bind("\0" + name[1:] if abstract else name)
        systemd_side.settimeout(5)
        assert systemd.notify("READY=1\nSTATUS=2 channels", {"NOTIFY_SOCKET": name})
        assert systemd_side.recv(1000) == b"READY=1\nSTATUS=2 channels"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "relative"}])
def test_nobody_asked(environ):
    assert not systemd.notify("READY=1", environ)


def test_a_socket_that_is_gone_or_full_disturbs_nobody(tmp_path):
    assert not systemd.notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")})
    name = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as never_read:
        never_read.bind(name)
        sent = [systemd.notify("STATUS=" + "x" * 1000, {"NOTIFY_SOCKET": name}) for _ in range(5000)]
    assert sent[0]
    assert not sent[-1]
