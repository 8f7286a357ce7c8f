"""The `address` transformer: the parts of an address as people write them.

Guarantees: lines and cities in mixed case keep their case; codes of state, postal area and country are upper case;
what is absent stays absent, but for the country when `default_country` is given and there is an address.
Refuses: nothing to work on (`ConfigError`).
"""

from __future__ import annotations

from pydantic import Field, model_validator

from engine.model import Scope, Transformer
from engine.spec.component import BuildContext, Settings, component
from engine.spec.fields import changing, check_paths, fill_all
from engine.spec.filters import clean, name_case
from engine.spec.meaning import HL7Path
from engine.spec.values import is_absent, is_present


@component("transformer", "address", example="address: {path: PID-11, default_country: USA}")
class Address(Settings):
    """Tidies addresses: blanks, capitals, upper-case codes, and the country where none is given.

    `path` is an HL7 field of type XAD, all of its repetitions; or name the parts one by one.
    """

    scalar = "path"

    path: HL7Path = Field(default="", description="A field with addresses (HL7 XAD).", examples=["PID-11"])
    lines: list[HL7Path] = Field(
        default=[], description="Paths of street lines.", examples=[["address.line"]]
    )
    city: HL7Path = Field(default="", description="Path of the city.", examples=["address.city"])
    state: HL7Path = Field(default="", description="Path of the state's code.", examples=["address.state"])
    postal_code: HL7Path = Field(default="", description="Path of the code.", examples=["address.postalCode"])
    country: HL7Path = Field(
        default="", description="Path of the country's code.", examples=["address.country"]
    )
    default_country: str = Field(
        default="",
        description="Country of addresses that have a city or code and name none.",
        examples=["USA"],
    )

    @model_validator(mode="after")
    def _says_something(self) -> Address:
        named = [*self.lines, self.city, self.state, self.postal_code, self.country]
        if bool(self.path) == any(named):
            raise ValueError("give either `path`, or the paths of the parts")
        if self.default_country and not (self.path or self.country):
            raise ValueError("`default_country` needs the path of the country")
        return self

    def build(self, context: BuildContext) -> Transformer:
        """One step for words, one for codes."""
        path = self.path
        lines = [f"{path}.1", f"{path}.2"] if path else self.lines
        city, state, code, country = (
            (f"{path}.{n}" for n in (3, 4, 5, 6))
            if path
            else (self.city, self.state, self.postal_code, self.country)
        )
        words = changing(filter(None, [*lines, city]), lambda value: name_case(clean(value)), context)
        codes = changing(filter(None, [state, code, country]), lambda value: clean(value).upper(), context)
        check_paths(filter(None, [path]), context)
        default = self.default_country

        def tidy(scope: Scope) -> None:
            words(scope)
            codes(scope)
            if not default:
                return
            msg = scope.msg
            wanted = [one for one in (city, code) if one]
            if path:
                if fill_all(msg, path, 6, default, beside=(3, 5)):
                    scope.events = None
            elif any(is_present(msg[one]) for one in wanted) and is_absent(msg[country]):
                msg[country] = default
                scope.events = None

        return tidy
