"""What hides passwords in a configuration's text hides all of them, and puts each back at its own place."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from channels.veil import VEIL, unveiled, veiled
from engine.errors import ConfigError

TEXT = """
connections:
  a: {odoo: {url: "http://me:hunter2@odoo", api_key: hunter2, login: me}}
  b:
    odoo:
      api_key: !secret odoo_api_key   # a reference
      password: "${PASSWORD}"
  c: {odoo: {api_key: "${KEY:-hunter2}"}}
channels:
  x:
    listener:
      http:
        tokens: [hunter2, 'hunter2 too']
        secret: |
          hunter2
          hunter2
    filters:
      - webhook: {hash: sha256, key: hunter2}
"""


def test_no_value_is_left_and_references_stay():
    shown = veiled(TEXT)
    assert "hunter2" not in shown
    assert "!secret odoo_api_key" in shown and '"${PASSWORD}"' in shown and "${KEY:-•••}" in shown
    assert "login: me" in shown and "hash: sha256" in shown


def test_everything_is_put_back():
    assert yaml.compose(unveiled(veiled(TEXT), TEXT))
    assert unveiled(veiled(TEXT), TEXT) == TEXT


def test_an_edit_elsewhere_keeps_them_and_a_moved_one_is_refused():
    shown = veiled(TEXT)
    edited = shown.replace("login: me", "login: you").replace("channels:\n", "# more\n\nchannels:\n")
    assert unveiled(edited, TEXT) == TEXT.replace("login: me", "login: you").replace(
        "channels:\n", "# more\n\nchannels:\n"
    )
    with pytest.raises(ConfigError) as refused:
        unveiled(shown.replace("  c: {odoo", "  d: {odoo"), TEXT)
    assert refused.value.code == "config.veil" and "hunter2" not in str(refused.value)


def test_another_value_may_be_written_instead():
    assert unveiled("a: {password: new}", "a: {password: old}") == "a: {password: new}"


def test_a_text_that_is_no_yaml_hides_by_its_lines():
    assert "hunter2" not in veiled("a: [\n  password: hunter2\n  api_key: 'hunter2'\n")


@given(
    st.dictionaries(st.sampled_from(["token", "name", "api_key", "x"]), st.text(max_size=12), max_size=4),
    st.booleans(),
)
def test_any_text_comes_back_as_it_was(values, flow):
    text = yaml.safe_dump({"a": [values, values]}, allow_unicode=True, default_flow_style=flow)
    if VEIL not in text:
        assert unveiled(veiled(text), text) == text
