"""`!secret`: values that stand in no configuration file.

    api_key: !secret odoo_api_key                                 # variable ODOO_API_KEY, else a file of that name
    api_key: !secret {env: CLINIC_KEY}
    api_key: !secret {file: ../keys/clinic}                       # relative to the file that says so
    api_key: !secret {command: [pass, show, clinic/odoo], timeout: 5s}

A file of that name is looked for in $CREDENTIALS_DIRECTORY (systemd), $ISTHMUS_SECRETS and /run/secrets
(Docker, Kubernetes). Guarantees: a secret is never shown: its `repr` is masked, `masked` hides it in data, an
error names where it was looked for and never what was found; a command runs once a load, without a shell,
within its timeout, in the folder of the file. Refuses, with `SecretError`: what is not there, a file or an
output that is no UTF-8, a name that leaves the folder, a command that fails or says nothing.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.spec.units import seconds

FOLDERS = ("CREDENTIALS_DIRECTORY", "ISTHMUS_SECRETS")
RUN_SECRETS = "/run/secrets"
TIMEOUT = 10.0
MASK = "***"


class Secret(str):
    """A text that came from `!secret`: never shown, logged or echoed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(***)"


class SecretError(Exception):
    """A secret that cannot be had: a stable code, what is wrong, and what to do."""

    def __init__(self, code: str, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.code = f"secret.{code}"
        self.text = text
        self.hint = hint


def masked(data: Any) -> Any:
    """`data` as it may be shown: every secret is `***`."""
    if isinstance(data, Secret):
        return MASK
    if isinstance(data, dict):
        return {key: masked(value) for key, value in data.items()}
    if isinstance(data, list):
        return [masked(item) for item in data]
    return data


class Secrets:
    """Finds secrets for one load of a configuration."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.files: list[Path] = []  # that secrets were looked for in
        self._outputs: dict[tuple[Path, tuple[str, ...]], Secret] = {}

    def find(self, wanted: Any, base: Path) -> Secret:
        """The secret that stands behind `!secret wanted` in a file of the folder `base`."""
        if isinstance(wanted, str):
            return self.named(wanted)
        kinds = ("env", "file", "command")
        chosen = [kind for kind in kinds if kind in wanted] if isinstance(wanted, dict) else []
        if (
            len(chosen) != 1
            or set(wanted) - {*chosen, "timeout"}
            or ("timeout" in wanted) > (chosen == ["command"])
        ):
            raise SecretError(
                "form",
                "a secret is a name, or one of env, file and command",
                "Write `!secret odoo_api_key` or `!secret {command: [pass, show, odoo]}`.",
            )
        if chosen == ["command"]:
            return self.output(wanted["command"], wanted.get("timeout", TIMEOUT), base)
        where = wanted[chosen[0]]
        if not isinstance(where, str) or not where or "\0" in where:
            raise SecretError("form", f"{chosen[0]} must be a text")
        if chosen == ["env"]:
            if where not in self.environ:
                raise SecretError("missing", f"the variable {where} is not set", "Set it.")
            return Secret(self.environ[where])
        return self.read(base / where, f"the file of the secret ({where})")

    def named(self, name: str) -> Secret:
        """The variable NAME, else the file `name` in one of the secret folders."""
        value = self.environ.get(name.upper())
        if value is not None:
            return Secret(value)
        folders = [*(self.environ.get(variable) for variable in FOLDERS), RUN_SECRETS]
        for folder in filter(None, folders):
            if re.fullmatch(r"[\w.-]+", name) and (file := Path(folder) / name).is_file():
                return self.read(file, f"the file of the secret {name!r}")
        raise SecretError(
            "missing",
            f"no secret {name!r}",
            f"Set the variable {name.upper()}, or put a file {name} into $ISTHMUS_SECRETS.",
        )

    def read(self, file: Path, what: str) -> Secret:
        """The text of a file, without the blanks around it."""
        self.files.append(file)
        try:
            return Secret(file.read_text(encoding="utf-8").strip())
        except FileNotFoundError:
            raise SecretError("missing", f"{what} is not there", "Check the path.") from None
        except (OSError, UnicodeDecodeError):
            raise SecretError("unreadable", f"{what} cannot be read") from None

    def output(self, command: Any, timeout: Any, base: Path) -> Secret:
        """What a command prints, without the blanks around it; run once a load."""
        if not isinstance(command, list) or not command or not all(isinstance(c, str) for c in command):
            raise SecretError("form", "command must be a list of texts", "Write command: [pass, show, odoo].")
        try:
            longest = seconds(timeout)
        except ValueError as error:
            raise SecretError("form", f"timeout: {error}") from None
        if not 0 < longest <= 60:
            raise SecretError("form", "timeout must be above 0 and at most 60s")
        asked = (base, tuple(command))
        if asked not in self._outputs:
            self._outputs[asked] = self._run(command, longest, base)
        return self._outputs[asked]

    def _run(self, command: list[str], timeout: float, base: Path) -> Secret:
        name, todo = f"the command {Path(command[0]).name!r}", "Run it by hand to see why."
        try:
            done = subprocess.run(  # noqa: S603
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, cwd=base,
                env=dict(self.environ), check=False,
            )  # fmt: skip
            found = done.stdout.decode("utf-8").strip()
        except subprocess.TimeoutExpired:
            raise SecretError("command", f"{name} did not end within {timeout:g} s", todo) from None
        except UnicodeDecodeError:
            raise SecretError("command", f"{name} printed what is not UTF-8", todo) from None
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "its words have a NUL"
            raise SecretError("command", f"{name} cannot be run: {why}", "Check its path.") from None
        if done.returncode:
            raise SecretError("command", f"{name} ended with status {done.returncode}", todo)
        if not found:
            raise SecretError("command", f"{name} printed nothing", todo)
        return Secret(found)
