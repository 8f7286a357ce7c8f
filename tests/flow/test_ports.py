"""Programs that find their port taken say so and end."""

from __future__ import annotations

import socket

from engine_process import Process


def test_a_sandbox_whose_port_is_taken_ends_with_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        process = Process(["sandbox", "--listen", listen, "--data", str(tmp_path)], tmp_path / "log")
        process.spawn()
        assert process.wait() == 2
    assert process.text.count("\n") == 1 and "in use" in process.text and "[sandbox.port]" in process.text
