"""The format `xml` (reading: `engine.formats.xml`). Refuses, when it is loaded: paths that are not XPath."""

from __future__ import annotations

from pydantic import Field

from engine.formats.base import Format
from engine.spec.component import BuildContext, Settings, component
from engine.spec.formats._words import CONTROL_ID, MRN, SENDER, TYPE, VISIT


@component("format", "xml", example="xml: {mrn: /order/patient/@id}")
class XmlFormat(Settings):
    """XML, read without entities, DTD and network. Paths are XPath 1.0: `/order/patient/@id`."""

    namespaces: dict[str, str] = Field(
        default={}, description="Prefixes that paths use.", examples=[{"h": "urn:hl7-org:v3"}]
    )
    ignore_namespaces: bool = Field(
        default=False, description="Read all elements as if they had no namespace; what is set is written so."
    )
    control_id: str = Field(default="", description=CONTROL_ID, examples=["/order/@id"])
    type: str = Field(
        default="", description=f"{TYPE} By default the name of the root.", examples=["/o/kind"]
    )
    sender: str = Field(default="", description=SENDER, examples=["/order/source"])
    mrn: str = Field(default="", description=MRN, examples=["/order/patient/@id"])
    visit: str = Field(default="", description=VISIT, examples=["/order/visit"])

    def build(self, context: BuildContext) -> Format:
        """Check the paths."""
        from engine.formats.xml import Xml  # lxml is only loaded by those who use it

        return Xml(
            self.namespaces, self.ignore_namespaces, self.control_id, self.type, self.sender, self.mrn, self.visit
        )  # fmt: skip
