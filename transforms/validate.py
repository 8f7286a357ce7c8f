"""The `validate` transformer: messages against their standard.

Guarantees: problems are told by place and rule, never with a value; an error lists the first three and counts the
others. It takes 15 to 70 ms for an HL7 message and about 1 ms for a FHIR resource, so it is a step that a channel
asks for. Refuses: formats without a standard (`ConfigError`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from engine.errors import ConfigError, StepError
from engine.model import Scope, Transformer
from engine.spec.component import BuildContext, Settings, component

SHOWN = 3


@component("transformer", "validate", example="validate: {on_problem: warn}")
class Validate(Settings):
    """Checks a message against HL7 (structure, data types, tables: hl7apy) or FHIR (R4B, R5: fhir.resources).

    With `warn` the message goes on, and the variable `problems` lists what was found.
    """

    also_sets: ClassVar[frozenset[str]] = frozenset({"problems"})

    version: str = Field(
        default="",
        description="HL7 version (by default MSH-12), or FHIR `R4B` or `R5` (by default the format's; R4: R4B).",
        examples=["2.5.1", "R4B"],
    )
    on_problem: Literal["error", "warn"] = Field(
        default="error", description="Whether the message becomes ERROR, or goes on."
    )
    warnings: bool = Field(
        default=False, description="Whether values that are not in their HL7 table, or too long, count too."
    )
    ignore: list[str] = Field(
        default=[], description="Places whose problems do not count.", examples=[["PID-3", "ZPD"]]
    )

    def build(self, context: BuildContext) -> Transformer:
        """Load the standard."""
        name = context.format.name if context.format is not None else "hl7v2"
        if name not in ("hl7v2", "fhir"):
            raise ConfigError(
                f"{name} messages have no standard", code="validate.format",
                todo="check them with `condition`, or in a `python` step",
            )  # fmt: skip
        check = self._hl7() if name == "hl7v2" else _fhir(self.version or context.format.version)
        ignored = set(self.ignore)
        warn = self.on_problem == "warn"

        def validate(scope: Scope) -> None:
            found = [f"{where} {what}" for where, what in check(scope.msg) if where not in ignored]
            if warn:
                scope.vars["problems"] = found
            elif found:
                more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
                raise StepError(
                    "; ".join(found[:SHOWN]) + more, code="validate.failed",
                    todo="the sender must mend it, or `ignore` names these places",
                )  # fmt: skip

        return validate

    def _hl7(self) -> Callable[[Any], list[tuple[str, str]]]:
        from engine.hl7 import names
        from engine.hl7.validate import validate

        if self.version and self.version not in names.versions():
            raise ConfigError(
                f"there are no tables of HL7 {self.version}", code="validate.version",
                todo=f"known: {', '.join(names.versions())}",
            )  # fmt: skip

        def check(msg: Any) -> list[tuple[str, str]]:
            return [
                (problem.where, problem.what)
                for problem in validate(bytes(msg), self.version or None)
                if problem.level == "error" or self.warnings
            ]

        return check


def _fhir(version: str) -> Callable[[Any], list[tuple[str, str]]]:
    """What the models of a FHIR version object to."""
    from pydantic import ValidationError

    if version in ("R4", "R4B"):
        from fhir.resources.R4B import get_fhir_model_class
    elif version == "R5":
        from fhir.resources import get_fhir_model_class
    else:
        raise ConfigError(f"there is no FHIR {version}", code="validate.version", todo="write R4B or R5")

    def check(msg: Any) -> list[tuple[str, str]]:
        kind = msg.data["resourceType"]
        try:
            model = get_fhir_model_class(kind)
        except (KeyError, ValueError, LookupError):
            return [("resourceType", "is none of this version of FHIR")]
        try:
            model.model_validate(msg.data)
        except ValidationError as error:
            return [
                (".".join(map(str, one["loc"])) or kind, one["type"].replace("_", " "))
                for one in error.errors(include_url=False, include_input=False, include_context=False)
            ]
        return []

    return check
