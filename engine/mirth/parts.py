"""The rules and steps of a filter or transformer, as Mirth 3.0 to 3.4 (`rule`, `step`) and later ones write them."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.mirth.xmltree import Node

_CONDITIONS = dict(
    enumerate(("NOT_EQUAL", "EQUALS", "EXISTS", "NOT_EXIST", "CONTAINS", "NOT_CONTAIN"))
)  # 3.0-3.4
_OLD_TYPES = {
    "Rule Builder": "RuleBuilderRule",
    "Mapper": "MapperStep",
    "Message Builder": "MessageBuilderStep",
    "External Script": "ExternalScriptStep",
    "XSLT Step": "XsltStep",
}
_OLD_SCOPES = {"global": "GLOBAL", "globalchannel": "GLOBAL_CHANNEL", "response": "RESPONSE"}


@dataclass
class Part:
    """One rule or step: its type as Mirth names its class (`MapperStep`), and what it says."""

    type: str
    name: str
    line: int
    enabled: bool = True
    operator: str = ""
    script: str = ""
    script_line: int = 0
    where: str = ""
    condition: str = ""
    values: list[str] = field(default_factory=list)
    variable: str = ""
    mapping: str = ""
    default: str = ""
    scope: str = "CHANNEL"
    replacements: list[tuple[str, str]] = field(default_factory=list)
    behavior: str = ""
    destinations: list[str] = field(default_factory=list)

    def label(self, kind: str) -> str:
        """`mapper "mrn"`: how a finding names it."""
        name = " ".join(self.name.split())
        short = name if len(name) <= 80 else name[:79] + "…"
        return f'{kind} "{short}"' if short else kind


def parts(node: Node | None) -> list[Part]:
    """The parts of a `filter` or `transformer` element, in order."""
    if node is None:
        return []
    found = []
    for group in ("elements", "rules", "steps"):
        for one in node.inside(group):
            found.append(_old(one) if one.tag in ("rule", "step") and one.child("type") else _new(one))
    return found


def _new(node: Node) -> Part:
    script = node.child("script")
    return Part(
        type=node.tag.rpartition(".")[2],
        name=node.value("name"),
        line=node.line,
        enabled=node.value("enabled", default="true") != "false",
        operator=node.value("operator"),
        script=script.text if script else "",
        script_line=script.line if script else node.line,
        where=node.value("field"),
        condition=node.value("condition"),
        values=[value.text.strip() for value in node.inside("values")],
        variable=node.value("variable") or node.value("messageSegment"),
        mapping=node.value("mapping"),
        default=node.value("defaultValue"),
        scope=node.value("scope", default="CHANNEL"),
        replacements=[(pair.value("left"), pair.value("right")) for pair in node.inside("replacements")],
        behavior=node.value("behavior"),
        destinations=[one.text.strip() for one in node.inside("metaDataIds")],
    )


def _old(node: Node) -> Part:
    data = {
        entry.children[0].text: entry.children[1] for entry in node.inside("data") if len(entry.children) > 1
    }

    def text(name: str) -> str:
        return data[name].text.strip() if name in data else ""

    kind = node.value("type")
    script = data.get("Script") or node.child("script")
    equals = text("Equals")
    return Part(
        type=_OLD_TYPES.get(kind, "JavaScriptStep" if kind == "JavaScript" else kind),
        name=node.value("name"),
        line=node.line,
        enabled=node.value("enabled", default="true") != "false",
        operator=node.value("operator"),
        script=script.text if script else "",
        script_line=script.line if script else node.line,
        where=text("Field"),
        condition=_CONDITIONS.get(int(equals), "EXISTS") if equals.isdigit() else "EXISTS",
        values=[value.text.strip() for value in data["Values"]] if "Values" in data else [],
        variable=text("Variable"),
        mapping=text("Mapping"),
        default=text("DefaultValue"),
        scope=_OLD_SCOPES.get(text("isGlobal").lower(), "CHANNEL"),
        replacements=[
            (pair.children[0].text.strip(), pair.children[1].text.strip())
            for pair in data.get("RegularExpressions", ())
            if len(pair.children) > 1
        ],
    )
