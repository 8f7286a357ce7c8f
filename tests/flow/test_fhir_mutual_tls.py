"""Notifications over TLS with certificates of both sides, in a real engine: who shows none, or a foreign one, is
refused before a byte of HTTP; who shows ours is taken, and named in the message."""

import json
import ssl
from http.client import HTTPSConnection

import pytest
from certificates import self_signed
from engine_process import EngineProcess, free_ports, until

CONFIG = """
channels:
  hook:
    format: fhir
    listener:
      fhir_subscription:
        port: {port}
        path: /fhir/hook
        tls:
          certificate: "{folder}/server/cert.pem"
          key: "{folder}/server/key.pem"
          client_ca: "{folder}/ehr/cert.pem"
    destinations: {{}}
"""
PATIENT = json.dumps({"resourceType": "Patient", "id": "1", "meta": {"versionId": "1"}})


@pytest.fixture
def engine(tmp_path):
    for name, host in (("server", "localhost"), ("ehr", "ehr.example"), ("other", "other.example")):
        (tmp_path / name).mkdir()
        self_signed(tmp_path / name, host)
    started = EngineProcess(tmp_path, CONFIG.format(port=free_ports()[0], folder=tmp_path))
    yield started.start()
    started.terminate()
    assert not started.faults


def put(engine, folder, who):
    context = ssl.create_default_context(cafile=folder / "server" / "cert.pem")
    if who:
        context.load_cert_chain(folder / who / "cert.pem", folder / who / "key.pem")
    connection = HTTPSConnection("localhost", engine.ports["hook"], context=context, timeout=30)
    try:
        connection.request("PUT", "/fhir/hook/Patient/1", PATIENT, {"Content-Type": "application/fhir+json"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_only_who_shows_a_certificate_of_ours_may_send(engine, tmp_path):
    for stranger in ("", "other"):
        with pytest.raises(OSError):  # SSLError, or the connection is closed under it
            put(engine, tmp_path, stranger)
    assert put(engine, tmp_path, "ehr") == 200
    until(lambda: engine.open() == 0)
    assert engine.rows("SELECT type, state FROM message") == [("Patient", "TRANSFORMED")]
    assert "ehr.example" in engine.rows("SELECT peer FROM message")[0][0]
