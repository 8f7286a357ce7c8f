"""Targets behind the wire: canonical adapter, pipeline, intake of frames, expressions, the Odoo sandbox."""
# ruff: noqa: E501

from __future__ import annotations

import json
from functools import lru_cache
from random import Random
from typing import Any

from channels.batches import BatchAnswer, is_batch
from channels.build import Builder
from channels.pipeline import Pipeline
from engine.errors import ConfigError, HL7Error, StepError
from engine.hl7 import ack, batch
from engine.hl7.er7 import Message
from engine.hl7.peek import count_headers
from engine.model import Incoming, Meta, Scope
from engine.odoo.sandbox import Sandbox
from engine.spec.channel import load
from engine.spec.component import BuildContext
from engine.spec.expressions import compile_expression, compile_text
from engine.spec.template import compile_value
from engine.states import MessageState
from transforms.canonical.from_hl7 import interpret

from .mutate import ROOT, message, noise, text
from .runner import Target

SHIPPED = ROOT / "config" / "channels.yaml"
OPTIONS: list[dict[str, Any]] = [
    {},
    {"timezone": "Europe/Berlin", "mrn": {"type": "MR"}},
    {"canonical": {"default_country": "DE", "default_duration": 30, "default_authority": "RGH"}},
]

# Canonical adapter: (bytes, options, time of receipt)


def make_canonical(rng: Random) -> tuple[bytes, int, int]:
    return message(rng), rng.randrange(len(OPTIONS)), rng.choice((0, 10**15, 4 * 10**15))


def check_canonical(item: tuple[bytes, int, int]) -> None:
    raw, options, at = item
    try:
        view = Message(raw)
    except HL7Error:
        return
    try:
        events = interpret(view, Meta(received_at=at), OPTIONS[options])
    except StepError as error:
        assert error.code and error.what
        return
    again = interpret(Message(raw), Meta(received_at=at), OPTIONS[options])
    assert [event.id for event in events] == [event.id for event in again], (
        "ids are not a function of the message"
    )
    assert len({event.id for event in events}) == len(events)
    for event in events:
        assert event.time.tzinfo is not None
        envelope = event.to_cloudevent(channel="adt")
        assert json.dumps(envelope, default=str) and envelope["id"]
        assert isinstance(event.participants, list)


# Pipeline: (channel, bytes) through the shipped configuration. Never raises, never crashes inside.


@lru_cache(maxsize=1)
def pipelines() -> list[Pipeline]:
    configuration = load(SHIPPED, {})
    builder = Builder(configuration)
    return [builder.pipeline(spec) for spec in configuration.channels.values()]


def make_processed(rng: Random) -> tuple[int, bytes]:
    return rng.randrange(2), message(rng)


def check_processed(item: tuple[int, bytes]) -> None:
    which, raw = item
    pipeline = pipelines()[which]
    result = pipeline.process(raw, Meta(received_at=10**15))
    assert result.code != "step.crashed", f"{result.text} at {result.place}"
    assert result == pipeline.process(raw, Meta(received_at=10**15)), "not a function of the message"
    match result.state:
        case MessageState.ERROR:
            assert result.code and result.text and result.place and not result.payloads
        case MessageState.FILTERED:
            assert result.reason and not result.payloads
        case _:
            assert result.state == MessageState.TRANSFORMED and result.payloads
            assert all(json.loads(payload) for _, payload in result.payloads)


# Frames: however many messages are in one, it is answered once.


