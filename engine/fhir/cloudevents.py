"""CloudEvents 1.0 of Azure Health Data Services: each names a resource that changed, and never holds it.

Guarantees: one event or a batch (JSON batch format, a list of events) becomes one `(reference, deleted, control id)`
for each resource that it names; events of anything else (DICOM images, the account) are counted and left out. Refuses
(FormatError): what names no FHIR resource at all.

Source: CloudEvents 1.0 JSON format §4; Azure Health Data Services, `Microsoft.HealthcareApis.FhirResourceCreated`,
`…Updated`, `…Deleted`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from engine.formats.base import bad, name


class Change(NamedTuple):
    """What one event says of one resource."""

    resource: str  # `Patient/1`
    deleted: bool
    version: str
    id: str  # of the event

    @property
    def control_id(self) -> str:
        """What makes it the same when it is sent again: the version, or the event where there is none."""
        if self.deleted:
            return f"{self.resource}/deleted/{self.id}" if self.id else ""
        if self.version:
            return name(f"{self.resource}/_history/{self.version}")
        return name(f"event/{self.id}") if self.id else ""


class Events(NamedTuple):
    """One request."""

    changes: tuple[Change, ...]
    others: int  # events that name no FHIR resource

    @property
    def control_id(self) -> str:
        """Of the request: the event's, where it is alone."""
        alone = self.changes[0].id if len(self.changes) == 1 and not self.others else ""
        return name(f"event/{alone}") if alone else ""

    @property
    def reason(self) -> str:
        """Why the request itself goes no further."""
        told = "a CloudEvent" if len(self.changes) == 1 else f"{len(self.changes)} CloudEvents"
        return f"{told}; what changed follows" + (
            f"; {self.others} of no FHIR resource" if self.others else ""
        )


def enveloped(data: Any) -> bool:
    """Whether this is a CloudEvent, or a batch of them and of nothing else."""
    events = data if isinstance(data, list) else [data]
    return bool(events) and all(
        isinstance(event, dict) and "specversion" in event and "resourceType" not in event for event in events
    )


def read(data: Any) -> Events:
    """The changes in what `enveloped` has seen. Raises FormatError `fhir.no_reference`."""
    events = data if isinstance(data, list) else [data]
    changes = tuple(change for change in map(_change, events) if change is not None)
    if not changes:
        raise bad("the CloudEvent names no resource", "send those of a FHIR service", "fhir.no_reference")
    return Events(changes, len(events) - len(changes))


def _change(event: dict[str, Any]) -> Change | None:
    told = event.get("data")
    told = told if isinstance(told, dict) else {}
    kind, own = name(told.get("resourceType")), name(told.get("resourceFhirId"))
    if not kind or not own or "/" in kind + own:
        return None
    deleted = str(event.get("type", "")).endswith("Deleted")
    return Change(f"{kind}/{own}", deleted, name(told.get("resourceVersionId")), name(event.get("id")))
