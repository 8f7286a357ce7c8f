"""Where the demo sends samples that no channel wants: over MLLP, or nowhere, and it says so."""

from __future__ import annotations

import pytest
from engine_process import ROOT

from tests.flow.test_plan import isthmus

OVER_HTTP = """
channels:
  web:
    listener: {http: {port: 0}}
    filters: [message_type: {allow: [ORU^R01]}]
"""
OVER_MLLP = """
  feed:
    listener: {mllp: {port: 0}}
    filters: [message_type: {allow: [ORU^R01]}]
"""


@pytest.fixture
def demo(tmp_path):
    (tmp_path / "samples").mkdir()
    sample = ROOT / "config/samples/01-register.hl7"
    (tmp_path / "samples" / sample.name).write_bytes(sample.read_bytes())

    def ran(channels):
        config = tmp_path / "channels.yaml"
        config.write_text(channels)
        return isthmus("demo", "--once", "-c", config, "-d", tmp_path / "data", COLUMNS="160")

    return ran


def test_what_nobody_wants_goes_to_the_first_channel_on_mllp(demo):
    done = demo(OVER_HTTP + OVER_MLLP)
    assert "feed" in done.stdout and "filtered 1" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


def test_without_a_channel_on_mllp_it_is_said_and_not_sent(demo):
    done = demo(OVER_HTTP)
    assert "01-register.hl7: no channel takes HL7 over MLLP" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1 and "Received 0" in done.stdout
