"""What an answer of a FHIR server means: one classifier, by the OperationOutcome first, then by the status.

Guarantees: every error has a stable code, the element that the server blames where it names one, and a text without
values of records: an OperationOutcome's `diagnostics` and texts may quote data and are never in it.
Source: FHIR R4 and R5, RESTful API and ValueSet issue-type.

| answer                                                     | result                                  |
|------------------------------------------------------------|-----------------------------------------|
| none: not reachable                                        | RETRY `fhir.unreachable`                |
| none: timeout; connection lost (RETRY for a read)          | UNKNOWN `fhir.timeout`; `fhir.disconnected` |
| certificate not trusted                                    | CONFIG `fhir.tls`                       |
| 401; 403                                                   | CONFIG `fhir.login`; CONFIG `fhir.access` |
| 404; 410                                                   | PERMANENT `fhir.not_found`; `fhir.gone` |
| 405, 501, issue not-supported                              | PERMANENT `fhir.unsupported`            |
| 409, issue conflict, lock-error                            | RETRY `fhir.conflict`                   |
| 412, issue multiple-matches                                | PERMANENT `fhir.precondition`           |
| 429, 503, issue throttled, transient, timeout, no-store    | RETRY `fhir.busy`                       |
| other 4xx                                                  | PERMANENT `fhir.invalid`                |
| 408, other 5xx                                             | UNKNOWN `fhir.failed` (a read: RETRY)   |
| 3xx, and 2xx that is not FHIR                              | CONFIG `fhir.base`                      |
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from engine.errors import DeliveryError
from engine.states import Result
from engine.webclient import Answer, Lost

_TODO = {
    "fhir.unreachable": "check `base` of the connection and that the server runs",
    "fhir.timeout": "it is sent again; raise `timeout` of the connection where the server is slow",
    "fhir.disconnected": "it is sent again; the log of the server tells why",
    "fhir.tls": "check the host name in `base` and `tls.ca`",
    "fhir.login": "check `auth` of the connection: client, key and scope",
    "fhir.access": "give the client the right (scope) on the server",
    "fhir.not_found": "the server has no such resource; check the reference and `base`",
    "fhir.gone": "it was deleted on the server",
    "fhir.unsupported": "the server does not offer this interaction; see its CapabilityStatement",
    "fhir.conflict": "it is sent again; two writers met on one resource",
    "fhir.precondition": "the resource was changed meanwhile, or several match; look at them on the server",
    "fhir.busy": "it is sent again later, as the server asks",
    "fhir.invalid": "mend the resource; the answer is kept with the delivery",
    "fhir.failed": "look at the log of the server",
    "fhir.base": "check `base`: this is not the FHIR endpoint",
    "fhir.version": "set `version` of the connection to the server's, or `base` to the endpoint of that version",
    "fhir.foreign": "only what is below `base` is ever asked; check `base`, or the server's own idea of its address",
    "fhir.search": "let the server search Subscriptions by _tag or url, or register by hand and leave out `subscribe`",
    "fhir.answer": "the answer is not what FHIR says; see the log of the server",
}
_SAY = {
    "fhir.unreachable": "the FHIR server cannot be reached",
    "fhir.timeout": "the FHIR server gave no answer in time",
    "fhir.disconnected": "the connection to the FHIR server was lost before it answered",
    "fhir.tls": "the TLS certificate of the FHIR server is not trusted",
    "fhir.login": "the FHIR server does not accept our login",
    "fhir.access": "a right is missing on the FHIR server",
    "fhir.not_found": "the FHIR server has no such resource",
    "fhir.gone": "the resource was deleted on the FHIR server",
    "fhir.unsupported": "the FHIR server does not do this",
    "fhir.conflict": "two writers met on one resource",
    "fhir.precondition": "a condition of the request does not hold on the FHIR server",
    "fhir.busy": "the FHIR server cannot take it now",
    "fhir.invalid": "the FHIR server refuses it",
    "fhir.failed": "the FHIR server failed",
    "fhir.base": "the answer is not one of a FHIR server",
}
_ISSUES = {  # issue-type -> (result, code), where it says more than the status
    "throttled": (Result.RETRY, "fhir.busy"),
    "transient": (Result.RETRY, "fhir.busy"),
    "timeout": (Result.RETRY, "fhir.busy"),
    "no-store": (Result.RETRY, "fhir.busy"),
    "lock-error": (Result.RETRY, "fhir.conflict"),
    "conflict": (Result.RETRY, "fhir.conflict"),
    "multiple-matches": (Result.PERMANENT, "fhir.precondition"),
    "not-supported": (Result.PERMANENT, "fhir.unsupported"),
    "login": (Result.CONFIG, "fhir.login"),
    "expired": (Result.CONFIG, "fhir.login"),
    "unknown": (Result.CONFIG, "fhir.login"),
    "forbidden": (Result.CONFIG, "fhir.access"),
}
_STATUS = {
    401: (Result.CONFIG, "fhir.login"),
    403: (Result.CONFIG, "fhir.access"),
    404: (Result.PERMANENT, "fhir.not_found"),
    405: (Result.PERMANENT, "fhir.unsupported"),
    408: (Result.UNKNOWN, "fhir.failed"),
    409: (Result.RETRY, "fhir.conflict"),
    410: (Result.PERMANENT, "fhir.gone"),
    412: (Result.PERMANENT, "fhir.precondition"),
    429: (Result.RETRY, "fhir.busy"),
    501: (Result.PERMANENT, "fhir.unsupported"),
    503: (Result.RETRY, "fhir.busy"),
}
_SETTLED = frozenset({401, 403, 404, 405, 410, 412, 429, 501, 503})  # statuses that no issue changes
_PLACE = re.compile(r"[A-Za-z][A-Za-z0-9.\[\]:_-]{0,120}")


class FhirError(DeliveryError):
    """A request that did not get what it wanted.

    `status` is 0 without an answer; `issue` the OperationOutcome's code; `retry_after` seconds that the server asks
    for; `body` the answer, which may hold patient data.
    """

    code = "fhir.failed"

    def __init__(
        self,
        code: str,
        result: str,
        *,
        status: int = 0,
        issue: str = "",
        where: str = "",
        what: str = "",
        retry_after: float = 0.0,
        body: bytes = b"",
    ) -> None:
        told = what or _SAY.get(code, "the FHIR server failed")
        if status:
            told += f" (HTTP {status}{f', {issue}' if issue else ''})"
        super().__init__(told, result=result, code=code, where=where, todo=_TODO.get(code, ""))
        self.status = status
        self.issue = issue
        self.retry_after = retry_after
        self.body = body

    @property
    def absent(self) -> bool:
        """The server says that the resource is not there."""
        return self.status in (404, 410)

    @property
    def waits(self) -> bool:
        """It may go well later without anybody doing anything."""
        return self.result in (Result.RETRY, Result.UNKNOWN)

    @property
    def unoffered(self) -> bool:
        """Of an operation that a server need not have: it has not."""
        return self.status in (400, 404, 405, 501)

    @property
    def general(self) -> bool:
        """Any other request would meet it as well: the server is away, or does not know us."""
        return self.waits or (self.result == Result.CONFIG and self.status != 403)


def of_lost(found: Lost, reads: bool) -> FhirError:
    """The error of a request without an answer; one that only `reads` has certainly changed nothing."""
    if found.how == "tls":
        return FhirError("fhir.tls", Result.CONFIG)
    if found.how == "unreachable":
        return FhirError("fhir.unreachable", Result.RETRY)
    if found.how == "large":
        return FhirError(
            "fhir.answer", Result.PERMANENT, what="the answer of the FHIR server is larger than it may be"
        )
    code = "fhir.timeout" if found.how == "timeout" else "fhir.disconnected"
    return FhirError(code, Result.RETRY if reads else Result.UNKNOWN)


def of_answer(answer: Answer, reads: bool, now: datetime | None = None) -> FhirError:
    """The error that an answer with a bad status is."""
    status = answer.status
    issue, place = outcome(answer.body)
    if status < 400:
        result, code = Result.CONFIG, "fhir.base"
    elif status not in _SETTLED and issue in _ISSUES:
        result, code = _ISSUES[issue]
    else:
        server = (Result.UNKNOWN, "fhir.failed")
        result, code = _STATUS.get(status, (Result.PERMANENT, "fhir.invalid") if status < 500 else server)
    if reads and result == Result.UNKNOWN:
        result = Result.RETRY
    return FhirError(
        code, result, status=status, issue=issue, where=place, body=answer.body,
        retry_after=retry_after(answer.headers.get("retry-after", ""), now),
    )  # fmt: skip


def outcome(body: bytes) -> tuple[str, str]:
    """Code and place of the worst issue of an OperationOutcome; empty when the body is none."""
    try:
        told: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", ""
    issues = told.get("issue") if isinstance(told, dict) else None
    known = [one for one in issues if isinstance(one, dict)] if isinstance(issues, list) else []
    known.sort(key=lambda one: {"fatal": 0, "error": 1}.get(str(one.get("severity")), 2))
    for one in known:
        code = one.get("code")
        places = one.get("expression") or one.get("location") or [""]
        place = places[0] if isinstance(places, list) and isinstance(places[0], str) else ""
        if isinstance(code, str):
            return (
                code if re.fullmatch(r"[a-z-]{1,40}", code) else "",
                place if _PLACE.fullmatch(place) else "",
            )
    return "", ""


def retry_after(header: str, now: datetime | None = None) -> float:
    """Seconds that `Retry-After` asks for (a number, or an HTTP date); 0 when it says nothing."""
    header = header.strip()
    if re.fullmatch(r"\d{1,9}", header):
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except (TypeError, ValueError):
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())
