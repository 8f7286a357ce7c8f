"""A code is written into its table's file, and nothing else of the file changes."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from channels.tablework import changed
from engine.errors import ConfigError

BLOCK = "# codes\nM: male # he\n\nF: female\n# end\n"
INLINE = """tables:
  sex: {values: {M: male, F: female}, otherwise: error}
  ward:
    values:
      A: {name: Ward A, odoo: "7"}
      B: Ward B
channels: {}
"""


def test_a_code_is_added_changed_and_taken_away_in_a_file():
    assert changed(BLOCK, "x.yaml", (), "D", {"value": "divers"}) == BLOCK.replace(
        "female\n", "female\nD: divers\n"
    )
    assert changed(BLOCK, "x.yaml", (), "M", {"value": "man"}) == BLOCK.replace("male # he", "man # he")
    assert changed(BLOCK, "x.yaml", (), "M", None) == BLOCK.replace("M: male # he\n", "")
    assert changed("# none yet\n", "x.yaml", (), "1", {"value": "no"}) == '# none yet\n"1": "no"\n'


def test_also_where_the_table_stands_in_the_channel_file():
    sex, ward = ("tables", "sex", "values"), ("tables", "ward", "values")
    assert "{M: male, F: female, X: other}" in changed(INLINE, "c.yaml", sex, "X", {"value": "other"})
    assert "{values: {F: female}," in changed(INLINE, "c.yaml", sex, "M", None)
    assert "{values: {M: male}," in changed(INLINE, "c.yaml", sex, "F", None)
    assert '      B: Ward B\n      C: {name: Ward C, odoo: "9"}\n' in changed(
        INLINE, "c.yaml", ward, "C", {"name": "Ward C", "odoo": "9"}
    )
    assert 'A: {name: W, odoo: "7"}' in changed(INLINE, "c.yaml", ward, "A", {"name": "W", "odoo": "7"})


def test_csv_keeps_its_delimiter_and_line_ends():
    text = 'code;name;odoo\r\nA;"Ward; A";7\r\nB;Ward B;8'
    assert changed(text, "w.csv", (), "C", {"name": "Ward; C", "odoo": "9"}) == f'{text}\r\nC;"Ward; C";9\r\n'
    assert changed(text, "w.csv", (), "A", {"name": "x"}) == "code;name;odoo\r\nA;x;\r\nB;Ward B;8"
    assert changed(text, "w.csv", (), "A", None) == "code;name;odoo\r\nB;Ward B;8"


def test_what_it_does_not_know_is_refused():
    for text, code in (("- a\n", "A"), (BLOCK, "A\nB"), (BLOCK, "")):
        with pytest.raises(ConfigError):
            changed(text, "x.yaml", (), code, {"value": "x"})
    with pytest.raises(ConfigError):
        changed("code,name\nA,x\n", "x.csv", (), "B", {"no such column": "y"})
    with pytest.raises(ConfigError):
        changed(BLOCK, "x.yaml", (), "B", {"value": ""})


texts = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\x85\u2028\u2029"),
    min_size=1,
    max_size=8,
)


@example({"0": "0\xa0"}, "0", "0", False, False)
@example({"0": "0\u3000"}, "0", "1", True, False)
@example({"0\xa0": "0\xa0"}, "1", "1", True, False)
@example({"0": "0\xa0", "1": "1"}, "0", "1", True, True)
@given(st.dictionaries(texts, texts, max_size=4), texts, texts, st.booleans(), st.booleans())
def test_any_code_and_value_come_back_as_they_are(before, code, value, flow, take):
    text = yaml.safe_dump(before, allow_unicode=True, default_flow_style=flow, width=1000)
    after = yaml.load(changed(text, "x.yaml", (), code, None if take else {"value": value}), yaml.BaseLoader)
    rest = {key: one for key, one in yaml.load(text, yaml.BaseLoader).items() if key != code}
    assert (after or {}) == (rest if take else rest | {code: value})
