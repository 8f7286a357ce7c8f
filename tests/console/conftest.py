"""The console on a real store, reached as a browser reaches it: every request goes through the whole application."""

import os
import socket
import subprocess
import sys
import threading
import time

import pytest
import uvicorn
from console_desk import MAIN, PASSWORD, Browser
from engine_process import ROOT, until

from console.app import make_app
from engine.security import passwords
from engine.security.keyring import open_keyring
from engine.security.roles import Grant, Role
from engine.store import commands, tokens, users
from engine.store import messages as stored
from engine.store.store import open_store

RAW = (
    b"MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20260302||ADT^A01^ADT_A01|%s|P|2.5.1\r"
    b"PID|1||%s^^^RGH^MR||%s^Nora||19840917|F\r"
)


CHANNELS = {
    "adt": {"state": "started", "group": "Registration", "tags": ["ehr"]},
    "lab": {"state": "started", "group": "Laboratory", "tags": ["night", "<b>"], "silent_after": 60},
    "lab2": {"state": "started", "group": "Laboratory", "tags": ["night"], "silent_after": 0},
    "free": {"state": "started"},
}


@pytest.fixture
def store(tmp_path):
    """An engine's store, open as long as the test runs."""
    found = open_store(tmp_path, open_keyring(tmp_path), mode="engine")
    yield found
    found.close()


@pytest.fixture
def put(store):
    """Stores one message: SENT, or in ERROR when a code is given. Gives its id."""

    def one(control_id="C1", mrn="100234", name="Keller", channel="adt", error=None, raw=None):
        raw = raw or RAW % (control_id.encode(), mrn.encode(), name.encode())
        ring = store.reader.codec.keys
        new = stored.NewMessage(
            channel, raw, store.reader.now(), control_id=control_id, type="ADT^A01", sender="EHR|RGH", peer="10.0.0.9",
            ordering_key=ring.blind(f"key:{mrn}"), mrn=mrn, ack=b"MSH|^~\\&|||||||ACK\rMSA|AA|C1\r", ack_code="AA",
        )  # fmt: skip
        got = store.writer.call(lambda tx: stored.receive(tx, new))
        routed = stored.Routed(
            got.id,
            "TRANSFORMED",
            store.reader.now(),
            [stored.NewDelivery("odoo", b'[{"op": "upsert", "values": {"name": "Keller"}}]')],
        )
        if error:
            routed = stored.Routed(
                got.id,
                "ERROR",
                store.reader.now(),
                error_code=error,
                error_text="no such table",
                error_place="PID-8",
            )
        assert store.writer.call(lambda tx: stored.route(tx, routed))
        return got.id

    return one


@pytest.fixture
def app(store, tmp_path):
    made = make_app(tmp_path, tmp_path / "channels.yaml")
    yield made
    made.state.workbench.close()
    made.state.stores.close()


@pytest.fixture(scope="session")
def hashed():
    return passwords.hashed(PASSWORD)


@pytest.fixture
def people(store, hashed):
    """A user for each role, named after it; `seer` is a viewer who may see patient data; `adt` works on adt only."""

    def work(tx):
        for role in Role:
            users.add(tx, role.value, hashed, [Grant(role)])
        users.add(tx, "seer", hashed, [Grant(Role.VIEWER)], reveal=True)
        users.add(tx, "adt", hashed, [Grant(Role.OPERATOR, ("adt",))])

    store.writer.call(work)


@pytest.fixture
def browser(app, people):
    """Gives a browser in which a user has signed in."""

    def signed_in(name):
        found = Browser(app)
        if name:
            assert found.sign_in(name).status_code == 303
        return found

    return signed_in


@pytest.fixture
def editor(browser, store, hashed):
    """A browser of an operator who may see patient data."""
    store.writer.call(lambda tx: users.add(tx, "editor", hashed, [Grant(Role.OPERATOR)], reveal=True))
    return browser("editor")


@pytest.fixture
def beat(store):
    """The engine tells of its channels, and what is `told` beside."""

    def now(told=None, **changes):
        channels = {name: {**status, **changes.get(name, {})} for name, status in CHANNELS.items()}
        epoch = store.epoch
        store.writer.call(
            lambda tx: commands.heartbeat(
                tx, epoch, {"store": {"state": "open"}, "channels": channels, **(told or {})}
            )
        )

    now()
    return now


@pytest.fixture
def url(app):
    """The console on a port."""
    bound = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    until(lambda: server.started)
    yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    bound.close()


@pytest.fixture
def run(store, people, tmp_path, url):
    """Runs a verb, there or here; gives exit status, output and what was told beside it."""
    (tmp_path / "channels.yaml").write_text(MAIN)

    def token(name, role=Role.ADMIN):
        until_ = store.reader.now() + 3_600_000_000
        work = lambda tx: tokens.add(tx, name, "cli", [Grant(role)], until_, reveal=True)  # noqa: E731
        return store.writer.call(work)[0]

    store.writer.call(lambda tx: users.change(tx, "admin", reveal=True))
    made = {"admin": token("admin")}

    def verb(*words, there=True, user="admin", typed="", **environ):
        if user and user not in made:
            made[user] = token(user)
        place = ["--server", url] if there else ["--data", str(tmp_path)]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
        given = {"ISTHMUS_TOKEN": made[user]} if user else {}
        done = subprocess.run(
            [sys.executable, str(ROOT / "run_engine.py"), *words, *place],
            input=typed, capture_output=True, text=True, check=False,
            env={**clean, "COLUMNS": "160", **given, **environ},
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return verb


@pytest.fixture
def engine(store, tmp_path):
    """Answers commands as an engine does, and keeps what it was given to edit."""
    given, stop, epoch = [], threading.Event(), store.epoch
    own = open_store(tmp_path, open_keyring(tmp_path), mode="client")

    def work():
        while not stop.is_set():
            for command in own.writer.call(lambda tx: commands.take(tx, epoch)):
                secret = commands.unseal(own.reader, str(command.args["id"]), command.args["sealed"])
                given.append((command, secret))
                made = {"id": command.args["id"], "parent": command.args["id"]}
                own.writer.call(lambda tx, one=command, made=made: commands.finish(tx, one.id, made))
            time.sleep(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    yield given
    stop.set()
    thread.join()
    own.close()
