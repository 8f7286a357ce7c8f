"""Tells what can never happen on the way of a channel's messages (what that is: `channels.lint.reach`).

Guarantees: a step behind one that lets nothing pass is not told as well; an operation of a template file is told only
when no channel that uses it can make it, and those of shipped templates never, for they are made for many channels.
"""

from __future__ import annotations

from channels.lint import reach
from channels.lint.findings import Findings
from channels.lint.reach import Cases
from channels.lint.templates import Sheet
from engine.spec.channel import Bound
from engine.spec.meaning import found_in
from transforms.canonical.to_fhir import RESOURCES

CODE = "channel.unreachable"


class Reach:
    """What may come to the next step of one channel."""

    def __init__(self, findings: Findings, cases: Cases | None = None) -> None:
        self.findings = findings
        self.cases = cases

    def copy(self) -> Reach:
        """For a destination."""
        return Reach(self.findings, self.cases)

    def step(self, bound: Bound) -> None:
        """One step: what of it is in vain, and what is left behind it."""
        kind, name = bound.component.kind, bound.component.name
        where = (*bound.where, name)
        if kind == "filter" and name == "message_type":
            self.message_type(bound, where)
        elif kind == "filter" and name == "condition":
            left = reach.possible(bound.settings.expression, self.cases)  # type: ignore[attr-defined]
            if left is not None and not left and self.cases:
                place = (*where, "expression")
                if place not in self.findings.configuration.document.marks:
                    place = where
                self.tell(place, "no message can pass this condition")
                left = None
            self.cases = left
        elif kind == "transformer":
            for one in found_in(bound.settings):
                if one.what == "expression" and one.where[-1:] == ("when",):
                    left = reach.possible(str(one.value), self.cases)
                    if self.cases and not left:
                        self.tell((*where, *one.where), "this is never true")
            self.cases = reach.after(bound, self.cases)
        elif kind == "destination" and name == "fhir" and self.cases:
            self.resources(bound, where)

    def resources(self, bound: Bound, where: tuple[str | int, ...]) -> None:
        """A FHIR server: whether anything, and each type of resource that is named, is ever written to it."""
        cases = self.cases or frozenset()
        made = {name for one in cases if one.event for name in RESOURCES.get(one.event.partition(".")[0], ())}
        if not all(one.sure for one in cases):
            return
        if not made:
            self.tell(where, "nothing is ever written to this FHIR server")
            return
        wanted = bound.settings.resources  # type: ignore[attr-defined]
        for index, name in enumerate(wanted):
            if name not in made and name not in ("Practitioner", "Organization", "Location"):
                self.tell((*where, "resources", index), f"no {name} is ever written")

    def message_type(self, bound: Bound, where: tuple[str | int, ...]) -> None:
        """A filter of message types: it may be the first, or behind others."""
        before, left = self.cases, reach.through(bound, self.cases)
        if before is not None and left is not None and not left:
            self.tell(where, "no message can pass this filter")
            left = None
        elif before is not None:
            for index in reach.never(bound, before):
                place = (*where, "allow", index)
                if place not in self.findings.configuration.document.marks:
                    place = (
                        (*where, index)
                        if (*where, index) in self.findings.configuration.document.marks
                        else where
                    )
                self.tell(place, f"{bound.settings.allow[index]} never comes to this filter")  # type: ignore[attr-defined]
        self.cases = left

    def tell(self, where: tuple[str | int, ...], what: str) -> None:
        """A finding at a place of the configuration."""
        hint = "Correct the `message_type` filter before, or this one."
        text = f"{what}: {reach.told(self.cases or ())}"
        self.findings.tell(CODE, self.findings.mark(where), text, hint, "warning")


class Operations:
    """The operations of templates, over all channels that use them."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Sheet, list[Reach | None]]] = {}

    def seen(self, sheet: Sheet, come: Reach | None) -> None:
        """A channel with this reach uses a template."""
        if not sheet.shared:
            _, users = self._seen.setdefault(id(sheet), (sheet, []))
            users.append(come.copy() if come is not None else None)

    def check(self, findings: Findings) -> None:
        """Tell the operations that nobody can make."""
        for sheet, users in self._seen.values():
            for asked in sheet.operations:
                if not asked.when or asked.at is None:
                    continue
                cases: set[reach.Case] = set()
                for user in users:
                    left = reach.possible(asked.when, user.cases, asked.lets) if user is not None else None
                    if user is None or not user.cases or left:
                        break
                    cases |= user.cases
                else:
                    text = f"this operation is never made: {reach.told(cases)}"
                    hint = "Correct the condition, or the `message_type` filter of the channel."
                    findings.tell(CODE, asked.at, text, hint, "warning")
