"""Where the rules of lint put what they find."""

from __future__ import annotations

from collections.abc import Iterable

from engine.spec.channel import Configuration
from engine.spec.document import Mark, Problem, Where


class Findings:
    """Collects problems; the same one is told once."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.problems: list[Problem] = []

    def add(self, problem: Problem) -> None:
        """One more."""
        self.problems.append(problem)

    def tell(self, code: str, mark: Mark, text: str, hint: str = "", severity: str = "error") -> None:
        """One more, in words."""
        self.add(Problem(code, mark, text, hint, severity))

    def mark(self, where: Iterable[str | int], *, key: bool = False) -> Mark:
        """A place of the configuration."""
        place: Where = tuple(where)
        return self.configuration.document.mark(place, key=key)

    @property
    def errors(self) -> int:
        """How many errors there are so far."""
        return sum(problem.severity == "error" for problem in self.problems)
