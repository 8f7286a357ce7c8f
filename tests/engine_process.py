"""A real engine as a process of its own, a real MLLP client, and the real store: for flow and crash tests."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.cli.run import command as run_verb
from engine.security.keyring import open_keyring
from engine.store import messages
from engine.store.store import open_store

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 30.0  # seconds
NO_CONSOLE = [
    "--no-console" for option in run_verb.params if "--no-console" in (*option.opts, *option.secondary_opts)
]
EMPTY = """
channels:
  in:
    listener:
      mllp: {{port: {port}{listener}}}
    {options}
"""


def free_ports(count: int = 1) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def until(what, patience: float = PATIENCE, every: float = 0.02):
    """Wait until `what()` gives something true, and give that."""
    deadline = time.monotonic() + patience
    while not (found := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(every)
    return found


def process_fields(process: Path) -> list[str]:
    """State, parent and more, of a folder in /proc."""
    return (process / "stat").read_text().rpartition(")")[2].split()


def children(parent: int, data: Path) -> dict[str, int]:
    """Process ids of `engine` and `console` on a data folder that `run` or `demo` keeps running."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_text().split("\0")
            if process_fields(process)[1] == str(parent) and str(data) in words:
                found["console" if "console" in words else "engine"] = int(process.name)
    return found


