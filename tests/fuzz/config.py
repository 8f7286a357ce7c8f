"""Target `config`: every key of the shipped configuration deleted, renamed, retyped or doubled, one to three times.

No traceback, every problem inside the file; an unknown or doubled key is told on its own line.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from random import Random
from tempfile import mkdtemp

from channels.build import Builder
from engine.errors import ConfigError
from engine.spec.channel import load

from .mutate import ROOT
from .runner import Target

SHIPPED = ROOT / "config" / "channels.yaml"
KEY = re.compile(r"^( *(?:- )?)([a-z_]+):(.*)$", re.MULTILINE)
FREE = {"clinic", "adt", "siu", "sex", "marital_status"}  # names, not words of the language
VALUES = [
    "", " 7", " -1", " text", " []", " {}", " [1, [2]]", " {a: {b: c}}", " null", " true", " '${NOBODY}'", " 1.5",
    " !secret nobody", " !x y", " *nobody", " &a [*a]", " ''", ' "\\0"', " '{{ 1 / 0 }}'", " |\n  x", " 9" * 3,
]  # fmt: skip


@lru_cache(maxsize=1)
def folder() -> Path:
    """Where mutated files stand, with the code tables beside them."""
    made = Path(mkdtemp(prefix="isthmus-fuzz-"))
    (made / "tables").symlink_to(SHIPPED.parent / "tables")
    return made


def make_config(rng: Random) -> tuple[str, str, int]:
    text, kind, line = SHIPPED.read_text("utf-8"), "", 0
    for _ in range(rng.choice((1, 1, 2, 3))):
        found = rng.choice(list(KEY.finditer(text)))
        kind = rng.choice(("delete", "rename", "retype", "double", "byte"))
        before, key, value = found.groups()
        line = text[: found.start()].count("\n") + 1
        match kind:
            case "delete":
                new = before.replace("- ", "  ").rstrip()
            case "rename":
                new = f"{before}{key}zz:{value}"
                kind = "" if key in FREE else kind
            case "retype":
                new = f"{before}{key}:{rng.choice(VALUES)}"
            case "double":
                new = f"{before}{key}: 1\n{' ' * len(before)}{key}:{value}"
                line += 1
            case _:
                at = rng.randrange(len(text) + 1)
                text = text[:at] + rng.choice("\t:{}[]&*!|>'\"%@`#-\x07é ") + text[at:]
                continue
        text = text[: found.start()] + new + text[found.end() :]
    return text, kind, line


def check_config(item: tuple[str, str, int]) -> None:
    text, kind, line = item
    file = folder() / "channels.yaml"
    file.write_text(text, "utf-8")
    configuration = load(file, {})
    for problem in configuration.problems:
        assert 1 <= problem.mark.line <= text.count("\n") + 2 and problem.mark.column >= 1, str(problem)
        assert problem.text and problem.code and "Traceback" not in problem.text
    told = {(problem.mark.line, problem.code) for problem in configuration.errors}
    if any(code.startswith("yaml.syntax") for _, code in told):
        return
    if kind == "double":
        assert (line, "yaml.duplicate") in told, told
    if configuration.errors:
        return
    try:
        builder = Builder(configuration)
        for spec in configuration.channels.values():
            builder.pipeline(spec)
    except ConfigError as error:
        assert re.search(r":\d+:\d+$", error.where), f"no place: {error}"


TARGETS = [Target("config", make_config, check_config, limit=0.3)]
