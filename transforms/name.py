"""The `name` transformer: names as people write them.

Guarantees: a name in mixed case keeps its case; see the filters `clean` and `name_case` (`engine.spec.filters`).
"""

from __future__ import annotations

from pydantic import Field

from engine.model import Transformer
from engine.spec.component import BuildContext, Settings, component
from engine.spec.fields import Paths, changing, paths_field
from engine.spec.filters import clean, name_case


@component("transformer", "name", example="name: {paths: [PID-5.1, PID-5.2]}")
class Name(Settings):
    """Tidies names: `O'BRIEN-MCDONALD` becomes `O'Brien-McDonald`, control characters and extra blanks go.

    A path names one part of a name: its family name, a given name.
    """

    paths: Paths = paths_field("PID-5.1", "NK1-2.1")
    case: bool = Field(
        default=True, description="Whether names all in capitals or small letters are rewritten."
    )

    def build(self, context: BuildContext) -> Transformer:
        """Choose the filters."""
        return changing(self.paths, (lambda value: name_case(clean(value))) if self.case else clean, context)
