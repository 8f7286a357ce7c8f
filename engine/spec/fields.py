"""Steps that change values where they stand: the same for every path, every repetition and every format.

Guarantees: absent and cleared values stay as they are; a value is set only when it changes, so a message that needs
nothing keeps its bytes; an error names the path, never the value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pydantic import Field

from engine.errors import StepError
from engine.hl7.er7 import Message
from engine.model import Scope, Transformer
from engine.spec.component import BuildContext
from engine.spec.meaning import HL7Path
from engine.spec.values import is_absent, is_clear, is_present

Paths = list[HL7Path]


def paths_field(*examples: str) -> Any:
    """The setting `paths` of such a step."""
    return Field(
        min_length=1, description="Where the values are; every repetition counts.", examples=[list(examples)]
    )


def changing(paths: Iterable[str], change: Callable[[Any], Any], context: BuildContext) -> Transformer:
    """A step that puts `change(value)` in the place of every value that is present at `paths`."""
    wanted = tuple(paths)
    check_paths(wanted, context)

    def new(value: Any) -> Any:
        return change(value) if is_present(value) else value

    def run(scope: Scope) -> None:
        for path in wanted:
            try:
                if change_all(scope.msg, path, new):
                    scope.events = None
            except StepError as error:
                raise StepError(f"{path}: {error.what}", code=error.code, todo=error.todo) from None

    return run


def change_all(msg: Any, path: str, new: Callable[[Any], Any]) -> bool:
    """Put `new(value)` in the place of every value at `path` that is not absent; True when any differs."""
    if isinstance(msg, Message):
        return msg.change(path, new)
    changed = False
    for place in reversed(msg.places(path)):  # one that is removed moves those after it
        value = msg[place]
        wanted = value if is_absent(value) else new(value)
        if wanted is not value and (wanted != value or is_clear(value)):
            msg[place] = wanted
            changed = True
    return changed


def fill_all(msg: Any, field: str, component: int, value: str, beside: Sequence[int]) -> bool:
    """Put `value` in a component of every repetition of an HL7 field that lacks it, and has one of those `beside`; True
    when there is any."""
    if isinstance(msg, Message):
        return msg.fill(f"{field}.{component}", value, [f"{field}.{n}" for n in beside])
    changed = False
    for place in msg.places(field):
        if is_absent(msg[f"{place}.{component}"]) and any(is_present(msg[f"{place}.{n}"]) for n in beside):
            msg[f"{place}.{component}"] = value
            changed = True
    return changed


def check_paths(paths: Iterable[str], context: BuildContext) -> None:
    """Raise a ConfigError for a path that the channel's format does not have."""
    if context.format is not None:
        for path in paths:
            context.format.check(path)
