"""Whether a FHIRPath expression can be what its author meant: looked at before it runs.

fhirpathpy compiles `Patient..name` and `where(use='x'` without a word, and gives nothing for an element that
does not exist. Here every expression must be read to its end by the strict grammar (FHIRPath 2.0, the one that
fhirpathpy brings), call functions that exist with as many arguments as they take, and name elements that the
resource has.

Guarantees: every finding has its 1-based column; what cannot be known (after `resolve()`, `children()`, a
contained resource) is passed over, so a finding is never a guess. Refuses nothing itself: it gives findings.
R4B is read with the elements of R4, and with those of R5 for the types that R4 has not.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from typing import Any, Literal, NamedTuple

Version = Literal["R4", "R4B", "R5"]
Types = frozenset[str] | None
"""What an expression may give: types and element paths; None is anything."""

MAX_LENGTH = 10_000
KEEPING = frozenset(
    [
        "where",
        "first",
        "last",
        "tail",
        "single",
        "distinct",
        "take",
        "skip",
        "exclude",
        "intersect",
        "trace",
        "coalesce",
    ]
)  # functions whose result has the type of their input
OPEN = frozenset(["children", "descendants", "repeat", "resolve", "aggregate"])
BOOLEAN = frozenset({"boolean"})
PLAIN: Types = frozenset()  # a value without elements


class Finding(NamedTuple):
    """What is wrong, and at which column of the expression."""

    code: str  # fhirpath.syntax, fhirpath.function, fhirpath.arguments, fhirpath.element, fhirpath.type
    column: int
    text: str
    hint: str = ""


def check(
    expression: str,
    resource_types: Iterable[str] = (),
    version: Version = "R4",
    variables: Iterable[str] = (),
) -> list[Finding]:
    """What is wrong with `expression`, asked of resources of these types (any, when none is named).

    `variables` are known besides those of FHIRPath (`%context`, `%resource`, `%ucum` …).
    """
    if len(expression) > MAX_LENGTH:
        return [Finding("fhirpath.syntax", 1, f"the expression is longer than {MAX_LENGTH} characters")]
    tree, errors = _parse(expression)
    if errors:
        return errors
    elements = Elements.of(version)
    types = frozenset(resource_types)
    unknown = sorted(types - elements.types)
    if unknown:
        hint = _near(unknown[0], elements.types)
        return [Finding("fhirpath.type", 1, f"{version} has no resource {unknown[0]}", hint)]
    reader = _Reader(elements, types or None, {*variables, *ENVIRONMENT})
    reader.expression(tree.expression(), reader.root)
    return sorted(dict.fromkeys(reader.findings), key=lambda one: one.column)


ENVIRONMENT = (
    "context",
    "resource",
    "rootResource",
    "ucum",
    "sct",
    "loinc",
    "previous",
    "current",
    "factory",
)


def _parse(expression: str) -> tuple[Any, list[Finding]]:
    from antlr4 import CommonTokenStream, InputStream
    from antlr4.error.ErrorListener import ErrorListener
    from fhirpathpy.parser.generated.FHIRPathLexer import FHIRPathLexer
    from fhirpathpy.parser.generated.FHIRPathParser import FHIRPathParser

    found: list[Finding] = []

    class Listener(ErrorListener):
        def syntaxError(self, recognizer: Any, symbol: Any, line: int, column: int, msg: str, e: Any) -> None:
            at = symbol.start if symbol is not None else getattr(e, "startIndex", column)
            if symbol is not None and symbol.type == -1:  # the end of the text
                found.append(Finding("fhirpath.syntax", len(expression) + 1, "the expression ends too early"))
            else:
                word = symbol.text if symbol is not None else expression[at : at + 1]
                found.append(Finding("fhirpath.syntax", at + 1, f"{word!r} cannot stand here"))

    lexer = FHIRPathLexer(InputStream(expression))
    lexer.removeErrorListeners()
    lexer.addErrorListener(Listener())
    parser = FHIRPathParser(CommonTokenStream(lexer))
    parser.removeErrorListeners()
    parser.addErrorListener(Listener())
    try:
        tree = parser.entireExpression()
    except RecursionError:
        return None, [Finding("fhirpath.syntax", 1, "the expression is nested too deeply")]
    return tree, found[:1]  # what follows the first error is guesswork


class Elements:
    """The elements of one FHIR version."""

    def __init__(self, tables: list[dict[str, Any]]) -> None:
        self.tables = tables
        self.types = frozenset({"Resource"}).union(*(table["type2Parent"] for table in tables))

    @staticmethod
    @cache
    def of(version: str) -> Elements:
        """The elements of `R4`, `R4B` or `R5`."""
        from fhirpathpy.models import models

        names = {"R4": ("r4",), "R4B": ("r4", "r5"), "R5": ("r5",)}[version]
        return Elements([models[name] for name in names])

    def _table(self, place: str) -> dict[str, Any]:
        head = place.partition(".")[0]
        return next((t for t in self.tables if head in t["type2Parent"]), self.tables[0])

    def child(self, place: str, name: str) -> Types | Literal[False]:
        """What `name` below a type or element path is; False when there is no such element."""
        table = self._table(place)
        for parent in self._ancestors(place, table):
            if f"{parent}.{name}" in table["pathsDefinedElsewhere"]:
                return frozenset({table["pathsDefinedElsewhere"][f"{parent}.{name}"]})
            found = table["path2Type"].get(f"{parent}.{name}")
            if found is not None:
                return None if found == "Resource" else frozenset({found.removeprefix("System.")})
            choices = table["choiceTypePaths"].get(f"{parent}.{name}")
            if choices:
                return frozenset(choices)
            if f"{parent}.{name}" in self._inner(id(table)):
                return frozenset({f"{parent}.{name}"})
        return False

    def names(self, place: str) -> set[str]:
        """The elements below a type or element path."""
        table = self._table(place)
        parents = self._ancestors(place, table)
        every = (*table["path2Type"], *table["choiceTypePaths"], *self._inner(id(table)))
        return {path.rpartition(".")[2] for path in every if path.rpartition(".")[0] in parents}

    def _ancestors(self, place: str, table: dict[str, Any]) -> list[str]:
        found = [place]
        if "." in place:
            found.append("BackboneElement")
        while found[-1] and found[-1] in table["type2Parent"]:
            found.append(table["type2Parent"][found[-1]])
        return [one for one in found if one]

    @cache  # noqa: B019  (one object a version)
    def _inner(self, table: int) -> frozenset[str]:
        """The elements that have elements of their own."""
        chosen = next(one for one in self.tables if id(one) == table)
        return frozenset(path.rpartition(".")[0] for path in chosen["path2Type"] if path.count(".") > 1)


class _Reader:
    """Follows an expression with the types it may have at each place."""

    def __init__(self, elements: Elements, root: Types, variables: set[str]) -> None:
        self.elements = elements
        self.root = root
        self.variables = variables
        self.findings: list[Finding] = []

    def expression(self, node: Any, focus: Types) -> Types:
        """The types of `node`; `focus` is what `$this` is."""
        kind = type(node).__name__.removesuffix("Context")
        if kind == "TermExpression":
            return self.term(node.term(), focus)
        if kind == "InvocationExpression":
            before = self.expression(node.expression(), focus)
            return self.invocation(node.invocation(), before, focus, False)
        if kind == "IndexerExpression":
            before = self.expression(node.expression(0), focus)
            self.expression(node.expression(1), focus)
            return before
        if kind == "TypeExpression":
            before = self.expression(node.expression(), focus)
            chosen = self.type_specifier(node.typeSpecifier())
            return BOOLEAN if node.getChild(1).getText() == "is" else chosen
        parts = node.expression() if isinstance(node.expression(), list) else [node.expression()]
        types = [self.expression(part, focus) for part in parts]
        if kind == "UnionExpression":
            return None if None in types else types[0] | types[1]  # type: ignore[operator]
        if kind in ("PolarityExpression", "MultiplicativeExpression", "AdditiveExpression"):
            return PLAIN
        return BOOLEAN

    def term(self, node: Any, focus: Types) -> Types:
        kind = type(node).__name__.removesuffix("Context")
        if kind == "InvocationTerm":
            return self.invocation(node.invocation(), focus, focus, True)
        if kind == "ParenthesizedTerm":
            return self.expression(node.expression(), focus)
        if kind == "ExternalConstantTerm":
            name = node.externalConstant().getText().lstrip("%").strip("'`")
            if name not in self.variables and not name.startswith(("vs-", "ext-")):
                self.tell("variable", node, f"there is no variable %{name}", _near(name, self.variables))
            return None
        return PLAIN

    def invocation(self, node: Any, before: Types, focus: Types, first: bool) -> Types:
        kind = type(node).__name__.removesuffix("Context")
        if kind == "FunctionInvocation":
            return self.function(node.functn(), before, focus)
        if kind != "MemberInvocation":
            return focus if kind == "ThisInvocation" else None
        name = node.getText().strip("`")
        if first and name in self.elements.types:
            if self.root is not None and focus == self.root and not self._is(name):
                types = " or ".join(sorted(self.root))
                self.tell("type", node, f"this is asked of {types}, never of {name}", "Begin with that type.")
            return frozenset({name})
        return self.member(node, name, before)

    def _is(self, name: str) -> bool:
        return name in ("Resource", "DomainResource") or name in (self.root or ())

    def member(self, node: Any, name: str, before: Types) -> Types:
        if before is None or name == "resourceType":
            return None
        found = [self.elements.child(place, name) for place in before]
        known = [types for types in found if types is not False]
        if not known:
            what = " or ".join(sorted(before)[:3]) or "a plain value"
            options = set().union(*(self.elements.names(place) for place in before)) if before else set()
            self.tell("element", node, f"{what} has no element {name!r}", _near(name, options))
            return None
        if None in known:
            return None
        return frozenset().union(*(types for types in known if types is not None))

    def function(self, node: Any, before: Types, focus: Types) -> Types:
        name = node.identifier().getText()
        params = node.paramList().expression() if node.paramList() is not None else []
        known = _functions()
        if name not in known:
            self.tell("function", node, f"there is no function {name}()", _near(name, known))
            return None
        allowed = known[name]
        if allowed is not None and len(params) not in allowed:
            wants = " or ".join(map(str, sorted(allowed)))
            told = f"{name}() takes {wants} argument{'s' if wants != '1' else ''}, not {len(params)}"
            self.tell("arguments", node, told)
            return None
        if name in ("ofType", "as", "is"):
            chosen = self.named_type(params[0], params[0].getText())
            return BOOLEAN if name == "is" else chosen
        inside = focus if name in ("union", "combine", "subsetOf", "supersetOf") else before
        types = [self.expression(param, inside) for param in params]
        if name in KEEPING:
            return before
        if name == "select":
            return types[0]
        if name == "extension":
            return frozenset({"Extension"})
        if name == "iif":
            given = types[1:]
            return None if None in given else frozenset().union(*(one for one in given if one))
        if name in ("union", "combine"):
            return None if before is None or types[0] is None else before | types[0]
        return None if name in OPEN else PLAIN

    def type_specifier(self, node: Any) -> Types:
        return self.named_type(node, node.getText())

    def named_type(self, node: Any, text: str) -> Types:
        """The type that `text` names: `Quantity`, `FHIR.Quantity`, `System.String`."""
        name = text.replace("`", "").rpartition(".")[2]
        if name in self.elements.types or name[:1].lower() + name[1:] in self.elements.types:
            return frozenset({name})
        if text.startswith("System."):
            return PLAIN
        self.tell("type", node, f"there is no type {text}", _near(name, self.elements.types))
        return None

    def tell(self, code: str, node: Any, text: str, hint: str = "") -> None:
        self.findings.append(Finding(f"fhirpath.{code}", node.start.start + 1, text, hint))


@cache
def _functions() -> dict[str, frozenset[int] | None]:
    """Function name to how many arguments it takes; None: any number."""
    from fhirpathpy.engine.invocations import invocation_registry

    found: dict[str, frozenset[int] | None] = {}
    entries: dict[str, Any] = dict(invocation_registry)
    for name, entry in entries.items():
        if name.isidentifier() and not name.endswith("Op") and name not in OPERATORS:
            given = entry.get("arity")
            found[name] = None if "variadic" in entry else frozenset(given if given is not None else {0: []})
    found["resolve"] = frozenset({0})  # given by Isthmus
    return found


OPERATORS = frozenset({"and", "or", "xor", "implies", "mod", "div"})


def _near(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, sorted(known), 1, 0.6)
    return f"Did you mean {close[0]!r}?" if close else ""
