"""The `redact` transformer: values that must not reach a destination.

Guarantees: every repetition, segment and item that a path names is covered; a hash needs a key, so nobody can find
a number again by trying all; the stored message is not touched, only what later steps and destinations see.
Refuses: `hash` without a key, a key shorter than 16 characters (`ConfigError`).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator

from engine.model import Transformer
from engine.spec.component import BuildContext, Settings, component
from engine.spec.fields import Paths, changing, paths_field
from engine.spec.filters import mask
from engine.spec.values import as_text

DIGITS = 16  # hexadecimal digits of a hash: 64 bits


@component("transformer", "redact", example="redact: {paths: [PID-19, PID-13], how: mask, keep: 2}")
class Redact(Settings):
    """Masks, hashes or removes values.

    In a destination's own transformers it holds for that destination alone.
    """

    paths: Paths = paths_field("PID-19", "NK1-2")
    how: Literal["mask", "hash", "remove"] = Field(
        default="remove",
        description="`mask`: stars but for the last `keep`; `hash`: the same value gives the same text; `remove`.",
    )
    keep: int = Field(default=0, ge=0, description="With `mask`: how many characters stay.", examples=[4])
    key: SecretStr | None = Field(
        default=None,
        description="With `hash`: its secret, at least 16 characters.",
        examples=["!secret salt"],
    )

    @model_validator(mode="after")
    def _keyed(self) -> Redact:
        if self.how == "hash" and (self.key is None or len(self.key.get_secret_value()) < 16):
            raise ValueError("`hash` needs a `key` of at least 16 characters")
        return self

    def build(self, context: BuildContext) -> Transformer:
        """Choose how."""
        key = self.key.get_secret_value().encode() if self.key else b""

        def hashed(value: Any) -> str:
            return hmac.new(key, as_text(value).encode(), hashlib.sha256).hexdigest()[:DIGITS]

        change: Any = {
            "mask": lambda value: mask(value, self.keep),
            "hash": hashed,
            "remove": lambda value: "",
        }
        return changing(self.paths, change[self.how], context)
