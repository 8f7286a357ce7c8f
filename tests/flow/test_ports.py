"""Programs that find their port taken say so and end."""

from __future__ import annotations

import socket

from engine_process import Process

from tests.flow.test_plan import isthmus


def test_a_sandbox_whose_port_is_taken_ends_with_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        process = Process(["sandbox", "--listen", listen, "--data", str(tmp_path)], tmp_path / "log")
        process.spawn()
        assert process.wait() == 2
    assert process.text.count("\n") == 1 and "in use" in process.text and "[sandbox.port]" in process.text


def test_a_demo_whose_port_is_taken_ends_with_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        config = tmp_path / "channels.yaml"
        config.write_text(
            f"channels: {{adt: {{listener: {{mllp: {{interface: 127.0.0.1, port: {other.getsockname()[1]}}}}}}}}}\n"
        )
        (tmp_path / "samples").mkdir()
        (tmp_path / "samples/one.hl7").write_text("MSH|^~\\&|A|B|C|D|20260101||ADT^A08|1|P|2.5.1\r")
        done = isthmus("demo", "--once", "-c", config, "-d", tmp_path / "data")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "[demo.port]" in done.stderr.splitlines()[-1] and "in use" in done.stderr
