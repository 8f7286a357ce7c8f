"""The `validate` transformer: messages against their standard.

Guarantees: problems are told by place and rule, never with a value; an error lists the first ten and counts the
others, and its place is theirs, so that an AE has an ERR segment for each. It takes 15 to 70 ms for an HL7 message
and about 1 ms for a FHIR resource, so it is a step that a channel asks for. Refuses: formats without a standard,
a version or a message profile that is none (`ConfigError`). The models of FHIR are those of R4B and R5: a resource
of R4 is checked with those of R4B, which has the same resources but for a few that R4B changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from engine.errors import ConfigError, StepError
from engine.hl7.findings import SHOWN, Level, told
from engine.model import Scope, Transformer
from engine.spec.component import BuildContext, Settings, component


@component("transformer", "validate", example="validate: {on_problem: warn}")
class Validate(Settings):
    """Checks a message against HL7 (hl7apy), a message profile of yours, or FHIR (R4B, R5: fhir.resources).

    It is slow: 15 to 70 ms for an HL7 message, a thousand times what other steps take. With `warn` the message goes
    on, and the variable `problems` lists what was found.
    """

    also_sets: ClassVar[frozenset[str]] = frozenset({"problems"})

    version: str = Field(
        default="",
        description="HL7 version (by default the profile's, else MSH-12), or FHIR `R4B` or `R5` (by default the"
        " format's; R4 is checked with the models of R4B).",
        examples=["2.5.1", "R4B"],
    )
    profile: Path | None = Field(
        default=None,
        description="Message profile (HL7 v2): the XML of a conformance profile, or what hl7apy_profile_parser made.",
        examples=["profiles/adt_a01.xml"],
    )
    level: Level = Field(
        default="structure",
        description="What counts: the `structure` (segments, what is required, how often, data types), also `tables`"
        " and lengths, or `strict`: also how dates, times and numbers are written.",
    )
    on_problem: Literal["error", "warn"] = Field(
        default="error", description="Whether the message becomes ERROR, or goes on."
    )
    ignore: list[str] = Field(
        default=[],
        description="Places whose problems do not count, with everything that is in them.",
        examples=[["PID-3", "ZPD"]],
    )

    def reads(self, context: BuildContext) -> Iterable[Path]:
        """The profile's file."""
        return [context.file(self.profile, "profile")] if self.profile else []

    def build(self, context: BuildContext) -> Transformer:
        """Load the standard."""
        name = context.format.name if context.format is not None else "hl7v2"
        if name not in ("hl7v2", "fhir"):
            raise ConfigError(
                f"{name} messages have no standard", code="validate.format",
                todo="check them with `condition`, or in a `python` step",
            )  # fmt: skip
        if name == "fhir" and (self.profile or self.level != "structure"):
            setting = "profile" if self.profile else "level"
            raise ConfigError(
                f"`{setting}` is for HL7 v2",
                code="validate.format",
                where=context.at(setting),
                todo="leave it out",
            )
        check = (
            self._hl7(context) if name == "hl7v2" else _fhir(self.version or context.format.version, context)
        )
        ignored = re.compile("|".join(rf"{re.escape(place)}(?![\w])" for place in self.ignore) or "(?!)")
        warn = self.on_problem == "warn"

        def validate(scope: Scope) -> None:
            found = [one for one in check(scope.msg) if not ignored.match(one[0])]
            if warn:
                scope.vars["problems"] = [f"{where} {what}" for where, what in found]
            elif found:
                raise StepError(
                    told(f"{where} {what}" for where, what in found), code="validate.failed",
                    where=", ".join(dict.fromkeys(where for where, _ in found[:SHOWN])),
                    todo="the sender must mend it, or `ignore` names these places",
                )  # fmt: skip

        return validate

    def _hl7(self, context: BuildContext) -> Callable[[Any], list[tuple[str, str]]]:
        from engine.hl7 import names, profile
        from engine.hl7.validate import validate

        demanded = None
        if self.profile:
            path = context.file(self.profile, "profile")
            try:
                demanded = profile.load(context.files.read(path))
            except OSError as error:
                raise ConfigError(
                    f"the profile {self.profile} cannot be read: {error.strerror}", code="validate.profile",
                    where=context.at("profile"), todo="correct the path: it is relative to this file",
                ) from None  # fmt: skip
            except ConfigError as error:
                raise ConfigError(
                    f"{self.profile}: {error.what}",
                    code=error.code,
                    where=context.at("profile"),
                    todo=error.todo,
                ) from None
        version = self.version or (demanded.version if demanded else "")
        if version and version not in names.versions():
            raise ConfigError(
                f"there are no tables of HL7 {version}", code="validate.version",
                where=context.at("version" if self.version else "profile"),
                todo=f"known: {', '.join(names.versions())}",
            )  # fmt: skip

        def check(msg: Any) -> list[tuple[str, str]]:
            found = validate(bytes(msg), version or None, demanded, self.level)
            return [(problem.where, problem.what) for problem in found]

        return check


def _fhir(version: str, context: BuildContext) -> Callable[[Any], list[tuple[str, str]]]:
    """What the models of a FHIR version object to."""
    from pydantic import ValidationError

    if version in ("R4", "R4B"):
        from fhir.resources.R4B import get_fhir_model_class
    elif version == "R5":
        from fhir.resources import get_fhir_model_class
    else:
        raise ConfigError(
            f"there is no FHIR {version}", code="validate.version", where=context.at("version"),
            todo="write R4B or R5",
        )  # fmt: skip

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
