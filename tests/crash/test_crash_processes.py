"""Engine and console under `run` and `demo`: a killed one comes back, the other goes on; both end with their parent."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from engine_process import EMPTY, Client, Process, adt, children, free_ports, process_fields, until, verdict


class Both(Process):
    """`run` or `demo` with its console; the demo has two samples."""

    def __init__(self, folder, options="", verb="run"):
        self.folder, self.data = folder, folder / "data"
        self.port, console = free_ports(2)
        self.url = f"http://127.0.0.1:{console}"
        self.config = folder / "channels.yaml"
        self.config.write_text(EMPTY.format(port=self.port, listener="", options=options))
        samples = folder / "samples"
        samples.mkdir()
        for number in (1001, 1002):
            (samples / f"{number}.hl7").write_bytes(adt(number))
        arguments = [verb, "-c", str(self.config), "-d", str(self.data), "--console", f"127.0.0.1:{console}"]
        super().__init__(arguments, folder / "run.log")

    def __enter__(self):
        self.spawn()
        until(lambda: (self.check(), self.health())[1])
        return self

    def __exit__(self, *error):
        if self.child is not None:
            self.terminate()

    def health(self):
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
            return json.load(answer)["checks"]
        return None

    def children(self):
        return children(self.child.pid, self.data)

    def send(self, number):
        with Client(self.port) as client:
            return verdict(client.send(adt(number)))[0]


def alive(number):
    with suppress(OSError):
        return process_fields(Path("/proc") / str(number))[0] != "Z"
    return False


@pytest.fixture
def both(request, tmp_path):
    with Both(tmp_path, verb=getattr(request, "param", "run")) as found:
        yield found


EITHER = pytest.mark.parametrize("both", ["run", "demo"], indirect=True)


@EITHER
def test_a_killed_engine_comes_back_and_the_console_goes_on(both):
    before = both.children()
    assert both.send(1) == "AA"
    os.kill(before["engine"], signal.SIGKILL)
    absent = until(lambda: (health := both.health()) and health["engine"] != "ok" and health)
    assert absent["store"] == "ok" and absent["console"] == "ok"
    until(lambda: both.children().get("engine") not in (None, before["engine"]))
    until(lambda: (both.health() or {}).get("engine") == "ok")
    assert both.children()["console"] == before["console"]
    assert both.send(2) == "AA"
    assert "the engine was killed by signal 9" in both.text
    assert both.text.count("Sending over MLLP") == ("demo" in both.arguments), "samples are sent once"


@EITHER
def test_a_killed_console_comes_back_and_the_engine_goes_on(both):
    before = both.children()
    os.kill(before["console"], signal.SIGKILL)
    assert both.send(1) == "AA"
    until(lambda: both.children().get("console") not in (None, before["console"]))
    until(both.health)
    assert both.children()["engine"] == before["engine"] and both.send(2) == "AA"


def test_killed_again_and_again_it_is_started_more_slowly(both):
    for _ in range(2):
        now = both.children()["engine"]
        os.kill(now, signal.SIGKILL)
        until(lambda: both.children().get("engine") not in (None, now), 60)  # noqa: B023 (asked at once)
    waits = [int(text) for text in re.findall(r"again in (\d+) s", both.text)]
    assert waits[0] < waits[1]


def test_told_to_end_both_end_in_order(both):
    children = both.children()
    assert both.terminate() == 0
    assert not any(alive(number) for number in children.values()) and "engine.stopped" in both.text


def test_when_the_parent_is_killed_both_end(both):
    children = both.children()
    both.kill()
    until(lambda: not any(alive(number) for number in children.values()))
    assert "engine.stopped" in both.text


def test_a_configuration_that_is_refused_ends_it_at_once(tmp_path):
    process = Both(tmp_path, options="nonsense: 1")
    begun = time.monotonic()
    process.spawn()
    assert process.wait() == 1 and "not started" in process.text
    assert time.monotonic() - begun < 25 and "Console:" not in process.text


def test_an_engine_that_crashes_while_its_files_are_broken_is_tried_again_until_they_are_right(both):
    good = both.config.read_text()
    both.config.write_text("channels: [\n")
    os.kill(both.children()["engine"], signal.SIGKILL)
    until(lambda: "the engine ended with 1" in both.text)
    assert both.health()["console"] == "ok"
    both.config.write_text(good)
    until(lambda: both.text.count("event='channel.started'") == 2, 60)
    assert both.send(1) == "AA"


def test_a_hang_up_goes_to_the_engine(both):
    both.config.write_text(both.config.read_text().replace("port:", "idle_timeout: 77, port:"))
    both.child.send_signal(signal.SIGHUP)
    until(lambda: "config.taken" in both.text)
    assert both.send(1) == "AA"
