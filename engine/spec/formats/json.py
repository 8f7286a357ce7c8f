"""The format `json` (reading: `engine.formats.json`). Refuses, when it is loaded: paths that cannot be."""

from __future__ import annotations

from pydantic import Field

from engine.formats.base import Format
from engine.formats.json import Json
from engine.spec.component import BuildContext, Settings, component
from engine.spec.formats._words import CONTROL_ID, MRN, SENDER, TYPE, VISIT


@component("format", "json", example="json: {control_id: /id, type: /event, mrn: /patient/mrn}")
class JsonFormat(Settings):
    """JSON. Paths are JSON pointers (`/patient/name/0`, RFC 6901) or dotted names (`patient.name[0]`)."""

    control_id: str = Field(default="", description=CONTROL_ID, examples=["/id"])
    type: str = Field(default="", description=TYPE, examples=["/event"])
    sender: str = Field(default="", description=SENDER, examples=["/source"])
    mrn: str = Field(default="", description=MRN, examples=["/patient/mrn"])
    visit: str = Field(default="", description=VISIT, examples=["/visit/id"])
    lines: bool = Field(default=False, description="Every line is a message of its own (NDJSON).")

    def build(self, context: BuildContext) -> Format:
        """Check the paths."""
        return Json(self.control_id, self.type, self.sender, self.mrn, self.visit, self.lines)
