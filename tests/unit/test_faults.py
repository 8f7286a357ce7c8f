"""What a defect says is not in the log, wherever it comes up: only its kind and its place."""

import subprocess
import sys

import pytest

BEGIN = """
import asyncio, logging, threading
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from engine.cli.run import logging_to_stderr
logging_to_stderr("info")
def boom():
    raise ValueError("SMITH^JOHN")
def caught():
    try:
        boom()
    except ValueError:
        Logger().failure("a callback failed")
class Gone:
    def __del__(self):
        boom()
def forgotten():
    loop = asyncio.new_event_loop()
    async def started():
        loop.create_task(later())
        await asyncio.sleep(0.01)
    async def later():
        boom()
    loop.run_until_complete(started())
    loop.close()
"""
COME_UP = {
    "delayed call": "reactor.callLater(0, boom); reactor.callLater(0.01, reactor.stop); reactor.run()",
    "Deferred": "Deferred().addCallback(lambda _: boom()).callback(None)",
    "callback": "caught()",
    "thread": "one = threading.Thread(target=boom); one.start(); one.join()",
    "destructor": "Gone()",
    "task": "forgotten()",
    "library": "logging.getLogger('somebody').warning('met SMITH^JOHN')",
}


@pytest.mark.parametrize("name", COME_UP)
def test_it_is_told_without_its_text(name):
    done = subprocess.run(
        [sys.executable, "-c", f"{BEGIN}\n{COME_UP[name]}"], capture_output=True, text=True, check=True
    )
    assert "SMITH" not in done.stderr + done.stdout
    assert done.stderr.count("level='") == 1, done.stderr
    assert name == "library" or ("error='ValueError'" in done.stderr and "Traceback: " in done.stderr)
