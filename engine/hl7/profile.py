"""Message profiles: what a site demands of its messages beyond the standard (HL7 v2.5.1 chapter 2.12).

Two kinds of files are read: the XML of a conformance profile (`HL7v2xConformanceProfile`, as the Messaging Workbench
and others write it) and what hl7apy's `hl7apy_profile_parser` made of one. The latter is a Python pickle; only plain
data is taken from it, so that a profile can never run code.

Guarantees: usage R is required and X forbidden, whatever Min and Max say; a length that is not given limits nothing;
of fields and components after the last one that it names, the standard says what is right.
Conditional usage (C, CE) and constant values are not checked. Refuses (ConfigError): anything else.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine.errors import ConfigError, FormatError
from engine.formats import xml

Reference = tuple[Any, ...]
"""hl7apy's description of an element: kind, children, data type, name, table, length."""
Standard = Callable[[str, str], Any]
"""hl7apy's description of a segment or data type by kind and name; None when the version has none."""


@dataclass(frozen=True, eq=False)
class Profile:
    """What a profile demands, by message structure (`ADT_A01`), and the HL7 version that it is of ("": not said)."""

    structures: dict[str, Reference]
    version: str = ""
    _completed: dict[str, dict[str, Reference]] = field(default_factory=dict)

    def complete(self, version: str, standard: Standard) -> dict[str, Reference]:
        """All of it, with what a version says of segments, fields and components that it leaves out."""
        if version not in self._completed:
            self._completed[version] = {
                name: (kind, _members_completed(members, standard))
                for name, (kind, members, *_) in self.structures.items()
            }
        return self._completed[version]


def _members_completed(members: Reference, standard: Standard) -> Reference:
    found = []
    for name, child, cardinality, sort in members:
        if sort == "GRP":
            whole = (child[0], _members_completed(child[1], standard))
        else:
            fields = tuple((one, _typed(field, standard), *more) for one, field, *more in child[1] or ())
            others = (standard("Segment", name) or ("sequence", ()))[1][len(fields) :]
            if fields:  # a profile that names fields demands no others
                others = tuple((one, field, (0, most), kind) for one, field, (_, most), kind in others)
            whole = ("sequence", fields + tuple(others))
        found.append((name, whole, cardinality, sort))
    return tuple(found)


def _typed(shape: Reference, standard: Standard) -> Reference:
    """A field or component with its components: hl7apy fails on a composite data type without any."""
    _, children, datatype, *rest = shape
    named = tuple((name, _typed(child, standard), *more) for name, child, *more in children or ())
    named += tuple(standard("Datatypes_Structs", datatype) or ())[len(named) :]
    return "sequence" if named else "leaf", named or None, datatype, *rest


class _PlainData(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("persistent id")


def load(raw: bytes) -> Profile:
    """The profile that a file holds."""
    if raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        return _of_xml(raw)
    try:
        found = _PlainData(io.BytesIO(raw)).load()  # no class, no function: data alone
        return Profile({str(name): _checked(shape) for name, shape in found.items()})
    except Exception:  # a pickle fails in as many ways as it has opcodes
        raise _refused("it is neither XML nor a profile that hl7apy made") from None


def _checked(shape: Any) -> Reference:
    """A description as hl7apy keeps it, its shape made sure of; length 0 is how it says that none was given."""
    kind, children, *rest = shape
    if kind not in ("sequence", "choice", "leaf") or (
        children is not None and not isinstance(children, tuple)
    ):
        raise ValueError
    inner = None
    if children is not None:
        inner = tuple(
            (str(name), _checked(child), (int(low), int(high)), str(sort))
            for name, child, (low, high), sort in children
        )
    if not rest:
        return kind, inner
    datatype, name, table, length = rest
    return kind, inner, datatype, name, table, int(length) or -1


def _of_xml(raw: bytes) -> Profile:
    try:
        root = xml.load(raw)
    except FormatError as error:
        raise _refused(error.what) from None
    version = str(root.get("HL7Version") or "")
    structures: dict[str, Reference] = {}
    for static in root.iter("{*}HL7v2xStaticDef"):
        name = str(static.get("MsgStructID") or f"{static.get('MsgType')}_{static.get('EventType')}")
        structures[name] = ("sequence", _members(static, name))
    if not structures:
        raise _refused("it holds no HL7v2xStaticDef")
    return Profile(structures, version)


def _members(parent: Any, structure: str) -> Reference:
    found = []
    for child in parent.iterchildren("{*}Segment", "{*}SegGroup"):
        name = _named(child)
        if child.tag.rpartition("}")[2] == "Segment":
            fields = _parts(child, name, ("Field",), "FIE") or None
            found.append((name, ("sequence", fields), _cardinality(child), "SEG"))
        else:
            inner = ("sequence", _members(child, structure))
            prefix = "" if name.startswith(f"{structure}_") else f"{structure}_"
            found.append((prefix + name.rpartition(".")[2], inner, _cardinality(child), "GRP"))
    return tuple(found)


def _parts(parent: Any, name: str, tags: tuple[str, ...], sort: str) -> Reference:
    """Fields, components or subcomponents, numbered from 1."""
    found = []
    for number, child in enumerate(parent.iterchildren(*(f"{{*}}{tag}" for tag in tags)), 1):
        datatype = child.get("Datatype") or ""
        datatype = "varies" if datatype.lower() == "varies" else datatype.upper()
        inner = _parts(child, datatype, ("Component", "SubComponent"), "CMP") or None
        table = child.get("Table")
        shape = (
            "sequence" if inner else "leaf", inner, datatype, child.get("Name"),
            f"HL7{table.zfill(4)}" if table else None, _number(child.get("Length"), -1) or -1,
        )  # fmt: skip
        cardinality = _cardinality(child) if sort == "FIE" else (int(child.get("Usage") == "R"), 1)
        if child.get("Usage") == "X":
            cardinality = (0, 0)
        found.append((f"{name}_{number}", shape, cardinality, sort))
    return tuple(found)


def _cardinality(child: Any) -> tuple[int, int]:
    usage = child.get("Usage")
    if usage == "X":
        return 0, 0
    low = _number(child.get("Min"), 0)
    return (max(low, 1) if usage == "R" else low), _number(child.get("Max"), -1)


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdigit() else otherwise


def _named(child: Any) -> str:
    if not child.get("Name"):
        raise _refused(f"line {child.sourceline} has an element without Name")
    return str(child.get("Name"))


def _refused(why: str) -> ConfigError:
    return ConfigError(
        f"this is no message profile: {why}", code="validate.profile",
        todo="give the XML of a conformance profile, or what hl7apy_profile_parser made of it",
    )  # fmt: skip
