"""HL7 as a tree: every part by the path that channels read, nothing left out unsaid, bounded whatever comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from console import hl7_tree
from console.hl7_tree import Node, tree
from console.masking import DOT
from engine.hl7.er7 import Message

SAMPLES = sorted((Path(__file__).resolve().parents[2] / "config/samples").glob("*.hl7"))
HEADER = b"MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20260302||ADT^A01^ADT_A01|C1|P|2.5.1\r"
RAW = HEADER + (
    b"PID|1||100^^^RGH&1.2.3&ISO^MR~200^^^X||Keller&van^Nora~Maiden^N\\T\\O\r"
    b"OBX|1|ST|A||one\rOBX|2|ST|B&C||two~~three\r"
)


def every(nodes: list[Node]) -> list[Node]:
    return [one for node in nodes for one in (node, *every(node.children))]


def leaves(nodes: list[Node]) -> list[Node]:
    return [one for one in every(nodes) if not one.children and "-" in one.path]


def count(nodes: list[Node]) -> int:
    return len(every(nodes))


@pytest.mark.parametrize("raw", [RAW, *(path.read_bytes() for path in SAMPLES)])
def test_each_part_is_what_a_channel_reads_by_its_path(raw):
    found = tree(raw, True)
    assert found.segments == len(found.nodes) == len(Message(raw).segments()) and found.next is None
    message = Message(raw)
    for one in leaves(found.nodes):
        if one.path not in ("MSH-1", "MSH-2"):
            assert message[one.path] == one.value, one.path


def test_repetitions_components_and_subcomponents_are_all_there():
    parts = {one.path: one.value for one in every(tree(RAW, True).nodes)}
    assert parts["PID-3[1].4.2"] == "1.2.3" and parts["PID-3[2].1"] == "200"
    assert parts["PID-5[1].1.2"] == "van" and parts["PID-5[2].2"] == "N&O"
    assert parts["OBX[2]-5[3]"] == "three" and "OBX[2]-5[2]" not in parts, "the second is empty"
    assert parts["OBX[2]-3.1.2"] == "C" and parts["OBX-5"] == "one"
    names = {one.path: one.name for one in every(tree(RAW, True).nodes)}
    assert names["PID-3[2].1"] == names["PID-3[1].1"] != "" and names["OBX[2]-5"] == "Observation Value"


def test_where_a_part_stands_in_the_text():
    found = tree(RAW, True)
    at = {one.path: one.at for one in every(found.nodes)}
    assert (
        at["PID-3[2].4"] == (2, 3, 2, 4)
        and at["PID-5[1].1.2"] == (2, 5, 1, 1, 2)
        and at["OBX[2]-5[3]"] == (4, 5, 3)
    )
    assert found.marks == "|~^&" and found.lines == RAW.decode().rstrip("\r").split("\r")


def test_without_the_right_no_value_is_in_it():
    found = tree(RAW, False)
    text = " ".join(one.value for one in every(found.nodes[1:])) + " ".join(found.lines[1:])
    assert not any(value in text for value in ("Keller", "100", "one", "RGH", "van"))
    assert {one.value for one in leaves(found.nodes[1:])} == {DOT}
    assert found.lines[0].startswith("MSH|") and "RGH" in found.lines[0]


def test_a_view_says_what_it_leaves_out_and_where_it_goes_on(monkeypatch):
    monkeypatch.setattr(hl7_tree, "PARTS", 20)
    raw = HEADER + b"".join(b"NTE|%d||line %d\r" % (n, n) for n in range(1, 40))
    first, seen, views = 1, [], 0
    while first is not None:
        view = tree(raw, True, first)
        assert view.first == first and view.segments == 40 and len(view.lines) == len(view.nodes)
        seen += [node.path for node in view.nodes]
        first, views = view.next, views + 1
    assert seen == ["MSH", "NTE", *(f"NTE[{n}]" for n in range(2, 40))] and views > 2
    assert tree(raw, True, 41).nodes == []


@pytest.mark.parametrize(
    "field",
    ["~".join(["a^b"] * 50_000), "^".join(["a&b"] * 50_000), "&".join("a" * 50_000), "|".join("a" * 50_000)],
)
def test_a_view_is_bounded_whatever_a_field_holds(field):
    found = tree(HEADER + b"ZZZ|" + field.encode() + b"\rPID|1||5\r", True)
    assert count(found.nodes) <= hl7_tree.PARTS + 5
    assert any(one.left for one in every(found.nodes)), "what is left out is counted"
    assert found.next == 3
    assert max(len(one.value) for one in every(found.nodes)) < hl7_tree.LONGEST + 40


def test_what_is_no_hl7_has_no_tree():
    assert tree(None, True).nodes == tree(b"{}", True).nodes == []
