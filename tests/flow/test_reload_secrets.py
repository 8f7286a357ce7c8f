"""Files of secrets and certificates are watched: what names them is made anew; their contents are kept nowhere."""

from __future__ import annotations

import shutil

import pytest
from reloading import make_desk  # noqa: F401

from engine.store import versions
from tests.certificates import self_signed

CONFIG = """
channels:
  adt:
    listener: {mllp: {port: 2575, tls: {certificate: cert.pem, key: key.pem}}}
    destinations: {out: {scripted: {name: out}}}
  feed:
    format: json
    listener: {http: {port: 8080, token: !secret {file: token}}}
  plain:
    listener: {mllp: {port: 2576}}
"""


@pytest.fixture
def desk(make, tmp_path):
    self_signed(tmp_path)
    (tmp_path / "token").write_text("first token of many")
    desk, _ = make(CONFIG)
    desk.engine.reloader.watch.start()
    return desk


def listeners(desk):
    return {name: channel.listener for name, channel in desk.engine.channels.items()}


def wait(desk):
    for _ in range(8):
        desk.advance(0.5)


def changed(desk, before):
    return {name for name, listener in listeners(desk).items() if listener is not before[name]}


def test_a_renewed_certificate_is_taken_up_and_nothing_else(desk, tmp_path):
    before = listeners(desk)
    new = tmp_path / "renewed"
    new.mkdir()
    self_signed(new)
    shutil.copy(new / "cert.pem", tmp_path / "cert.pem")
    wait(desk)
    assert changed(desk, before) == set(), "the key is not there yet"
    assert "tls.mismatch" in desk.engine.reloader.status()["config_problem"]["why"]
    shutil.copy(new / "key.pem", tmp_path / "key.pem")
    wait(desk)
    assert changed(desk, before) == {"adt"} and desk.engine.reloader.status()["config_problem"] is None
    version = desk.engine.reloader.running.version
    assert set(versions.files(desk.engine.store.reader, version)) == {"channels.yaml"}
    now = listeners(desk)
    (tmp_path / "key.pem").touch()
    wait(desk)
    assert changed(desk, now) == set(), "touched is not changed"


def test_a_new_secret_is_taken_up(desk, tmp_path):
    before = listeners(desk)
    (tmp_path / "token").write_text("second token of many")
    wait(desk)
    assert changed(desk, before) == {"feed"}
    assert desk.engine.channels["feed"].listener.settings.token.get_secret_value() == "second token of many"
    kept = versions.files(desk.engine.store.reader, desk.engine.reloader.running.version)
    assert b"second" not in b"".join(kept.values())
