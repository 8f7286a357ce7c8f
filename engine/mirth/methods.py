"""What the methods of JavaScript and Java texts are called here: `.trim()` is `.strip()`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.mirth.syntax import Literal, Node, Pattern, Unary, Unreadable
from engine.mirth.values import ATOM, Value, filtered, plain_pattern, quoted, text_of

if TYPE_CHECKING:
    from engine.mirth.expressions import Translator


def _whole(node: Node) -> int:
    match node:
        case Literal(value=int() as number) if not isinstance(number, bool):
            return number
        case Unary(sign="-", of=Literal(value=int() as number)):
            return -number
    raise Unreadable(node.line, "the position in the text is computed")


_Args = tuple[Node, ...]
_Method = Callable[["Translator", Node, _Args], Value]


def _same(translator: Translator, of: Node, args: _Args) -> Value:
    return translator.value(of)


def _named(name: str) -> _Method:
    def method(translator: Translator, of: Node, args: _Args) -> Value:
        return Value(f"{translator.value(of).inside(ATOM)}.{name}()")

    return method


def _asked(name: str) -> _Method:
    def method(translator: Translator, of: Node, args: _Args) -> Value:
        if len(args) != 1:
            raise Unreadable(of.line, f"`{name}` with {len(args)} values")
        asked = translator.value(args[0]).text
        return Value(f"{translator.value(of).inside(ATOM)}.{name}({asked})", "truth")

    return method


def _substring(translator: Translator, of: Node, args: _Args) -> Value:
    start = _whole(args[0]) if args else 0
    end = _whole(args[1]) if len(args) > 1 else None
    if start < 0 or (end is not None and end < start):
        raise Unreadable(of.line, "the positions in the text are the wrong way round")
    return translator.cut(of, start, end)


def _substr(translator: Translator, of: Node, args: _Args) -> Value:
    start = _whole(args[0]) if args else 0
    length = _whole(args[1]) if len(args) > 1 else None
    return translator.cut(of, start, None if length is None else start + length)


def _slice(translator: Translator, of: Node, args: _Args) -> Value:
    start = _whole(args[0]) if args else 0
    return translator.cut(of, start, _whole(args[1]) if len(args) > 1 else None)


def _replace(translator: Translator, of: Node, args: _Args, every: bool = False) -> Value:
    if len(args) != 2:
        raise Unreadable(of.line, "`replace` without its two values")
    old, new = args[0], text_of(args[1])
    if new is None or "$" in new:
        raise Unreadable(of.line, "what is put in place of the text is computed")
    if isinstance(old, Pattern):
        plain, every = plain_pattern(old.source), "g" in old.flags
        if plain is None or set(old.flags) - {"g"}:
            raise Unreadable(old.line, "a regular expression", "write a `python` step")
    else:
        plain = text_of(old)
        if plain is None or not plain:
            raise Unreadable(old.line, "the text that is replaced is computed")
    found = translator.value(of)
    if every:
        return filtered(found, f"replace({quoted(plain)}, {quoted(new)})")
    return Value(f"{found.inside(ATOM)}.replace({quoted(plain)}, {quoted(new)}, 1)")


def _replace_all(translator: Translator, of: Node, args: _Args) -> Value:
    if args and (text := text_of(args[0])) is not None and plain_pattern(text) != text:
        raise Unreadable(of.line, "a regular expression", "write a `python` step")
    return _replace(translator, of, args, every=True)


def _equals(translator: Translator, of: Node, args: _Args) -> Value:
    if len(args) != 1:
        raise Unreadable(of.line, "`equals` without its value")
    return translator.equal(of, args[0], negated=False)


def _contains(translator: Translator, of: Node, args: _Args) -> Value:
    if len(args) != 1:
        raise Unreadable(of.line, "`contains` without its value")
    return translator.contains(of, args[0])


def _count(translator: Translator, of: Node, args: _Args) -> Value:
    named = translator.place(of)
    found = Value(f"msg.all({quoted(str(named))})") if named else translator.value(of)
    return filtered(found, "length", "number")


METHODS: dict[str, _Method] = {
    **dict.fromkeys(("toString", "text", "valueOf"), _same),
    "trim": _named("strip"),
    "toUpperCase": _named("upper"),
    "toLowerCase": _named("lower"),
    "startsWith": _asked("startswith"),
    "endsWith": _asked("endswith"),
    "substring": _substring,
    "substr": _substr,
    "slice": _slice,
    "replace": _replace,
    "replaceAll": _replace_all,
    "equals": _equals,
    "contains": _contains,
    "includes": _contains,
    "length": _count,
}
