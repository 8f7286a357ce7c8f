"""The JSON Schema of channel files, made from the components' declarations: completion and hover in editors.

Guarantees: what validation accepts is right by the schema too, wherever a value may be a variable (`${PORT}`), a
secret, or come from a fragment or a default; every component and setting has its description, its example and a
snippet. What only a whole configuration shows (unknown names, paths, missing settings that a default could
give) is left to `lint`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from engine.spec.component import Component, Kind, registry
from engine.spec.options import ChannelOptions, DestinationOptions
from engine.spec.retention import Disk
from engine.spec.tables import TableSettings
from engine.spec.units import DURATION

Schema = dict[str, Any]
REFERENCE = "https://json-schema.org/draft/2020-12/schema"
VARIABLE: Schema = {
    "type": "string",
    "pattern": r"\$\{",
    "description": "A variable: ${NAME} or ${NAME:-default}.",
}
SECRET: Schema = {
    "type": "object",
    "description": "Where a secret comes from, after the tag !secret.",
    "properties": {
        "env": {"type": "string", "description": "An environment variable."},
        "file": {"type": "string", "description": "A file, relative to this one."},
        "command": {"type": "array", "items": {"type": "string"}, "description": "A command that prints it."},
        "timeout": {
            **(DURATION.json_schema or {}),
            "description": "How long the command may take, at most 60s.",
        },
    },
    "additionalProperties": False,
}
NAMES: Schema = {
    "description": "Names of fragments whose steps or settings stand here.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
}
FILES: Schema = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


def schema(connections: Mapping[str, type[BaseModel]]) -> Schema:
    """JSON Schema (2020-12) of a configuration file; `connections` are the kinds of connections."""
    return _Maker().whole(connections)


class _Maker:
    def __init__(self) -> None:
        self.defs: dict[str, Schema] = {"variable": VARIABLE, "secret": SECRET, "use": NAMES}

    def whole(self, connections: Mapping[str, type[BaseModel]]) -> Schema:
        for kind in ("filter", "transformer"):
            self.defs[kind] = self.step(kind)
        both: list[Schema] = [{"$ref": "#/$defs/filter"}, {"$ref": "#/$defs/transformer"}]
        self.defs["response"] = {"anyOf": [self.step("response"), *both]}
        steps = {f"{kind}s": _list({"$ref": f"#/$defs/{kind}"}) for kind in ("filter", "transformer")}
        options = self.model(DestinationOptions)["properties"]
        response = {"response": _list({"$ref": "#/$defs/response"})}
        more = {**options, **steps, **response, "use": {"$ref": "#/$defs/use"}}
        channel = self.model(ChannelOptions)
        common = dict(channel["properties"])
        channel["properties"] |= {
            "format": {"anyOf": [{"enum": registry.names("format")}, self.choice("format")]},
            "listener": self.choice("listener", needs=False),
            **steps,
            "destinations": _named(self.choice("destination", more, needs=False)),
            "use": {"$ref": "#/$defs/use"},
        }
        channel["anyOf"] = [{"required": ["listener"]}, {"required": ["use"]}]
        kinds = {name: self.model(model) for name, model in connections.items()}
        defaults = {
            "channel": _closed(common),
            "listener": self.choice("listener", needs=False, one=False),
            "destination": self.choice("destination", options, needs=False, one=False),
        }
        either = _list({"anyOf": [*both, {"$ref": "#/$defs/response"}, {"type": "object"}]})
        sections: dict[str, tuple[str, Schema]] = {
            "include": ("Files that belong to this configuration; patterns are allowed.", FILES),
            "connections": (
                "What destinations and lookups connect to, by name.",
                _named(_closed(kinds, one=True)),
            ),
            "tables": ("Code tables, by name.", _named(self.model(TableSettings))),
            "defaults": ("What holds where a channel does not say otherwise.", _closed(defaults)),
            "fragments": (
                "Steps and settings that `use` puts elsewhere.",
                _named({"anyOf": [either, {"type": "object"}]}),
            ),
            "macros": ("Files of Jinja macros that every expression may call.", FILES),
            "functions": ("Python modules whose functions every expression may call.", FILES),
            "disk": ("How much free space the engine leaves.", self.model(Disk)),
            "channels": ("The channels, by name.", _named(channel)),
        }
        made = {
            "$schema": REFERENCE,
            "title": "Isthmus channels",
            "type": "object",
            "properties": {name: {"description": text, **body} for name, (text, body) in sections.items()},
            "patternProperties": {"^x-": {}},
            "additionalProperties": False,
            "$defs": self.defs,
        }
        return _each(made, _for_editors)

    def model(self, model: type[BaseModel], prefix: str = "") -> Schema:
        made = model.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
        self.defs |= {prefix + name: body for name, body in made.pop("$defs", {}).items()}
        return made

    def component(self, item: Component, needs: bool) -> Schema:
        """The settings of one component."""
        settings = self.model(item.settings, f"{item.kind}.{item.name}.")
        for found in item.settings.__pydantic_decorators__.field_validators.values():
            fields = found.info.fields if found.info.mode == "before" else ()
            for name in list(settings["properties"]) if "*" in fields else fields:
                one = settings["properties"].get(name, {})
                if one.get("type") == "array":  # such a validator takes one for a list
                    settings["properties"][name] = {"anyOf": [one, one["items"]], **_notes(one)}
        optional = not settings.get("required")
        if not needs:
            settings.pop("required", None)
        settings["defaultSnippets"] = [{"label": f"{item.name} example", "body": item.example_settings}]
        forms: list[Schema] = [settings]
        if item.settings.scalar:
            forms.append(settings["properties"][item.settings.scalar])
        if optional or not needs:
            forms.append({"type": "null"})
        text = "\n".join(line.strip() for line in (item.settings.__doc__ or "").strip().splitlines())
        return {
            **({"anyOf": forms} if len(forms) > 1 else settings),
            "description": item.summary,
            "markdownDescription": f"{text}\n\n```yaml\n{item.example}\n```",
        }

    def choice(
        self, kind: Kind, also: dict[str, Schema] | None = None, *, needs: bool = True, one: bool = True
    ) -> Schema:
        """One component of a kind as its type with its settings; `also` may stand beside it."""
        found = [item for item in registry if item.kind == kind]
        made = _closed({item.name: self.component(item, needs) for item in found} | (also or {}))
        if one:
            made |= {"minProperties": 1} if also else {"minProperties": 1, "maxProperties": 1}
        made["defaultSnippets"] = [
            {"label": item.name, "description": item.summary, "body": {item.name: item.example_settings}}
            for item in found
        ]
        return made

    def step(self, kind: Kind) -> Schema:
        """An item of a list of steps."""
        use = _closed({"use": {"$ref": "#/$defs/use"}})
        use["required"] = ["use"]
        return {"anyOf": [self.choice(kind), use, {"enum": registry.names(kind)}]}


def _closed(properties: Mapping[str, Schema], *, one: bool = False) -> Schema:
    bounds = {"minProperties": 1, "maxProperties": 1} if one else {}
    return {"type": "object", "properties": dict(properties), "additionalProperties": False, **bounds}


def _named(body: Schema) -> Schema:
    return {"type": ["object", "null"], "additionalProperties": body}


def _list(item: Schema) -> Schema:
    return {"type": ["array", "null"], "items": item}


def _each(node: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """`node` with `change` applied to every schema in it, the inner ones first."""
    made = dict(node)
    for key in ("properties", "$defs", "patternProperties"):
        if key in made:
            made[key] = {name: _each(body, change) for name, body in made[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = _each(made[key], change)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in made:
            made[key] = [_each(body, change) for body in made[key]]
    return change(made)


ANNOTATIONS = ("description", "markdownDescription", "default", "examples", "deprecated", "defaultSnippets")


def _for_editors(node: Schema) -> Schema:
    """Without the titles that pydantic makes; a value may be a variable; choices say what they mean."""
    meanings = node.pop("meanings", None)
    if meanings:
        for part in [node, *node.get("anyOf", ())]:
            if "enum" in part:
                part["markdownEnumDescriptions"] = [meanings.get(item, "") for item in part["enum"]]
    if "type" in node or "enum" in node or "const" in node or "anyOf" in node:
        node.pop("title", None)
    kinds = set(_kinds(node))
    bounded = node.keys() & {"enum", "const", "pattern", "format", "minLength"} and kinds <= {"string", ""}
    if node is VARIABLE or "\\$\\{" in str(node.get("pattern")):
        return node
    if kinds & {"integer", "number", "boolean"} or bounded:
        outer = {key: node.pop(key) for key in ANNOTATIONS if key in node}
        forms = [node, {"$ref": "#/$defs/variable"}]
        if node.get("writeOnly"):
            forms.append({"$ref": "#/$defs/secret"})
        return {**outer, "anyOf": forms}
    return node


def _notes(node: Schema) -> Schema:
    return {key: node[key] for key in ANNOTATIONS if key in node}


def _kinds(node: Schema) -> Iterator[str]:
    kind = node.get("type", "")
    yield from kind if isinstance(kind, list) else (kind,)
