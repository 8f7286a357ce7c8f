"""Retention, storage and disk marks in a file: what is wrong is told with its place and what to write."""

import pytest

from engine.spec.channel import load
from engine.spec.retention import Disk, Retention

CHANNEL = "channels:\n  adt:\n    listener: {mllp: {port: 2575}}\n"


def read(tmp_path, text):
    path = tmp_path / "channels.yaml"
    path.write_text(text)
    return load(path, {})


def test_what_is_said_is_what_is_done(tmp_path):
    configuration = read(
        tmp_path,
        "disk: {pause: 5GiB, refuse: 500MB}\n"
        + CHANNEL
        + "    storage: no-content\n"
        + "    retention: {content: 30d, messages: 365d, max_size: 50GB, errors: 90d}\n",
    )
    assert configuration.problems == []
    assert configuration.disk == Disk(pause=5 * 2**30, refuse=500 * 10**6)
    options = configuration.channels["adt"].options
    assert options.storage == "no-content"
    assert options.retention == Retention(
        content=30 * 86_400, messages=365 * 86_400, max_size=50 * 10**9, errors=90 * 86_400
    )


def test_without_it_everything_is_kept(tmp_path):
    configuration = read(tmp_path, CHANNEL)
    assert configuration.disk == Disk()
    options = configuration.channels["adt"].options
    assert (options.storage, options.retention) == ("full", Retention())
    assert (options.retention.content, options.retention.messages, options.retention.errors) == (
        None,
        None,
        "keep",
    )


@pytest.mark.parametrize(
    ("line", "where", "says"),
    [
        ("    retention: {content: 30 days}\n", "4:26", "such as 90s, 15m, 24h, 30d"),
        ("    retention: {errors: never}\n", "4:25", "such as 90s, 15m, 24h, 30d"),
        ("    retention: {max_size: lots}\n", "4:27", "such as 500MB, 50GB or 1GiB"),
        ("    retention: {contents: 30d}\n", "4:17", "content"),
        ("    retention: {messages: 1d}\n", "3:5", "shorter than duplicates.window"),
        ("    storage: none\n", "4:14", "no-content"),
        ("disk: {pause: much}\n", "4:15", "such as 500MB, 50GB or 1GiB"),
        ("disk: {stop: 1GB}\n", "4:8", "unknown key"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path, line, where, says):
    (problem,) = read(tmp_path, CHANNEL + line).errors
    assert f":{where}: " in str(problem)
    assert says in str(problem)
