"""Durations and sizes: one way to write them, in every setting that is one."""

import pytest

from engine.errors import ConfigError
from engine.fhirserver.connection import FhirConnection
from engine.lookup.http import HttpConnection
from engine.lookup.sql import SqlConnection
from engine.odoo.connection import OdooConnection
from engine.spec.channel import load
from engine.spec.component import registry
from engine.spec.options import ChannelOptions, DestinationOptions, Duplicates, Retry
from engine.spec.reference import table
from engine.spec.units import age_text, seconds, whole_seconds
from transforms.canonical.options import options as canonical

CONNECTIONS = (OdooConnection, FhirConnection, SqlConnection, HttpConnection)
EVERYWHERE = """
connections:
  clinic: {odoo: {url: "sandbox:", timeout: 90s}}
  ehr: {fhir: {base: "http://localhost/fhir", timeout: 0.5m}}
  wards: {sql: {url: "sqlite:///wards.db", timeout: 5s}}
  web: {http: {url: "http://localhost", timeout: 5s}}
channels:
  adt:
    silent_after: 2h
    ack_deadline: 45s
    duplicates: {window: 3d}
    listener: {mllp: {port: 2575, frame_timeout: 2m, idle_timeout: "${IDLE:-90}"}}
    destinations:
      lab:
        mllp: {host: localhost, port: 2576, timeout: 1m, connect_timeout: 2.5s}
        retry: {initial: 0.5s, max: 15m}
  drop:
    duplicates: {window: 172800}
    format: {delimited: {}}
    listener: {file: {path: in, every: 0.2s, stable: 10}}
    destinations: {lab: {mllp: {host: localhost, port: 2576}}}
"""


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("90s", 90), ("2m", 120), ("1.5h", 5400), ("30d", 30 * 86400), (" 7 d ", 7 * 86400), ("0.5s", 0.5), ("45", 45),
        (45, 45), (0.25, 0.25), (0, 0), ("0s", 0),
    ],
)  # fmt: skip
def test_a_duration_is_seconds(written, meant):
    assert seconds(written) == meant
    assert type(seconds(written)) is type(meant)


@pytest.mark.parametrize(
    "written",
    ["", "s", "2 weeks", "1h30m", "-1s", -1, True, None, float("nan"), float("inf"), "1e3", "\u0661s", "2M"],
)
def test_what_is_none_is_refused(written):
    with pytest.raises(ValueError, match="not a duration"):
        seconds(written)


def test_parts_of_a_second_only_where_they_make_sense():
    assert whole_seconds("1.5m") == 90
    with pytest.raises(ValueError, match="whole seconds"):
        whole_seconds("1.5s")


@pytest.mark.parametrize("age", [0, 1, 90, 0.5, 120, 3600, 5400, 604800])
def test_a_duration_is_written_as_it_is_read(age):
    assert seconds(age_text(age)) == age


def test_every_duration_takes_a_unit(tmp_path):
    path = tmp_path / "channels.yaml"
    path.write_text(EVERYWHERE)
    (tmp_path / "in").mkdir()
    found = load(path, {})
    assert found.problems == []
    given = [settings for one in found.connections.values() for settings in one.values()]
    timeouts = [model.model_validate(one).timeout for model, one in zip(CONNECTIONS, given, strict=True)]
    assert timeouts == [90, 30, 5, 5]
    adt, drop = found.channels["adt"], found.channels["drop"]
    assert (adt.options.silent_after, adt.options.ack_deadline) == (7200, 45)
    assert (adt.options.duplicates.window, drop.options.duplicates.window) == (3 * 86400, 172800)
    assert (adt.listener.settings.frame_timeout, adt.listener.settings.idle_timeout) == (120, 90)
    lab = adt.destinations[0]
    assert (lab.options.retry.initial, lab.options.retry.max) == (0.5, 900)
    assert (lab.bound.settings.timeout, lab.bound.settings.connect_timeout) == (60, 2.5)
    assert (drop.listener.settings.every, drop.listener.settings.stable) == (0.2, 10)


def test_no_setting_is_a_bare_number_of_seconds():
    models = [
        ChannelOptions,
        DestinationOptions,
        Duplicates,
        Retry,
        *(item.settings for item in registry.load()),
    ]
    rows = [row for model in models for row in table(model, "").splitlines() if " | number" in row]
    assert rows and not [
        row for row in rows if "econds" in row or "timeout" in row or "how long" in row.lower()
    ]


@pytest.mark.parametrize(("written", "minutes"), [(45, 45), ("45m", 45), ("1.5h", 90), ("1d", 1440)])
def test_the_length_of_an_appointment_in_minutes(written, minutes):
    assert canonical({"canonical": {"default_duration": written}}).default_duration == minutes


@pytest.mark.parametrize("written", ["30s", "45", "2d", "long", 0])
def test_a_length_that_is_none(written):
    with pytest.raises(ConfigError, match="whole minutes"):
        canonical({"canonical": {"default_duration": written}})
