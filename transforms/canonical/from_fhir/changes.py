"""What a change of a resource is: known before or not, deleted, and which values differ.

    create, update   the server said so      delete   the resource is gone      ""   it did not say

Guarantee: a resource of which nothing is known before is new here, whatever its version; two states of a resource
differ by the values of their entities alone, so a change of what the model does not hold is no change.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Kind = Literal["", "create", "update", "delete"]


def differing(old: Any, new: Any, *unlooked: str) -> list[str]:
    """The names of the fields that are not alike, as an event's `changed` has them. `unlooked` are not compared."""
    names = zip(new.__struct_fields__, new.__struct_encode_fields__, strict=True)
    return [
        told
        for name, told in names
        if told not in unlooked and name != "ext" and getattr(old, name) != getattr(new, name)
    ]


def lifecycle(kind: Kind, old: msgspec.Struct | None, new: msgspec.Struct) -> tuple[str, list[str]]:
    """`registered`, `updated` or `deleted` and what changed; "" when nothing did."""
    if kind == "delete":
        return "deleted", []
    if old is None:
        return ("updated" if kind == "update" else "registered"), []
    changed = differing(old, new)
    return ("updated" if changed else ""), changed