class Asked(Incoming):
    """A frame that counts its answers."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw, "peer", 0)
        self.answers: list[Any] = []

    def answer(self, data: Any) -> None:
        self.answers.append(data)


def make_frame(rng: Random) -> bytes:
    return b"".join(
        message(rng, 1_000) if rng.random() < 0.7 else noise(rng) for _ in range(rng.randrange(1, 5))
    )


def check_frame(raw: bytes) -> None:
    if not is_batch(raw):
        first = raw.lstrip(b" \t\r\n\x0b\x0c\x1c\xef\xbb\xbf")[:3]
        assert first != b"MSH" or count_headers(raw) < 2, "several messages are taken for one"
        return
    parts = batch.split(raw)
    pieces = [item for item in parts.items if item.kind in ("message", "junk")]
    asked = Asked(raw)
    collector = BatchAnswer(asked, parts, len(pieces), lambda _, acks: b"".join(acks))
    assert pieces or collector.enveloped, "nobody answers"
    for number, item in reversed(list(enumerate(pieces))):
        assert not asked.answers
        reply = ack.nak("AR", HL7Error("no", ack="AR"), ack_id=str(number), now=0)
        collector.part(number, item.raw).answer(reply)
    assert len(asked.answers) == (1 if pieces else 0), "not answered once"
    if pieces:
        given = asked.answers[0]
        assert count_headers(given if isinstance(given, bytes) else b"".join(given)) == len(pieces)


# Expressions: from a small grammar. ConfigError when compiled or StepError when run, in bounded time and memory.

ATOMS = [
    "1", "0", "-1", "2.5", "'x'", "''", "9999999999", "true", "none", "[]", "{}", "msg['PID-5']", "msg['PID-3.1']",
    "msg.all('PID-3')", "event", "events", "event.patient.name.family", "message.control_id", "vars", "ABSENT", "CLEAR",
    "range(100000)", "range(10)|list", "[1]*100000", "'x'*4000000", "{'a': 1}", "nobody", "table('sex', 'F')", "(1, 2)",
    "namespace(a=1)", "msg", "10**300", "1e300", "'ab' 'c'",
    "'é&<'*1000", "[[1]*1000]*1000",
]  # fmt: skip
FILTERS = [
    "abs", "capitalize", "count", "dictsort", "first", "float", "groupby(0)", "int", "items", "last", "length", "list",
    "lower", "map('upper')", "map('list')", "map('sum')", "map('string')", "map(attribute='a')", "max", "min", "reject",
    "reverse", "round", "round(1000000000)", "round(-1000000000)", "round(400, 'ceil')", "select", "sort", "string",
    "sum", "sum(start=[])", "title", "trim", "truncate(5)", "unique", "upper", "urlencode", "wordcount", "default('x')",
    "join(',')", "join('x'*1000000)", "replace('x', 'yyyyyyyyyy')", "digits", "phone", "name_case", "clean", "html", "nl2br",
    "tojson", "mask", "mask(char='x'*1000)", "split_lines", "truncate_text(3)", "first_of(1)", "default_absent(1)",
    "hl7_date", "odoo_datetime", "table('sex')", "striptags", "e", "d", "escape",
]  # fmt: skip
METHODS = [
    "upper()", "split('x')", "center(1000000000)", "ljust(3999999)", "zfill(9999999)", "replace('x','y'*100)", "encode()",
    "format(1)", "__class__", "to_bytes(2000000000, 'big')", "bit_length()", "items()", "append(1)", "__init__", "mro()",
    "splitlines()", "partition('x')", "join(['a'])", "translate({})", "count('x')", "keys()", "copy()", "a", "real",
    "fromkeys(range(100000))", "expandtabs(99999999)", "_secret", "raw", "set('PID-3', 'x')", "hex()", "as_integer_ratio()",
    "conjugate()", "numerator", "is_integer()", "removeprefix('x')", "swapcase()", "casefold()", "rjust(width=99999999)",
]  # fmt: skip
BINARY = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "<", "in", "and", "or", "is", ">="]


def expression(rng: Random, depth: int) -> str:
    if depth <= 0 or rng.random() < 0.15:
        return rng.choice(ATOMS)
    inner = expression(rng, depth - 1)
    match rng.randrange(7):
        case 0 | 1:
            return f"({inner})|{rng.choice(FILTERS)}"
        case 2:
            return f"({inner}).{rng.choice(METHODS)}"
        case 3 | 4:
            return f"({inner}) {rng.choice(BINARY)} ({expression(rng, depth - 1)})"
        case 5:
            return rng.choice(
                (
                    f"[{inner}]*{rng.choice(('3', '1000', '100000'))}",
                    f"[{inner}, {inner}]",
                    f"{{'k': {inner}}}",
                )
            )
        case _:
            return rng.choice(
                (f"({inner})[0]", f"({inner})['a']", f"({inner})[1:]", f"{inner} if ({inner}) else 2")
            )


STATEMENTS = [
    "{% for i in @ %}{{ i }}{% endfor %}",
    "{% for i in range(1000) %}{% for j in range(1000) %}{{ @ }}{% endfor %}{% endfor %}",
    "{% macro f(x) %}{{ f(x) }}{{ @ }}{% endmacro %}{{ f(1) }}",
    "{% set ns = namespace(x=@) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|string }}",
    "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    "{% for i in [1] recursive %}{{ loop([@]) }}{% endfor %}",
    "{% filter upper %}{{ @ }}{% endfilter %}",
    "{% set x %}{{ @ }}{% endset %}{{ x }}",
    "{% if @ %}a{% else %}b{% endif %}",
]


def make_expression(rng: Random) -> tuple[str, str]:
    source = expression(rng, rng.randrange(1, 5))
    kind = rng.choice(("expression", "expression", "text", "value", "broken"))
    if kind == "text":
        source = rng.choice(STATEMENTS).replace("@", source)
    elif kind == "broken":
        at = rng.randrange(len(source) + 1)
        source = source[:at] + text(rng, "{}%#()[]'|.~\\\n\x00 é", 4) + source[at + rng.randrange(3) :]
    return kind, source


RAW = b'MSH|^~\\&|A|B|C|D|20260301||ADT^A01|1|P|2.5.1\rPID|1||7~8||M&X^J||1980|F|||||""\rPV1|1|I|W\r'


def context() -> BuildContext:
    return BuildContext(options={"timezone": "UTC"})


def check_expression(item: tuple[str, str]) -> None:
    kind, source = item
    try:
        if kind == "text":
            run = compile_text(source, context(), "here")
        elif kind == "value":
            run = compile_value({"a": ["{{ " + source + " }}", "x{{ " + source + " }}"]}, context(), "here")
        else:
            run = compile_expression(source, context(), "here")
    except ConfigError as error:
        assert error.what
        return
    scope = Scope(Message(RAW), Meta(received_at=10**15, control_id="1"), interpret)
    try:
        run(scope)
    except StepError as error:
        assert error.what
    assert bytes(scope.msg) == RAW, "an expression changed the message"


# The Odoo stand-in: (version, verb, path, headers, body). `handle` never raises.

PATHS = [
    "/json/2/res.partner/search_read", "/json/2/res.partner/load", "/json/2/res.partner/create", "/jsonrpc",
    "/json/2/calendar.event/load", "/json/2/res.partner/write", "/json/2/res.partner/fields_get", "/web/version",
    "/json/2/res.partner/unlink", "/json/2/ir.model.data/search", "/web/webclient/version_info", "/json/2/x/y", "/",
    "/json/2/res.partner/read", "/json/2/res.partner/name_search", "/json/2/res.partner/search_count",
]  # fmt: skip


def junk(rng: Random, depth: int = 3) -> Any:
    kind = rng.randrange(10 if depth else 7)
    if kind < 7:
        scalars = [
            None,
            True,
            0,
            -1,
            1,
            2**63,
            10**30,
            1.5,
            "",
            "name",
            "id",
            "=",
            "|",
            "&",
            "ilike",
            "x\0y",
            "é" * 50,
            "1",
        ]
        return rng.choice(
            [
                *scalars,
                "id desc; drop",
                "isthmus.a",
                "2026-01-01 00:00:00",
                ["name", "=", "x"],
                {"lang": "xx"},
            ]
        )
    if kind == 7:
        return {
            rng.choice(("name", "ref", "id", "domain", "fields", "x", "")): junk(rng, depth - 1)
            for _ in range(3)
        }
    return [junk(rng, depth - 1) for _ in range(rng.randrange(4))]


def make_request(rng: Random) -> tuple[str, str, str, str, bytes]:
    version = rng.choice(("19.0", "19.0", "17.0", "16.0"))
    path = rng.choice(PATHS) if version == "19.0" or rng.random() < 0.1 else "/jsonrpc"
    named: Any = {
        rng.choice(("ids", "domain", "fields", "data", "vals", "vals_list", "context", "limit", "offset", "order", "name", "x")):
        junk(rng) for _ in range(rng.randrange(4))
    }  # fmt: skip
    if path == "/jsonrpc":
        args = ["clinic", rng.choice((2, 6, 1, "x")), "sandbox", rng.choice(("res.partner", "x", None, 7)),
                rng.choice(("load", "create", "write", "search_read", "read", "_x", "", None, "unlink")), [junk(rng)], named]  # fmt: skip
        service = rng.choice(("object", "common", "x", None))
        params: Any = {"service": service, "method": rng.choice(("execute_kw", "login", None)), "args": args}
        named = {"jsonrpc": "2.0", "id": junk(rng, 1), "params": params if rng.random() < 0.9 else junk(rng)}
    body = json.dumps(named if rng.random() < 0.9 else junk(rng), ensure_ascii=rng.random() < 0.5).encode()
    if rng.random() < 0.3:
        at = rng.randrange(len(body) + 1)
        body = (
            body[:at]
            + rng.choice((b"\xff", b"{", b'"', b"\\u0000", b"", b"[" * 2_000, b"9" * 400))
            + body[at + 1 :]
        )
    kind = rng.choice(
        ("application/json", "application/json", "application/json; charset=x", "text/plain", "")
    )
    return version, rng.choice(("POST", "POST", "POST", "GET")), path, kind, body


@lru_cache(maxsize=4)
def sandbox(version: str) -> Sandbox:
    return Sandbox(version=version)


def check_request(item: tuple[str, str, str, str, bytes]) -> None:
    version, verb, path, kind, body = item
    headers = {"Content-Type": kind, "Authorization": "bearer sandbox"}
    status, given, answer = sandbox(version).handle(verb, path, headers, body)
    assert 200 <= status < 600 and isinstance(given, dict) and isinstance(answer, bytes)
    if "json" in given.get("Content-Type", ""):
        json.loads(answer)


def warm_sandbox() -> None:
    for version in ("19.0", "17.0", "16.0"):
        sandbox(version)


TARGETS = [
    Target("canonical", make_canonical, check_canonical),
    Target(
        "pipeline", make_processed, check_processed, lambda: pipelines() and None, limit=0.2
    ),  # processed twice
    Target("frames", make_frame, check_frame),
    Target("expressions", make_expression, check_expression, limit=0.6),  # compiled too, and up to two values
    Target("sandbox", make_request, check_request, warm_sandbox),
]
