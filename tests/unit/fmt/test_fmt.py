"""`fmt`: every YAML file of the repository and generated ones keep what they say, comments and anchors included."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, note, settings
from hypothesis import strategies as st

from channels.build import CONNECTIONS
from engine.cli.fmt import command
from engine.errors import ConfigError
from engine.spec.cst import comments
from engine.spec.document import Document, read_text
from engine.spec.normal import normal
from engine.spec.schema import schema

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = schema(CONNECTIONS)
FOLDERS = ("config", "transforms", "tests")
SHIPPED = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.yaml"))]
WRONG = (ROOT / "tests/unit/spec/wrong_configurations.txt").read_text("utf-8").split("\n=== ")[1:]
SNIPPETS = [
    found
    for page in sorted((ROOT / "docs").glob("*.md"))
    for found in re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
]


def form(text: str) -> str:
    return normal(text, "x.yaml", SCHEMA)


def said(text: str) -> object:
    """What is loaded of a text: data, and what it complains of but for the places."""
    document = read_text(text, Document(Path("x.yaml")), {})
    return document.data, Counter((one.code, one.text) for one in document.problems)


def kept(text: str) -> None:
    """Formatted, a text says the same, has the same comments, and formatting it again changes nothing."""
    made = form(text)
    assert said(made) == said(text)
    assert Counter(c.text for c, _ in comments(made)) == Counter(c.text for c, _ in comments(text))
    assert form(made) == made


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files(path):
    kept(path.read_text("utf-8"))


@pytest.mark.parametrize("folder", ["config", "transforms"])
def test_what_is_shipped_is_in_normal_form(folder):
    done = CliRunner().invoke(command, ["--check", "--diff", str(ROOT / folder)])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("text", SNIPPETS)
def test_snippets_of_the_docs(text):
    kept(text)


def test_configurations_that_are_wrong():
    done = 0
    for case in WRONG:
        text = case.partition("\n")[2].partition("\n--- told")[0] + "\n"
        try:
            made = form(text)
        except ConfigError as error:
            assert error.code in ("yaml.syntax", "yaml.depth", "fmt.refused")
        else:
            done += 1
            assert form(made) == made
    assert done > 100


MESSY = """\
# head

# about x
x-a: &base   # here
    timezone: UTC
    # in base
    ack:   routed


channels:

  # first
  one:
       filters:
       - message_type: {allow: [ADT^A01,   'ADT^A02']}  # types
       # before condition
       -   # odd
         condition: "msg['PID-3'] != ''"
       - - a
         - b
       listener: {
         # why
         mllp: {port: 2575, # inside
           tls: {certificate: a, key: !secret k}}
         # end
       }
       description: NO


       destinations:
         lis:
           on_error: skip   # tail
           mllp:
             port: ${P:-7}
             host: "${H:-a}"
             # foot of mllp
           # foot of lis
         # foot of destinations
       # foot of one
  # before two
  two:
    listener: {mllp: {port: 2}}
    transformers:
      - jinja: {var: k, text: 'it''s "quoted"'}
      - jinja:
          var: t
          text: |2-  # three
              indented
            less
    <<: *base
# the end
"""
NEAT = """\
# head

# about x
x-a: &base # here
  timezone: UTC
  # in base
  ack: routed

channels:
  # first
  one:
    description: "NO"
    listener:
      # why
      mllp: # inside
        port: 2575
        tls: {certificate: a, key: !secret k}
      # end
    filters:
      - message_type: {allow: [ADT^A01, "ADT^A02"]} # types
      # before condition
      # odd
      - condition: "msg['PID-3'] != ''"
      - - a
        - b

    destinations:
      lis:
        mllp:
          host: "${H:-a}"
          port: ${P:-7}
          # foot of mllp
        on_error: skip # tail
        # foot of lis
      # foot of destinations
    # foot of one
  # before two
  two:
    <<: *base
    listener: {mllp: {port: 2}}
    transformers:
      - jinja: {text: 'it''s "quoted"', var: k}
      - jinja:
          text: |2- # three
              indented
            less
          var: t
