"""The format `delimited` (reading: `engine.formats.delimited`).

Refuses, when it is loaded: a character set that Python does not have, a delimiter of several characters.
"""

from __future__ import annotations

import codecs
from typing import Literal

from pydantic import Field, field_validator, model_validator

from engine.formats.base import Format
from engine.formats.delimited import Delimited
from engine.spec.component import BuildContext, Settings, component


@component("format", "delimited", example='delimited: {delimiter: ";", mrn: patient_id}')
class DelimitedFormat(Settings):
    """Delimited text. Paths are column names or numbers from 1; `name[2]` is the second row of a message.

    An empty cell is cleared (`empty: clear`), a column that is not there is absent.
    """

    delimiter: str = Field(
        default=",", description="What stands between cells; `\\t` is a tab.", examples=[";"]
    )
    quote: str = Field(
        default='"', max_length=1, description="What stands around cells; empty: nothing does."
    )
    header: bool = Field(default=True, description="The first line names the columns.")
    columns: list[str] = Field(
        default=[],
        description="Names of the columns, where there is no header line.",
        examples=[["mrn", "name"]],
    )
    charset: str = Field(default="utf-8", description="Character set (Python's name).", examples=["cp1252"])
    rows: Literal["message", "file"] = Field(
        default="message", description="Every row is a `message`, or the whole `file` is one."
    )
    empty: Literal["clear", "absent"] = Field(
        default="clear", description="An empty cell empties what it is mapped to, or leaves it alone."
    )
    control_id: str = Field(
        default="", description="Column that names a message for its sender.", examples=["id"]
    )
    type: str = Field(default="", description="The type of all messages.", examples=["patients"])
    mrn: str = Field(default="", description="Column of the medical record number.", examples=["patient_id"])
    visit: str = Field(default="", description="Column of the visit number.", examples=["case"])

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str) -> str:
        value = value.replace("\\t", "\t")
        if len(value) != 1 or value in '\r\n"':
            raise ValueError("must be one character")
        return value

    @field_validator("charset")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            codecs.lookup(value)
        except LookupError:
            raise ValueError(f"there is no character set {value!r}") from None
        return value

    @model_validator(mode="after")
    def _one_source_of_names(self) -> DelimitedFormat:
        if self.columns and self.header:
            raise ValueError("`columns` are for text without a header line: add `header: false`")
        return self

    def build(self, context: BuildContext) -> Format:
        """Make the reader."""
        return Delimited(
            self.delimiter, self.quote, self.header, tuple(self.columns), self.charset, self.rows, self.empty,
            self.control_id, self.type, self.mrn, self.visit,
        )  # fmt: skip
