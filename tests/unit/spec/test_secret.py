"""`!secret` from the environment, a file and a command: found, masked, and told where it cannot be had."""

from __future__ import annotations

import os
import sys

import pytest

from engine.spec.secret import masked

SECRETS = """
connections:
  c:
    odoo:
      url: "sandbox:"
      api_key: !secret %s
channels: {a: {listener: {mllp: {port: 1}}}}
"""


def secret(written, how, environ=None):
    found = written({"channels.yaml": (SECRETS % how).lstrip()}, environ)
    return found, found.connections["c"]["odoo"]["api_key"]


def test_a_secret_from_a_command_runs_once_and_without_a_shell(written, tmp_path):
    script = tmp_path / "key.py"
    script.write_text(
        "import sys, pathlib\np = pathlib.Path('runs')\np.write_text(p.read_text() + 'x' if p.exists() else 'x')\n"
        "print('s3cret;$HOME', sys.argv[1:])\n"
    )
    how = f'{{command: ["{sys.executable}", key.py, "$HOME; exit 1"]}}'
    text = (SECRETS % how).lstrip() + f"x-again: !secret {how}\n"
    found = written({"channels.yaml": text}, dict(os.environ))
    assert found.problems == []
    key = found.connections["c"]["odoo"]["api_key"]
    assert key == "s3cret;$HOME ['$HOME; exit 1']" and (tmp_path / "runs").read_text() == "x"
    assert "s3cret" not in repr(found.document.data) and "s3cret" not in str(masked(found.document.data))
    assert all(b"s3cret;" not in data for name, data in found.files.contents.items() if name != script)


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        (
            "{command: [no-such-command]}",
            "the command 'no-such-command' cannot be run: No such file or directory",
        ),
        (f'{{command: ["{sys.executable}", "-c", "raise SystemExit(3)"]}}', "ended with status 3"),
        (f'{{command: ["{sys.executable}", "-c", ""]}}', "printed nothing"),
        (
            f'{{command: ["{sys.executable}", "-c", "import time; time.sleep(60)"], timeout: 0.2}}',
            "did not end within 0.2 s",
        ),
        ("{command: pass show odoo}", "command must be a list of texts"),
        ("{command: [x], timeout: -1}", "timeout: not a duration"),
        ("{env: NOPE}", "the variable NOPE is not set"),
        ("{file: nope}", "the file of the secret (nope) is not there"),
        ("{file: a, env: b}", "a secret is a name, or one of env, file and command"),
        ("{file: a, timeout: 3}", "a secret is a name, or one of env, file and command"),
        ("[a]", "a secret is a name, or one of env, file and command"),
    ],
)
def test_a_secret_that_cannot_be_had_is_told_at_its_place(written, tmp_path, how, problem):
    found, key = secret(written, how, dict(os.environ))
    (told_one,) = [one for one in found.problems if one.code.startswith("secret.")]
    assert problem in told_one.text and told_one.mark.line == 5 and key == ""


def test_a_secret_from_a_file_and_a_variable(written, tmp_path):
    (tmp_path / "key").write_text(" from file\n")
    assert secret(written, "{file: key}")[1] == "from file"
    assert secret(written, "{env: MY_KEY}", {"MY_KEY": "from env"})[1] == "from env"
    found, _ = secret(written, "{file: key}")
    assert all(name != tmp_path / "key" for name in found.files.contents)
