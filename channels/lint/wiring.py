"""How the parts of a configuration fit together: ports, loops, what is declared and not used, secrets in clear.

Guarantees: only enabled channels compete for ports; an allowed chain of channels is no loop. Refuses nothing.
"""

from __future__ import annotations

import re
from typing import Any

from channels.lint.findings import Findings
from channels.lint.placing import Written
from channels.lint.steps import Reader
from engine.fhirserver.auth import SmartBackend
from engine.spec.channel import ChannelSpec, Configuration
from engine.spec.meaning import found_in

LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104
ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104
_SECRET = re.compile(r"(?i)(^|_)(api_?key|passw(or)?d|passphrase|secret|token|private_key)$")
_READS = re.compile(r"system/[^./]+\.(read|rs?|s)(\?.*)?")
_LOGIN = re.compile(r"^[a-z][a-z0-9+.-]*://[^/@\s:]+:[^/@\s]+@")


def check(configuration: Configuration, reader: Reader, findings: Findings) -> None:
    """Tell what does not fit."""
    channels = [spec for spec in configuration.channels.values() if spec.options.enabled]
    ports(channels, findings)
    addresses(channels, findings)
    scopes(channels, configuration, findings)
    loops(channels, findings)
    for spec in channels:
        identity(spec, findings)
    order(configuration, findings)
    unused(configuration, reader, findings)
    reader.operations.check(findings)
    secrets(configuration, findings)


def _port(spec: ChannelSpec) -> int:
    found = getattr(spec.listener.settings, "port", 0)
    return found if isinstance(found, int) else 0


def _interface(spec: ChannelSpec) -> str:
    settings: Any = spec.listener.settings
    given = getattr(settings, "interface", "")
    return given or ("0.0.0.0" if getattr(settings, "tls", None) else "127.0.0.1")  # noqa: S104


def _at(spec: ChannelSpec, setting: str) -> tuple[str | int, ...]:
    return (*spec.listener.where, spec.listener.component.name, setting)


def ports(channels: list[ChannelSpec], findings: Findings) -> None:
    """Two enabled channels on one port. Listeners with a `path` may share theirs."""
    taken: dict[int, list[ChannelSpec]] = {}
    for spec in channels:
        port = _port(spec)
        for other in taken.get(port, ()) if port else ():
            mine, its = _interface(spec), _interface(other)
            shared = hasattr(spec.listener.settings, "path") and hasattr(other.listener.settings, "path")
            if not shared and (mine == its or mine in ANY or its in ANY):
                text = f"port {port} is taken: the channel {other.name!r} listens on it"
                hint = f"Its port is at {findings.mark(_at(other, 'port'))}; choose another one here."
                findings.tell("port.twice", findings.mark(_at(spec, "port")), text, hint)
                break
        taken.setdefault(port, []).append(spec)


def addresses(channels: list[ChannelSpec], findings: Findings) -> None:
    """Two channels that have one server send to one address: each would take the other's Subscriptions for its own."""
    taken: dict[tuple[str, str], ChannelSpec] = {}
    for spec in channels:
        settings: Any = spec.listener.settings
        subscribe = getattr(settings, "subscribe", None)
        if subscribe is None:
            continue
        other = taken.setdefault((settings.connection, subscribe.url), spec)
        if other is not spec:
            text = f"the channel {other.name!r} registers this address on the same server"
            hint = "Give each channel a path of its own, and its url the same."
            mark = findings.mark((*_at(spec, "subscribe"), "url"))
            findings.tell("channel.address", mark, text, hint)


def scopes(channels: list[ChannelSpec], configuration: Configuration, findings: Findings) -> None:
    """Who writes to a FHIR server and asks it for a token that only reads."""
    for spec in channels:
        writing = [
            (item.bound, "connection") for item in spec.destinations if item.bound.component.name == "fhir"
        ]
        if getattr(spec.listener.settings, "subscribe", None) is not None:
            writing.append((spec.listener, "subscribe"))
        for bound, setting in writing:
            name = getattr(bound.settings, "connection", "")
            scope = _scope(configuration.connections.get(name))
            if scope and all(_READS.fullmatch(one) for one in scope.split()):
                text = f"the connection {name!r} asks for the scope {scope}, which only reads"
                hint = 'Write `scope: "system/*.cruds"` beside its client_id.'
                mark = findings.mark((*bound.where, bound.component.name, setting))
                findings.tell("channel.scope", mark, text, hint, "warning")


def _scope(connection: Any) -> str:
    """What SMART Backend Services are asked for; empty where something else logs in."""
    found = connection
    for key in ("fhir", "auth", "smart_backend"):
        found = found.get(key) if isinstance(found, dict) else None
    return (
        str(found.get("scope", SmartBackend.model_fields["scope"].default)) if isinstance(found, dict) else ""
    )


def loops(channels: list[ChannelSpec], findings: Findings) -> None:
    """Messages that come back: a destination that sends to a listener of the same configuration, or an answer that
    is passed on to a channel."""
    listening = {_port(spec): spec for spec in channels if _port(spec)}
    edges: dict[str, list[tuple[str, tuple[str | int, ...]]]] = {}
    for spec in channels:
        for item in spec.destinations:
            settings: Any = item.bound.settings
            port, host = getattr(settings, "port", None), str(getattr(settings, "host", ""))
            target = listening.get(port) if isinstance(port, int) else None
            if target is not None and (host in LOCAL or host == _interface(target)):
                where = (*item.bound.where, item.bound.component.name, "port")
                edges.setdefault(spec.name, []).append((target.name, where))
            for bound in item.response:
                if bound.component.name == "forward":
                    where = (*bound.where, "forward", "channel")
                    to: Any = bound.settings
                    edges.setdefault(spec.name, []).append((to.channel, where))
    told: set[frozenset[str]] = set()
    for start in edges:
        _follow(start, [start], edges, findings, told)


