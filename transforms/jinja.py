"""The `jinja` transformer: a text template, for the body to send, for a variable, or for a field.

Guarantees: compiled once; sandboxed and bounded (`engine.spec.sandbox`); absent and cleared values are empty
text in it.
Refuses: a template that cannot be read, or a file that is not there (`ConfigError`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from engine.errors import ConfigError
from engine.model import Scope, Transformer
from engine.spec.component import BuildContext, Settings, component
from engine.spec.expressions import RESERVED, compile_text
from engine.spec.meaning import HL7Path, JinjaText, Variable


@component(
    "transformer", "jinja", example="jinja: {text: \"{{ msg['PID-5.1'] }}, {{ msg['PID-5.2'] }}\", var: name}"
)
class Jinja(Settings):
    """Renders a Jinja text template.

    The text becomes the body that destinations send; with `var` it becomes a variable, with `path` a field of
    the message.
    """

    scalar: ClassVar[str] = "text"

    text: JinjaText = Field(default="", description="The template.", examples=["Dear {{ msg['PID-5.2'] }}"])
    file: Path | None = Field(
        default=None, description="A file with the template, relative to the channel file.", examples=["a.j2"]
    )
    var: Variable = Field(default="", description="Variable to set.", pattern=r"^([A-Za-z][A-Za-z0-9_]*)?$")
    path: HL7Path = Field(default="", description="Field of the message to set.", examples=["NTE-3"])

    @model_validator(mode="after")
    def _one_of_each(self) -> Jinja:
        if bool(self.text) == bool(self.file):
            raise ValueError("give either `text` or `file`")
        if self.var and self.path:
            raise ValueError("give `var` or `path`, not both")
        if self.var in RESERVED:
            raise ValueError(f"{self.var!r} cannot be the name of a variable")
        return self

    def reads(self, context: BuildContext) -> Iterable[Path]:
        """The template's file."""
        return () if self.file is None else (context.file(self.file, "file"),)

    def build(self, context: BuildContext) -> Transformer:
        """Compile the template."""
        source, where = self.text, "text"
        if self.file is not None:
            path = context.file(self.file, "file")
            where = str(path)
            try:
                source = context.files.text(path)
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "it is not UTF-8"
                raise ConfigError(f"cannot read {where}: {why}", code="template.file") from None
        render = compile_text(source, context, where)

        def write(scope: Scope) -> None:
            text = render(scope)
            if self.var:
                scope.vars[self.var] = text
            elif self.path:
                scope.msg[self.path] = text
                scope.events = None
            else:
                scope.text = text

        return write
