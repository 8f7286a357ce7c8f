"""Filters of Mirth: rules joined by AND and OR become `message_type` and `condition` filters.

Guarantees: a filter is converted as a whole or not at all, because a part of it would let other messages
pass; `&&` binds before `||`, as in the JavaScript that Mirth makes of the rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.mirth.expressions import Translator, flat
from engine.mirth.findings import Findings
from engine.mirth.javascript import expression, statements
from engine.mirth.parts import Part
from engine.mirth.syntax import (
    Assign,
    Binary,
    Call,
    Choice,
    If,
    Literal,
    Member,
    Name,
    Node,
    Return,
    Unary,
    Unreadable,
)
from engine.mirth.values import AND, OR, text_of
from engine.mirth.variables import Variables
from engine.mirth.yamltext import Remark, Said

MAX_IFS = 8  # in a row: each may double the expression
_GENERATED = "Accept message"
_EXTERNAL = "put its rule into a `condition`, or what it computes into a `python` step before"


@dataclass
class _Test:
    part: Part
    text: str
    level: int
    types: frozenset[tuple[str, str]] | None  # message code and trigger; "" stands for any


def filters(found: list[Part], variables: Variables, findings: Findings, form: str) -> list[Any]:
    """The filters of a list of rules, as items of YAML."""
    rules = _enabled(found, findings)
    tests: list[_Test] = []
    items: list[Any] = []
    for rule in rules:
        test = _test(rule, variables, findings, form)
        if test is None:
            items.append(Remark(f"Not converted, line {rule.line}: {rule.label('rule')}"))
        else:
            tests.append(test)
    if len(tests) < len(rules):
        for test in tests:
            why = "the filter has rules that are not converted, and without them others would pass"
            findings.add("not converted", "rule", test.part.line, test.part.label("rule"), why)
            items.append(Remark(f"Line {test.part.line} would be: condition: {test.text}"))
        return items
    for test in tests:
        findings.add("converted", "rule", test.part.line, test.part.label("rule"))
    return _joined(_groups(tests))


def _enabled(found: list[Part], findings: Findings) -> list[Part]:
    for part in found:
        if not part.enabled:
            findings.add(
                "note", "rule", part.line, part.label("rule"), "it is disabled in Mirth and left out"
            )
    return [part for part in found if part.enabled]


def _groups(tests: list[_Test]) -> list[list[_Test]]:
    groups: list[list[_Test]] = []
    for test in tests:
        if not groups or test.part.operator == "OR":
            groups.append([])
        groups[-1].append(test)
    return groups


def _joined(groups: list[list[_Test]]) -> list[Any]:
    if not groups:
        return []
    types = [_types(group) for group in groups]
    lines = ", ".join(str(test.part.line) for group in groups for test in group)
    if all(named is not None and not rest for named, rest in types):
        allow = frozenset[tuple[str, str]]().union(*(named or frozenset() for named, _ in types))
        return [Said(_message_type(allow), f"Line {lines}")]
    if len(groups) > 1:
        texts = [_all_of(group) for group in groups]
        return [Said({"condition": " or ".join(texts)}, f"Line {lines}")]
    ((named, rest),) = types
    rest = [test for test in rest if test.text != "true"]
    used = [test for test in groups[0] if test.types is not None]
    items: list[Any] = []
    if named is not None:
        comment = "Line " + ", ".join(str(test.part.line) for test in used)
        items.append(Said(_message_type(named), comment))
    for test in rest:
        name = " ".join(test.part.name.split())
        comment = f"Line {test.part.line}"
        if name and not name.startswith(_GENERATED):
            items.append(Said({"condition": {"expression": test.text, "reason": name[:80]}}, comment))
        else:
            items.append(Said({"condition": test.text}, comment))
    return items


def _all_of(group: list[_Test]) -> str:
    if len(group) == 1:
        return group[0].text if group[0].level <= OR else f"({group[0].text})"
    return " and ".join(test.text if test.level <= AND else f"({test.text})" for test in group)


def _message_type(types: frozenset[tuple[str, str]]) -> dict[str, Any]:
    names = sorted(f"{code}^{trigger}" if trigger else code for code, trigger in types)
    return {"message_type": {"allow": names}}


def _types(group: list[_Test]) -> tuple[frozenset[tuple[str, str]] | None, list[_Test]]:
    """The message types that a list of tests names together, and the tests that say something else."""
    named = [test for test in group if test.types is not None]
    rest = [test for test in group if test.types is None]
    found: frozenset[tuple[str, str]] | None = None
    for test in named:
        types = test.types or frozenset()
        found = types if found is None else _both(found, types)
    if found is not None and (not found or any(not code for code, _ in found)):
        return None, group  # a trigger without a message code, or nothing at all
    return found, rest


def _both(one: frozenset[tuple[str, str]], other: frozenset[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (code or code_too, trigger or trigger_too)
        for code, trigger in one
        for code_too, trigger_too in other
        if (not code or not code_too or code == code_too)
        and (not trigger or not trigger_too or trigger == trigger_too)
    )


def named_types(node: Node) -> frozenset[tuple[str, str]] | None:
    """The message types that an expression allows and says nothing else; None when it says something else."""
    if isinstance(node, Binary) and node.sign == "||":
        parts = [named_types(part) for part in flat(node, "||")]
        return None if None in parts else frozenset().union(*(part or frozenset() for part in parts))
    if isinstance(node, Binary) and node.sign == "&&":
        left, right = named_types(node.left), named_types(node.right)
        return None if left is None or right is None else _both(left, right)
    if isinstance(node, Binary) and node.sign in ("==", "==="):
        word = text_of(node.right)
        place = _translated(node.left)
        if word and word.isalnum() and place == "msg['MSH-9.1']":
            return frozenset({(word, "")})
        if word and word.isalnum() and place == "msg['MSH-9.2']":
            return frozenset({("", word)})
    return None


def _translated(node: Node) -> str:
    try:
        return Translator(Variables()).value(node).text
    except Unreadable:
        return ""


def _test(rule: Part, variables: Variables, findings: Findings, form: str) -> _Test | None:
    line = rule.line
    try:
        if rule.type == "RuleBuilderRule":
            tree = built(rule)
        elif rule.type in ("JavaScriptRule", "JavaScriptStep"):
            line = rule.script_line
            tree = _returned(statements(rule.script), {})
        else:
            raise Unreadable(0, f"a rule of type {rule.type}", _EXTERNAL)
        translator = Translator(variables, form)
        value = _exists(rule, translator) or translator.truth(tree)
    except Unreadable as error:
        findings.add(
            "not converted",
            "rule",
            line + error.line,
            rule.label("rule"),
            error.what,
            error.hint,
            rule.script,
        )
        return None
    for note in translator.notes:
        findings.add("note", "rule", line, rule.label("rule"), note)
    return _Test(rule, value.text, value.level, named_types(tree) if form == "hl7v2" else None)


def _exists(rule: Part, translator: Translator) -> Any:
    if rule.type == "RuleBuilderRule" and rule.condition in ("EXISTS", "NOT_EXIST"):
        return translator.exists(expression(rule.where), rule.condition == "NOT_EXIST")
    return None


def built(rule: Part) -> Node:
    """What a rule of the rule builder says, as the expression that Mirth makes of it. Raises Unreadable."""
    where = expression(rule.where)
    negated = rule.condition.startswith("NOT_")
    if rule.condition in ("EXISTS", "NOT_EXIST"):
        length = Member(0, where, Literal(0, "length"))
        return Binary(0, "==" if negated else ">", length, Literal(0, 0))
    tests: list[Node] = []
    for value in rule.values or ["''"]:
        what = expression(value)
        if rule.condition in ("CONTAINS", "NOT_CONTAIN"):
            found = Call(0, Member(0, where, Literal(0, "indexOf")), (what,))
            tests.append(Binary(0, "==" if negated else "!=", found, Unary(0, "-", Literal(0, 1))))
        else:
            tests.append(Binary(0, "!=" if negated else "==", where, what))
    tree = tests[0]
    for test in tests[1:]:
        tree = Binary(0, "&&" if negated else "||", tree, test)
    return tree


def _returned(found: tuple[Node, ...], known: dict[str, Node]) -> Node:
    """What a rule's script returns, as one expression: its variables are put in, and its `if`s become choices."""
    if sum(isinstance(one, If) for one in found) > MAX_IFS:
        raise Unreadable(
            found[0].line, f"more than {MAX_IFS} `if`s", "write a `python` step that sets a variable"
        )
    for at, one in enumerate(found):
        rest = found[at + 1 :]
        match one:
            case Assign(target=Name(name=name), value=value):
                known = {**known, name: _with(value, known)}
            case Return(value=None):
                return Literal(one.line, False)
            case Return(value=value) if value is not None:
                return _with(value, known)
            case If(test=test, yes=yes, no=no):
                return _chosen(_with(test, known), _returned(yes + rest, known), _returned(no + rest, known))
            case Call(of=Member(of=Name(name="logger"))):
                continue
            case _:
                raise Unreadable(one.line, "a rule that does more than answer yes or no")
    return Literal(0, False)


