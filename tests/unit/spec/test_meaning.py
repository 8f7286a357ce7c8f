"""What the texts of settings mean, as `lint` finds them."""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr

from engine.spec.component import Settings, registry
from engine.spec.meaning import HL7Path, TableName, Value, Variable, found_in


class Inner(BaseModel):
    table: TableName = ""
    password: SecretStr = SecretStr("")


class Outer(Settings):
    path: HL7Path | None = None
    paths: list[HL7Path] = Field(default=[])
    either: HL7Path | list[HL7Path] = Field(default=[])
    sets: dict[Variable, Value] = Field(default={})
    inner: Inner | None = None
    more: list[Inner] = Field(default=[])
    plain: str = ""


def told(settings):
    return [(one.what, one.value, one.where, one.key) for one in found_in(settings)]


def test_every_marked_text_is_found_with_its_place():
    data = {
        "path": "PID-3",
        "paths": ["PID-5", "PID-7"],
        "sets": {"mrn": {"a": ["{{ x }}"]}},
        "inner": {"table": "sex", "password": "x"},
        "more": [{"table": "ward"}],
        "plain": "PID-3",
    }
    secret = Outer.model_validate(data).inner.password
    assert told(Outer.model_validate(data)) == [
        ("path", "PID-3", ("path",), False),
        ("path", "PID-5", ("paths", 0), False),
        ("path", "PID-7", ("paths", 1), False),
        ("variable", "mrn", ("sets", "mrn"), True),
        ("value", {"a": ["{{ x }}"]}, ("sets", "mrn"), False),
        ("table", "sex", ("inner", "table"), False),
        ("secret", secret, ("inner", "password"), False),
        ("table", "ward", ("more", 0, "table"), False),
    ]


def test_one_or_many():
    assert told(Outer(either="PID-1")) == [("path", "PID-1", ("either",), False)]
    assert told(Outer(either=["PID-1"])) == [("path", "PID-1", ("either", 0), False)]


def test_what_is_not_given_is_not_looked_at():
    assert told(Outer()) == [] and told(Outer(path=None)) == []


def test_the_shipped_steps_say_what_they_hold():
    found = registry.get("transformer", "set").settings(vars={"a": "{{ b }}"}, fields={"PID-8": 1}, when="c")
    assert [(one.what, one.where) for one in found_in(found)] == [
        ("variable", ("vars", "a")),
        ("value", ("vars", "a")),
        ("path", ("fields", "PID-8")),
        ("value", ("fields", "PID-8")),
        ("expression", ("when",)),
    ]
