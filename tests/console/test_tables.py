"""Code tables in the console: rows with how often they were asked for, unmapped codes, and a click to add them."""

from __future__ import annotations

import re

import pytest

from engine.store import audit, versions

MAIN = """
tables:
  sex: {file: sex.yaml, otherwise: keep}
  ward: {values: {ICU: Intensive}, otherwise: keep}
channels:
  adt:
    listener: {mllp: {port: 0}}
    transformers:
      - code_table: {path: PID-8.1, table: sex}
"""
RAW = b"MSH|^~\\&|EHR|RGH|I|C|20260302||ADT^A28|%s|P|2.5.1\rPID|1||1^^^RGH^MR||Keller^Nora||19840917|%s\r"
API = "/api/v1/configuration/tables"


@pytest.fixture
def one(tmp_path, put, browser):
    """An analyst before a configuration whose messages asked for F twice, for W three times, and for a long text."""
    (tmp_path / "channels.yaml").write_text(MAIN)
    (tmp_path / "sex.yaml").write_text("# as agreed\nF: female\nM: male\n")
    for number, code in enumerate(["F", "F", "W", "W", "W", "<b>", "Keller Nora born in Zurich on a Monday"]):
        put(f"C{number}", raw=RAW % (str(number).encode(), code.encode()))
    return browser("analyst")


def test_each_row_has_its_count_and_unmapped_codes_are_seen(one):
    tables = {table["name"]: table for table in one.get(API).json()["tables"]}
    assert [row["where"] for row in tables["sex"]["rows"]] == ["sex.yaml:2", "sex.yaml:3"]
    assert tables["ward"]["file"] == "channels.yaml" and tables["sex"]["otherwise"] == "keep"
    seen = one.get(f"{API}/census?last=50").json()
    assert seen["sex"]["counts"] == {"F": 2} and seen["sex"]["missing"] == {"W": 3, "<b>": 1}
    assert seen["sex"]["long"] == 1 and seen["ward"]["channels"] == []
    assert one.get(f"{API}/census?last=2").json()["sex"]["counts"] == {}


def test_a_code_is_added_with_one_click_and_the_rest_stays(one, tmp_path, store):
    page = one.get("/config/tables?name=sex").text
    assert "Keller" not in page and "&lt;b&gt;" in page and "<b>" not in page
    seen = re.search(r'name="seen" value="(\w+)"', page)[1]
    fields = {"name": "sex", "code": "W", "seen": seen, "column:value": "female"}
    done = one.post("/config/tables", **fields)
    assert done.status_code == 200 and 'aria-label="Add W"' in page and 'aria-label="Add W"' not in done.text
    assert (tmp_path / "sex.yaml").read_text() == "# as agreed\nF: female\nM: male\nW: female\n"
    assert versions.latest(store.reader).note == "table sex: W is female"
    assert audit.find(store.reader, action="config.table")[0].actor == "analyst"
    stale = one.post("/config/tables", **fields | {"code": "X"})
    assert stale.status_code == 412 and "meanwhile" in stale.text and 'value="female"' in stale.text
    for name, code, value, file, text in (
        ("ward", "ER", "Emergency", "channels.yaml", "{ICU: Intensive, ER: Emergency}"),
        ("sex", "M", "man", "sex.yaml", "M: man\n"),
    ):
        seen = re.search(r'name="seen" value="(\w+)"', one.get("/config/tables?name=sex").text)[1]
        one.post("/config/tables", name=name, code=code, seen=seen, **{"column:value": value})
        assert text in (tmp_path / file).read_text()
    seen = re.search(r'name="seen" value="(\w+)"', one.get("/config/tables?name=sex").text)[1]
    assert one.post("/config/tables", name="sex", code="M", seen=seen, act="remove").status_code == 200
    assert (tmp_path / "sex.yaml").read_text() == "# as agreed\nF: female\nW: female\n"


def test_what_cannot_be_written_is_refused(one, tmp_path):
    etag = one.get(API).headers["etag"]
    headers = {"x-csrf-token": one.csrf, "if-match": etag}

    def write(table="sex", **body):
        return one.http.post(f"{API}/{table}/codes", json=body, headers=headers).status_code

    assert write("nothing", code="A", row={"value": "b"}) == 404
    assert write(code="A\nB", row={"value": "b"}) == 422
    assert write(code="A", row={}) == 422
    assert write("../x", code="A", row={"value": "b"}) == 404
    assert (
        one.http.post(
            f"{API}/sex/codes", json={"code": "A", "row": None}, headers={"x-csrf-token": one.csrf}
        ).status_code
        == 428
    )
    assert (tmp_path / "sex.yaml").read_text() == "# as agreed\nF: female\nM: male\n"