def _chosen(test: Node, yes: Node, no: Node) -> Node:
    """`test ? yes : no` without the constants in it."""
    match yes, no:
        case Literal(value=True), Literal(value=False):
            return test
        case Literal(value=False), Literal(value=True):
            return Unary(test.line, "!", test)
        case Literal(value=True), _:
            return Binary(test.line, "||", test, no)
        case Literal(value=False), _:
            return Binary(test.line, "&&", Unary(test.line, "!", test), no)
        case _, Literal(value=False):
            return Binary(test.line, "&&", test, yes)
    return Choice(test.line, test, yes, no)


def _with(node: Node, known: dict[str, Node]) -> Node:
    """`node` with the variables of the script put in."""
    match node:
        case Name(name=name):
            return known.get(name, node)
        case Member(line=line, of=of, key=key):
            return Member(line, _with(of, known), _with(key, known))
        case Call(line=line, of=of, args=args):
            return Call(line, _with(of, known), tuple(_with(arg, known) for arg in args))
        case Unary(line=line, sign=sign, of=of):
            return Unary(line, sign, _with(of, known))
        case Binary(line=line, sign=sign, left=left, right=right):
            return Binary(line, sign, _with(left, known), _with(right, known))
        case Choice(line=line, test=test, yes=yes, no=no):
            return Choice(line, _with(test, known), _with(yes, known), _with(no, known))
    return node
