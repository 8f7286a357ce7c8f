"""JavaScript of mappings and rules in the words of an expression here (docs/expressions.md).

Guarantees: what is written here gives what Mirth's expression gives, for every message that has at most one
value at each place named; where it does not, a note says how it differs.
Refuses (Unreadable): what has no equal here, such as times of now, maps that outlive a message, and Java.
"""

from __future__ import annotations

from engine.mirth.methods import METHODS
from engine.mirth.places import Place, place
from engine.mirth.syntax import (
    Array,
    Binary,
    Call,
    Choice,
    Literal,
    Member,
    Name,
    Node,
    Pattern,
    Unary,
    Unreadable,
)
from engine.mirth.values import (
    AND,
    ATOM,
    CHOICE,
    FILTER,
    NOT,
    OR,
    SUM,
    TEST,
    Value,
    absent,
    filtered,
    literal,
    opposite,
    quoted,
    text_of,
)
from engine.mirth.variables import Kind, Variables

_MAPS = {
    "$": "any",
    "$c": "channel",
    "$co": "connector",
    "channelMap": "channel",
    "connectorMap": "connector",
}
_FOREIGN = {
    **dict.fromkeys(("$g", "$gc", "globalMap", "globalChannelMap"), "a map that outlives the message"),
    **dict.fromkeys(("$s", "sourceMap"), "the source map"),
    **dict.fromkeys(("$r", "responseMap", "response", "responseStatus"), "the answer of a destination"),
    **dict.fromkeys(("java", "Packages", "importPackage", "importClass"), "Java"),
    **dict.fromkeys(("DateUtil", "Date"), "the time of now, or a date of Java"),
    "connectorMessage": "the message of Mirth's own kind",
    "attachments": "an attachment",
    "destinationSet": "a choice of destinations",
    "router": "sending to another channel",
}
_HINTS = {
    "a map that outlives the message": "a step gives the same on every run here: use a code table",
    "the time of now, or a date of Java": "`message.received_at` is when the message came; `hl7_date` writes dates",
    "a choice of destinations": "give each destination a filter of its own",
}


