"""`status`: what the engine and its channels are doing."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table

from engine.cli import access, elsewhere
from engine.cli.bulk import progress
from engine.cli.options import data_option, json_option
from engine.cli.remote import served
from engine.cli.showing import console
from engine.store import commands, jobs, search


@click.command("status")
@data_option
@json_option
@served(elsewhere.status)
def command(data: Path, as_json: bool) -> None:
    """What the engine and its channels are doing. Exit 0 when it runs and all is well, 1 otherwise.

    Example: isthmus status --json
    """
    with access.reading(data) as tx:
        engine = commands.engine_status(tx)
        now = time.time_ns() // 1000
        told: dict[str, Any] = {
            "running": engine is not None and access.running(tx, now),
            "engine": engine,
            "totals": search.counts(tx),
            "now": search.backlog(tx),
            "jobs": jobs.unfinished(tx),
        }
    if as_json:
        click.echo(msgspec.json.encode(told).decode())
    else:
        show(told)
    sys.exit(0 if told["running"] and not troubles(told) else 1)


def troubles(told: dict[str, Any]) -> list[str]:
    """Everything that somebody should look at."""
    found = [] if told["running"] else [_absent(told["engine"])]
    status = (told["engine"] or {}).get("status", {}) if told["running"] else {}
    if status.get("store", {}).get("state", "open") != "open":
        found.append(f"the store is {status['store']['state']}")
    if problem := status.get("config_problem"):
        more = f" (and {problem['problems'] - 1} more)" if problem["problems"] > 1 else ""
        found.append(
            f"configuration not taken: {problem['why']}{more}; version {status['config_version']} goes on"
        )
    disk = status.get("store", {}).get("disk", {})
    if disk.get("state", "ok") != "ok":
        doing = (
            "messages are refused" if disk["state"] == "refusing" else "nothing is read from the listeners"
        )
        found.append(f"the disk is almost full ({disk['free']} bytes left): {doing}")
    for name, channel in status.get("channels", {}).items():
        if channel["why"]:
            found.append(f"{name}: {channel['why']}")
        if "backlog" in channel.get("held_back", ()):
            doing = "messages are refused" if channel["refusing"] else "nothing is read from its listener"
            found.append(f"{name}: {channel['open']} messages and deliveries are not done: {doing}")
        found += [
            f"{name}, {item['destination']}: {item['parked']} deliveries in ERROR hold {item['held_behind']} later ones"
            " of the same patients (isthmus messages errors)"
            for item in channel["destinations"]
            if item.get("held_behind")
        ]
        found += [
            f"{name}, {item['destination']}: {item['state']}, {item['why']}"
            for item in channel["destinations"]
            if item["state"] not in ("closed", "paused")
        ]
    return found + left_open(told["now"], status.get("channels"))


def left_open(now: dict[str, dict[str, int]], channels: dict[str, Any] | None) -> list[str]:
    """Deliveries that wait for a channel or destination which the running configuration has not."""
    found = []
    for channel, counts in sorted(now.items() if channels is not None else ()):
        known = {item["destination"] for item in (channels or {}).get(channel, {}).get("destinations", ())}
        for name, count in sorted(counts.items()):
            state, _, destination = name.partition("/")
            if state == "QUEUED" and destination not in known:
                found.append(
                    f"{channel}, {destination}: {count} deliveries are open, and the configuration has no such"
                    f" {'destination' if channel in (channels or {}) else 'channel'}: put it back, or `isthmus"
                    f" messages discard --channel {channel} --destination {destination}`"
                )
    return found


def store_lines(told: dict[str, Any]) -> list[str]:
    """How large the store is, and what it does by itself."""
    store = ((told["engine"] or {}).get("status") or {}).get("store", {}) if told["running"] else {}
    lines = []
    if disk := store.get("disk"):
        lines.append(
            f"store: {_size(disk['database'])}, log {_size(disk['log'])}; {_size(disk['free'])} free on its disk"
        )
    if (kept := store.get("retention")) and (kept["running"] or kept["counts"]):
        counts = ", ".join(f"{name} {count}" for name, count in sorted(kept["counts"].items()))
        lines.append(f"retention {'at work' if kept['running'] else kept['at']}: {counts or 'nothing yet'}")
    if store.get("reencrypting"):
        lines.append("bodies are being encrypted with the new key")
    return lines


def _size(size: int) -> str:
    power = min(max(size.bit_length() - 1, 0) // 10, 4)
    return f"{size / 1024**power:.{min(power, 1)}f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def _absent(engine: dict[str, Any] | None) -> str:
    """Why there is no news of the engine."""
    if engine is None or not commands.alive(engine["pid"]):
        return "the engine is not running"
    return (
        f"process {engine['pid']} has not written its state for more than {commands.ALIVE // 10**6} seconds:"
        " the store cannot be written, or it stands still (its log tells)"
    )


def show(told: dict[str, Any]) -> None:
    """The status as text."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("channel", "state", "address", "received", "filtered", "queued", "sent", "errors"):
        table.add_column(name, no_wrap=True)
    channels = ((told["engine"] or {}).get("status") or {}).get("channels", {}) if told["running"] else {}
    for name in sorted({*channels, *told["totals"]}):
        totals, now, live = told["totals"].get(name, {}), told["now"].get(name, {}), channels.get(name, {})
        table.add_row(
            name, live.get("state", "stopped"), live.get("address", ""), str(totals.get("received", 0)),
            str(totals.get("filtered", 0)), str(_sum(now, "QUEUED") + now.get("RECEIVED", 0)),
            str(_sum(totals, "sent")), str(_sum(now, "ERROR")),
        )  # fmt: skip
    console.print(table)
    for line in store_lines(told):
        console.print(line)
    for job in told["jobs"]:
        console.print(progress(job))
    for trouble in troubles(told):
        console.print(f"! {trouble}", style="red")


def _sum(values: dict[str, int], name: str) -> int:
    return sum(count for key, count in values.items() if key == name or key.startswith(f"{name}/"))
