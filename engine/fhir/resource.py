"""FHIR resources as messages: plain JSON, read and changed by FHIRPath.

    Patient.name.where(use='official').family      identifier.where(system='urn:mrn').value      active

Guarantees: common paths are read by `engine.fhir.reader`, all others by fhirpathpy, compiled once; the document is
plain data, so elements that no profile knows stay; what is not there is ABSENT; `bytes` is the message itself until
something is set. Indexes count from 0, as FHIRPath counts. `msg[path]` is the first item, `msg.all(path)` all.
Refuses (FormatError): what is not JSON with a `resourceType`; (PathError): expressions that FHIRPath does not have,
and `now()`, `today()`, `timeOfDay()`, for a message that is run again must give the same result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from engine.clock import Micros
from engine.errors import FormatError, HL7Error, StepError
from engine.fhir import path_syntax, reader
from engine.fhir.notification import noted, relative
from engine.formats import tree
from engine.formats.base import Header, Identity, PathError, Verdict, bad, cached, name, plain, reading
from engine.model import ABSENT, CLEAR

VERSIONS = {"R4": "r4", "R4B": "r4", "R5": "r5"}
_IMPURE = re.compile(r"\b(now|today|timeOfDay)\(")
_ISSUES = {"207": "transient", "205": "duplicate", "101": "required"}
_CONDITIONS = {issue: condition for condition, issue in _ISSUES.items()}
_PATIENT = ("subject", "patient", "beneficiary", "individual", "for")


class Fhir:
    """The format `fhir` of one channel."""

    name = "fhir"
    content_type = "application/fhir+json"
    ordering_key = ""  # the patient's reference, else the resource itself
    typed = True

    def __init__(self, version: path_syntax.Version = "R4", mrn: str = "", bundles: str = "message") -> None:
        self.version = version
        self.mrn = mrn
        self.bundles = bundles
        self._compiled: dict[str, Any] = {}
        if mrn:
            self.check(mrn)

    def compile(self, path: str) -> Any:
        """Steps of our reader, or a function of fhirpathpy. Raises PathError."""
        return self._compiled.get(path) or cached(self._compiled, path, self._compile)

    def _compile(self, path: str) -> Any:
        found = reader.compile(path)
        if found is not None:
            return found
        if impure := _IMPURE.search(path):
            raise PathError(
                path, impure.start() + 1, f"{impure[1]}() gives another result every time",
                "use message.received_at",
            )  # fmt: skip
        for found in path_syntax.check(path, (), self.version):
            if found.code != "fhirpath.element":  # profiles may have elements of their own
                raise PathError(path, found.column, found.text, found.hint)
        return _whole(path, VERSIONS[self.version])

    def parse(self, raw: bytes) -> Resource:
        """The view of a message. Refuses a note of a resource that has to be read first."""
        view = self.view(raw)
        if noted(view.data)[0] == "unread":
            raise FormatError(
                "the server told that a resource changed, and did not send it", code="fhir.unread",
                todo="give the listener a `connection` to read from, or let the Subscription send full resources",
            )  # fmt: skip
        return view

    def view(self, raw: bytes) -> Resource:
        """Of any FHIR JSON, notes included."""
        return Resource(raw, self)

    @staticmethod
    def dump(data: Any) -> bytes:
        """A resource as bytes."""
        return orjson.dumps(data)

    def peek(self, raw: bytes) -> Header:
        """`Patient`, and `Patient/1/_history/2` as control id where the resource says its version."""
        view = Resource(raw, self)
        data = view.data
        told, references = noted(data)
        if told:
            return Header(view, "", f"{references[0].partition('/')[0] or 'Resource'}.{told}")
        meta = data.get("meta")
        meta = meta if isinstance(meta, dict) else {}
        kind, version = data["resourceType"], meta.get("versionId")
        control_id = f"{_own(data)}/_history/{version}" if _own(data) and version else ""
        return Header(view, control_id, kind, meta.get("source", ""))

    def identify(self, raw: bytes, header: Header, path: str) -> Identity:
        """The medical record number and the patient's reference, also of merged patients; the identifiers that the
        patient has or is named by; and the resource itself, so that its deletion, which does not tell whose it was,
        does not overtake it."""
        view = header.view
        told, references = noted(view.data)
        if told:
            patient = next((one for one in references if one.startswith("Patient/")), "")
            own = references[0]
            return Identity("", "", patient or own, (own,) if patient and own and own != patient else ())
        mrn = plain(reading(view, self.mrn)) if self.mrn else plain(_mrn(view.data))
        if path:
            return Identity(mrn, _visit(view.data), plain(reading(view, path)))
        also = [plain(found) for found in reader.read(view.data, _LINKS)] if "link" in view.data else []
        whom, own = list(_patients(view.data)), _own(view.data)
        patient = next(filter(None, map(_reference, whom)), own)
        if own != patient:
            also.append(own)
        also += _identifiers(view.data, whom)
        return Identity(mrn, _visit(view.data), patient, tuple(filter(None, also)))

    def parts(self, raw: bytes) -> list[bytes]:
        """With `bundles: entries`, the resources of a Bundle; otherwise one message."""
        if self.bundles != "entries":
            return [raw]
        try:
            return Resource(raw, self).split("Bundle.entry.resource") or [raw]
        except HL7Error:
            return [raw]

    def check(self, path: str) -> None:
        """Raises PathError."""
        self.compile(path)

    def acknowledge(self, header: Any, code: str, error: HL7Error | None, ack_id: str, now: Micros) -> bytes:
        """An OperationOutcome: its only issue says what became of the message."""
        issue: dict[str, Any] = {"severity": "information", "code": "informational"}
        if error is not None:
            issue = {"severity": "error", "code": _ISSUES.get(error.condition, "invalid")}
            issue["diagnostics"] = f"{error.what} ({error.todo})" if error.todo else error.what
            issue["details"] = {"coding": [{"code": error.code}]}
        extension = [{"url": "urn:isthmus:ack", "valueCode": code}]
        return orjson.dumps(
            {"resourceType": "OperationOutcome", "id": ack_id, "extension": extension, "issue": [issue]}
        )

    def verdict(self, answer: bytes) -> Verdict:
        """MSA-1 and the condition."""
        told = orjson.loads(answer)
        issue = told["issue"][0]
        condition = _CONDITIONS.get(issue["code"], "100") if issue["severity"] == "error" else ""
        return Verdict(told["extension"][0]["valueCode"], condition)


class Resource:
    """One FHIR resource. See the module's guarantees."""

    __slots__ = ("changed", "data", "format", "raw")

    def __init__(self, raw: bytes, form: Fhir) -> None:
        self.raw = raw
        self.format = form
        self.data: dict[str, Any] = tree.load(raw, "FHIR JSON")
        self.changed = False
        kind = self.data.get("resourceType") if isinstance(self.data, dict) else None
        if not isinstance(kind, str) or not name(kind):
            raise bad("the message is no FHIR resource", "send JSON with a resourceType", "fhir.no_type")

    def _find(self, path: str) -> list[Any]:
        compiled = self.format.compile(path)
        if isinstance(compiled, tuple):
            return reader.read(self.data, compiled)
        try:
            return [_plain(item) for item in compiled(self.data, {})]
        except Exception as error:
            raise StepError(
                f"the path failed with {type(error).__name__}", code="format.path.failed", where=path
            ) from None

    def __getitem__(self, path: str) -> Any:
        found = self._find(path)
        return tree.value(found[0]) if found else ABSENT

    def __contains__(self, path: str) -> bool:
        return bool(self._find(path))

    def all(self, path: str) -> list[Any]:
        """Every item of the collection."""
        return [tree.value(item) for item in self._find(path)]

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """Every value that holds no others: its FHIRPath, and it."""
        for steps, value in tree.leaves(self.data):
            path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in steps)
            yield path.removeprefix("."), value

    def __setitem__(self, path: str, value: Any) -> None:
        compiled = self.format.compile(path)
        new = None if value is CLEAR or value is None or value == "" else value
        new = str(new) if isinstance(new, str) else new
        if not isinstance(compiled, tuple) or not reader.put(self.data, compiled, new):
            raise StepError(
                "nothing can be set here", code="format.set", where=path,
                todo="only plain paths, [n] and where(x='y') can be set",
            )  # fmt: skip
        self.changed = True

    def places(self, path: str) -> list[str]:
        """A plain path for every item of the collection. Only for paths that can be set."""
        compiled = self.format.compile(path)
        if not isinstance(compiled, tuple):
            raise StepError("the values of this path have no place", code="format.set", where=path)
        return reader.places(self.data, compiled)

    def split(self, path: str) -> list[bytes]:
        """The resources at `path` (Bundle.entry.resource) as messages of their own."""
        found = [item for item in self._find(path) if isinstance(item, dict) and "resourceType" in item]
        return [orjson.dumps(item) for item in found]

    def __bytes__(self) -> bytes:
        return orjson.dumps(self.data) if self.changed else self.raw

    def __repr__(self) -> str:
        return f"<FHIR resource, {len(self.raw)} bytes>"


