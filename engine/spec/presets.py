"""Presets: what other Odoo modules keep of the same events, as changes to a template before it is compiled.

    title: OCA medical
    modules:
      medical_base: [medical.patient]
    rules:
      - change: {upsert: res.partner, key: patient}
        values: {is_patient: true}
        after:
          - upsert: medical.patient
            key: "patient/{{ p.key }}"
            values: {partner_id: {key: "patient/{{ p.key }}"}}

A rule is about every operation of its verb and model whose key begins with that word. `values` are added to it, or
put in place of its own; `before` and `after` are more operations around it, `instead` stands in its place. They run
under its `for`, `let` and `when`, and may add a `when` of their own.

Guarantees: a template without operations that a rule is about is left as it is; places lead to the file that a text
stands in. Refuses (ConfigError): a preset that does not exist, and what is not of this shape, at its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from engine.errors import ConfigError
from engine.spec import yamlnodes
from engine.spec.component import BuildContext
from engine.spec.document import did_you_mean
from engine.spec.structure import FLOW, VERBS

PLAIN = "plain"
FOLDER = Path(__file__).resolve().parents[2] / "transforms" / "templates" / "odoo" / "presets"
PLACES = ("before", "after", "instead")
TEXT = "tag:yaml.org,2002:str"
Entries = dict[str, tuple[yaml.Node, yaml.Node]]


@dataclass
class Rule:
    """What is done to the operations that it is about."""

    verb: str
    model: str
    key: str
    values: list[tuple[yaml.Node, yaml.Node]] = field(default_factory=list)
    more: dict[str, list[yaml.MappingNode]] = field(default_factory=dict)

    def fits(self, entries: Entries) -> bool:
        """Whether it is about this operation."""
        if self.verb not in entries or "key" not in entries:
            return False
        model, key = entries[self.verb][1].value, entries["key"][1].value
        return bool(model == self.model and str(key).partition("/")[0] == self.key)


@dataclass
class Preset:
    """A preset that was read."""

    name: str
    title: str
    modules: dict[str, list[str]]  # Odoo module → the models and fields (model.field) of it that are used
    rules: list[Rule]


def find(name: str, context: BuildContext, where: str = "") -> Path | None:
    """The file of a preset: a shipped one by its name, or a path beside the channel file; None for `plain`."""
    if name in ("", PLAIN):
        return None
    path = context.file(name, "preset")
    if path.suffix in {".yaml", ".yml"} and path.is_file():
        return path
    chosen = FOLDER / f"{name}.yaml"
    if "/" not in name and chosen.is_file():
        return chosen
    raise ConfigError(
        f"there is no preset {name!r}",
        code="preset.unknown",
        where=where,
        todo=did_you_mean(name, names()) or "give the path of a .yaml file, from the channel file's folder",
    )


def names() -> list[str]:
    """The presets that come with Isthmus."""
    return [PLAIN, *sorted(path.stem for path in FOLDER.glob("*.yaml"))]


def read(text: str, file: str) -> Preset:
    """A preset of its text."""
    root = yamlnodes.compose(text, file)
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(
            "a preset is a mapping with `title`, `modules` and `rules`", code="preset.shape", where=file
        )
    _name_file(root, file)
    entries = _entries(root, file, ("title", "modules", "rules"))
    modules: dict[str, list[str]] = {}
    for module, (key, value) in _mapping(entries.get("modules"), file).items():
        if not isinstance(value, yaml.SequenceNode):
            raise _wrong(key, file, "a module has a list of models and fields")
        modules[module] = [item.value for item in value.value]
    rules = entries["rules"][1] if "rules" in entries else None
    if not isinstance(rules, yaml.SequenceNode):
        raise _wrong(root, file, "a preset has a list of `rules`")
    title = entries["title"][1].value if "title" in entries else file
    return Preset(Path(file).stem, title, modules, [_rule(node, file) for node in rules.value])


def apply(preset: Preset, root: yaml.Node, file: str) -> yaml.Node:
    """The template with what the preset adds; the nodes of both are kept, the template's are not changed."""
    if isinstance(root, yaml.MappingNode):
        pairs = [
            (key, apply(preset, value, file) if key.value == "operations" else value)
            for key, value in root.value
        ]
        return _like(root, pairs)
    if not isinstance(root, yaml.SequenceNode):
        return root
    made: list[yaml.Node] = []
    for node in root.value:
        made += _changed(preset, node, file) if isinstance(node, yaml.MappingNode) else [node]
    return yaml.SequenceNode(root.tag, made, root.start_mark, root.end_mark)


