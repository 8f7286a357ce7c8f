"""`lint --fix`: one word at its place, and nothing else."""

from __future__ import annotations

from channels.lint import check
from channels.lint.fixing import fix_file
from engine.spec.channel import load

WRONG = """# my channels
tables: {sex: {values: {M: male}}}
channels:
  a:   # the first
    listenr: {mlp: {prot: 2575}} # odd
    filters:
      - "conditon": "msg['PID-8'] | uper == 'F'"   # quoted
    transformers:
      - code_table: {path: PID-8, table: sexx}
    zzz: 1
"""
RIGHT = (
    WRONG.replace("listenr", "listener").replace("mlp:", "mllp:").replace("prot", "port")
    .replace("conditon", "condition").replace("uper", "upper").replace("sexx", "sex").replace("    zzz: 1\n", "")
)  # fmt: skip


def test_what_was_meant_is_written_and_the_rest_stays(tmp_path):
    file = tmp_path / "channels.yaml"
    file.write_text(WRONG.replace("    zzz: 1\n", ""), "utf-8")
    assert len(fix_file(file)) == 6
    assert file.read_text("utf-8") == RIGHT
    assert check(load(file)) == []


def test_what_is_not_sure_stays(tmp_path):
    file = tmp_path / "channels.yaml"
    text = RIGHT + "    zzz: 1\n"
    file.write_text(text, "utf-8")
    assert fix_file(file) == [] and file.read_text("utf-8") == text
