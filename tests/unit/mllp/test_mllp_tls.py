"""TLS settings: what is wrong with a file is said before anything runs."""

import datetime as dt
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from engine.errors import ConfigError
from engine.security.tls import ClientTls, ServerTls, client, server


def test_server_tells_when_the_certificate_ends(authority):
    certificate, key = authority.issue("good", days=7)
    made = server(ServerTls(certificate=Path(certificate).name, key=Path(key).name), authority.folder)
    left = made.not_after - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=6) < left <= dt.timedelta(days=7)


def problem(tmp_path, **settings):
    with pytest.raises(ConfigError) as caught:
        server(ServerTls(**settings), tmp_path)
    assert caught.value.todo
    return caught.value


def test_missing_file(authority, tmp_path):
    _, key = authority.issue("good")
    error = problem(tmp_path, certificate="none.pem", key=key)
    assert (error.code, error.where) == ("tls.file", str(tmp_path / "none.pem"))


def test_not_pem(authority, tmp_path):
    certificate, key = authority.issue("good")
    junk = tmp_path / "junk"
    junk.write_bytes(b"\x30\x82")
    assert problem(tmp_path, certificate=str(junk), key=key).code == "tls.certificate"
    assert problem(tmp_path, certificate=certificate, key=str(junk)).code == "tls.key"
    assert problem(tmp_path, certificate=certificate, key=key, client_ca=str(junk)).code == "tls.certificate"


def test_key_of_another_certificate(authority, tmp_path):
    certificate, _ = authority.issue("one")
    _, key = authority.issue("two")
    error = problem(tmp_path, certificate=certificate, key=key)
    assert (error.code, error.where) == ("tls.mismatch", key)


def test_encrypted_key(authority, tmp_path):
    certificate, key = authority.issue("good")
    private = load_pem_private_key(Path(key).read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    )
    error = problem(tmp_path, certificate=certificate, key=str(locked))
    assert error.code == "tls.key"
    assert "encrypted" in error.what


def test_expired_and_not_yet_valid(authority, tmp_path):
    certificate, key = authority.issue("old", days=-1)
    assert problem(tmp_path, certificate=certificate, key=key).code == "tls.expired"
    certificate, key = authority.issue("early")
    with pytest.raises(ConfigError) as caught:
        server(ServerTls(certificate=certificate, key=key), tmp_path, dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    assert caught.value.code == "tls.not_yet"


def test_client_needs_both_halves(authority, tmp_path):
    certificate, _ = authority.issue("good")
    with pytest.raises(ConfigError) as caught:
        client(ClientTls(certificate=certificate), "localhost", tmp_path)
    assert caught.value.code == "tls.half"
