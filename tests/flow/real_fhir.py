"""The FHIR server that FHIR_BASE_URL names, with the login of FHIR_AUTH, spoken to through the client of the engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, NamedTuple

ASK = Path(__file__).resolve().parents[1] / "fhir_ask.py"
BASE = os.environ.get("FHIR_BASE_URL", "")
AUTH = os.environ.get("FHIR_AUTH", "")
RUN = uuid.uuid4().hex[:10]  # a real server keeps what was written to it
SYSTEM = f"urn:isthmus:test:{RUN}"
TAG = {"tag": [{"system": "urn:isthmus:test", "code": RUN}]}


class Answer(NamedTuple):
    """What the server said, and what it means to the engine."""

    status: int
    data: Any
    code: str  # of the FhirError, "" without
    result: str


class RealServer:
    """Its resources, one request after the other."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.process = subprocess.Popen(
            [sys.executable, str(ASK), "talk", base], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def close(self) -> None:
        self.process.communicate(timeout=30)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request; `If_Match` is the header If-Match."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.process.stdin.write(json.dumps([method, path, body, named]) + "\n")
        self.process.stdin.flush()
        return Answer(*json.loads(self.process.stdout.readline()))

    def write(self, resource: dict[str, Any]) -> dict[str, Any]:
        """Create it, or update the one with its id."""
        id_ = resource.get("id")
        place = resource["resourceType"] + (f"/{id_}" if id_ else "")
        found = self.ask("PUT" if id_ else "POST", place, resource)
        assert found.status in (200, 201), found
        return found.data

    def delete(self, resource: dict[str, Any]) -> None:
        found = self.ask("DELETE", f"{resource['resourceType']}/{resource['id']}")
        assert found.status in (200, 204), found

    def search(self, query: str) -> list[dict[str, Any]]:
        return [entry["resource"] for entry in self.ask("GET", query).data.get("entry", [])]


def patient(key: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient", "meta": TAG, "identifier": [{"system": SYSTEM, "value": key}],
        "name": [{"family": "Keller", "given": ["Nora"]}], "gender": "female", "birthDate": "1984-09-17", **more,
    }  # fmt: skip


def appointment(key: str, of: str, hour: int = 10, **more: Any) -> dict[str, Any]:
    """`of` is a reference to the patient."""
    return {
        "resourceType": "Appointment", "meta": TAG, "identifier": [{"system": SYSTEM, "value": key}],
        "status": "booked", "description": f"Check-up {key}", "start": f"2026-12-01T{hour}:00:00Z",
        "end": f"2026-12-01T{hour}:30:00Z",
        "participant": [{"actor": {"reference": of}, "status": "accepted"}], **more,
    }  # fmt: skip
