"""How long `lint` takes: a fresh process each time, imports included, as who types `isthmus lint` waits.

Two configurations of many channels: `shared` is what sites write (the shipped steps and template, a filter, a variable
and a port of their own in each channel); `own` is the worst that can be written, where each channel has 19 expressions
of its own and nothing but the connection and a code table is shared.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

FIELDS = (
    "name",
    "ref",
    "phone",
    "email",
    "street",
    "street2",
    "zip",
    "city",
    "comment",
    "vat",
    "website",
    "function",
)
PATHS = ("PID-5.1", "PID-3.1", "PID-13", "PID-13.4", "PID-11.1", "PID-11.2", "PID-11.5", "PID-11.3", "PV1-2", "PID-19",
         "PID-13.12", "PV1-3.1")  # fmt: skip
HEAD = """connections:
  clinic: {odoo: {url: "sandbox:", database: clinic, api_key: sandbox}} # lint: allow secret.clear
tables:
  sex: {values: {M: male, F: female}}
channels:
"""


def shared(number: int) -> str:
    """One channel like the shipped ones."""
    return f"""  c{number}:
    description: Channel {number}
    listener: {{mllp: {{port: {10_000 + number}}}}}
    filters:
      - message_type: {{allow: [ADT^A01, ADT^A04, ADT^A08]}}
      - condition: "msg['MSH-11.1'] not in ('T', 'D')"
      - condition: "msg['MSH-4.1'] == 'SITE{number}'"
    transformers:
      - code_table: {{path: PID-8.1, table: sex}}
      - set: {{fields: {{PV1-3.9: "{{{{ msg['PV1-3.1'] | upper }}}} {number}"}}}}
    destinations:
      odoo:
        odoo: {{connection: clinic, template: patient}}
        on_error: hold_key
"""


def own(number: int) -> str:
    """One channel: two filters, five steps, two operations with 16 expressions; all differ from the others'."""
    values = "\n".join(
        f"""                {field}: "{{{{ (msg['{path}'] | default('{field}{number}')) ~ tag{number} }}}}\""""
        for field, path in zip(FIELDS, PATHS, strict=True)
    )
    return f"""  c{number}:
    description: Channel {number}
    listener: {{mllp: {{port: {10_000 + number}}}}}
    filters:
      - message_type: {{allow: [ADT^A01, ADT^A04, ADT^A08]}}
      - condition: "msg['MSH-4.1'] != 'SITE{number}' and msg['PV1-2'] in ('I', 'O', '{number}')"
    transformers:
      - code_table: {{path: PID-8.1, table: sex}}
      - set: {{vars: {{tag{number}: "-{{{{ msg['MSH-10'] }}}}-{number}"}}}}
      - set: {{fields: {{PV1-3.9: "{{{{ msg['PV1-3.1'] | upper }}}} {number}"}}}}
      - map: {{fields: {{PV1-3.7: {{from: PV1-3.1, default: "{number}"}}}}}}
      - date: {{paths: [PID-7, PV1-44]}}
    destinations:
      odoo:
        odoo:
          connection: clinic
          operations:
            - upsert: res.partner
              when: "event.patient and msg['PID-3.1'] != '{number}'"
              key: "patient/{number}/{{{{ event.patient.mrn }}}}"
              values:
{values}
            - archive: res.partner
              when: "event.type == 'patient.updated' and {number + 1}"
              key: "patient/{number}/{{{{ event.patient.mrn }}}}"
"""


def run(
    folder: Path, channels: int, repeat: int, say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Lint both configurations `repeat` times, in turns. Medians in seconds: by the clock, and of the processor."""
    kinds = {"shared": shared, "own": own}
    taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for kind, make in kinds.items():
        text = HEAD + "\n".join(make(number) for number in range(channels))
        (folder / f"{kind}.yaml").write_text(text, "utf-8")
    for _ in range(repeat):
        for kind in kinds:
            taken[kind].append(once(folder / f"{kind}.yaml"))
            say(f"{kind}: {taken[kind][-1][0]:.2f} s, {taken[kind][-1][1]:.2f} s of the processor")
    figures: dict[str, Any] = {"channels": channels}
    for kind, times in taken.items():
        clock, processor = (round(median(column), 2) for column in zip(*times, strict=True))
        figures |= {f"{kind}_s": clock, f"{kind}_cpu_s": processor}
    return figures


def once(file: Path) -> tuple[float, float]:
    """One run. RuntimeError when it finds something: then it was not the whole work."""
    before, begun = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", "from engine.cli import main; main()", "lint", str(file)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    clock = time.perf_counter() - begun
    after = os.times()
    if done.returncode or done.stdout:
        raise RuntimeError(f"the configuration is not right: {done.stdout[:500]}{done.stderr[-500:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return clock, cpu
