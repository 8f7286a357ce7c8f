"""The part of JavaScript that mappings, rules and small steps are written in, read as a tree. Nothing is run.

Guarantees: what is read here means in JavaScript what the tree says; every node knows its line, counted from
the script's first as 0.
Refuses (Unreadable, with the line and the reason): everything else, such as loops, functions, objects and
XML literals, and what is too long or too deep.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from engine.mirth.syntax import (
    Array,
    Assign,
    Binary,
    Call,
    Choice,
    Delete,
    If,
    Literal,
    Member,
    Name,
    Node,
    Pattern,
    Return,
    Unary,
    Unreadable,
)

MAX_LENGTH = 200_000
MAX_DEPTH = 60
MAX_CHAIN = 200  # operators of one strength in a row


@dataclass(frozen=True)
class _Token:
    kind: str  # name text number pattern sign end
    value: str
    line: int
    fresh: bool = field(default=False)  # first on its line


_TOKEN = re.compile(
    r"""(?P<blank>[\s\ufeff]+) | (?P<comment>//[^\n\r]*|/\*[\s\S]*?\*/)
    | (?P<name>[A-Za-z_$][\w$]*) | (?P<number>0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?)
    | (?P<text>"(?:[^"\\\n]|\\[\s\S])*"|'(?:[^'\\\n]|\\[\s\S])*')
    | (?P<sign>===|!==|==|!=|<=|>=|&&|\|\||\+=|[-+*/%!<>=?:.,;(){}\[\]])""",
    re.VERBOSE,
)
_PATTERN = re.compile(r"/((?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+)/([a-z]*)")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([\s\S]))")
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": ""}
_WORDS: dict[str, str | bool | None] = {"true": True, "false": False, "null": None, "undefined": None}
_STRENGTH = {"||": 1, "&&": 2} | dict.fromkeys(("==", "!=", "===", "!=="), 3)
_STRENGTH |= dict.fromkeys(("<", ">", "<=", ">="), 4) | dict.fromkeys("+-", 5) | dict.fromkeys("*%", 6)
_REFUSED = {
    **dict.fromkeys(("for", "while", "do"), "a loop"),
    **dict.fromkeys(("function", "new", "throw", "try", "switch", "typeof", "in", "instanceof", "with"), ""),
}


def _tokens(script: str) -> list[_Token]:
    found: list[_Token] = []
    at, line, fresh = 0, 0, True
    while at < len(script):
        last = found[-1] if found else None
        regex = last is None or (last.kind == "sign" and last.value not in (")", "]", "}"))
        match = (script[at] == "/" and regex and _PATTERN.match(script, at)) or None
        if script[at] == "/" and script[at + 1 : at + 2] in ("/", "*"):
            match = None
        kind = "pattern" if match else ""
        if match is None:
            match = _TOKEN.match(script, at)
            if match is None:
                raise Unreadable(line, f"the character {script[at]!r} is not understood here")
            kind = str(match.lastgroup)
        text = match.group()
        if kind not in ("blank", "comment"):
            found.append(_Token(kind, text, line, fresh))
            fresh = False
        fresh = fresh or "\n" in text or "\r" in text
        line += text.count("\n")
        at = match.end()
    found.append(_Token("end", "", line, True))
    return found


def is_empty(script: str) -> bool:
    """Whether a script does nothing: only comments, and `return`, `return message` or `return msg`."""
    try:
        values = [token.value for token in _tokens(script) if token.value != ";"]
    except Unreadable:
        return False
    return values in ([""], ["return", ""], ["return", "message", ""], ["return", "msg", ""])


def expression(source: str) -> Node:
    """The tree of one expression. Raises Unreadable."""
    parser = _Parser(source)
    found = parser.value()
    parser.take(";")
    if parser.now.kind != "end":
        raise Unreadable(parser.now.line, "this is not one expression")
    return found


def statements(source: str) -> tuple[Node, ...]:
    """The trees of a script's statements. Raises Unreadable."""
    parser = _Parser(source)
    found: list[Node] = []
    while parser.now.kind != "end":
        found += parser.statement()
    return tuple(found)


_T = TypeVar("_T")