def _follow(
    start: str,
    chain: list[str],
    edges: dict[str, list[tuple[str, tuple[str | int, ...]]]],
    findings: Findings,
    told: set[frozenset[str]],
) -> None:
    for target, where in edges.get(chain[-1], ()):
        if target == start and frozenset(chain) not in told:
            told.add(frozenset(chain))
            text = f"messages go round: {' → '.join([*chain, start])}"
            hint = "Send to another port, or break the circle; no filter here can be trusted to do it."
            findings.tell("channel.loop", findings.mark(where), text, hint)
        elif target not in chain:
            _follow(start, [*chain, target], edges, findings, told)


NAMELESS = ("json", "xml", "delimited")  # formats that do not say by themselves where the patient is


def identity(spec: ChannelSpec, findings: Findings) -> None:
    """A channel with destinations whose messages have no patient: not found by it, and in no order."""
    settings: Any = spec.format.settings
    if spec.format.component.name not in NAMELESS or settings.mrn or spec.options.ordering_key:
        return
    if not spec.destinations:
        return
    place = (*spec.format.where, spec.format.component.name)
    text = (
        "nothing says where the patient of these messages is: no search finds them by it, and nothing keeps"
    )
    text += " the messages of one patient in order"
    hint = f"Write `format: {{{spec.format.component.name}: {{mrn: …}}}}`, or `ordering_key` on the channel."
    findings.tell("channel.no_mrn", findings.mark(place), text, hint, "warning")


def order(configuration: Configuration, findings: Findings) -> None:
    """`order_with` that names itself, or goes round."""
    told: set[str] = set()
    for name, spec in configuration.channels.items():
        chain = [name]
        while (other := configuration.channels.get(chain[-1])) is not None and other.options.order_with:
            following = other.options.order_with
            if following in chain:
                if following == name and not told & set(chain):
                    told |= set(chain)
                    text = f"order_with goes round: {' → '.join([*chain, name])}"
                    mark = findings.mark((*spec.where, "order_with"))
                    findings.tell("channel.order", mark, text, "Say it in one of them.", "warning")
                break
            chain.append(following)


def unused(configuration: Configuration, reader: Reader, findings: Findings) -> None:
    """Fragments, tables and connections that nobody asks; of a kind of which an unknown name is used, none is told:
    it may be the one that is meant.
    """
    unsure = {problem.code for problem in findings.problems}
    unsaid = unsure & {"fragment.unknown", "fragment.cycle", "template.unknown"}
    for name in () if unsaid else configuration.document.unused - configuration.fragments.used:
        mark = findings.mark(("fragments", name), key=True)
        findings.tell("fragment.unused", mark, f"nobody uses the fragment {name!r}", "Delete it.", "warning")
    elsewhere = " ".join(
        data.decode("utf-8", "replace")
        for path, data in configuration.files.contents.items()
        if path.suffix not in (".yaml", ".yml", ".csv")
    )
    for name in configuration.tables if not reader.any_table and "table.unknown" not in unsure else ():
        if name not in reader.tables and name not in elsewhere:
            text = f"nobody uses the code table {name!r}"
            findings.tell(
                "table.unused", findings.mark(("tables", name), key=True), text, "Delete it.", "warning"
            )
    for name in configuration.connections:
        if name not in reader.connections:
            text = f"nobody uses the connection {name!r}"
            mark = findings.mark(("connections", name), key=True)
            findings.tell("connection.unused", mark, text, "Delete it.", "warning")


def secrets(configuration: Configuration, findings: Findings) -> None:
    """Keys and passwords that stand in the file."""
    places: list[tuple[tuple[str | int, ...], Any]] = []
    for spec in configuration.channels.values():
        for bound in spec.components:
            where = (*bound.where, bound.component.name)
            places += [
                ((*where, *one.where), one.value.get_secret_value())
                for one in found_in(bound.settings)
                if one.what == "secret" and hasattr(one.value, "get_secret_value")
            ]
            places += _texts(bound.settings.model_dump(exclude_unset=True), where)
    places += _texts(configuration.connections, ("connections",))
    seen: set[Any] = set()
    for where, value in places:
        if where in seen or not value or where not in configuration.document.marks:
            continue
        seen.add(where)
        raw = Written("", findings.mark(where), configuration.files).raw
        if raw.lstrip("'\"").startswith(value):
            text = f"{where[-1]} stands here in clear"
            hint = "Write `!secret name`, or `${NAME}` for an environment variable."
            findings.tell("secret.clear", findings.mark(where), text, hint, "warning")


def _texts(data: Any, where: tuple[str | int, ...]) -> list[tuple[tuple[str | int, ...], Any]]:
    """Texts under a name that sounds like a secret, and addresses with a password in them."""
    found: list[tuple[tuple[str | int, ...], Any]] = []
    if isinstance(data, dict):
        for key, value in data.items():
            place = (*where, key)
            if isinstance(value, str) and (_SECRET.search(str(key)) or _LOGIN.search(value)):
                found.append((place, value))
            else:
                found += _texts(value, place)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            found += _texts(value, (*where, index))
    return found
