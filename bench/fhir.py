"""FHIR notifications: stored and answered, then the whole way through three FHIRPath filters and a template on the
canonical event until all is delivered; and how long one message takes in each step.

Notifications: full resources by PUT over connections that are kept open, each answered after its commit (C1). Warm, as
`bench.ingest` is. Pipeline: from the first notification to the last delivery that is SENT in the store, to a stub of
Odoo. Steps: one process, one thread, microseconds a message; `whole_fhirpath_us` is what the same three filters take
through the whole of FHIRPath, which common paths do not need.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench import notify, processes
from bench.ingest import POLL, REST, sent
from bench.processes import BenchError, results, running
from engine.fhir.resource import Fhir, _whole
from engine.model import Meta, Scope
from engine.security.keyring import load as load_keys
from engine.spec.component import BuildContext
from engine.spec.template import compile_template
from engine.store.store import open_store
from transforms.canonical.from_fhir import interpreter

CONNECTIONS = 8
NOTIFICATIONS = 12_000
WARM = 1_000
ROUNDS, COUNT = 7, 500
PATHS = ("active", "name.where(use='official').family", "identifier.where(system='urn:mrn').value")
RECEIVES = """
channels:
  bench:
    format: fhir
    listener:
      fhir_subscription: {{port: {port}, path: /fhir/hook}}
"""
OPERATIONS = """
            - upsert: res.partner
              key: "patient/{{ event.patient.key }}"
              values:
                name: "{{ event.patient.name.display }}"
                ref: "{{ event.patient.mrn }}"
                street: "{{ event.patient.address.street }}"
                street2: "{{ event.patient.address.street2 }}"
                city: "{{ event.patient.address.city }}"
                zip: "{{ event.patient.address.postal_code }}"
                phone: "{{ event.patient.phone }}"
                email: "{{ event.patient.email }}"
                function: "{{ event.patient.gender }}"
                comment: "{{ event.type }}: {{ event.patient.birth_date }}"
"""
WHOLE_WAY = (
    """
connections:
  odoo:
    odoo: {{url: "http://127.0.0.1:{odoo}", database: bench, api_key: bench}}
"""
    + RECEIVES.strip("\n")
    + """
    filters:
      - condition: "msg['active']"
      - condition: "msg[\\"name.where(use='official').family\\"] != ''"
      - condition: "msg[\\"identifier.where(system='urn:mrn').value\\"] is present"
    destinations:
      odoo:
        odoo:
          connection: odoo
          operations:
