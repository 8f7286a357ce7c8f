"""The releases of FHIR that are read and written, as they are called in settings and by servers."""

from __future__ import annotations

import re

ALIKE = {"R4": "R4", "R4B": "R4", "R5": "R5"}
"""Those that have the same resources here."""
_NUMBERS = {"4": "R4", "5": "R5"}


def fits(told: str, version: str) -> bool:
    """Whether what somebody says (`4.0.1`, `fhirVersion` of a CapabilityStatement or a media type) is `version`.

    What names no release is no contradiction.
    """
    says = re.match(r"(\d+)\.", told)
    return says is None or _NUMBERS.get(says[1]) == ALIKE[version]


def declared(content_type: str) -> str:
    """The parameter `fhirVersion` of a media type (FHIR R4, RESTful API 3.1.0.1.6); empty without one."""
    found = re.search(r";\s*fhirVersion\s*=\s*\"?([0-9][\w.-]{0,20})", content_type, re.IGNORECASE)
    return found[1] if found else ""
