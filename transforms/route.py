"""The `route` transformer: which destinations a message goes to.

Guarantees: destinations that are not chosen are skipped before their own steps run; several `route` steps: the
last one decides. Refuses: destinations that the channel does not have (`ConfigError`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from engine.errors import ConfigError, StepError
from engine.model import Scope, Transformer
from engine.spec.component import BuildContext, Settings, component
from engine.spec.document import did_you_mean
from engine.spec.expressions import compile_expression
from engine.spec.meaning import Expression
from engine.spec.values import as_text


def _a_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Rule(BaseModel):
    """Destinations for the messages that fit an expression."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: Expression = Field(min_length=1, description="Expression.", examples=["msg['PV1-2'] == 'I'"])
    to: list[str] = Field(description="Names of destinations.", examples=[["ward"]])

    _to = field_validator("to", mode="before")(_a_list)


@component(
    "transformer", "route", example="route: {rules: [{when: \"msg['PV1-2'] == 'I'\", to: []}], otherwise: []}"
)
class Route(Settings):
    """Chooses destinations by expressions, or by a value and a table.

    Every rule that fits adds its destinations. Without a fitting rule those of `otherwise`; where there is no
    `otherwise`, all.
    """

    on_response: ClassVar[bool] = False
    rules: list[Rule] = Field(default=[], description="Expression to destinations; all that fit count.")
    by: Expression = Field(
        default="", description="Expression whose value is looked up in `table`.", examples=["msg['MSH-4']"]
    )
    table: dict[str, list[str]] = Field(
        default={}, description="Value to destinations.", examples=[{"RGH": ["odoo"], "LAB": ["odoo", "lis"]}]
    )
    otherwise: list[str] | None = Field(
        default=None,
        description="Destinations of messages that nothing fits; `[]`: none.",
        examples=[["main"]],
    )

    _otherwise = field_validator("otherwise", mode="before")(_a_list)

    @field_validator("table", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        return {key: _a_list(to) for key, to in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _says_something(self) -> Route:
        if bool(self.rules) == bool(self.table) or bool(self.by) != bool(self.table):
            raise ValueError("give either `rules`, or `by` and `table`")
        return self

    def build(self, context: BuildContext) -> Transformer:
        """Compile the expressions; check the names."""
        known = context.options.get("destinations")
        named = [name for rule in self.rules for name in rule.to]
        named += [name for names in self.table.values() for name in names] + list(self.otherwise or ())
        for name in named:
            if known is not None and name not in known:
                raise ConfigError(
                    f"the channel has no destination {name!r}", code="route.destination",
                    todo=did_you_mean(name, known),
                )  # fmt: skip
        otherwise = None if self.otherwise is None else frozenset(self.otherwise)
        choose = self._by_table(context) if self.table else self._by_rules(context)

        def route(scope: Scope) -> None:
            found = choose(scope)
            scope.chosen = otherwise if found is None else found

        return route

    def _by_rules(self, context: BuildContext) -> Callable[[Scope], frozenset[str] | None]:
        rules = [
            (compile_expression(rule.when, context, f"rules[{n}].when"), rule.to)
            for n, rule in enumerate(self.rules)
        ]

        def choose(scope: Scope) -> frozenset[str] | None:
            fitting = [to for when, to in rules if when(scope)]
            return frozenset(name for to in fitting for name in to) if fitting else None

        return choose

    def _by_table(self, context: BuildContext) -> Callable[[Scope], frozenset[str] | None]:
        by = compile_expression(self.by, context, "by")
        table = {value: frozenset(to) for value, to in self.table.items()}

        def choose(scope: Scope) -> frozenset[str] | None:
            try:
                return table.get(as_text(by(scope)))
            except StepError as error:
                raise StepError(f"by: {error.what}", code=error.code, todo=error.todo) from None

        return choose