"""
    + OPERATIONS.strip("\n").replace("{", "{{").replace("}", "}}")
    + "\n"
)
Say = Callable[[str], None]
Figures = dict[str, Any]


def run(folder: Path, *, repeat: int = 3, scale: float = 1.0, say: Say = lambda line: None) -> Figures:
    """All figures; `scale` makes the runs longer or shorter."""
    count = int(NOTIFICATIONS * scale)
    stored = [receive(folder, CONNECTIONS, count) for _ in range(repeat)]
    say(
        f"stored and answered  {median(one['rate'] for one in stored):.0f}/s over {CONNECTIONS} connections"
        f"   p50 {median(one['p50'] for one in stored):.2f} ms   p99 {median(one['p99'] for one in stored):.2f} ms"
    )
    whole = [pipeline(folder, CONNECTIONS, count) for _ in range(repeat)]
    say(f"whole pipeline       {median(one['drained_per_s'] for one in whole):.0f}/s drained")
    parts = steps()
    say("   ".join(f"{name} {value:.0f}" for name, value in parts.items()))
    return results(
        notifications_per_s=median(one["rate"] for one in stored),
        pipeline_per_s=median(one["drained_per_s"] for one in whole),
        pipeline_intake_per_s=median(one["intake_per_s"] for one in whole),
        p50_ms=median(one["p50"] for one in stored),
        p99_ms=median(one["p99"] for one in stored),
        rss_mb=max(one["rss_mb"] for one in (*stored, *whole)),
        connections=CONNECTIONS,
        **parts,
    )


def receive(folder: Path, connections: int, count: int) -> Figures:
    """Notifications stored and answered; every one of them must be in the store."""
    with running(processes.engine(folder, config=RECEIVES)) as server:
        load(server.port, connections, min(WARM, count))
        time.sleep(REST)
        figures: Figures = dict(load(server.port, connections, count, WARM))
        figures["rss_mb"] = server.memory()
        store = _opened(folder)
        rows = store.reader.rows("SELECT count(*) FROM message WHERE control_id <> ''")[0][0]
        store.close()
    if rows != count + min(WARM, count):
        raise BenchError(f"{rows} are in the store, not {count + WARM}", code="bench.fhir")
    return figures


def pipeline(folder: Path, connections: int, count: int) -> Figures:
    """The whole way, until every delivery is SENT."""
    with running(processes.stub()) as odoo, running(processes.engine(folder, odoo.port, WHOLE_WAY)) as server:
        store = _opened(folder)
        loaded = load(server.port, connections, count)
        answered = time.perf_counter()
        while sent(store) < count:
            if server.process.poll() is not None or time.perf_counter() - answered > processes.PATIENCE:
                raise BenchError(f"only {sent(store)} of {count} were delivered", code="bench.fhir")
            time.sleep(POLL)
        drained = time.perf_counter()
        store.close()
        return {
            "drained_per_s": count / (loaded["seconds"] + drained - answered),
            "intake_per_s": loaded["rate"],
            "rss_mb": server.memory(),
        }


def load(port: int, connections: int, count: int, first: int = 0) -> dict[str, float]:
    """Run the generator in a process of its own. Raises when a notification was not answered with 200."""
    command = [
        sys.executable,
        "-m",
        "bench.notify",
        processes.HOST,
        *map(str, (port, connections, count, first)),
    ]
    done = subprocess.run(command, cwd=processes.ROOT, capture_output=True, text=True, check=False)
    try:
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise BenchError(f"the generator failed: {done.stderr[-2000:]}", code="bench.load") from None
    if found["ok"] != count or found["lost"]:
        raise BenchError(f"of {count} notifications not all were taken: {found}", code="bench.load")
    return found


def steps() -> dict[str, float]:
    """Microseconds a message in each step; the best of several rounds."""
    form, interpret, meta = Fhir(), interpreter({}), Meta(control_id="1")
    raws = [notify.patient(number) for number in range(COUNT)]
    whole = [_whole(path, "r4") for path in PATHS]
    render = compile_template(_operations(), BuildContext(format=form))

    def views() -> list[Any]:
        return [form.parse(raw) for raw in raws]

    def scopes() -> list[Scope]:
        made = [Scope(view, meta, interpret) for view in views()]
        assert all(scope.event.type == "patient.registered" for scope in made)
        return made

    return {
        "parse_us": _best(form.parse, lambda: raws),
        "three_filters_us": _best(lambda view: [view[path] for path in PATHS], views),
        "whole_fhirpath_us": _best(lambda view: [compiled(view.data, {}) for compiled in whole], views),
        "events_us": _best(lambda view: interpret(view, meta), views),
        "template_us": _best(render, scopes),
    }


def _operations() -> list[Any]:
    import yaml

    found: list[Any] = yaml.safe_load(OPERATIONS)
    return found


def _best(act: Callable[[Any], Any], prepared: Callable[[], list[Any]]) -> float:
    times = []
    for _ in range(ROUNDS):
        items = prepared()
        begun = time.perf_counter()
        for item in items:
            act(item)
        times.append((time.perf_counter() - begun) / len(items) * 1e6)
    return min(times)


def _opened(folder: Path) -> Any:
    data = processes.engine_data(folder)
    return open_store(data, load_keys(data / "isthmus.key"), mode="reader")