class Process:
    """A verb of the command line, its output in a file."""

    script = ROOT / "run_engine.py"

    def __init__(self, arguments: list[str], log: Path, environ: dict[str, str] | None = None) -> None:
        self.arguments = arguments
        self.log = log
        self.environ = environ or {}
        self.child: subprocess.Popen | None = None

    def spawn(self, **environ: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                [sys.executable, str(self.script), *self.arguments],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**clean, "PYTHONUNBUFFERED": "1", **self.environ, **environ},
                cwd=ROOT,
            )

    @property
    def text(self) -> str:
        """Everything that it wrote, of all its starts."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def check(self) -> None:
        """It must still run."""
        assert self.child is not None and self.child.poll() is None, f"it ended:\n{self.text[-4000:]}"

    def kill(self) -> None:
        """As a power cut: SIGKILL."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self.child = None

    def terminate(self, patience: float = PATIENCE) -> int:
        """SIGTERM; gives the exit status."""
        assert self.child is not None
        self.child.send_signal(signal.SIGTERM)
        return self.wait(patience)

    def wait(self, patience: float = PATIENCE) -> int:
        assert self.child is not None
        status = self.child.wait(patience)
        self.child = None
        return status

    def memory(self) -> int:
        """Resident bytes."""
        assert self.child is not None
        pages = Path(f"/proc/{self.child.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


class EngineProcess(Process):
    """`run` on a configuration and a data folder; `ports` by channel, the same at every start."""

    def __init__(self, folder: Path, config: Path | str, *, environ: dict[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(config, str):
            (folder / "channels.yaml").write_text(config)
            config = folder / "channels.yaml"
        self.data = folder / "data"
        self.ports: dict[str, int] = {}
        super().__init__(
            ["run", "--config", str(config), "--data", str(self.data), "--log", "info", *NO_CONSOLE],
            folder / "engine.log",
            environ,
        )

    def start(self, channels: int = 1, **environ: str) -> EngineProcess:
        """Start, and wait until this many channels listen."""
        seen = len(self.text)
        self.spawn(**environ)

        def listening():
            self.check()
            found = re.findall(
                r"event='channel.started'.*?channel='(\w+)'.*?address='[^']*:(\d+)'", self.text[seen:]
            )
            return found if len(found) >= channels else None

        self.ports = {name: int(port) for name, port in until(listening)}
        return self

    def connect(self, channel: str = "", timeout: float = PATIENCE) -> Client:
        return Client(self.ports[channel or next(iter(self.ports))], timeout)

    def send(self, raw: bytes, channel: str = "") -> bytes:
        """One message on a connection of its own; gives the answer."""
        with self.connect(channel) as client:
            return client.send(raw)

    @contextmanager
    def reading(self):
        """A reader of its store, while it runs or after."""
        store = open_store(self.data, open_keyring(self.data), mode="reader")
        try:
            yield store.reader
        finally:
            store.close()

    def rows(self, sql: str, *values):
        with self.reading() as tx:
            return tx.rows(sql, values)

    def stored(self) -> list[Stored]:
        """All messages, in order, with their bytes."""
        with self.reading() as tx:
            return [
                Stored(*row, messages.raw(tx, row[0]))
                for row in tx.rows(
                    "SELECT id, state, control_id, error_code, error_place, flags, ack FROM message ORDER BY id"
                )
            ]

    def open(self) -> int:
        """Messages and deliveries that still need work."""
        return self.rows(
            "SELECT (SELECT count(*) FROM message WHERE state = 'RECEIVED')"
            " + (SELECT count(*) FROM delivery WHERE state IN ('QUEUED', 'PENDING'))"
        )[0][0]

    @property
    def faults(self) -> list[str]:
        """Lines of the log that no input may cause."""
        return [line for line in self.text.splitlines() if "Traceback" in line or "Unhandled" in line]


class Stored:
    """A row of the message table and its bytes."""

    def __init__(self, id, state, control_id, code, place, flags, ack, raw):
        self.id, self.state, self.control_id, self.code = id, state, control_id, code
        self.place, self.flags, self.ack, self.raw = place, flags, ack, raw

    def __repr__(self):
        return f"<{self.id} {self.state} {self.code} {self.ack} {len(self.raw or b'')} bytes>"


class Closed(Exception):
    """The peer closed the connection."""


class Client:
    """MLLP in plain sockets: what is asked to be sent is sent, right or wrong."""

    def __init__(self, port: int, timeout: float = PATIENCE, window: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if window:  # bytes that may wait unread
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        try:
            self.socket.connect(("127.0.0.1", port))
        except ConnectionResetError:  # refused before this returned
            self.socket.close()
            raise Closed from None
        except OSError:
            self.socket.close()
            raise
        self.buffer = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def write(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> bytes:
        """The next answer, without its frame. Raises Closed."""
        while b"\x1c\r" not in self.buffer:
            try:
                data = self.socket.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                data = b""
            if not data:
                raise Closed
            self.buffer += data
        frame, _, self.buffer = self.buffer.partition(b"\x1c\r")
        assert frame[:1] == b"\x0b"
        return frame[1:]

    def send(self, raw: bytes) -> bytes:
        """One whole frame, and its answer."""
        try:
            self.write(b"\x0b" + raw + b"\x1c\r")
        except (ConnectionResetError, BrokenPipeError):
            raise Closed from None
        return self.answer()


def fields(answer: bytes, segment: bytes) -> list[list[str]]:
    """The fields of each segment of that name: [n] is field n (of MSH: n-1)."""
    lines = answer.replace(b"\n", b"\r").split(b"\r")
    return [line.decode("latin-1").split("|") for line in lines if line.startswith(segment)]


def verdict(answer: bytes) -> tuple[str, str, str, str, str]:
    """MSA-1, MSA-2, and of the first ERR: location (ERR-2), HL70357 code (ERR-3.1), our code (ERR-5.1)."""
    (msa,) = fields(answer, b"MSA")
    err = fields(answer, b"ERR")
    assert bool(err) == (msa[1] not in ("AA", "CA")), answer
    where, condition, code = (
        (err[0][2], err[0][3].split("^")[0], err[0][5].split("^")[0]) if err else ("",) * 3
    )
    return msa[1], msa[2] if len(msa) > 2 else "", where, condition, code


def adt(
    control_id: str, patient: str = "1001", event: str = "A04", name: str = "Doe^Jane", more: str = ""
) -> bytes:
    """A small ADT of our own."""
    return (
        f"MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20261122080000||ADT^{event}|{control_id}|P|2.5.1\r"
        f"EVN|{event}|20261122080000\rPID|1||{patient}^^^RGH^MR||{name}||19800101|F\r{more}"
    ).encode()
