"""Times as FHIR servers write them: `instant`, and what `meta.lastUpdated` says.

Guarantees: what is no time is None; a time without a zone is UTC, for a server is only ever compared with itself.
Refuses nothing. Source: FHIR R4, Resource.meta and datatype instant.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""Before everything that a server has."""


def moment(value: Any) -> datetime | None:
    """The time that a text says."""
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def updated(resource: Any) -> datetime | None:
    """`meta.lastUpdated` of a resource."""
    meta = resource.get("meta") if isinstance(resource, dict) else None
    return moment(meta.get("lastUpdated")) if isinstance(meta, dict) else None


def said(at: datetime) -> str:
    """As a server is asked: UTC, to the millisecond before."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