def _whole(path: str, version: str) -> Any:
    """All of FHIRPath. The import takes 0.1 s, so only channels that need it pay."""
    import fhirpathpy
    from fhirpathpy.models import models

    try:
        compiled = fhirpathpy.compile(path, models[version])
        compiled({"resourceType": "Basic"}, {})  # unknown functions are only found when it runs
    except Exception as error:
        raise PathError(
            path, 1, f"this is not FHIRPath: {type(error).__name__}", "see hl7.org/fhirpath"
        ) from None
    return compiled


def _plain(found: Any) -> Any:
    return found if isinstance(found, (str, int, float, bool, dict, list, type(None))) else str(found)


def _own(data: dict[str, Any]) -> str:
    return f"{data['resourceType']}/{data['id']}" if isinstance(data.get("id"), str) else ""


def _patients(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The references to whom a resource is about; none of a Patient."""
    if data["resourceType"] == "Patient":
        return
    yield from (found for key in _PATIENT if isinstance(found := data.get(key), dict))
    for item in data["participant"] if isinstance(data.get("participant"), list) else ():
        actor = item.get("actor") if isinstance(item, dict) else None
        if isinstance(actor, dict):
            kind, named = actor.get("type"), actor.get("reference")
            told = isinstance(named, str) and ("Patient/" in named or named[:1] == "#")
            if kind == "Patient" or (told and not kind):
                yield actor


def _reference(found: dict[str, Any]) -> str:
    """`Patient/1`; "" of one that names no resource."""
    named = found.get("reference")
    return relative(named) if isinstance(named, str) else ""


def _identifiers(data: dict[str, Any], whom: list[dict[str, Any]]) -> list[str]:
    """`system|value`: what the patient has, or is named by; of merged ones too."""
    found: list[Any] = []
    if data["resourceType"] == "Patient":
        found += reader.read(data, _OWN)
        found += reader.read(data, _LINKED) if "link" in data else []
    else:
        for one in whom:
            found.append(one.get("identifier"))
            if isinstance(one.get("reference"), str) and one["reference"].startswith("#"):
                found += _contained(data, one["reference"][1:])
    return [
        f"{item.get('system', '')}|{item['value']}"
        for item in found
        if isinstance(item, dict) and isinstance(item.get("value"), str)
    ]


def _contained(data: dict[str, Any], id_: str) -> list[Any]:
    """The identifiers of a patient that a resource holds."""
    for one in reader.read(data, _CONTAINED):
        if isinstance(one, dict) and one.get("id") == id_ and one.get("resourceType") == "Patient":
            return reader.read(one, _OWN)
    return []


def _mrn(data: dict[str, Any]) -> Any:
    path = _MRN if data["resourceType"] == "Patient" else _SUBJECT_MRN
    return next(iter(reader.read(data, path) or (reader.read(data, _FIRST) if path is _MRN else ())), "")


def _visit(data: dict[str, Any]) -> str:
    if data["resourceType"] == "Encounter":
        return _own(data)
    return plain(next(iter(reader.read(data, _ENCOUNTER)), ""))


def _known(path: str) -> reader.Path:
    found = reader.compile(path)
    assert found is not None
    return found


_MRN = _known("identifier.where(type.coding.code='MR').value")
_FIRST = _known("identifier.value")
_SUBJECT_MRN = _known("subject.identifier.value")
_ENCOUNTER = _known("encounter.reference")
_LINKS = _known("link.other.reference")
_LINKED = _known("link.other.identifier")
_OWN = _known("identifier")
_CONTAINED = _known("contained")
