"""Steps that change values where they stand: the same for every path, every repetition and every format.

Guarantees: absent and cleared values stay as they are; a value is set only when it changes, so a message that needs
nothing keeps its bytes; an error names the path, never the value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pydantic import Field

from engine.errors import StepError
from engine.model import Scope, Transformer
from engine.spec.component import BuildContext
from engine.spec.meaning import HL7Path
from engine.spec.values import is_present

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

    def run(scope: Scope) -> None:
        msg, changed = scope.msg, False
        for path in wanted:
            for place in reversed(msg.places(path)):  # one that is removed moves those after it
                value = msg[place]
                if not is_present(value):
                    continue
                try:
                    new = change(value)
                except StepError as error:
                    raise StepError(f"{path}: {error.what}", code=error.code, todo=error.todo) from None
                if new != value:
                    msg[place] = new
                    changed = True
        if changed:
            scope.events = None

    return run


def check_paths(paths: Iterable[str], context: BuildContext) -> None:
    """Raise a ConfigError for a path that the channel's format does not have."""
    if context.format is not None:
        for path in paths:
            context.format.check(path)
