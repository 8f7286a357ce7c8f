"""What systemd is told by a real engine: ready when the ports are open, alive every second, stopping."""

from __future__ import annotations

import socket

from engine_process import EngineProcess, adt, free_ports

CONFIG = "channels: {{in: {{listener: {{mllp: {{port: {port}}}}}}}}}"


def test_ready_alive_and_stopping(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        port = free_ports()[0]
        process = EngineProcess(
            tmp_path, CONFIG.format(port=port), environ={"NOTIFY_SOCKET": str(tmp_path / "notify")}
        )
        process.spawn()
        told = [systemd.recv(1000).decode()]
        while "READY=1" not in told[-1].split("\n"):
            told.append(systemd.recv(1000).decode())
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"\x0b" + adt("C1") + b"\x1c\r")
            assert b"MSA|AA|C1" in client.recv(1000)
        alive = [systemd.recv(1000).decode() for _ in range(2)]
        assert all(
            notice.startswith("WATCHDOG=1\nSTATUS=1 channels, 0 open, store open, disk ") for notice in alive
        )
        assert process.terminate() == 0
        last = systemd.recv(1000).decode()
        while last.startswith("WATCHDOG=1"):
            last = systemd.recv(1000).decode()
        assert last == "STOPPING=1\nSTATUS=stopping"
