"""`fragments:` and `defaults:`: what is written once and holds in many places.

    fragments:
      real: [{condition: "msg['MSH-11.1'] == 'P'"}]
    defaults:
      channel: {timezone: Europe/Madrid}
      destination: {on_error: hold_key, odoo: {connection: clinic}}
      listener: {mllp: {interface: 0.0.0.0}}

`use: real` is an item of `filters`, `transformers`, `response` or `operations` (a list of steps takes its place), or a
key of a channel or of a destination (the keys of a mapping are taken). A default is taken where a channel does not
say otherwise: mappings are put together key by key, anything else is replaced, `null` says otherwise too.

Guarantees: what is put together keeps the place where it is written, so that a wrong default is told there.
Reports: an unknown fragment, one that contains itself, one that is no list where a list must be, and more than
MAX_VALUES values in all. Template files use fragments too: engine.spec.fragments.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.spec.document import Document, Where, did_you_mean
from engine.spec.options import ChannelOptions, DestinationOptions

STEPS = ("filters", "transformers", "response", "operations")
MAX_VALUES = 1_000_000
CHANNEL = frozenset(ChannelOptions.model_fields)
DESTINATION = frozenset(DestinationOptions.model_fields)


def compose(document: Document) -> None:
    """Put fragments and defaults into the channels of `document`, in place."""
    data = document.data
    if isinstance(data, dict) and isinstance(data.get("channels"), dict):
        _Composer(document).run()


class _TooMany(Exception):
    """Fragments give too many values."""


class _Composer:
    """Writes the channels anew, each value with the mark of where it comes from.

    `src` is where something is written, `dst` where it takes effect.
    """

    def __init__(self, document: Document) -> None:
        self.raw = document
        self.fragments = self.section("fragments")
        self.defaults = self.section("defaults")
        self.made = Document(document.path)
        for new, old in (
            (self.made.marks, document.marks),
            (self.made.key_marks, document.key_marks),
        ):
            new |= {place: mark for place, mark in old.items() if place[:1] != ("channels",) or not place[1:]}
        self.used: set[str] = set()
        self.open: list[str] = []
        self.left = MAX_VALUES

    def section(self, name: str) -> dict[str, Any]:
        found = self.raw.data.get(name)
        return found if isinstance(found, dict) else {}

    def run(self) -> None:
        document = self.raw
        try:
            made = {
                name: self.channel(body, ("channels", name))
                for name, body in document.data["channels"].items()
            }
        except _TooMany:
            what = f"fragments give more than {MAX_VALUES} values"
            document.report("yaml.size", ("fragments",), what, "Use them less often in each other.")
            return
        document.unused = self.fragments.keys() - self.used
        document.data = {**document.data, "channels": made}
        document.marks, document.key_marks = self.made.marks, self.made.key_marks

    def channel(self, body: Any, where: Where) -> Any:
        made = self.value(body, where, where)
        if not isinstance(made, dict):
            return made
        self.take(made, "channel", CHANNEL, where)
        if isinstance(made.get("listener"), dict):
            self.take(made["listener"], "listener", made["listener"].keys(), (*where, "listener"))
        destinations = made.get("destinations")
        for name, destination in destinations.items() if isinstance(destinations, dict) else ():
            if isinstance(destination, dict):
                known = DESTINATION | destination.keys()
                self.take(destination, "destination", known, (*where, "destinations", name))
        return made

    def take(self, made: dict[Any, Any], kind: str, known: Any, where: Where) -> None:
        """Fill in the defaults of a kind."""
        found = self.defaults.get(kind)
        if isinstance(found, dict):
            for key in [key for key, value in made.items() if value is None and key in found]:
                if key not in CHANNEL | DESTINATION:
                    made[key] = {}  # a component without settings
            self.fill(made, {k: v for k, v in found.items() if k in known}, ("defaults", kind), where)

    def fill(self, made: dict[Any, Any], more: dict[Any, Any], src: Where, dst: Where) -> None:
        """Put into `made` what it does not say itself."""
        for key, value in more.items():
            if key not in made:
                made[key] = self.value(value, (*src, key), (*dst, key))
            elif isinstance(made[key], dict) and isinstance(value, dict):
                self.fill(made[key], value, (*src, key), (*dst, key))

    def value(self, value: Any, src: Where, dst: Where) -> Any:
        """A copy of `value` with its fragments."""
        self.left -= 1
        if self.left < 0:
            raise _TooMany
        raw, made = self.raw, self.made
        if src in raw.marks:
            made.marks[dst] = raw.marks[src]
        if src in raw.key_marks:
            made.key_marks[dst] = raw.key_marks[src]
        if isinstance(value, dict):
            return self.mapping(value, src, dst)
        if isinstance(value, list):
            result: list[Any] = []
            if dst[-1] in STEPS:
                self.steps(value, src, dst, result)
            else:
                result += [self.value(item, (*src, n), (*dst, n)) for n, item in enumerate(value)]
            return result
        return value

    def mapping(self, value: dict[Any, Any], src: Where, dst: Where) -> dict[Any, Any]:
        uses = "use" in value and (len(dst) == 2 or (len(dst) == 4 and dst[2] == "destinations"))
        result = {
            key: self.value(item, (*src, key), (*dst, key))
            for key, item in value.items()
            if not uses or key != "use"
        }
        if uses:
            self.use(result, value, src, dst)
        return result

    def use(self, result: dict[Any, Any], value: dict[Any, Any], src: Where, dst: Where) -> None:
        """Fill `result` from the mappings that the `use` in `value` names."""
        for name, at in self.named(value["use"], (*src, "use")):
            if (fragment := self.enter(name, at)) is None:
                continue
            origin: Where = ("fragments", name)
            if isinstance(fragment, dict):
                self.fill(result, {k: v for k, v in fragment.items() if k != "use"}, origin, dst)
                if "use" in fragment:
                    self.use(result, fragment, origin, dst)
            else:
                what = f"the fragment {name!r} must be a mapping to be used here"
                self.raw.report("fragment.kind", at, what, "Use a list of steps as an item of filters.")
            self.open.pop()

    def steps(self, items: list[Any], src: Where, dst: Where, result: list[Any]) -> None:
        """Copy steps into `result`; the ones of a fragment take its place."""
        for index, item in enumerate(items):
            place = (*src, index)
            if isinstance(item, dict) and item.keys() == {"use"}:
                self.splice(item["use"], (*place, "use"), dst, result)
            else:
                result.append(self.value(item, place, (*dst, len(result))))

    def splice(self, names: Any, where: Where, dst: Where, result: list[Any]) -> None:
        """Append the steps of the fragments `names`."""
        for name, at in self.named(names, where):
            if (fragment := self.enter(name, at)) is None:
                continue
            origin: Where = ("fragments", name)
            if isinstance(fragment, list):
                self.steps(fragment, origin, dst, result)
            elif isinstance(fragment, dict) and fragment.keys() == {"use"}:
                self.splice(fragment["use"], (*origin, "use"), dst, result)
            else:
                result.append(self.value(fragment, origin, (*dst, len(result))))
            self.open.pop()

    def named(self, value: Any, where: Where) -> Iterator[tuple[str, Where]]:
        """The names in a `use`, each with its place."""
        if isinstance(value, str):
            yield value, where
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            yield from ((item, (*where, index)) for index, item in enumerate(value))
        else:
            self.raw.report("fragment.use", where, "`use` takes the name of a fragment, or a list of them")

    def enter(self, name: str, at: Where) -> Any:
        """The fragment `name`, now open; None when there is none, or when it contains itself."""
        if name in self.open:
            chain = " → ".join([*self.open[self.open.index(name) :], name])
            self.raw.report("fragment.cycle", at, f"these fragments contain each other: {chain}")
            return None
        if self.fragments.get(name) is None:
            hint = did_you_mean(name, self.fragments) or "Declare it under `fragments:`."
            self.raw.report("fragment.unknown", at, f"there is no fragment {name!r}", hint)
            return None
        self.used.add(name)
        self.open.append(name)
        return self.fragments[name]
