"""Python modules that a configuration names: files beside it, or installed ones.

Guarantees: a module beside the configuration is made of the bytes that the configuration's version covers, anew
for each load, and is in nobody's way in `sys.modules`; an installed one is imported as always. What a function
of it raises is told with its name, the line and the type, never with its text, which may quote data.
Refuses: a module that is not there or cannot be imported (`ConfigError`).
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from engine.errors import ConfigError, StepError
from engine.spec.files import Files


def beside(name: str, base: Path) -> Path:
    """The file that the module `name` has in the folder `base`."""
    return base.joinpath(*name.split(".")).with_suffix(".py")


def source(name: str, base: Path) -> Iterator[Path]:
    """The file of a module, as far as there is one."""
    path = beside(name, base)
    if path.is_file():
        yield path
        return
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return
    if spec is not None and spec.origin and spec.origin.endswith(".py"):
        yield Path(spec.origin)


def load(name: str, base: Path, files: Files) -> ModuleType:
    """The module `name`: a file in the folder `base`, else an installed one."""
    path = beside(name, base)
    try:
        if not path.is_file():
            return importlib.import_module(name)
        module = ModuleType(f"isthmus_channel.{name}")
        module.__file__ = str(path)
        exec(compile(files.read(path), str(path), "exec"), module.__dict__)  # noqa: S102
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"there is no module {error.name!r}",
            code="python.module",
            todo=f"put {name.replace('.', '/')}.py beside the channel file, or install it",
        ) from None
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise ConfigError(f"the module {name!r} cannot be imported: {what}", code="python.import") from error
    return module


def failure(name: str, error: Exception) -> StepError:
    """The error for a function that raised: its own StepError, or type and line of any other exception."""
    if isinstance(error, StepError):
        return error
    trace = error.__traceback__
    inner = trace.tb_next if trace is not None else None
    place = f" at {Path(inner.tb_frame.f_code.co_filename).name}:{inner.tb_lineno}" if inner else ""
    return StepError(f"{name} raised {type(error).__name__}{place}", code="python.failed")
