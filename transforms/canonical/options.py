"""What a channel may decide about the meaning of its messages.

Guarantee: options are checked once, when the channel is built. Refused (`ConfigError`): an unknown option, a
time zone that is not in the IANA list, a duration that is not a positive number of minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from engine.errors import ConfigError
from engine.spec.units import seconds

KNOWN = (
    "default_authority",
    "authorities",
    "default_country",
    "default_duration",
    "appointment_id",
    "identity",
    "absent",
)
CHOICES = {
    "appointment_id": {"filler": "SCH-2", "placer": "SCH-1"},
    "identity": {"business": "identifiers", "resource": "ids of the FHIR server"},
    "absent": {"clear": "what a FHIR resource lacks is cleared", "leave": "it is left alone"},
}


class Options(msgspec.Struct, kw_only=True, frozen=True):
    """The channel options `timezone`, `mrn` and `canonical`, ready to be used."""

    zone: Any = ZoneInfo("UTC")
    mrn_authority: str = ""  # PID-3.4 of the identifier that is the MRN
    mrn_type: str = ""  # PID-3.5 of it
    default_authority: str = ""  # assigner of identifiers that name none; "" means MSH-4
    authorities: dict[str, str] = {}  # other spellings of an assigner: {"2.16.840.1.1": "HOSP"}
    default_country: str = ""  # ISO alpha-2 of addresses that name no country
    default_duration: int = 30  # minutes of an appointment that has no end and no duration
    appointment_id: str = "filler"  # which of SCH-2 (filler) and SCH-1 (placer) names an appointment
    identity: str = "business"  # FHIR: whether identifiers (business) or the server's ids (resource) are keys
    absent: str = "clear"  # FHIR: what a resource does not have is cleared, or left alone (leave)


def options(channel: Mapping[str, Any]) -> Options:
    """The options of a channel, from its settings as plain data (`timezone`, `mrn`, `canonical`)."""
    canonical = dict(channel.get("canonical") or {})
    mrn = dict(channel.get("mrn") or {})
    for given, known, where in ((canonical, KNOWN, "canonical"), (mrn, ("authority", "type"), "mrn")):
        for name in given:
            if name not in known:
                near = get_close_matches(name, known, 1)
                raise ConfigError(
                    f"there is no option {name!r}",
                    code="canonical.option",
                    where=f"{where}.{name}",
                    todo=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}",
                )
    zone_name = str(channel.get("timezone") or "UTC")
    try:
        zone = ZoneInfo(zone_name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"there is no time zone {zone_name!r}",
            code="canonical.timezone",
            where="timezone",
            todo="write an IANA name such as America/Chicago",
        ) from None
    duration = canonical.get("default_duration", 30)
    if isinstance(duration, str):
        duration = _minutes(duration)
    if not isinstance(duration, int) or isinstance(duration, bool) or not 0 < duration <= 1440:
        raise ConfigError(
            "default_duration is 1m to 24h in whole minutes; a bare number is minutes",
            code="canonical.option",
            where="canonical.default_duration",
        )
    chosen: dict[str, str] = {}
    for name, words in CHOICES.items():
        chosen[name] = canonical.get(name, next(iter(words)))
        if chosen[name] not in words:
            told = " or ".join(f"{word} ({meaning})" for word, meaning in words.items())
            raise ConfigError(f"{name} is {told}", code="canonical.option", where=f"canonical.{name}")
    authorities = canonical.get("authorities") or {}
    if not isinstance(authorities, Mapping):
        raise ConfigError(
            "authorities maps spellings to one name",
            code="canonical.option",
            where="canonical.authorities",
            todo='write {"2.16.840.1.1": "HOSP"}',
        )
    return Options(
        zone=zone,
        mrn_authority=str(mrn.get("authority") or ""),
        mrn_type=str(mrn.get("type") or ""),
        default_authority=str(canonical.get("default_authority") or ""),
        authorities={str(key): str(value) for key, value in authorities.items()},
        default_country=str(canonical.get("default_country") or ""),
        default_duration=duration,
        **chosen,
    )


def _minutes(text: str) -> int | None:
    """`90m` or `1h` in minutes; None when it is not that."""
    try:
        found = seconds(text) / 60
    except ValueError:
        return None
    return int(found) if found.is_integer() and not text.strip().isdigit() else None
