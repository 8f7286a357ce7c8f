"""The `python` transformer: a function of one's own.

    def tidy(msg, vars, message):
        msg["PID-5.1"] = msg["PID-5.1"].strip()

Guarantees: the function is found and its signature checked when the configuration is loaded; when it raises,
the error names the function, the line and the type of the exception, never its text, which may quote data.
Refuses: a module or function that is not there, parameters that nobody fills, coroutines (`ConfigError`).
The function is not sandboxed: it is code of whoever may change the configuration. It must be pure: no I/O, no
clock, no state, for it is run again after a crash.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from engine.errors import ConfigError, StepError
from engine.model import Scope, Transformer
from engine.spec.component import BuildContext, Settings, component
from engine.spec.document import did_you_mean
from engine.spec.modules import failure, load, source

GIVEN: dict[str, Callable[[Scope], Any]] = {
    "msg": lambda scope: scope.msg,
    "vars": lambda scope: scope.vars,
    "message": lambda scope: scope.message,
    "event": lambda scope: scope.event,
    "events": lambda scope: scope.events,
}


@component("transformer", "python", example='python: {function: "textwrap:dedent", args: {text: " a"}}')
class Python(Settings):
    """Runs a Python function on the message.

    Its parameters are found by name: any of `msg` (read and set by path), `vars`, `message`, `event`,
    `events`, and those of `args`. It returns None, or the text that destinations send.
    """

    scalar: ClassVar[str] = "function"
    sets_any: ClassVar[bool] = True

    function: str = Field(
        description="module:function; the module is beside the channel file, or installed.",
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        examples=["names:tidy"],
    )
    args: dict[str, Any] = Field(
        default={}, description="More arguments, by name.", examples=[{"country": "DE"}]
    )

    def reads(self, context: BuildContext) -> Iterable[Path]:
        """The module's file."""
        return source(self.function.partition(":")[0], context.file("", "function"))

    def build(self, context: BuildContext) -> Transformer:
        """Import the function and check its parameters."""
        module_name, _, name = self.function.partition(":")
        module = load(module_name, context.file("", "function"), context.files)
        function = getattr(module, name, None)
        if not callable(function):
            known = [item for item in vars(module) if not item.startswith("_")]
            raise ConfigError(
                f"{module_name} has no function {name!r}",
                code="python.function",
                todo=did_you_mean(name, known),
            )
        if inspect.iscoroutinefunction(function):
            raise ConfigError(f"{self.function} is a coroutine; write a plain def", code="python.coroutine")
        wanted = given(function, self.function, self.args)
        args = self.args

        def run(scope: Scope) -> None:
            try:
                result = function(**{item: GIVEN[item](scope) for item in wanted}, **args)
            except Exception as error:
                raise failure(self.function, error) from None
            if isinstance(result, str):
                scope.text = result
            elif result is not None:
                raise StepError(
                    f"{self.function} gave a {type(result).__name__}",
                    code="python.result",
                    todo="return None, or the text to send",
                )
            if "msg" in wanted:
                scope.events = None

        return run


def given(function: Callable[..., Any], name: str, args: dict[str, Any]) -> list[str]:
    """The parameters that Isthmus fills."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise ConfigError(f"the parameters of {name} cannot be read", code="python.signature") from None
    named = {item.name for item in parameters if item.kind not in (item.VAR_KEYWORD, item.VAR_POSITIONAL)}
    takes_all = any(item.kind is item.VAR_KEYWORD for item in parameters)
    for item in parameters:
        needed = item.default is item.empty and item.name in named
        if item.kind is item.POSITIONAL_ONLY or (needed and item.name not in {*GIVEN, *args}):
            raise ConfigError(
                f"{name} wants {item.name!r}, which nobody gives",
                code="python.signature",
                todo=f"its parameters are any of {', '.join(GIVEN)}, and those in `args`",
            )
    for unknown in args:
        if unknown not in named and not takes_all:
            raise ConfigError(
                f"{name} has no parameter {unknown!r}",
                code="python.signature",
                todo=did_you_mean(unknown, named),
            )
    return [one for one in GIVEN if one in named and one not in args]
