"""Transactions and batches of the FHIR server of the tests, as FHIR R4 wants them: a transaction is done as a whole or
not at all, its entries refer to each other by `fullUrl`; each entry of a batch has an answer of its own. A server that
is not `whole` answers each entry of a transaction for itself, as Medplum does for a project without transactions."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

ORDER = ("DELETE", "POST", "PUT", "PATCH", "GET")


def process(server: Any, bundle: dict[str, Any], failure: type[Exception]) -> dict[str, Any]:
    """The answer to a Bundle. Raises `failure` for a transaction that is refused; then nothing is changed."""
    entries = bundle["entry"]
    if bundle["type"] == "batch":
        return _answer(bundle, [_alone(server, entry, failure) for entry in entries])
    before = {
        kind: {id_: list(rows) for id_, rows in found.items()} for kind, found in server.versions.items()
    }
    told, server.changed = server.changed, lambda *change: changes.append(change)
    changes: list[Any] = []
    names: dict[str, str] = {}
    answers: dict[int, dict[str, Any]] = {}
    try:
        for place in sorted(
            range(len(entries)), key=lambda one: ORDER.index(entries[one]["request"]["method"])
        ):
            entry = entries[place]
            answers[place] = _one(server, entry) if server.whole else _alone(server, entry, failure)
            found = answers[place].get("resource")
            if found and entry.get("fullUrl", "").startswith("urn:uuid:"):
                names[entry["fullUrl"]] = f"{found['resourceType']}/{found['id']}"
    except failure:
        server.versions = before
        raise
    finally:
        server.changed = told
    for change in changes:  # what was made is told with its references
        _point(change[1], names)
        told(*change)
    for answer in answers.values():
        _point(answer.get("resource"), names)
    text = json.dumps(
        [found for kind in server.versions.values() for rows in kind.values() for found in rows]
    )
    assert not any(f'"{name}"' in text for name in names), "a reference was not resolved"
    return _answer(bundle, [answers[place] for place in range(len(entries))])


def _answer(bundle: dict[str, Any], entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": f"{bundle['type']}-response", "entry": entries}


def _alone(server: Any, entry: dict[str, Any], failure: type[Exception]) -> dict[str, Any]:
    try:
        return _one(server, entry)
    except failure as failed:
        status, code, place = str(failed.status), failed.code, failed.place  # type: ignore[attr-defined]
        issue = [{"severity": "error", "code": code, "expression": [place]}]
        return {
            "response": {"status": status, "outcome": {"resourceType": "OperationOutcome", "issue": issue}}
        }


def _one(server: Any, entry: dict[str, Any]) -> dict[str, Any]:
    asked = entry["request"]
    target = urlsplit(asked["url"])
    headers = {"if-none-exist": asked["ifNoneExist"]} if "ifNoneExist" in asked else {}
    if "ifMatch" in asked:
        headers["if-match"] = asked["ifMatch"]
    body = json.dumps(entry.get("resource")).encode()
    status, data, told = server._serve(asked["method"], target.path, parse_qsl(target.query), headers, body)
    answer = {"status": str(status), "etag": told.get("ETag"), "location": told.get("Location")}
    return {"resource": data, "response": {key: value for key, value in answer.items() if value}}


def _point(value: Any, names: dict[str, str]) -> None:
    """Name what the entries of the transaction became."""
    if isinstance(value, dict):
        if value.get("reference") in names:
            value["reference"] = names[value["reference"]]
        for item in value.values():
            _point(item, names)
    elif isinstance(value, list):
        for item in value:
            _point(item, names)