class Translator:
    """Translates the expressions of one script; `notes` are the differences found on the way."""

    def __init__(self, variables: Variables, form: str = "hl7v2", local: str = "") -> None:
        self.variables = variables
        self.form = form  # the channel's format
        self.local = local  # the scope of `var` declarations
        self.notes: list[str] = []

    def place(self, node: Node) -> Place | None:
        """The place in the message that `node` names."""
        return place(node, self.form)

    def empty(self, found: Value, negated: bool = False) -> Value:
        """Whether JavaScript takes a text for empty: in HL7 `""` is two quotes, in other formats it is empty."""
        if self.form == "hl7v2":
            return absent(found, negated)
        return Value(f"{found.inside(FILTER)} is {'' if negated else 'not '}present", "truth", level=TEST)

    def value(self, node: Node) -> Value:
        """What `node` gives."""
        match node:
            case Literal(value=str() as text):
                return literal(text)
            case Literal(value=bool() as truth):
                return Value(str(truth).lower(), "truth", sure=True)
            case Literal(value=None):
                return literal("")
            case Literal(value=number):
                return Value(str(number), "number", sure=True)
            case Name():
                return self._name(node)
            case Member():
                return self._member(node)
            case Call():
                return self._call(node)
            case Unary(sign="!"):
                return opposite(self.truth(node.of))
            case Unary():
                return Value(
                    f"{node.sign}{self.number(node.of).inside(ATOM)}", "number", sure=True, level=SUM
                )
            case Binary():
                return self._binary(node)
            case Choice():
                test, yes, no = self.truth(node.test), self.value(node.yes), self.value(node.no)
                kind: Kind = yes.kind if yes.kind == no.kind else "text"
                text = f"{yes.inside(OR)} if {test.inside(OR)} else {no.inside(OR)}"
                return Value(text, kind, sure=yes.sure and no.sure, level=CHOICE)
        what = {Array: "an array", Pattern: "a regular expression"}.get(type(node), "this statement")
        raise Unreadable(node.line, f"{what} is not understood here")

    def truth(self, node: Node) -> Value:
        """Whether JavaScript takes `node` for true."""
        found = self.value(node)
        if found.kind == "truth":
            return found
        if found.kind == "number":
            return Value(f"{found.inside(SUM)} != 0", "truth", level=TEST)
        return self.empty(found, negated=True)

    def written(self, found: Value, line: int) -> Value:
        """A value as JavaScript puts it into a text: `true`, not `True`."""
        if found.kind == "truth":
            return Value(f"'true' if {found.inside(OR)} else 'false'", sure=True, level=CHOICE)
        if found.kind == "number" and "float" in found.text:
            raise Unreadable(line, "a number with a fraction is made a text", "write a `python` step")
        return found

    def number(self, node: Node) -> Value:
        """`node` as a number; a text that is none is 0."""
        found = self.value(node)
        return found if found.kind == "number" else filtered(found, "float", "number")

    def _name(self, node: Name) -> Value:
        if node.name in ("msg", "tmp"):
            self.place(node)  # says why
        found = self.variables.read(self.local, node.name)
        if found is None:
            raise self._unknown(node.name, node.line)
        return _of_variable(found)

    def _unknown(self, name: str, line: int) -> Unreadable:
        what = _FOREIGN.get(name, f"`{name}` is not known here")
        return Unreadable(line, what, _HINTS.get(what, ""))

    def _member(self, node: Member) -> Value:
        of = _measured(node)
        if of is not None:
            return filtered(self.value(of), "length", "number")
        named = self.place(node)
        if named is not None:
            if named.whole_field and not named.fixed:
                self.notes.append(f"{named} is a whole field: Mirth gives its XML, here its first component")
                return Value(f"msg[{quoted(str(named) + '.1')}]")
            return Value(f"msg[{quoted(str(named))}]")
        match node:
            case Member(of=Call(of=Member(key=Literal(value="split")) as split, args=(Literal() as by,))):
                if isinstance(by.value, str) and by.value and isinstance(node.key, Literal):
                    return Value(
                        f"{self.value(split.of).inside(ATOM)}.split({quoted(by.value)})[{node.key.value}]"
                    )
        raise self._unknown(_root_name(node), node.line)

    def _call(self, node: Call) -> Value:
        if isinstance(node.of, Name):
            return self._function(node.of.name, node)
        if not isinstance(node.of, Member) or not isinstance(node.of.key, Literal):
            raise Unreadable(node.line, "this call is not understood here")
        of, method = node.of.of, str(node.of.key.value)
        if isinstance(of, Name) and of.name in _MAPS and method == "get":
            return self._variable(_MAPS[of.name], node)
        if isinstance(of, Name) and of.name == "configurationMap" and method == "get":
            return self._setting(node)
        found = METHODS.get(method)
        if found is None:
            root = _root_name(of)
            if root in _FOREIGN:
                raise self._unknown(root, node.line)
            raise Unreadable(node.line, f"`.{method}()` has no equal here")
        return found(self, of, node.args)

    def _function(self, name: str, node: Call) -> Value:
        if name in _MAPS and len(node.args) == 1:
            return self._variable(_MAPS[name], node)
        if name == "$cfg":
            return self._setting(node)
        if name == "String" and len(node.args) == 1:
            return self.value(node.args[0])
        if name in ("Number", "parseFloat", "parseInt") and node.args:
            kind = "int" if name == "parseInt" else "float"
            return filtered(self.value(node.args[0]), kind, "number")
        if name in _FOREIGN:
            raise self._unknown(name, node.line)
        raise Unreadable(node.line, f"the function `{name}`", "write it in Python, for a `python` step")

    def _variable(self, scope: str, node: Call) -> Value:
        key = text_of(node.args[0]) if len(node.args) == 1 else None
        if key is None:
            raise Unreadable(node.line, "the name of the variable is computed")
        found = self.variables.read(scope, key)
        if found is None:
            raise Unreadable(node.line, f"no step before sets the variable {key!r}")
        return _of_variable(found)

    def _setting(self, node: Call) -> Value:
        key = text_of(node.args[0]) if len(node.args) == 1 else None
        if key is None:
            raise Unreadable(node.line, "the name of the setting is computed")
        return Value(f"'{self.variables.environment(key)}'")

    def _binary(self, node: Binary) -> Value:
        sign = node.sign
        if sign in ("||", "&&"):
            return self._junction(node)
        if sign in ("==", "===", "!=", "!=="):
            return self.equal(node.left, node.right, sign[0] == "!")
        if sign in ("<", ">", "<=", ">="):
            return self._compare(node)
        left, right = self.value(node.left), self.value(node.right)
        if sign == "+" and "text" in (left.kind, right.kind):
            left, right = self.written(left, node.line), self.written(right, node.line)
        if sign == "+" and "text" in (left.kind, right.kind):
            joined = f"{left.inside(SUM if left.kind == 'text' else FILTER)} ~ {right.inside(FILTER)}"
            return Value(joined, sure=left.sure or right.sure, level=SUM)
        one = self.number(node.left).inside(SUM if sign in "+-" else FILTER)
        return Value(f"{one} {sign} {self.number(node.right).inside(FILTER)}", "number", sure=True, level=SUM)

    def _junction(self, node: Binary) -> Value:
        """`||` and `&&`; several values of one place are put into a list."""
        either = node.sign == "||"
        parts = flat(node, node.sign)
        values = [self.value(part) for part in parts]
        if either and all(value.kind != "truth" for value in values):
            return Value(
                " or ".join(v.inside(NOT) for v in values), sure=any(v.sure for v in values), level=OR
            )
        texts: list[str] = []
        same: tuple[str, list[str]] | None = None
        for part in parts:
            left, words = self._words(part, negated=not either)
            if same is not None and words and same[0] == left:
                same[1].extend(words)
                texts[-1] = f"{left} {'in' if either else 'not in'} [{', '.join(same[1])}]"
                continue
            same = (left, words) if words else None
            texts.append(self.truth(part).inside(AND if either else NOT))
        level = TEST if len(texts) == 1 else OR if either else AND
        return Value(f" {'or' if either else 'and'} ".join(texts), "truth", level=level)

    def _words(self, node: Node, negated: bool) -> tuple[str, list[str]]:
        """`X == 'a'` (or `!=`) as `X` and `["'a'"]`; nothing when it is something else."""
        signs = ("!=", "!==") if negated else ("==", "===")
        if isinstance(node, Binary) and node.sign in signs:
            left, right = self.value(node.left), self.value(node.right)
            if right.literal not in (None, "", '""') and left.kind == "text":
                return left.inside(SUM), [right.text]
        return "", []

    def equal(self, left: Node, right: Node, negated: bool) -> Value:
        """`left == right`, or `!=`."""
        if isinstance(left, Literal) and not isinstance(right, Literal):
            left, right = right, left
        found = self._position(left, right, "!=" if negated else "==") or self._length(
            left, right, "!=" if negated else "=="
        )
        if found is not None:
            return found
        one, other = self.value(left), self.value(right)
        if one.kind == "text" and other.literal == "":
            return self.empty(one, negated)
        if one.kind == "text" and other.literal == '""' and self.form == "hl7v2":
            return Value(f"{one.inside(FILTER)} is {'not ' if negated else ''}clear", "truth", level=TEST)
        if other.kind == "truth" and isinstance(right, Literal) and one.kind == "truth":
            return one if (other.text == "true") is not negated else opposite(one)
        if "number" in (one.kind, other.kind):
            one, other = self.number(left), self.number(right)
        sign = "!=" if negated else "=="
        return Value(f"{one.inside(SUM)} {sign} {other.inside(SUM)}", "truth", level=TEST)

    def _compare(self, node: Binary) -> Value:
        found = self._position(node.left, node.right, node.sign) or self._length(
            node.left, node.right, node.sign
        )
        if found is not None:
            return found
        one, other = self.value(node.left), self.value(node.right)
        if "number" in (one.kind, other.kind):
            one, other = self.number(node.left), self.number(node.right)
        return Value(f"{one.inside(SUM)} {node.sign} {other.inside(SUM)}", "truth", level=TEST)

    def _position(self, left: Node, right: Node, sign: str) -> Value | None:
        """`x.indexOf(y) >= 0` and its like: whether `y` is in `x`."""
        match left:
            case Call(of=Member(of=where, key=Literal(value="indexOf")), args=(what,)):
                negated = _outcome(
                    sign, right, {"==-1": True, "<0": True, "!=-1": False, ">-1": False, ">=0": False}
                )
                if negated is not None:
                    return self.contains(where, what, negated)
        return None

    def _length(self, left: Node, right: Node, sign: str) -> Value | None:
        """`x.length > 0` and its like: whether `x` is there."""
        of = _measured(left)
        empty = _outcome(sign, right, {"==0": True, "<1": True, "!=0": False, ">0": False, ">=1": False})
        return None if of is None or empty is None else self.exists(of, empty)

    def exists(self, node: Node, negated: bool = False) -> Value:
        """Whether there is anything at `node`: Mirth's `Exists`."""
        named = self.place(node)
        found = Value(f"msg[{quoted(str(named))}]") if named is not None else self.value(node)
        return self.empty(found, negated=not negated)

    def contains(self, where: Node, what: Node, negated: bool = False) -> Value:
        """Whether `where` (a text or an array) contains `what`."""
        if isinstance(where, Array):
            text = f"[{', '.join(self.value(item).text for item in where.items)}]"
        else:
            text = self.value(where).inside(SUM)
        sign = "not in" if negated else "in"
        return Value(f"{self.value(what).inside(SUM)} {sign} {text}", "truth", level=TEST)

    def cut(self, of: Node, start: int, end: int | None) -> Value:
        """The characters from `start` to before `end`, counted from 0."""
        return Value(f"{self.value(of).inside(ATOM)}[{start}:{'' if end is None else end}]")


def flat(node: Node, sign: str) -> list[Node]:
    """The operands of a chain of `||` or `&&`."""
    if isinstance(node, Binary) and node.sign == sign:
        return flat(node.left, sign) + flat(node.right, sign)
    return [node]


def _of_variable(found: tuple[str, Kind, bool]) -> Value:
    text, kind, sure = found
    return Value(text, kind, sure=sure, level=FILTER if "|" in text else ATOM)


def _outcome(sign: str, right: Node, outcomes: dict[str, bool]) -> bool | None:
    number: object = None
    if isinstance(right, Literal):
        number = right.value
    elif isinstance(right, Unary) and right.sign == "-" and isinstance(right.of, Literal):
        number = f"-{right.of.value}"
    return outcomes.get(f"{sign.replace('===', '==').replace('!==', '!=')}{number}")


def _measured(node: Node) -> Node | None:
    """`x` of `x.length`, and of `x.length()` as E4X has it."""
    member = node.of if isinstance(node, Call) and not node.args else node
    if isinstance(member, Member) and isinstance(member.key, Literal) and member.key.value == "length":
        return member.of
    return None


def _root_name(node: Node) -> str:
    while isinstance(node, (Member, Call)):
        node = node.of
    return node.name if isinstance(node, Name) else "this"
