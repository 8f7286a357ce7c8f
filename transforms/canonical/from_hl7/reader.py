"""Reads HL7 data types out of segments: identifiers, names, phones, addresses, places, codes.

Guarantee: a segment's field is cut once; whitespace counts as nothing; `""` gives None and nothing gives UNSET
wherever an entity keeps the three values apart. Refused: nothing; what cannot be read is left out.
Source: HL7 v2.5.1 chapter 2A (CX, XPN, XTN, XAD, PL, XCN, CE/CWE, EI), read by position, so that every version
from 2.2 on is taken.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import UNSET

from engine.hl7.escapes import unescape
from transforms.canonical import codes
from transforms.canonical.entities import Location, Practitioner
from transforms.canonical.options import Options
from transforms.canonical.times import instant, partial
from transforms.canonical.types import Address, Code, Identifier, Maybe, Name, Phone

NULL = '""'
Parts = list[str]  # the components of one repetition, as in the message


class Reader:
    """One message, its separators, and the options that decide what values mean."""

    __slots__ = ("_people", "authority", "component", "escape", "message", "options", "repetition", "sub")

    def __init__(self, message: Any, options: Options) -> None:
        delimiters = message.delimiters
        self.message = message
        self.options = options
        self.repetition = delimiters.repetition
        self.component = delimiters.component
        self.sub = delimiters.subcomponent
        self.escape = delimiters.escape
        self._people: dict[str, list[Practitioner]] = {}
        self.authority = options.default_authority or self.text(self.one(message.segment("MSH"), 4), 1) or "-"

    # Fields and components

    def all(self, segment: Any, field: int) -> list[Parts]:
        """The repetitions of a field, each cut into components; none when the field is empty."""
        if segment is None:
            return []
        fields = segment.fields
        text = fields[field] if field < len(fields) else ""
        if not text:
            return []
        return [part.split(self.component) for part in text.split(self.repetition)]

    def one(self, segment: Any, field: int) -> Parts:
        """The components of the first repetition, [] when the field is empty."""
        if segment is None:
            return []
        fields = segment.fields
        text = fields[field] if field < len(fields) else ""
        if not text:
            return []
        if self.repetition in text:
            text = text.split(self.repetition, 1)[0]
        return text.split(self.component)

    def text(self, parts: Parts, component: int, sub: int = 1) -> str:
        """A subcomponent's text, "" when it is absent or `""`."""
        if component > len(parts):
            return ""
        text = parts[component - 1]
        if not text:
            return ""
        if self.sub in text:
            subs = text.split(self.sub)
            text = subs[sub - 1] if sub <= len(subs) else ""
        elif sub > 1 or text == NULL:
            return ""
        if self.escape in text:
            text = unescape(text, self.message.delimiters, self.message.codec)
        return text.strip()

    def maybe(self, parts: Parts, component: int = 1) -> Maybe[str]:
        """A component in its three values."""
        if component <= len(parts) and parts[component - 1] == NULL:
            return None
        return self.text(parts, component) or UNSET

    def field(self, segment: Any, field: int) -> Maybe[str]:
        """The first component of a field in its three values."""
        return self.maybe(self.one(segment, field))

    def plain(self, segment: Any, field: int) -> str:
        """The first component of a field, "" when it is absent or `""`."""
        return self.text(self.one(segment, field), 1)

    @staticmethod
    def cleared(found: list[Parts]) -> bool:
        """Whether the whole field is `""`."""
        return len(found) == 1 and found[0] == [NULL]

    # Data types

    def identifier(self, parts: Parts, type_: str = "", authority: int = 4) -> Identifier | None:
        """CX (or EI with `authority` 2), None without a value. The assigner falls back to the default one."""
        value = self.text(parts, 1)
        if not value:
            return None
        if authority == 4:  # CX.4 is an HD: namespace & universal id & its type
            assigner, system = self.text(parts, 4), self.text(parts, 4, 2)
            type_ = type_ or self.text(parts, 5)
        else:
            assigner, system = self.text(parts, 2), self.text(parts, 3)
        return Identifier(value=value, assigner=self.assigner(assigner or system), type=type_, system=system)

    def assigner(self, name: str) -> str:
        """The one spelling of an assigning authority."""
        name = name or self.authority
        return self.options.authorities.get(name, name)

    def names(self, found: list[Parts]) -> list[Name]:
        """XPN repetitions, the legal name first."""
        named = []
        for parts in found:
            family = self.text(parts, 1) or f"{self.text(parts, 1, 2)} {self.text(parts, 1, 3)}".strip()
            given = [part for part in (self.text(parts, 2), self.text(parts, 3)) if part]
            if not family and not given:
                continue
            type_ = self.text(parts, 7)
            name = Name(
                family=family,
                given=given,
                suffix=self.text(parts, 4),
                prefix=self.text(parts, 5),
                use=codes.NAME_USE.get(type_, ""),
            )
            named.append((codes.NAME_RANK.get(type_, 9), name))
        if len(named) > 1:
            named.sort(key=lambda item: item[0])
        return [name for _, name in named]

    def phone(self, parts: Parts, use: str) -> Phone | None:
        """XTN: PRN/ORN/PH/CP, and e-mail as `NET^Internet`, in XTN.4, or as text with an @."""
        number, kind = self.text(parts, 1), self.text(parts, 3).upper()
        code = self.text(parts, 2).upper()
        email = self.text(parts, 4)
        system = codes.PHONE_SYSTEM.get(kind, "phone")
        if code == "NET" or system == "email" or "@" in number or (email and not number and len(parts) < 7):
            value = email or number
            return Phone(value=value, system="email", use=use) if "@" in value else None
        if not number:
            number = self.text(parts, 12)
        if not number:
            country, area, local = self.text(parts, 5), self.text(parts, 6), self.text(parts, 7)
            if not local:
                return None
            number = " ".join(filter(None, (country and f"+{country.lstrip('+')}", area, local)))
            extension = self.text(parts, 8)
            number += f" ext. {extension}" if extension else ""
        use = "mobile" if kind == "CP" else codes.PHONE_USE.get(code, use)
        return Phone(value=number, system=system, use=use)

    def address(self, parts: Parts, whole: bool) -> Address:
        """XAD. With `whole` an address that has a street or a city replaces all of the one before: parts of it
        that were not sent are cleared, so that no old flat number stays below a new street."""
        street: Maybe[str] = self.maybe(parts, 1)
        if isinstance(street, str):  # SAD: street address & street name & dwelling number
            street = " ".join(filter(None, (self.text(parts, 1, n) for n in (1, 2, 3))))
        elif street is UNSET and len(parts) > 0 and self.sub in parts[0]:
            street = " ".join(filter(None, (self.text(parts, 1, n) for n in (3, 2)))) or UNSET
        street2, city = self.maybe(parts, 2), self.maybe(parts, 3)
        other = self.text(parts, 19) or self.text(parts, 8)
        if other and isinstance(street, str) and not isinstance(street2, str):
            street2 = other
        state, postal_code = self.maybe(parts, 4), self.maybe(parts, 5)
        if whole and (street or city):
            street, street2, city, state, postal_code = (
                None if item is UNSET else item for item in (street, street2, city, state, postal_code)
            )
        country = self.maybe(parts, 6)
        if isinstance(country, str):
            country = codes.country(country)
        elif country is UNSET and (street or city) and self.options.default_country:
            country = self.options.default_country
        return Address(
            street=street,
            street2=street2,
            city=city,
            state=state,
            postal_code=postal_code,
            country=country,
            use=codes.ADDRESS_USE.get(self.text(parts, 7), ""),
        )

    def code(self, parts: Parts) -> Maybe[Code]:
        """CE or CWE in its three values."""
        if parts == [NULL]:
            return None
        code, display = self.text(parts, 1), self.text(parts, 2)
        if not code and not display:
            code, display = self.text(parts, 4), self.text(parts, 5)
        if not code and not display:
            text = self.text(parts, 9)
            return Code(text=text) if text else UNSET
        return Code(code=code, display=display, system=self.text(parts, 3))

    def place(self, parts: Parts) -> Maybe[Location]:
        """PL in its three values."""
        if parts == [NULL]:
            return None
        if not parts:
            return UNSET
        place = Location(
            point_of_care=self.text(parts, 1),
            room=self.text(parts, 2),
            bed=self.text(parts, 3),
            facility=self.text(parts, 4),
            building=self.text(parts, 7),
            floor=self.text(parts, 8),
            description=self.text(parts, 9),
        )
        return place if place.display else UNSET

    def person(self, parts: Parts) -> Practitioner | None:
        """XCN, None without id and name. An NPI is unique in itself, whoever sends it."""
        value, family, given = self.text(parts, 1), self.text(parts, 2), self.text(parts, 3)
        identifiers = []
        if value:
            type_ = self.text(parts, 13) or self.text(parts, 10)
            if type_ != "NPI":
                type_ = "NPI" if self.text(parts, 9) == "NPI" else self.text(parts, 13)
            assigner = (
                "NPI" if type_ == "NPI" else self.assigner(self.text(parts, 9) or self.text(parts, 9, 2))
            )
            identifiers = [Identifier(value=value, assigner=assigner, type=type_)]
        if not identifiers and not family:
            return None
        name = Name(
            family=family,
            given=[part for part in (given, self.text(parts, 4)) if part],
            suffix=self.text(parts, 5),
            prefix=self.text(parts, 6),
        )
        return Practitioner(identifiers=identifiers, name=name)

    def people(self, segment: Any, field: int) -> list[Practitioner]:
        """XCN repetitions. The same people often stand in several fields: they are read once a message, and
        must not be changed."""
        if segment is None or field >= len(segment.fields):
            return []
        text = segment.fields[field]
        if not text:
            return []
        found = self._people.get(text)
        if found is None:
            people = map(self.person, self.all(segment, field))
            found = self._people[text] = [person for person in people if person is not None]
        return found

    # Times

    def instant(self, segment: Any, field: int) -> Maybe[datetime]:
        """TS or DTM as an aware time in its three values; one that cannot be read is left out."""
        parts = self.one(segment, field)
        if not parts:
            return UNSET
        return None if parts == [NULL] else self.moment(self.text(parts, 1))

    def moment(self, text: str) -> datetime | Any:
        """An aware time, UNSET when `text` is not one. Without an offset it is in the channel's time zone."""
        return (instant(text, self.options.zone) or UNSET) if text else UNSET

    def day(self, segment: Any, field: int) -> Maybe[str]:
        """A date as precise as it was sent (`1980`, `1980-01`, `1980-01-02`) in its three values."""
        parts = self.one(segment, field)
        if not parts:
            return UNSET
        return None if parts == [NULL] else partial(self.text(parts, 1)) or UNSET
