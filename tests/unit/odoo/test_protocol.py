"""Requests as Odoo wants them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.odoo.errors import OdooError
from engine.odoo.protocol import Call, Json2, JsonRpc, clean, dumps


def test_json2():
    call = Call("res.partner", "read", [1], (), {"fields": ["name"]}, {"tz": "UTC"})
    request = Json2("o19", "secret").request(call)
    assert (request.method, request.path) == ("POST", "/json/2/res.partner/read")
    assert request.headers["Authorization"] == "bearer secret"
    assert request.headers["X-Odoo-Database"] == "o19"
    assert json.loads(request.body) == {"ids": [1], "fields": ["name"], "context": {"tz": "UTC"}}


def test_json2_has_no_positional_arguments():
    with pytest.raises(OdooError) as caught:
        Json2("o19", "k").request(Call("m", "f", [1], ("x",)))
    assert caught.value.code == "odoo.arguments"


def test_jsonrpc():
    rpc = JsonRpc("o16", "secret", 6)
    body = json.loads(rpc.request(Call("m", "create", None, (), {"vals_list": [{}]}, {"a": 1})).body)
    assert body["params"]["args"] == ["o16", 6, "secret", "m", "create", [[{}]], {"context": {"a": 1}}]
    body = json.loads(rpc.request(Call("m", "write", [1], (), {"vals": {"x": 1}})).body)
    assert body["params"]["args"][5:] == [[[1], {"x": 1}], {}]


def test_jsonrpc_answers():
    rpc = JsonRpc("o16", "k")
    assert rpc.answer(Call("m", "f"), 200, b'{"jsonrpc": "2.0", "id": 1, "result": [1]}') == [1]
    assert rpc.answer(Call("m", "f"), 200, b'{"jsonrpc": "2.0", "id": 1}') is None
    with pytest.raises(OdooError):
        rpc.answer(Call("m", "f"), 200, b"[]")


@given(
    st.recursive(st.text(st.characters()), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_what_goes_out_is_text_that_odoo_takes(value):
    data = dumps({"x": value})
    assert b"\\u0000" not in data.replace(b"\\\\", b"")
    data.decode("utf-8")
    assert json.loads(data) == clean({"x": value})
