"""The format `fhir`: FHIR resources in JSON (reading: `engine.fhir.resource`).

Refuses, when it is loaded: a path that is not FHIRPath.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from engine.fhir.resource import Fhir
from engine.formats.base import Format
from engine.spec.component import BuildContext, Settings, component


@component("format", "fhir", example="fhir: {version: R4}")
class FhirFormat(Settings):
    """FHIR resources in JSON. Paths are FHIRPath: `name.where(use='official').family`.

    Type is the resource's, control id its id and version, ordering key the patient's reference (`Patient/1`) or
    else the resource itself.
    """

    version: Literal["R4", "R4B", "R5"] = Field(default="R4", description="FHIR version of the resources.")
    mrn: str = Field(
        default="",
        description="FHIRPath of the medical record number; by default the identifier of type MR, or the first.",
        examples=["identifier.where(system='urn:mrn').value"],
    )
    bundles: Literal["message", "entries"] = Field(
        default="message", description="A Bundle is one message, or each resource in it is one."
    )

    def build(self, context: BuildContext) -> Format:
        """Check the path."""
        return Fhir(self.version, self.mrn, self.bundles)
