"""Generator of FHIR notifications: `python -m bench.notify HOST PORT CONNECTIONS COUNT`.

Each connection is kept open and sends a Patient by PUT as soon as the one before is answered, as a server's rest-hook
worker does. Prints one line of JSON: `ok` (answers 200), `lost`, `seconds`, `rate`, `p50` and `p99` in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

PATH = "/fhir/hook"


def patient(number: int) -> bytes:
    """A Patient of about 1 KB, another one for every number."""
    resource = {
        "resourceType": "Patient",
        "id": f"p{number}",
        "meta": {"versionId": "1", "lastUpdated": "2026-11-25T08:00:00Z"},
        "identifier": [
            {"system": "http://hl7.org/fhir/sid/us-ssn", "value": f"999-{number % 100:02}-{number % 10000:04}"},
            {
                "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
                "system": "urn:mrn",
                "value": f"{number:08}",
            },
        ],
        "active": True,
        "name": [{"use": "official", "family": f"Keller{number % 977}", "given": ["Nora", "Anne"]}],
        "telecom": [
            {"system": "phone", "use": "home", "value": f"+1 309 555{number % 10000:04}"},
            {"system": "email", "value": f"p{number}@example.org"},
        ],
        "gender": "female",
        "birthDate": f"19{number % 90 + 10}-0{number % 9 + 1}-1{number % 9}",
        "address": [
            {"use": "home", "line": [f"{number % 997} Orchard Lane", "Unit 4"], "city": "Peoria", "state": "IL",
             "postalCode": "61602", "country": "US"}
        ],
        "maritalStatus": {"coding": [{"code": "M", "display": "Married"}]},
        "communication": [{"language": {"coding": [{"code": "en"}]}, "preferred": True}],
    }  # fmt: skip
    return json.dumps(resource).encode()


def request(number: int, host: str) -> bytes:
    """The PUT of one Patient."""
    body = patient(number)
    head = f"PUT {PATH}/Patient/p{number} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/fhir+json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            await reader.readexactly(int(value))
    return status


async def _connection(
    host: str, port: int, numbers: list[bytes], times: list[float], statuses: list[int]
) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        for raw in numbers:
            begun = time.perf_counter()
            writer.write(raw)
            statuses.append(await _answer(reader))
            times.append(time.perf_counter() - begun)
    except (OSError, asyncio.IncompleteReadError):
        return  # what is missing is counted as lost
    finally:
        writer.close()


async def run(host: str, port: int, connections: int, count: int, first: int = 0) -> dict[str, float]:
    """Send `count` notifications over `connections`."""
    made = [request(first + number, host) for number in range(count)]
    times: list[float] = []
    statuses: list[int] = []
    begun = time.perf_counter()
    await asyncio.gather(
        *(_connection(host, port, made[at::connections], times, statuses) for at in range(connections))
    )
    seconds = time.perf_counter() - begun
    times.sort()
    ok = sum(status == 200 for status in statuses)
    return {
        "ok": ok,
        "lost": count - len(statuses),
        "seconds": seconds,
        "rate": ok / seconds,
        "p50": times[len(times) // 2] * 1e3 if times else 0.0,
        "p99": times[len(times) * 99 // 100] * 1e3 if times else 0.0,
    }


if __name__ == "__main__":
    HOST, PORT, CONNECTIONS, COUNT, *MORE = sys.argv[1:]
    figures = asyncio.run(run(HOST, int(PORT), int(CONNECTIONS), int(COUNT), int(MORE[0]) if MORE else 0))
    print(json.dumps(figures))
