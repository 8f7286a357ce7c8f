"""External ids turn back into model and key, and hold nothing that Odoo refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.odoo.errors import OdooError
from engine.odoo.externalid import decode, encode, valid_module

models = st.from_regex(r"[a-z][a-z0-9_]{0,8}(\.[a-z0-9_]{1,8}){0,3}", fullmatch=True)
keys = st.text(st.characters(), min_size=1, max_size=60)


@given(models, keys)
def test_round_trip(model, key):
    name = encode(model, key)
    assert decode(name) == (model, key)
    assert name.isascii()
    assert not any(char in name for char in " ,\t\n\"'%".replace("%", ""))


@given(models, keys, models, keys)
def test_no_two_share_a_name(model, key, other, another):
    assert (encode(model, key) == encode(other, another)) == ((model, key) == (other, another))


def test_readable():
    assert encode("res.partner", "patient/HOSP/1001") == "res_partner.patient/HOSP/1001"
    assert encode("x.a_b", "a b,c%") == "x_a%5Fb.a%20b%2Cc%25"


@pytest.mark.parametrize("key", ["", "x" * 2000])
def test_refused(key):
    with pytest.raises(OdooError) as caught:
        encode("res.partner", key)
    assert caught.value.code == "odoo.key"


def test_modules():
    assert valid_module("isthmus_north")
    assert not any(valid_module(name) for name in ("", "a.b", "A", "1a", "a b", "a\n"))
