"""What may be asked of a server: only what lies below its configured base.

    Base("https://ehr.example/fhir").url("Patient/1")            https://ehr.example/fhir/Patient/1
    Base(...).below("https://ehr.example/fhir/Patient?page=2")   Patient?page=2
    Base(...).below("https://elsewhere.example/Patient/1")       FhirError fhir.foreign

Guarantees: a reference, a `next` link or a `Location` never leads to another scheme, host, port or path, however it
is written: dots, percent signs, backslashes, user parts, control characters. Refuses: a base with a query, a
fragment or a user.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from engine.fhirserver.errors import FhirError
from engine.states import Result

_PORTS = {"http": 80, "https": 443}
_ID = re.compile(r"[A-Za-z0-9.-]{1,128}")  # R4 says 64; servers give longer ones
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")


class Base:
    """The service base of one server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if (
            parts.scheme not in _PORTS
            or not parts.hostname
            or parts.username
            or parts.query
            or parts.fragment
        ):
            raise ValueError("must be http://host/path or https://host/path, without user and parameters")
        if _unsafe(parts.path):
            raise ValueError("has . or .. or a coded / in its path")
        self.address = url.rstrip("/")
        self.secure = parts.scheme == "https"
        self.host = parts.hostname
        self._origin = _origin(url)
        self._path = parts.path.rstrip("/")

    def url(self, path: str) -> str:
        """The address of something below the base: `Patient/1`, `Patient?active=true`, or `` for the base itself."""
        if not path.isascii() or re.search(r"[\x00-\x20\x7f\\#]", path):
            raise foreign()
        if path.startswith("/") or _unsafe(path.partition("?")[0]):
            raise foreign()
        if not path:
            return self.address
        return f"{self.address}{path}" if path.startswith("?") else f"{self.address}/{path}"

    def below(self, reference: str) -> str:
        """What `url` takes, of a relative or absolute reference. Raises FhirError `fhir.foreign`."""
        reference = reference.strip()
        if reference.startswith("/") and not reference.startswith("//"):
            parts = urlsplit(self.address)
            reference = f"{parts.scheme}://{parts.netloc}{reference}"
        if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", reference) and not reference.startswith("//"):
            self.url(reference)
            return reference
        try:
            parts, origin = urlsplit(reference), _origin(reference)
        except ValueError:
            raise foreign() from None
        path = parts.path
        if (
            origin != self._origin
            or parts.username is not None
            or not (path + "/").startswith(self._path + "/")
        ):
            raise foreign()
        rest = path[len(self._path) :].strip("/")
        found = f"{rest}?{parts.query}" if parts.query else rest
        self.url(found)
        return found


def resource(reference: str) -> tuple[str, str, str]:
    """Type, id and version (or an empty text) of `Patient/1` or `Patient/1/_history/2`. Raises FhirError."""
    parts = reference.split("/")
    version = ""
    if len(parts) == 4 and parts[2] == "_history":
        version = parts[3]
    elif len(parts) != 2:
        raise foreign("a reference that names no resource")
    if not _TYPE.fullmatch(parts[0]) or not is_id(parts[1]) or (version and not is_id(version)):
        raise foreign("a reference that names no resource")
    return parts[0], parts[1], version


def is_id(text: str) -> bool:
    """Whether this may be the id of a resource."""
    return _ID.fullmatch(text) is not None and text.strip(".") != ""


def foreign(what: str = "a reference that leads elsewhere than to the FHIR server") -> FhirError:
    """Something that is not asked."""
    return FhirError("fhir.foreign", Result.PERMANENT, what=what)


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme, 0)


def _unsafe(path: str) -> bool:
    """Segments that a server or proxy could take for a way up, and separators in disguise."""
    if re.search(r"%(2f|5c|00|25)", path, re.IGNORECASE):
        return True
    return any(part in (".", "..") for part in unquote(path).replace("\\", "/").split("/"))
