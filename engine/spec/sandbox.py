"""The Jinja environment in which every expression and template of a channel runs.

Guarantees: expressions read and never write; nothing that starts with `_` can be reached; loops, calls, text
and numbers are bounded, so that no template can hang the engine or fill its memory; absence goes on through
attributes, items and calls (`event.patient.name.family` of a patient without a name is ABSENT); an error
names what the template says, never what the message says.
Refuses: include, import, extends, blocks, `format`, `%` on text, and everything outside `FILTERS`.

| danger                               | bound                                                     |
|--------------------------------------|-----------------------------------------------------------|
| `range(10**9)`, nested loops         | MAX_RANGE; STEPS loop rounds and calls in one run          |
| `'x' * 10**9`, `a ~ a`, join, replace| MAX_TEXT characters, MAX_ITEMS list elements               |
| `9 ** 9 ** 9`, `1|round(-10**9)`     | MAX_BITS, MAX_DIGITS                                      |
| `[[1] * 10**5] * 10**5, string`    | what a filter reads is counted, nested parts each time    |
| methods of numbers (`to_bytes`)      | none can be reached                                       |
| endless recursion of a macro         | Python's recursion limit, and STEPS                        |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, wraps
from typing import Any, get_args, get_type_hints

import msgspec
from jinja2 import StrictUndefined, Undefined
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, SecurityError
from jinja2.utils import _PassArg, pass_context

from engine.errors import StepError
from engine.model import ABSENT, CLEAR
from engine.spec import values
from engine.spec.generator import Generator

STEPS = 100_000
MAX_RANGE = 100_000
MAX_TEXT = 4_000_000
MAX_ITEMS = 100_000
MAX_BITS = 4096
MAX_DIGITS = 100

READABLE = frozenset(
    {"all", "encoded", "fields", "get", "name", "repetitions", "segment", "segments", "text", "value"}
)
UNKNOWN = object()
PADDING = frozenset({"center", "ljust", "rjust", "zfill"})
SPLITTING = frozenset({"split", "rsplit", "splitlines"})
REFUSED_METHODS = frozenset({"format", "format_map", "expandtabs", "translate", "encode", "join"})
# fmt: off
JINJA_FILTERS = [
    "abs", "capitalize", "count", "dictsort", "first", "float", "groupby", "int", "items", "last", "length",
    "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "round", "select",
    "selectattr", "sort", "string", "striptags", "sum", "title", "trim", "truncate", "unique", "upper",
    "urlencode", "wordcount",
]
# fmt: on
# fmt: off
JINJA_TESTS = [
    "boolean", "defined", "divisibleby", "even", "float", "in", "integer", "mapping", "none", "number",
    "odd", "sequence", "string", "undefined", "==", "!=", "<", "<=", ">", ">=", "eq", "ne", "lt", "le",
    "gt", "ge", "equalto",
]
# fmt: on


def too_big(what: str) -> StepError:
    """The error for a result beyond its bound."""
    return StepError(f"{what} grows too big", code="expression.size", todo="bound it in the template")


def concat(parts: Iterable[Any]) -> str:
    """Join what a template put out, within MAX_TEXT."""
    result = []
    size = 0
    for part in parts:
        piece = values.as_text(part)
        size += len(piece)
        if size > MAX_TEXT:
            raise too_big("the text")
        result.append(piece)
    return "".join(result)


def whole(parts: Iterable[Any]) -> str:
    """What a macro or a block gives: its text; CLEAR or ABSENT when nothing is in it."""
    listed = list(parts)
    text = concat(listed)
    return text or (CLEAR if any(values.is_clear(part) for part in listed) else ABSENT)


class Environment(ImmutableSandboxedEnvironment):
    """Jinja with the bounds above. One for each channel that is built; expressions are compiled once."""

    code_generator_class = Generator
    concat = staticmethod(whole)
    library: Any = None  # the macros and functions of the configuration
    looking = False  # programs are looked at and never run: no code is made for them
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        # not optimized: what is computed while it is compiled has no bounds
        super().__init__(undefined=StrictUndefined, autoescape=False, cache_size=0, optimized=False)
        known_filters, known_tests = dict(self.filters), dict(self.tests)
        self.filters = {name: bounded(name, known_filters[name]) for name in JINJA_FILTERS}
        self.tests = {name: known_tests[name] for name in JINJA_TESTS}
        self.filters |= {
            "_text": values.text,
            "_key": values.key_text,
            "_given": values.given,
            "_concat": concat,
            "_loop": loop,
        }
        self.tests |= {
            "absent": lambda value: isinstance(value, Undefined) or values.is_absent(value),
            "clear": values.is_clear,
            "present": values.is_present,
        }
        self.globals = {
            "range": bounded_range,
            "namespace": self.globals["namespace"],
            "ABSENT": ABSENT,
            "CLEAR": CLEAR,
        }

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute`; absence goes on, and nothing private is reachable."""
        if obj is ABSENT or obj is CLEAR:
            return obj
        if attribute.startswith("_"):
            raise SecurityError(f"access to attribute {attribute!r} is unsafe")
        if isinstance(obj, msgspec.Struct):
            return self._field(obj, attribute)
        if isinstance(obj, dict) and attribute in obj:
            return values.normal(obj[attribute])
        try:
            value = getattr(obj, attribute)
        except AttributeError:
            if obj is None or obj is msgspec.UNSET:
                return values.normal(obj)
            if type(obj) is dict:
                return ABSENT
            return self.undefined(obj=obj, name=attribute)
        if not self.is_safe_attribute(obj, attribute, value):
            raise SecurityError(f"access to attribute {attribute!r} of {values.kind(obj)} is unsafe")
        return values.normal(value)

    def _field(self, obj: msgspec.Struct, attribute: str) -> Any:
        """A field or property of an entity. None means cleared only where UNSET could mean absent."""
        name, clearable = _reader(type(obj), attribute)
        value = getattr(obj, name, UNKNOWN)
        if value is None:
            return CLEAR if clearable else ABSENT
        if value is msgspec.UNSET:
            return ABSENT
        return self.undefined(obj=obj, name=attribute) if value is UNKNOWN else value

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`; what is not there is ABSENT."""
        if obj is ABSENT or obj is CLEAR:
            return obj
        try:
            return values.normal(obj[argument])
        except (LookupError, TypeError):
            if obj is None or obj is msgspec.UNSET:
                return values.normal(obj)
            if isinstance(obj, Variables):
                return self.undefined(name=str(argument))
            if isinstance(obj, (list, tuple, str, dict)):
                return ABSENT
            if isinstance(argument, str) and isinstance(obj, msgspec.Struct):
                return self.getattr(obj, argument)
            return self.undefined(hint=f"{values.kind(obj)} has no such element")

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Objects that can be changed by index offer only what reads them (`msg.all`)."""
        if isinstance(obj, (int, float, bytes)):
            return False
        if hasattr(type(obj), "__setitem__") and not isinstance(obj, (dict, list)):
            return attr in READABLE
        return super().is_safe_attribute(obj, attr, value)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call `__obj`, within the budget of the run."""
        if __obj is ABSENT or __obj is CLEAR:
            return __obj
        spend(__context)
        method = getattr(__obj, "__name__", "")
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            check_text_method(owner, method, args)
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """`left operator right`, refused before it grows too big."""
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if operator == "%" and not numbers:
            raise StepError(
                "% needs numbers", code="expression.type", todo="join texts with ~ or {{ }} parts"
            )
        if operator == "**":
            size = (
                abs(right) * (left.bit_length() if isinstance(left, int) else 64) if numbers else MAX_BITS + 1
            )
            if size > MAX_BITS:
                raise too_big("the power")
        if operator == "*":
            check_product(left, right)
        if operator == "+" and not numbers and _length(left) + _length(right) > MAX_TEXT:
            raise too_big("the sum")
        return super().call_binop(context, operator, left, right)


@lru_cache(maxsize=4096)
def _reader(kind: type, attribute: str) -> tuple[str, bool]:
    """The Python name of an entity's attribute, and whether its None means cleared: its type says UNSET too."""
    fields: Any = kind
    names = dict(zip(fields.__struct_encode_fields__, fields.__struct_fields__, strict=True))
    name = names.get(attribute, attribute)
    found = getattr(kind, name, None)
    try:
        hints = get_type_hints(found.fget if isinstance(found, property) else kind)
    except (NameError, TypeError):
        hints = {}
    hint = hints.get("return" if isinstance(found, property) else name)
    return name, msgspec.UnsetType in get_args(hint)


class Variables(dict[str, Any]):
    """`vars`: a name that was never set is an error, not an absent value."""


def spend(context: Context, steps: int = 1) -> None:
    """Take steps from the budget of the run."""
    budget = context.parent.get("_budget")
    if budget is not None:
        budget[0] -= steps
        if budget[0] < 0:
            raise StepError(
                f"more than {STEPS:,} loop rounds and calls", code="expression.steps", todo="bound the loop"
            )


@pass_context
def loop(context: Context, items: Any) -> Iterator[Any]:
    """What a `for` goes over: nothing when absent, one round for a single text, each round counted."""
    if isinstance(items, str):
        items = [items] if items else []
    elif items is None or items is msgspec.UNSET:
        items = []
    elif isinstance(items, msgspec.Struct):
        items = [items]
    for item in items:
        spend(context)
        yield item


def bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of Jinja that pays for what it reads, and whose result is not too big."""
    wants = getattr(function, "jinja_pass_arg", None)

    @pass_context
    @wraps(function)
    def run(context: Context, value: Any = ABSENT, *args: Any, **kwargs: Any) -> Any:
        check_filter(name, value, args, kwargs)
        spend(context, 1 + _length(value) // 100)
        passed = {
            _PassArg.context: context,
            _PassArg.eval_context: context.eval_ctx,
            _PassArg.environment: context.environment,
        }
        first = () if wants is None else (passed[wants],)
        result = function(*first, value, *args, **kwargs)
        if isinstance(result, str) and len(result) > MAX_TEXT:
            raise too_big("the text")
        return _paid(context, result) if isinstance(result, Iterator) else result

    return run


def _paid(context: Context, items: Iterator[Any]) -> Iterator[Any]:
    for item in items:
        spend(context)
        yield item


def check_filter(name: str, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise when a filter would read or make too much."""
    if name == "round":
        digits = args[0] if args else kwargs.get("precision", 0)
        if isinstance(digits, int) and abs(digits) > MAX_DIGITS:
            raise too_big("round")
    elif name == "sum" and not isinstance(
        (args[1] if len(args) > 1 else kwargs.get("start", 0)), (int, float)
    ):
        raise StepError("sum adds numbers", code="expression.type", todo="join texts with join")
    elif name == "list" and isinstance(value, str) and len(value) > MAX_ITEMS:
        raise too_big("the list")
    if isinstance(value, (list, tuple, dict)):
        check_nested(value)


def check_nested(value: Any) -> None:
    """Raise when a structure is too big as text, its shared parts counted each time."""
    waiting, items, size = [value], 0, 0
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, (list, tuple)):
            waiting += item
        size += len(item) if isinstance(item, str) else 0
        items += 1
        if items + len(waiting) > 2 * MAX_ITEMS or size > MAX_TEXT:
            raise too_big("the list")


def bounded_range(*args: int) -> range:
    """`range` of at most MAX_RANGE numbers."""
    numbers = range(*args)
    if numbers and abs(numbers[-1] - numbers[0]) // abs(numbers.step) >= MAX_RANGE:
        raise too_big("range")
    return numbers


def _length(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else 0


def check_product(left: Any, right: Any) -> None:
    """Raise when `left * right` would be too long a text or list, or too big a number."""
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > MAX_BITS:
        raise too_big("the product")
    for item, times in ((left, right), (right, left)):
        bound = MAX_TEXT if isinstance(item, str) else MAX_ITEMS
        if isinstance(times, int) and _length(item) * times > bound:
            raise too_big("the repetition")


def check_text_method(owner: str, method: str, args: tuple[Any, ...]) -> None:
    """Raise when a method of a text is refused, or would make too long a text."""
    if method in REFUSED_METHODS:
        raise SecurityError(f"the method {method!r} of a text is not available")
    if method in PADDING and args and isinstance(args[0], int) and args[0] > MAX_TEXT:
        raise too_big(method)
    if method in SPLITTING and len(owner) > MAX_ITEMS:
        raise too_big(method)
    if method == "replace" and len(args) > 1:
        check_replace(owner, args[0], args[1])


def check_replace(value: str, old: str, new: str) -> None:
    """Raise when the replacement would make too long a text."""
    if len(value) + value.count(old) * len(new) > MAX_TEXT:
        raise too_big("replace")


def check_join(items: list[Any] | tuple[Any, ...], between: str) -> None:
    """Raise when the joined text would be too long."""
    if sum(_length(item) for item in items) + len(between) * len(items) > MAX_TEXT:
        raise too_big("join")