# the end
"""


def test_a_messy_file():
    assert form(MESSY) == NEAT
    assert form(MESSY.replace("\n", "\r\n")) == NEAT
    kept(MESSY)


@pytest.mark.parametrize(
    ("text", "neat"),
    [
        ("", ""),
        ("# only\n\n\n# comments", "# only\n\n# comments\n"),
        ("---\na:   1", "---\na: 1\n"),
        ("\ufeffa: 1\n\n\n", "a: 1\n"),
        ("- a\n-   b:   1\n    c: 2\n", "- a\n- b: 1\n  c: 2\n"),
        ("a:\n- 1\n- 2\n", "a:\n  - 1\n  - 2\n"),
        ("a: &x [1,2]\nb: *x\n", "a: &x [1, 2]\nb: *x\n"),
        ("a: !secret\n    env: X\n", "a: !secret\n  env: X\n"),
        ("a:\n    one\n    two\n\n    three\n", "a: one\n  two\n\n  three\n"),
        ("a: |+\n     x\n\n\nb: 1\n", "a: |+\n  x\n\n\nb: 1\n"),
        ("a: >\n     x\n       y\n\n\nb: 1\n", "a: >\n  x\n    y\n\nb: 1\n"),
        ("a: {b: , c: {}, d: []}\n", "a: {b: , c: {}, d: []}\n"),
        ("# c\n- a\n\n\n- b\n", "# c\n- a\n\n- b\n"),
        ("no: 'yes'\nday: 2026-01-01\n", 'no: "yes"\nday: 2026-01-01\n'),
        ("channels: {a: {description: 007, timezone: on}}", 'channels: {a: {description: "007", timezone: "on"}}\n'),
        ("a: 'x\ny'\n", "a: 'x\n  y'\n"),
        ("{a: 1, # c\n b: 2}\n", "a: 1 # c\nb: 2\n"),
    ],
)  # fmt: skip
def test_small_ones(text, neat):
    assert form(text) == neat
    kept(text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: [1", "yaml.syntax"),
        ("a: 1\n---\nb: 2\n", "fmt.refused"),
        ("%YAML 1.2\n---\na: 1\n", "fmt.refused"),
        ("? [a]\n: 1\n", "fmt.refused"),
        ("a: \x07", "yaml.syntax"),
    ],
)
def test_what_is_refused(text, code):
    with pytest.raises(ConfigError) as caught:
        form(text)
    assert caught.value.code == code and caught.value.where.startswith("x.yaml")


def test_an_anchor_stays_before_its_aliases():
    text = "channels:\n  a:\n    transformers: &t\n      - date: {paths: [PID-7]}\n    filters: []\n"
    text += "  b: {transformers: *t}\n"
    assert form(text).index("&t") < form(text).index("filters")
    kept(text)


WORDS = st.text(st.sampled_from("ab1:#-'\" \\{}[],&*!|>%@`\n\tüE0.~?"), max_size=12)
DATA = st.recursive(
    WORDS | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("ab1no-", min_size=1, max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(data=DATA, style=st.sampled_from([None, True, False]), quote=st.sampled_from([None, "'", '"', "|", ">"]),
       width=st.sampled_from([10, 40, 200]), indent=st.sampled_from([2, 3, 4, 8]), draw=st.data())  # fmt: skip
def test_generated_files(data, style, quote, width, indent, draw):
    """Whatever PyYAML writes, with comments and blank lines put between its lines where they change nothing."""
    text = yaml.dump(
        data, default_flow_style=style, default_style=quote, width=width, indent=indent, allow_unicode=True
    )
    if "\n? " in f"\n{text}" or re.search(r"^\s*(- )*\? ", text, re.MULTILINE):
        return
    lines = text.split("\n")
    for place in draw.draw(st.lists(st.integers(0, len(lines)), max_size=5)):
        column, alone = draw.draw(st.integers(0, 9)), draw.draw(st.booleans())
        more = [*lines]
        if alone:
            more[place:place] = draw.draw(st.sampled_from([[" " * column + f"# c{place}"], [""]]))
        elif place < len(lines):
            more[place] += f"  # t{place}"
        try:
            same = yaml.safe_load("\n".join(more)) == data
        except (yaml.YAMLError, ValueError, LookupError):
            same = False
        lines = more if same else lines
    text = "\n".join(lines)
    note(text)
    made = form(text)
    note(made)
    assert yaml.safe_load(made) == data
    assert Counter(c.text for c, _ in comments(made)) == Counter(c.text for c, _ in comments(text))
    assert form(made) == made


def test_the_verb(tmp_path):
    (tmp_path / "good.yaml").write_text("a: 1\n", "utf-8")
    (tmp_path / "messy.yaml").write_text("a:    1\n", "utf-8")
    (tmp_path / "broken.yml").write_text("a: [\n", "utf-8")
    run = CliRunner().invoke
    done = run(command, ["--check", str(tmp_path)])
    assert done.exit_code == 1 and "messy.yaml is not in its normal form" in done.output
    assert (
        "broken.yml:2:1: this is not YAML" in done.output
        and "1 in normal form, 1 not, 1 refused." in done.output
    )
    assert (tmp_path / "messy.yaml").read_text("utf-8") == "a:    1\n"
    done = run(command, ["--diff", str(tmp_path / "messy.yaml")])
    assert done.exit_code == 0 and "-a:    1\n+a: 1\n" in done.output
    assert run(command, [str(tmp_path / "messy.yaml")]).exit_code == 0
    assert (tmp_path / "messy.yaml").read_text("utf-8") == "a: 1\n"
    assert run(command, ["--check", str(tmp_path / "messy.yaml")]).exit_code == 0
    assert run(command, [str(tmp_path / "nowhere.yaml")]).exit_code == 1


def test_standard_input():
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_engine.py"), "fmt", "-"],
        input=b"a:   1 # c", capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == b"a: 1 # c\n"