class _Parser:
    def __init__(self, source: str) -> None:
        if len(source) > MAX_LENGTH:
            raise Unreadable(0, f"the script has more than {MAX_LENGTH} characters")
        self.tokens = _tokens(source)
        self.at = 0
        self.depth = 0

    @property
    def now(self) -> _Token:
        return self.tokens[self.at]

    def next(self) -> _Token:
        token = self.now
        self.at += token.kind != "end"
        return token

    def take(self, sign: str) -> bool:
        """Step over `sign` (or a word) when it is next."""
        hit = self.now.value == sign and self.now.kind in ("sign", "name")
        self.at += hit
        return hit

    def need(self, sign: str) -> None:
        if not self.take(sign):
            raise Unreadable(self.now.line, f"`{sign}` is missing before `{self.now.value or 'the end'}`")

    def nested(self, read: Callable[[], _T]) -> _T:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable(self.now.line, "this is nested too deeply")
        found = read()
        self.depth -= 1
        return found

    # Statements

    def statement(self) -> list[Node]:
        line, word = self.now.line, self.now.value if self.now.kind == "name" else ""
        if self.take(";"):
            return []
        if word in ("var", "let", "const"):
            self.next()
            return self.declarations(line)
        if word == "if":
            return [self.nested(self.condition)]
        if self.now.value == "{":
            return list(self.nested(self.block))
        if word == "return":
            self.next()
            bare = self.now.fresh or self.now.value in (";", "}") or self.now.kind == "end"
            found: Node = Return(line, None if bare else self.value())
        elif word == "delete":
            self.next()
            found = Delete(line, self.value())
        else:
            found = self.value()
            if self.take("="):
                found = Assign(line, found, self.value())
            elif self.take("+="):
                found = Assign(line, found, Binary(line, "+", found, self.value()))
        self.finish()
        return [found]

    def declarations(self, line: int) -> list[Node]:
        found: list[Node] = []
        while True:
            name = self.next()
            if name.kind != "name":
                raise Unreadable(name.line, "this declaration is not understood")
            value = self.value() if self.take("=") else Literal(line, "")
            found.append(Assign(name.line, Name(name.line, name.value), value, local=True))
            if not self.take(","):
                break
        self.finish()
        return found

    def condition(self) -> Node:
        line = self.next().line
        self.need("(")
        test = self.value()
        self.need(")")
        yes = tuple(self.statement())
        no = tuple(self.statement()) if self.take("else") else ()
        return If(line, test, yes, no)

    def block(self) -> tuple[Node, ...]:
        self.need("{")
        found: list[Node] = []
        while not self.take("}"):
            if self.now.kind == "end":
                raise Unreadable(self.now.line, "`}` is missing before the end")
            found += self.statement()
        return tuple(found)

    def finish(self) -> None:
        """The end of a statement: `;`, or a new line, or the end of what it stands in."""
        if not self.take(";") and not (self.now.fresh or self.now.value == "}" or self.now.kind == "end"):
            raise Unreadable(self.now.line, f"`{self.now.value}` is not understood here")

    # Expressions

    def value(self) -> Node:
        return self.nested(self.choice)

    def choice(self) -> Node:
        test = self.binary(1)
        if not self.take("?"):
            return test
        yes = self.value()
        self.need(":")
        return Choice(test.line, test, yes, self.value())

    def binary(self, strength: int) -> Node:
        left = self.unary()
        for _ in range(MAX_CHAIN):  # a long chain is a deep tree
            if self.now.kind != "sign" or _STRENGTH.get(self.now.value, 0) < strength:
                return left
            sign = self.next()
            right = self.binary(_STRENGTH[sign.value] + 1)
            left = Binary(sign.line, sign.value, left, right)
        raise Unreadable(self.now.line, "this expression is too long")

    def unary(self) -> Node:
        token = self.now
        if token.kind == "sign" and token.value in ("!", "-", "+"):
            self.next()
            return Unary(token.line, token.value, self.nested(self.unary))
        return self.postfix(self.primary())

    def postfix(self, found: Node) -> Node:
        while True:
            line = self.now.line
            if self.take("["):
                found = Member(line, found, self.value())
                self.need("]")
            elif self.take("."):
                key = self.next()
                if key.kind != "name":
                    raise Unreadable(key.line, f"`.{key.value}` (E4X) is not understood")
                found = Member(line, found, Literal(line, key.value))
            elif self.take("("):
                found = Call(line, found, self.arguments(")"))
            else:
                return found

    def arguments(self, end: str) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self.take(end):
            found.append(self.value())
            if self.now.value != end:
                self.need(",")
        return tuple(found)

    def primary(self) -> Node:
        token = self.next()
        if token.kind == "text":
            return Literal(token.line, _unescaped(token.value[1:-1]))
        if token.kind == "number":
            plain = token.value.lower()
            return Literal(
                token.line, float(plain) if "." in plain else int(plain, 16 if "x" in plain else 10)
            )
        if token.kind == "pattern":
            source, _, flags = token.value[1:].rpartition("/")
            return Pattern(token.line, source, flags)
        if token.kind == "name":
            return self.word(token)
        if token.value == "(":
            found = self.value()
            self.need(")")
            return found
        if token.value == "[":
            return Array(token.line, self.arguments("]"))
        what = {"{": "an object", "<": "an XML literal"}.get(token.value)
        raise Unreadable(token.line, what or f"`{token.value or 'the end'}` is not understood here")

    def word(self, token: _Token) -> Node:
        if token.value in _REFUSED:
            raise Unreadable(token.line, _REFUSED[token.value] or f"`{token.value}`")
        if token.value in _WORDS:
            return Literal(token.line, _WORDS[token.value])
        return Name(token.line, token.value)


def _unescaped(text: str) -> str:
    def one(found: re.Match[str]) -> str:
        code = found[1] or found[2]
        return chr(int(code, 16)) if code else _NAMED.get(found[3], found[3])

    plain = _ESCAPE.sub(one, text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # pairs become one character
