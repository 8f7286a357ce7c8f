"""Reads FHIR data types out of resources: identifiers, names, telecoms, addresses, codes, times, references.

Guarantee: what is not of the shape that FHIR gives it counts as not there; a resource is the whole state of what it
tells of, so an element that it lacks is cleared (None), unless the option `absent` says `leave`, or the resource is
only a part (tag SUBSETTED) or stands beside another one (contained, in the same Bundle): then it is absent (UNSET).
References are found in `contained`, in the Bundle around the resource and by `resolve`, which is given what lies
outside of both as it stands. R4, R4B
and R5 are told apart by their elements. Refuses (StepError `fhir.unresolved`): see `need`.

Source: FHIR R4 and R5, data types; HL7 Terminology for the systems of identifiers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from msgspec import UNSET

from engine.errors import StepError
from engine.fhir.notification import relative
from transforms.canonical import codes
from transforms.canonical.options import Options
from transforms.canonical.times import instant, partial
from transforms.canonical.types import ASSIGNER, Address, Code, Identifier, Maybe, Name, Period, Phone, Ref

NPI, SSN = "http://hl7.org/fhir/sid/us-npi", "http://hl7.org/fhir/sid/us-ssn"
KINDS = {NPI: "NPI", SSN: "SS"}
RESOURCE_ID = "RI"  # HL7 table 0203: what a server calls the record
NAMES = {"official": 0, "usual": 1, "": 2, "temp": 3, "anonymous": 4, "nickname": 5, "maiden": 6, "old": 7}
ADDRESSES = {"home": 0, "": 1, "temp": 2, "work": 3, "billing": 4, "old": 5}
Resource = Mapping[str, Any]
Resolve = Callable[[str], Resource | None]
Index = dict[str, Resource]


class Reader:
    """One resource, what stands beside it, and the options that decide what values mean."""

    __slots__ = ("absent", "contained", "data", "index", "options", "outside")

    def __init__(
        self,
        data: Resource,
        options: Options,
        index: Index | None = None,
        outside: Resolve | None = None,
        *,
        whole: bool = True,
        contained: Index | None = None,
    ) -> None:
        self.data = data
        self.options = options
        self.index = index if index is not None else {}
        self.outside = outside
        self.contained = {f"#{one.get('id', '')}": one for one in dicts(data.get("contained"))}
        self.contained |= contained or {}
        tags = [text(tag.get("code")) for tag in dicts(dict_(data.get("meta")).get("tag"))]
        clears = whole and options.absent == "clear" and "SUBSETTED" not in tags
        self.absent: Any = None if clears else UNSET

    def beside(self, data: Resource) -> Reader:
        """A reader of a resource that this one refers to. What it lacks says nothing."""
        return Reader(data, self.options, self.index, self.outside, whole=False, contained=self.contained)

    # References

    def resolve(self, reference: Any) -> Resource | None:
        """The resource of a Reference, or of the text in it; None when it did not come along."""
        found = text(reference.get("reference") if isinstance(reference, Mapping) else reference)
        if not found:
            return None
        if found.startswith("#"):
            return self.contained.get(found)
        along = self.index.get(found) or self.index.get(relative(found))
        return along or (self.outside(found) if self.outside else None)

    def kind(self, reference: Resource) -> str:
        """The type of resource that a Reference names, "" when nothing tells it."""
        told = relative(text(reference.get("reference"))).partition("/")[0]
        found = None if told else self.resolve(reference)
        return told or (text(reference.get("type")) if found is None else text(found.get("resourceType")))

    def identified(self, reference: Resource) -> list[Identifier]:
        """The identifiers in a Reference that did not come with its resource: its own, and the server's id."""
        own = self.identifier(dict_(reference.get("identifier")))
        found = [own] if own is not None else []
        id_ = relative(text(reference.get("reference"))).partition("/")[2]
        return self.with_id(found, id_)

    def refs(self, references: Any, type_: str, kind: str, *numbers: str) -> Maybe[list[Ref]]:
        """Those of a type: by their numbers (of the types `numbers`), else by their words; UNSET when none is told."""
        asked = [item for item in dicts(references) if self.kind(item) in (type_, "")]
        found = []
        for item in asked:
            data = self.resolve(item)
            known = (
                self.beside(data).numbers(*numbers)
                if data is not None and data.get("resourceType") == type_
                else self.identified(item)
            )
            one = Ref(kind=kind, identifiers=self.usable(known), display=text(item.get("display")).strip())
            if one.identifiers or one.display:
                found.append(one)
        return found or (UNSET if asked else self.absent)

    def need(self, found: list[Identifier], where: str) -> None:
        """Raise StepError unless one of `found` is a key: a server's id is none, where identifiers are the keys."""
        if self.options.identity == "business" and all(item.type == RESOURCE_ID for item in found):
            raise StepError(
                "the resource is only named by a reference, and did not come along",
                code="fhir.unresolved",
                where=where,
                todo="give the listener a `connection`, where it is read; let it come contained, in the same Bundle or"
                " with an identifier; or set the channel's `canonical: {identity: resource}`",
            )

    # Identifiers

    def identifiers(self, data: Resource | None = None, type_: str = "") -> list[Identifier]:
        """Those of a resource, old ones last, and the server's id. `type_` is of those that name no type."""
        data = self.data if data is None else data
        sent = sorted(dicts(data.get("identifier")), key=lambda item: item.get("use") == "old")
        master = dict_(data.get("masterIdentifier"))  # R4 DocumentReference
        found: dict[str, Identifier] = {}
        for item in ([master] if master else []) + sent:
            one = self.identifier(item, type_)
            if one is not None:
                found.setdefault(one.key, one)
        return self.with_id(list(found.values()), text(data.get("id")))

    def numbers(self, *types: str) -> list[Identifier]:
        """The identifiers in the order of these types, then the others; those without type are of the first one."""
        found = self.identifiers(type_=types[0])
        if self.options.identity == "resource":
            return found
        rank = {RESOURCE_ID: 99} | {type_: place for place, type_ in enumerate(types)}
        return sorted(found, key=lambda item: rank.get(item.type, len(types)))

    def usable(self, found: list[Identifier]) -> list[Identifier]:
        """Those that can be keys: not the server's id where identifiers are the keys."""
        every = self.options.identity == "resource"
        return [item for item in found if every or item.type != RESOURCE_ID]

    def with_id(self, found: list[Identifier], id_: str) -> list[Identifier]:
        """With the server's id: last, or first where it is the key."""
        if not id_ or not self.contained_free(id_):
            return found
        own = Identifier(value=id_, assigner=self.options.default_authority or "fhir", type=RESOURCE_ID)
        return [own, *found] if self.options.identity == "resource" else [*found, own]

    def contained_free(self, id_: str) -> bool:
        """Whether an id is the server's: ids of contained resources only hold inside their resource."""
        return f"#{id_}" not in self.contained

    def identifier(self, item: Resource, type_: str = "") -> Identifier | None:
        """None without a value."""
        value = text(item.get("value")).strip()
        if not value:
            return None
        system = text(item.get("system"))
        kind = self.code_of(item.get("type")) or KINDS.get(system, type_)
        if kind == "NPI":
            return Identifier(value=value, assigner="NPI", type=kind, system=system)
        assigner = dict_(item.get("assigner"))
        period = self.period(item.get("period"))
        return Identifier(
            value=value,
            assigner=self.assigner(system, text(assigner.get("display"))),
            type=kind,
            system=system,
            period=period,
        )

    def assigner(self, system: str, name: str) -> str:
        """The one spelling of who gave an identifier: by `authorities`, else its system, else its name."""
        bare = system.removeprefix("urn:oid:").removeprefix("urn:uuid:")
        if system.startswith(ASSIGNER):
            bare = unquote(system.removeprefix(ASSIGNER))
        known = self.options.authorities
        for spelling in (system, bare, name):
            if spelling and spelling in known:
                return known[spelling]
        return bare or name or self.options.default_authority or "-"

    # Data types

    def names(self, found: Any) -> list[Name]:
        """HumanName, the one to use first."""
        named = []
        for item in dicts(found):
            given = [part for part in texts(item.get("given")) if part]
            family, whole = text(item.get("family")).strip(), text(item.get("text")).strip()
            if family or given or whole:
                use = text(item.get("use"))
                name = Name(
                    family=family,
                    given=given,
                    prefix=" ".join(texts(item.get("prefix"))),
                    suffix=" ".join(texts(item.get("suffix"))),
                    use=use if use in NAMES else "",
                    text=whole,
                )
                named.append((NAMES.get(use, 2), name))
        return [name for _, name in sorted(named, key=lambda pair: pair[0])]

    def phones(self, found: Any, use: str = "") -> list[Phone]:
        """ContactPoint, by rank."""
        phones = []
        for item in dicts(found):
            value = text(item.get("value")).strip()
            if value:
                system = text(item.get("system")) or ("email" if "@" in value else "phone")
                rank = item.get("rank")
                phones.append(
                    Phone(
                        value=value,
                        system="phone" if system == "sms" else system,
                        use="mobile" if system == "sms" else text(item.get("use")) or use,
                        rank=rank if type(rank) is int else 0,
                    )
                )
        return sorted(phones, key=lambda item: item.rank or 99)

    def addresses(self, found: Any) -> list[Address]:
        """Address, home first. One with a street or a city is whole: its missing parts are cleared."""
        addresses = [self._address(item) for item in dicts(found)]
        return sorted((one for one in addresses if one), key=lambda item: ADDRESSES.get(item.use, 1))

    def _address(self, item: Resource) -> Address | None:
        lines = [line.strip() for line in texts(item.get("line")) if line.strip()]
        keys = ("city", "district", "state", "postalCode", "country")
        city, district, state, postal_code, country = (text(item.get(key)).strip() or UNSET for key in keys)
        street: Any = lines[0] if lines else UNSET
        if street is UNSET and city is UNSET:
            street = text(item.get("text")).replace("\n", ", ").strip() or UNSET
        if all(part is UNSET for part in (street, city, state, postal_code, country)):
            return None
        if isinstance(country, str):
            country = codes.country(country)
        elif self.options.default_country:
            country = self.options.default_country
        gone = None if street or city else UNSET
        return Address(
            street=street or gone,
            street2=", ".join(lines[1:]) or gone,
            city=city or gone,
            district=district,
            state=state or gone,
            postal_code=postal_code or gone,
            country=country,
            use=text(item.get("use")) if item.get("type") != "billing" else "billing",
        )

    def code(self, found: Any) -> Maybe[Code]:
        """CodeableConcept, Coding or CodeableReference (R5); of a list the first one."""
        if isinstance(found, list):
            return next((one for item in found if isinstance(one := self.code(item), Code)), self.absent)
        item = dict_(found)
        item = dict_(item.get("concept")) or item
        if "coding" not in item and ("code" in item or "display" in item or "system" in item):
            item = {"coding": [item]}
        codings = sorted(dicts(item.get("coding")), key=lambda one: one.get("userSelected") is not True)
        said = text(item.get("text")).strip()
        for coding in codings:
            code, display = text(coding.get("code")), text(coding.get("display"))
            if code or display:
                return Code(code=code, display=display, system=text(coding.get("system")), text=said)
        if not said:  # a reference to the reason, with the words of it
            said = text(dict_(dict_(found).get("reference")).get("display")).strip()
        return Code(text=said) if said else self.absent

    def codes(self, *lists: Any) -> list[Code]:
        """The codes of lists of CodeableConcepts, each once."""
        found = [self.code(item) for items in lists for item in dicts(items)]
        return list(dict.fromkeys(code for code in found if isinstance(code, Code)))

    def code_of(self, found: Any) -> str:
        """The bare code, "" when there is none."""
        code = self.code(found)
        return code.code if isinstance(code, Code) else ""

    def person(self, reference: Any) -> Name | None:
        """The name of whoever a Reference names."""
        data = self.resolve(reference)
        names = self.names(data.get("name")) if data is not None else []
        display = text(dict_(reference).get("display")).strip()
        return names[0] if names else Name(text=display) if display else None

    # Times

    def moment(self, found: Any) -> datetime | Any:
        """dateTime or instant as an aware time; a date is its beginning in the channel's time zone."""
        said = text(found)
        return (instant(said, self.options.zone) if said else None) or self.absent

    def day(self, found: Any) -> Maybe[str]:
        """date or dateTime, as precise as it was sent, without the time of day."""
        said = text(found)
        return (partial(said) if said else None) or self.absent

    def period(self, found: Any) -> Period | None:
        """Period, None without begin and end."""
        start, end = (partial(text(dict_(found).get(key))) or UNSET for key in ("start", "end"))
        return None if start is UNSET and end is UNSET else Period(start=start, end=end)

    def maybe(self, found: Any) -> Maybe[str]:
        """A text."""
        return text(found).strip() or self.absent

    def notes(self, found: Any) -> list[str]:
        """Annotations, or plain text (R4 Appointment.comment)."""
        items = found if isinstance(found, list) else [found]
        said = (text(item.get("text")) if isinstance(item, dict) else text(item) for item in items)
        return [one.strip() for one in said if one.strip()]

    def extension(self, data: Resource, url: str) -> Iterator[Resource]:
        """The extensions with a URL."""
        return (item for item in dicts(data.get("extension")) if item.get("url") == url)


def text(value: Any) -> str:
    """A text, "" for anything else."""
    return value if isinstance(value, str) else ""


def texts(value: Any) -> list[str]:
    """The texts of a list."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def dict_(value: Any) -> Resource:
    """An object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def dicts(value: Any) -> list[Resource]:
    """The objects of a list; of a single one (a list in another version of FHIR) just that."""
    if isinstance(value, dict):
        return [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
