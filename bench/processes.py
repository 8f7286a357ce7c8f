"""The processes that take part: started, watched, measured and ended by who started them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.messages import adt
from engine.errors import IsthmusError

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
PATIENCE = 60.0  # seconds


class BenchError(IsthmusError):
    """A part of the measurement did not work, so there is no figure."""


class Server:
    """A server process of ours."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.port = port or self._told_port()

    def _told_port(self) -> int:
        assert self.process.stdout is not None
        word, _, port = self.process.stdout.readline().strip().partition(" ")
        if word != "ready":
            raise self.failed("did not start")
        return int(port)

    def wait_open(self) -> None:
        """Until the port takes connections."""
        while self.process.poll() is None and time.perf_counter() - self.started < PATIENCE:
            try:
                socket.create_connection((HOST, self.port), 1).close()
            except ConnectionRefusedError:
                time.sleep(0.005)
            else:
                return
        raise self.failed("did not open its port")

    def failed(self, what: str) -> BenchError:
        """An error with the last that the process said."""
        self.process.kill()
        _, said = self.process.communicate()
        return BenchError(f"{self.process.args!r} {what}: {said[-2000:]}", code="bench.process")

    def memory(self, name: str = "VmHWM") -> float:
        """MiB of memory: VmHWM is the peak, VmRSS what it has now."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
        return 0.0

    def cpu(self) -> float:
        """Seconds of CPU time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End it, in order if it can."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


def floor(folder: Path, same_rows: bool = False) -> Server:
    """The floor, on a file of its own; `same_rows`: with the engine's own insert."""
    more = ["--same-rows"] if same_rows else []
    return Server("-m", "bench.floor", str(folder / f"floor-{time.time_ns()}.db"), *more)


def stub() -> Server:
    """The Odoo that costs nearly nothing."""
    return Server("-m", "bench.stub")


CHANNEL = """
channels:
  bench:
    listener:
      mllp: {{port: {port}, max_connections: 1000}}
"""
PIPELINE = """
connections:
  odoo:
    odoo: {{url: "http://127.0.0.1:{odoo}", database: bench, api_key: bench}}
channels:
  bench:
    listener:
      mllp: {{port: {port}, max_connections: 1000}}
    filters:
      - message_type: {{allow: [ADT^A01, ADT^A04, ADT^A08]}}
    destinations:
      odoo:
        odoo:
          connection: odoo
          operations:
            - upsert: res.partner
              key: "patient/{{{{ msg['PID-3.1'] }}}}"
              values:
                name: "{{{{ msg['PID-5.2'] }}}} {{{{ msg['PID-5.1'] }}}}"
                ref: "{{{{ msg['PID-3.1'] }}}}"
                street: "{{{{ msg['PID-11.1'] }}}}"
                street2: "{{{{ msg['PID-11.2'] }}}}"
                city: "{{{{ msg['PID-11.3'] }}}}"
                zip: "{{{{ msg['PID-11.5'] }}}}"
                phone: "{{{{ msg['PID-13.7'] }}}}"
                mobile: "{{{{ msg['PID-14.7'] }}}}"
                email: "{{{{ msg['PID-13[2].4'] }}}}"
                function: "{{{{ msg['PV1-10'] }}}}"
                comment: "{{{{ msg['AL1-3.2'] }}}}: {{{{ msg['AL1-5'] }}}}"
                vat: "{{{{ msg['PID-3[2].1'] }}}}"
                barcode: "{{{{ msg['PV1-19.1'] }}}}"
                company_name: "{{{{ msg['PD1-3.1'] }}}}"
                company_registry: "{{{{ msg['PID-18.1'] }}}}"
"""


def engine(folder: Path, odoo: int = 0, config: str = "", data: Path | None = None) -> Server:
    """The engine as it is shipped, on a data folder of its own or on `data`: ACK only, or the whole way to `odoo`'s
    port; with `config` on that one, whose `{port}` and `{odoo}` are filled in."""
    port = free_port()
    if data is None:
        data = folder / f"engine-{time.time_ns()}"
        data.mkdir()
    file = data / "channels.yaml"
    file.write_text((config or (PIPELINE if odoo else CHANNEL)).format(port=port, odoo=odoo))
    server = Server(
        "run_engine.py",
        "run",
        "--config",
        str(file),
        "--data",
        str(data),
        "--log",
        "error",
        "--no-console",
        port=port,
    )
    server.wait_open()
    return server


def engine_data(folder: Path) -> Path:
    """The data folder of the engine that was started last."""
    return max(folder.glob("engine-*"))


def first_ack(port: int) -> None:
    """One message and its answer."""
    with socket.create_connection((HOST, port), 5) as sock:
        sock.settimeout(10)
        sock.sendall(b"\x0b%b\x1c\r" % adt(999_999_999, b"FIRST"))
        if b"MSA|AA|FIRST" not in sock.recv(4096):
            raise BenchError("the first message was not acknowledged", code="bench.ack")


def load(
    port: int, connections: int, messages: int, generator: str = "", first: int = 0, patients: int = 0
) -> dict[str, float]:
    """Run the generator; its figures. Raises when a message was not acknowledged with AA."""
    if generator:
        sample = Path(tempfile.gettempdir()) / f"isthmus-bench-{os.getuid()}.hl7"
        sample.write_bytes(b"".join(adt(number, b"X").replace(b"\r", b"\n") for number in range(250)))
        command = [generator, HOST, str(port), str(connections), str(messages), str(sample), "--json"]
    else:
        command = [sys.executable, "-m", "bench.load", HOST, str(port), str(connections), str(messages)]
        command += ["--first", str(first), *(["--patients", str(patients)] if patients else [])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise BenchError(f"the generator failed: {done.stderr[-2000:]}", code="bench.load") from None
    if found["aa"] != messages or found["lost"]:
        raise BenchError(f"of {messages} messages not all were accepted: {found}", code="bench.load")
    return found


def generator(path: str) -> str:
    """The program of a C source, compiled; a program as it is; "" for our own."""
    if not path.endswith(".c"):
        return path
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise BenchError("there is no C compiler", code="bench.load", todo="leave --load out")
    program = Path(tempfile.gettempdir()) / f"isthmus-{Path(path).stem}-{os.getuid()}"
    subprocess.run([compiler, "-O2", "-pthread", "-o", str(program), path], check=True)
    return str(program)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Stop it afterwards, whatever happens."""
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def scratch(parent: str = "") -> Iterator[Path]:
    """A folder for databases, on a real disk: below `parent`, or where temporary files go."""
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-", dir=parent or None) as name:
        yield Path(name)


def results(**figures: Any) -> dict[str, Any]:
    """Figures as people want to read them."""
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in figures.items()}