def _changed(preset: Preset, node: yaml.MappingNode, file: str) -> list[yaml.Node]:
    entries = yamlnodes.items(node, file)
    before: list[yaml.Node] = []
    after: list[yaml.Node] = []
    kept: yaml.MappingNode | None = node
    for rule in preset.rules:
        if not rule.fits(entries):
            continue
        if kept is not None and rule.values:
            kept = _with_values(kept, rule.values)
        before += [_under(entries, item) for item in rule.more.get("before", ())]
        if "instead" in rule.more:
            kept = None
        after += [_under(entries, item) for name in ("instead", "after") for item in rule.more.get(name, ())]
    return [*before, *([kept] if kept is not None else ()), *after]


def _with_values(node: yaml.MappingNode, added: list[tuple[yaml.Node, yaml.Node]]) -> yaml.MappingNode:
    names = {key.value for key, _ in added}
    pairs: list[tuple[yaml.Node, yaml.Node]] = []
    for key, value in node.value:
        if key.value == "values" and isinstance(value, yaml.MappingNode):
            own = [(name, item) for name, item in value.value if name.value not in names]
            pairs.append((key, _like(value, [*own, *added])))
        else:
            pairs.append((key, value))
    return _like(node, pairs)


def _under(entries: Entries, item: yaml.MappingNode) -> yaml.MappingNode:
    """A preset's operation under the `for`, `let` and `when` of the template's."""
    own = {key.value: (key, value) for key, value in item.value}
    pairs = [pair for name, pair in own.items() if name not in FLOW]
    for name in ("for", "let"):
        if name in entries:
            pairs.append(entries[name])
    if "when" in entries and "when" in own:
        key, mine = own["when"]
        both = yaml.ScalarNode(TEXT, f"({entries['when'][1].value}) and ({mine.value})", mine.start_mark)
        both.file = getattr(mine, "file", "")  # type: ignore[attr-defined]
        pairs.append((key, both))
    elif found := own.get("when") or entries.get("when"):
        pairs.append(found)
    return _like(item, pairs)


def _like(node: yaml.MappingNode, pairs: list[tuple[yaml.Node, yaml.Node]]) -> yaml.MappingNode:
    made = yaml.MappingNode(node.tag, pairs, node.start_mark, node.end_mark)
    if hasattr(node, "file"):
        made.file = node.file  # type: ignore[attr-defined]
    return made


def _rule(node: yaml.Node, file: str) -> Rule:
    entries = _entries(node, file, ("change", "values", *PLACES))
    on = _mapping(entries.get("change"), file)
    verb = next((name for name in on if name in VERBS), "")
    if not verb or on.keys() != {verb, "key"}:
        raise _wrong(node, file, "`change` wants a verb with its model, and the first word of the key")
    rule = Rule(verb, on[verb][1].value, on["key"][1].value)
    if "values" in entries:
        rule.values = list(_mapping(entries["values"], file).values())
    for name in PLACES:
        for item in entries[name][1].value if name in entries else ():
            found = yamlnodes.items(item, file) if isinstance(item, yaml.MappingNode) else {}
            if not found.keys() & VERBS.keys() or found.keys() & {"for", "let"}:
                raise _wrong(item, file, "an operation has a verb, and of flow only `when`")
            rule.more.setdefault(name, []).append(item)
    return rule


def _entries(node: yaml.Node, file: str, known: tuple[str, ...]) -> Entries:
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(node, file, f"this wants {', '.join(known)}")
    entries = yamlnodes.items(node, file)
    for name, (key, _) in entries.items():
        if name not in known:
            raise _wrong(key, file, f"a preset has no {name!r} here", did_you_mean(name, known))
    return entries


def _mapping(pair: tuple[yaml.Node, yaml.Node] | None, file: str) -> Entries:
    if pair is None:
        return {}
    if not isinstance(pair[1], yaml.MappingNode):
        raise _wrong(pair[0], file, f"`{pair[0].value}` is a mapping")
    return yamlnodes.items(pair[1], file)


def _wrong(node: yaml.Node, file: str, what: str, todo: str = "") -> ConfigError:
    return ConfigError(what, code="preset.shape", where=yamlnodes.place(node, file), todo=todo)


def _name_file(node: yaml.Node, file: str) -> None:
    """Let each node know its file: it stands among those of a template."""
    node.file = file  # type: ignore[attr-defined]
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _name_file(key, file)
            _name_file(value, file)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _name_file(item, file)
