"""The interface specification of a channel: what goes in, what becomes of it, which tables are used.

Guarantees: it is made of the declarations that run, so it says what the channel does; secrets are masked, and no
message content is in it. The same blocks are written as Markdown or HTML.
Refuses nothing: an expression whose meaning is not fixed is shown as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from channels.blocks import Block, Code, Heading, Rows, Text
from channels.build import Builder
from channels.origins import Origins, chains
from engine.hl7 import events, names
from engine.spec import presets, template, yamlnodes
from engine.spec.channel import Bound, ChannelSpec, Configuration, DestinationSpec
from engine.spec.document import Document
from engine.spec.meaning import found_in
from engine.spec.options import ACKS, DestinationOptions
from engine.spec.secret import Secret, masked
from engine.spec.structure import VERBS
from transforms.canonical.from_hl7 import types
from transforms.canonical.to_fhir import RESOURCES

_PATH = re.compile(r"(?<![A-Za-z0-9])([A-Z][A-Z0-9]{2})(?:\[[^\]]*\])?-\d+(?:\[[^\]]*\])?(?:\.\d+){0,2}")
_FOR = re.compile(r"\s*(\w+)\s+in\s+(\S.*)", re.DOTALL)
_READ = re.compile(r"""\bmsg(?:\[|\.all\()\s*(['"])(.*?)\1\s*[\])]""")
_TABLE = re.compile(r"\btable\(\s*['\"]([^'\"]+)['\"]")
_ON_ERROR: dict[str, str] = DestinationOptions.model_json_schema()["properties"]["on_error"]["meanings"]


class Reads:
    """What texts read, in the words of the channel's format; canonical values by the places that they come from."""

    def __init__(self, spec: ChannelSpec, builder: Builder) -> None:
        self.spec, self.builder = spec, builder
        self.title = {"hl7v2": "HL7", "fhir": "FHIR"}.get(spec.format.component.name, "reads")
        self.names: dict[str, str] = {}  # variables, and what they stand for
        self.wanted: set[str] = set()
        self.known: dict[str, list[str]] = {}

    def ask(self) -> None:
        """Find out where everything comes from that was read so far."""
        allowed = [kind for kind, taken in _types(self.spec) if taken]
        self.known = Origins(self.builder, self.spec, allowed).of(self.wanted)

    def of(self, text: str, paths: Iterable[str] = ()) -> str:
        """The places that a text reads, with their names."""
        found = list(paths)
        if self.title == "HL7":
            found += [one[0] for one in _PATH.finditer(text)]
        else:
            found += [one[2] for one in _READ.finditer(text)]
        read = chains(text, self.names)
        self.wanted |= read
        found += [place for one in sorted(read) for place in self.known.get(one, ())]
        return "; ".join(_named(path) if self.title == "HL7" else path for path in dict.fromkeys(found))


def _types(spec: ChannelSpec) -> Iterator[tuple[str, bool]]:
    """The message types that the filters name, and whether they are taken."""
    for one in spec.filters:
        if one.component.name == "message_type":
            yield from ((kind, True) for kind in getattr(one.settings, "allow", ()))
            yield from ((kind, False) for kind in getattr(one.settings, "deny", ()))


def specification(configuration: Configuration, name: str) -> list[Block]:
    """The blocks of one channel's specification. KeyError when there is no such channel."""
    spec = configuration.channels[name]
    builder = Builder(configuration)
    reads = Reads(spec, builder)
    _blocks(configuration, spec, builder, reads)  # to see what is read
    reads.ask()
    return _blocks(configuration, spec, builder, reads)


def _blocks(configuration: Configuration, spec: ChannelSpec, builder: Builder, reads: Reads) -> list[Block]:
    context = builder.context(spec)
    name = spec.name
    reads.names = {}
    blocks: list[Block] = [Heading(1, f"Interface {name}")]
    if spec.options.description:
        blocks.append(Text(spec.options.description))
    document = configuration.document
    blocks += [Heading(2, "Channel"), Rows(("what", "value", "meaning"), list(_facts(spec, document)))]
    blocks += _messages(spec)
    if spec.filters:
        blocks += [
            Heading(2, "Filters"),
            Text("A message passes when every filter lets it pass."),
            _steps(spec.filters, document, reads),
        ]
    if spec.transformers:
        blocks += [
            Heading(2, "Transformers"),
            Text("In this order."),
            _steps(spec.transformers, document, reads),
        ]
    for item in spec.destinations:
        blocks += _destination(item, context, document, reads)
    used = _tables(configuration, blocks)
    if used:
        blocks.append(Heading(2, "Code tables"))
        for table in used:
            blocks += _table(configuration.tables[table])
    return blocks


def _facts(spec: ChannelSpec, document: Document) -> Iterator[tuple[str, ...]]:
    options = spec.options
    for kind, bound in (("listener", spec.listener), ("format", spec.format)):
        yield (
            kind,
            Code(f"{bound.component.name} {_settings(bound, document)}".strip()),
            bound.component.summary,
        )
    levels = options.ack if isinstance(options.ack, dict) else {"": options.ack}
    for kind, level in levels.items():
        yield f"ack {kind}".strip(), Code(level), ACKS[level]
    yield "ack_mode", Code(options.ack_mode), _meaning(options, "ack_mode", options.ack_mode)
    for key in ("timezone", "charset", "ordering_key", "order_with", "mrn"):
        value = getattr(options, key)
        if value:
            shown = (
                _named(value) if key == "ordering_key" else value if isinstance(value, str) else _flow(value)
            )
            yield key, Code(shown), str(type(options).model_fields[key].description)
    yield "storage", Code(options.storage), _meaning(options, "storage", options.storage)
    for key, value in options.retention.model_dump().items():
        if value is not None:
            shown = value if isinstance(value, str) else f"{value} {'bytes' if key == 'max_size' else 's'}"
            yield f"retention.{key}", Code(shown), str(type(options.retention).model_fields[key].description)


def _meaning(options: Any, key: str, value: str) -> str:
    extra: Any = type(options).model_fields[key].json_schema_extra
    return str(extra["meanings"][value])


def _messages(spec: ChannelSpec) -> list[Block]:
    blocks: list[Block] = [Heading(2, "Messages")]
    named = list(_types(spec))
    if not any(taken for _, taken in named):
        blocks.append(
            Text("Every message type is taken." if not named else "Every type but the refused ones.")
        )
    named.sort(key=lambda one: not one[1])
    rows = [(Code(kind), events.name(kind), "taken" if taken else "not taken") for kind, taken in named]
    return [*blocks, Rows(("type", "event", "what becomes of it"), rows)] if rows else blocks


def _steps(steps: tuple[Bound, ...], document: Document, reads: Reads) -> Rows:
    rows = []
    for bound in steps:
        settings = _settings(bound, document)
        paths = [str(one.value) for one in found_in(bound.settings) if one.what == "path" and one.value]
        told = reads.of(settings, () if reads.title == "HL7" else paths)
        rows.append((Code(bound.component.name), bound.component.summary, Code(settings), told))
        given = getattr(bound.settings, "vars", None)
        for name, value in given.items() if isinstance(given, dict) else ():
            if isinstance(value, str):
                reads.names[name] = value
    return Rows(("step", "what it does", "settings", reads.title), rows)


def _settings(bound: Bound, document: Document, without: str = "") -> str:
    """What is declared of a component, on one line; secrets are stars."""
    written: Any = document.data
    for key in bound.where:
        written = written.get(key) if isinstance(written, dict) else written[key]
    written = written.get(bound.component.name) if isinstance(written, dict) else {}
    data = bound.settings.model_dump(
        mode="json", exclude_defaults=True, exclude={without} if without else None
    )
    scalar = bound.settings.scalar
    if scalar and not isinstance(written, dict):
        written = {scalar: written}
    data = _hidden(data, written)
    return _flow(data[scalar]) if list(data) == [scalar] else _flow(data) if data else ""


def _hidden(shown: Any, written: Any) -> Any:
    """`shown` without what is a secret in the file."""
    if isinstance(written, Secret):
        return masked(written)
    if isinstance(shown, dict) and isinstance(written, dict):
        return {key: _hidden(value, written.get(key)) for key, value in shown.items()}
    if isinstance(shown, list) and isinstance(written, list) and len(shown) == len(written):
        return [_hidden(*pair) for pair in zip(shown, written, strict=True)]
    return shown


def _flow(data: Any) -> str:
    if isinstance(data, str):
        return data
    text = yaml.safe_dump(data, default_flow_style=True, width=10**6, sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _named(path: str) -> str:
    """`PID-8.1 Administrative Sex, table 0001`; the path alone where HL7 has no name for it."""
    plain = re.sub(r"\[[^\]]*\]", "", path)
    if not names.exists(plain) or plain.startswith("Z"):
        return path
    table = names.describe(plain).table or names.describe(plain.partition(".")[0]).table
    return f"{path} {names.label(path)}" + (f", table {table}" if table else "")


def _destination(item: DestinationSpec, context: Any, document: Document, reads: Reads) -> list[Block]:
    settings: Any = item.bound.settings
    error = item.options.on_error
    facts = [
        ("component", Code(item.bound.component.name), item.bound.component.summary),
        ("on_error", Code(error), _ON_ERROR[error]),
    ]
    blocks: list[Block] = [Heading(2, f"Destination {item.name}")]
    odoo = item.bound.component.name == "odoo"
    facts.insert(1, ("settings", Code(_settings(item.bound, document, "operations" if odoo else "")), ""))
    blocks.append(Rows(("what", "value", "meaning"), facts))
    for title, steps in (("Filters", item.filters), ("Transformers", item.transformers)):
        if steps:
            blocks += [Heading(3, title), _steps(steps, document, reads)]
    if item.response:
        what = "On its answers, when it took the message or refused it for good."
        blocks += [Heading(3, "Response"), Text(what), _steps(item.response, document, reads)]
    if odoo:
        blocks += _mapping(settings, context, reads)
    elif item.bound.component.name == "fhir":
        blocks += _resources(settings, reads.spec)
    return blocks


def _resources(settings: Any, spec: ChannelSpec) -> list[Block]:
    """What a FHIR destination writes, by message type, or by kind of event where no types are named."""
    wanted = [kind for kind, taken in _types(spec) if taken and "^" in kind]
    kinds: dict[str, set[str]] = {
        kind: {one.partition(".")[0] for one in types(*kind.split("^")[:2])} for kind in wanted
    }
    title = "type" if kinds else "event"
    kinds = kinds or {f"{kind}.*": {kind} for kind in RESOURCES}
    rows = []
    for kind, found in kinds.items():
        made = dict.fromkeys(name for one in RESOURCES if one in found for name in RESOURCES[one])
        written = [name for name in made if not settings.resources or name in settings.resources]
        rows.append((Code(kind), ", ".join(written) or "nothing"))
    about = "As docs/fhir.md says; practitioners, organizations and places that are named are made where they are not."
    return [Text(about), Rows((title, "resources"), rows)]


def _mapping(settings: Any, context: Any, reads: Reads) -> list[Block]:
    """What an Odoo destination writes: each operation, and each field with the expression that gives it."""
    if settings.operations:
        root: Any = yamlnodes.represent(masked(settings.operations), "")
    else:
        path = template.find(settings.template, context)
        root = template.read_file(path, presets.find(settings.preset, context), context)
    lets: Any = None
    if isinstance(root, yaml.MappingNode):
        entries = yamlnodes.items(root, "")
        lets, root = entries["let"][1] if "let" in entries else None, entries["operations"][1]
    blocks: list[Block] = [Text("Where `event` stands, it is the canonical event (docs/canonical.md).")]
    if lets is not None:
        reads.names |= dict(_fields(lets))
        rows = [(Code(key), Code(text), reads.of(text)) for key, text in _fields(lets)]
        blocks += [Heading(3, "Names used below"), Rows(("name", "stands for", reads.title), rows)]
    shared = dict(reads.names)
    for node in root.value:
        entries = yamlnodes.items(node, "")
        verb = next(key for key in entries if key in VERBS)
        blocks.append(Heading(3, f"{verb} {entries[verb][1].value}"))
        reads.names = {**shared, **(dict(_fields(entries["let"][1])) if "let" in entries else {})}
        if "for" in entries and (found := _FOR.fullmatch(_written(entries["for"][1]))):
            reads.names[found[1]] = found[2]
        written: list[tuple[str, ...]] = []
        for key in ("for", "when", "key", "retired", "method"):
            if key in entries:
                text = _written(entries[key][1])
                written.append((key, Code(text), reads.of(text), ", ".join(_TABLE.findall(text))))
        for key in ("values", "args", "kwargs", "unless"):
            for field, text in _fields(entries[key][1]) if key in entries else ():
                written.append((Code(field), Code(text), reads.of(text), ", ".join(_TABLE.findall(text))))
        blocks.append(Rows(("field", "comes from", reads.title, "code table"), written))
    reads.names = shared
    return blocks


def _fields(node: Any) -> list[tuple[str, str]]:
    if not isinstance(node, yaml.MappingNode):
        return [("", _written(node))]
    return [(key, _written(value)) for key, (_, value) in yamlnodes.items(node, "").items()]


def _written(node: Any) -> str:
    """A value of a template as it is written, on one line."""
    if isinstance(node, yaml.ScalarNode):
        return " ".join(node.value.split())
    if isinstance(node, yaml.SequenceNode):
        return f"[{', '.join(map(_written, node.value))}]"
    return "{" + ", ".join(f"{key}: {text}" for key, text in _fields(node)) + "}"


def _tables(configuration: Configuration, blocks: list[Block]) -> list[str]:
    """The declared tables that the text so far speaks of."""
    cells = " ".join(
        cell for block in blocks if isinstance(block, Rows) for row in block.rows for cell in row
    )
    return [name for name in configuration.tables if re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", cells)]


def _table(table: Any) -> list[Block]:
    unknown = (
        f"becomes {table.default}"
        if table.default is not None
        else f"is handled by `otherwise: {table.otherwise}`"
    )
    case = " Upper and lower case are the same." if table.ignore_case else ""
    rows = [
        (Code(code), *(row.get(column, "") for column in table.columns)) for code, row in table.rows.items()
    ]
    return [
        Heading(3, f"Table {table.name}"),
        Text(f"A code that is not in it {unknown}.{case}"),
        Rows(("code", *table.columns), rows),
    ]
