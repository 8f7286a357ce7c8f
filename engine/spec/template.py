"""Templates: a YAML list of Odoo operations with Jinja in its leaves, compiled once to one function.

    - upsert: res.partner
      when: "event.type != 'patient.merged'"
      key: "patient/{{ event.patient.mrn }}"
      values: {name: "{{ event.patient.name.display }}", category_id: [{find: {name: VIP}}]}

Guarantees: the whole structure is one compiled program; it is run once for each canonical event, in order,
or once when it mentions none (or there is none); a key that is absent, cleared or has an empty part is an
error, because `patient/` would make all patients one record; the same operation is asked for once.
Refuses, when it is compiled: an unknown verb or setting, a missing key, text that cannot be read, each with
file:line:column and what was perhaps meant (`ConfigError`).

How a leaf becomes a value stands in `engine.spec.values`, the grammar in `engine.spec.structure`.

| fault on one message                          | becomes                                           |
|-----------------------------------------------|---------------------------------------------------|
| a leaf raises                                 | StepError at the leaf's file:line:column           |
| the key is absent, cleared or has an empty part | StepError `template.key` at the operation         |
| a reference lacks a part of its key           | the field is left out                              |
| a merge names no other record                 | StepError `template.retired`; into itself: no operation |
| nothing is left of a `write`                  | no operation                                       |
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from engine.errors import ConfigError, StepError
from engine.model import ABSENT, Scope
from engine.spec import presets, structure, values, yamlnodes
from engine.spec.component import BuildContext
from engine.spec.document import did_you_mean
from engine.spec.expressions import Program, environment
from engine.spec.files import Files
from engine.spec.fragments import Fragments
from engine.spec.structure import Spec

SHIPPED = "templates/odoo"
Render = Callable[[Scope], list[dict[str, Any]]]


def compile_template(
    source: str | Path | list[Any], context: BuildContext, where: str = "template", preset: str = ""
) -> Render:
    """Make the function that gives the operations for a scope.

    `source` is a list of operations as data, a path (relative to the folder of the channel file), or the name
    of a shipped template: `patient` is `transforms/templates/odoo/patient.yaml`. `preset` changes it before
    (`engine.spec.presets`).
    """
    if isinstance(source, (list, dict)):
        return compile_node(yamlnodes.represent(source, where), where, context)
    path = find(source, context, where)
    return compile_node(read_file(path, presets.find(preset, context, where), context), path.name, context)


def compile_yaml(text: str, file: str, context: BuildContext) -> Render:
    """Compile the YAML text of a template; `file` is what errors call it."""
    return compile_node(_composed(text, file), file, context)


def read_file(path: Path, preset: Path | None, context: BuildContext) -> yaml.Node:
    """The template of a file as a channel uses it."""
    return nodes_of(path, preset, context.files, context.fragments)


def nodes_of(
    path: Path, preset: Path | None, files: Files, fragments: Fragments, name: str = "", preset_name: str = ""
) -> yaml.Node:
    """The template of a file with its fragments, as a preset changes it; the names are what errors call the files."""
    name = name or path.name
    root = fragments.expand(_composed(_text(path, files), name), name)
    if preset is None:
        return root
    return presets.apply(presets.read(_text(preset, files), preset_name or preset.name), root, name)


def _composed(text: str, file: str) -> yaml.Node:
    node = yamlnodes.compose(text, file)
    if node is None:
        raise ConfigError("the template is empty", code="template.empty", where=file)
    return node


def _text(path: Path, files: Files) -> str:
    try:
        return files.text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the template: {getattr(error, 'strerror', None) or 'not UTF-8'}",
            code="template.file",
            where=str(path),
        ) from None


def compile_node(node: Any, file: str, context: BuildContext) -> Render:
    """Compile a template that was read already."""
    env = environment(context)
    body, specs, places = structure.Builder(env, file).build(node)
    program = Program(env, body, file, lambda line: places[line] if 0 < line < len(places) else file)
    return Template(program, specs, file).render


def compile_value(data: Any, context: BuildContext, where: str = "") -> Callable[[Scope], Any]:
    """What a value with Jinja in its leaves gives for a scope: a native value, ABSENT or CLEAR."""
    env = environment(context)
    body, places = structure.Builder(env, where).build_value(yamlnodes.represent(data, where))
    program = Program(env, body, where, lambda line: places[line] if 0 < line < len(places) else where)
    return program.first


def template_of(render: Render) -> Template:
    """The template behind what `compile_template` gave."""
    return render.__self__  # type: ignore[attr-defined]


def find(source: str | Path, context: BuildContext, where: str = "") -> Path:
    """The file of a template: a path beside the channel file, or a shipped one by its name."""
    path = context.file(source, "template")
    if path.suffix in {".yaml", ".yml"} and path.is_file():
        return path
    shipped = shipped_folder()
    chosen = shipped / f"{source}.yaml"
    if "/" not in str(source) and chosen.is_file():
        return chosen
    known = sorted(item.stem for item in shipped.glob("*.yaml"))
    raise ConfigError(
        f"there is no template {str(source)!r}",
        code="template.unknown",
        where=where,
        todo=did_you_mean(str(source), known)
        or "give the path of a .yaml file, from the channel file's folder",
    )


def shipped_folder() -> Path:
    """Where the templates that come with Isthmus are."""
    return Path(__file__).resolve().parents[2] / "transforms" / SHIPPED


class Made(NamedTuple):
    """One operation, the number of its Spec in the template, and the number of the event that it is about; one that no
    template made has what it is about in place of a number."""

    operation: dict[str, Any]
    number: int | str
    event: int


class Template:
    """A compiled template."""

    def __init__(self, program: Program, specs: list[Spec], file: str) -> None:
        self.program = program
        self.specs = specs
        self.file = file

    def render(self, scope: Scope) -> list[dict[str, Any]]:
        """The operations for one message, in order."""
        collected = _Collector()
        events = scope.events if self.program.uses_events else ()
        for event in events or (ABSENT,):
            for rendered in self.program.run(scope, event):
                operation = self._operation(rendered)
                if operation is not None:
                    collected.add(operation)
        return collected.operations

    def explain(self, scope: Scope) -> list[Made]:
        """What `render` gives, and of which operation of the template and which event each is made."""
        collected = _Collector()
        made: list[Made] = []
        events = scope.events if self.program.uses_events else ()
        for count, event in enumerate(events or (ABSENT,)):
            for rendered in self.program.run(scope, event):
                operation = self._operation(rendered)
                if operation is not None and collected.add(operation):
                    made.append(Made(operation, rendered[0], count))
        return made

    def _operation(self, rendered: tuple[Any, ...]) -> dict[str, Any] | None:
        number, key, settings = rendered
        spec = self.specs[number]
        try:
            return finish(spec, key, settings)
        except StepError as error:
            raise StepError(
                error.what, code=error.code, where=error.where or spec.where, todo=error.todo
            ) from None


def finish(spec: Spec, key: Any, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Check a rendered operation and turn its leaves into values; None when there is nothing to do."""
    done = values.finish(key) if not isinstance(key, int) or isinstance(key, bool) else str(key)
    if not values.good_key(done):
        raise StepError(
            f"the key of this {spec.verb} of {spec.model} is empty, or a part of it is",
            code="template.key",
            where=spec.where,
            todo="add `when:` for messages without it, or take the key from another field",
        )
    operation: dict[str, Any] = {"op": spec.verb, "model": spec.model, "key": done}
    for name, value in settings.items():
        if name == "values":
            operation[name] = values.finish_values(value)
        elif (finished := values.finish(value)) is not ABSENT:
            operation[name] = finished
    if spec.verb == "write" and not operation["values"]:
        return None
    return _merge(spec, operation) if spec.verb == "merge" else operation


def _merge(spec: Spec, operation: dict[str, Any]) -> dict[str, Any] | None:
    retired = operation.get("retired") or []
    retired = [retired] if isinstance(retired, str) else retired
    if not retired or not all(values.good_key(key) for key in retired):
        raise StepError(
            "the merge does not say which records are retired, or a part of a key is empty",
            code="template.retired",
            where=spec.where,
            todo="give `retired` the keys that MRG names",
        )
    others = [key for key in dict.fromkeys(retired) if key != operation["key"]]
    return {**operation, "retired": others} if others else None


class _Collector:
    """Operations in order, each once: what the last operation on a record says again is dropped, and so is a
    call that was asked for before."""

    def __init__(self) -> None:
        self.operations: list[dict[str, Any]] = []
        self._last: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, operation: dict[str, Any]) -> bool:
        record = (operation["model"], operation["key"])
        if self._last.get(record) == operation:
            return False
        if operation["op"] == "call" and operation in self.operations:
            return False
        self._last[record] = operation
        self.operations.append(operation)
        return True
