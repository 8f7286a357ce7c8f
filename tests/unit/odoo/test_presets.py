"""Presets: what they change of the shipped templates, what is refused, and OCA medical on a real Odoo.

The last part needs ODOO_URL and an Odoo 16 with the modules that the preset names; the others need nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from channels.lint.findings import Findings
from channels.lint.odoo import Chosen, check
from channels.lint.placing import Offsets
from channels.lint.templates import sheet_of_file
from destinations.odoo import Odoo
from engine.errors import ConfigError
from engine.hl7.er7 import Message
from engine.model import Meta, Scope
from engine.odoo.snapshot import Snapshot, of_sandbox
from engine.spec import presets
from engine.spec.channel import Configuration, load
from engine.spec.component import BuildContext
from engine.spec.document import Document, Mark
from engine.spec.template import compile_template, shipped_folder
from engine.states import Result
from transforms.canonical.from_hl7 import interpreter

NOTHING = Configuration(Document(Path("channels.yaml")))
SHIPPED = [name for name in presets.names() if name != presets.PLAIN]
TEMPLATES = sorted(path.stem for path in shipped_folder().glob("*.yaml"))
PID = "PID|1||{n}^^^H^MR||Doe^Jane||19800102|F|||Street 1^^Town||5551234|||M"
PV1 = f"PV1|1|I|4E^410^A^H||||7{{n}}^House^Greg^^^^^^H{'|' * 12}V{{n}}^^^H{'|' * 25}20260301"
SIU = (
    "SCH||A{n}^SCHED|||||CHK^Check|||||^^30^20270104100000^20270104103000|||||||||||||Booked",
    PID, "RGS|1", "AIP|1||7{n}^House^Greg^^^^^^H|||20270104100000",
)  # fmt: skip


def made(preset, template, trigger, *segments, n="1"):
    lines = [f"MSH|^~\\&|APP|H|||20260301||{trigger}|C1|P|2.5.1", "EVN||20260301", *segments]
    raw = "\r".join(lines).replace("{n}", n) + "\r"
    render = compile_template(template, BuildContext(), preset=preset)
    return render(Scope(Message(raw.encode()), Meta(type=trigger), interpreter({})))


def named(operations):
    return [(one["op"], one["model"], one["key"]) for one in operations]


def values(operations, model):
    return next(one["values"] for one in operations if one["model"] == model)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("preset", SHIPPED)
def test_every_preset_fits_every_shipped_template(preset, template):
    assert compile_template(template, BuildContext(), preset=preset)
    path = presets.find(preset, BuildContext())
    sheet = sheet_of_file(Offsets(), NOTHING, shipped_folder() / f"{template}.yaml", path)
    assert sheet.problems == []


@pytest.mark.parametrize("preset", SHIPPED)
def test_a_preset_names_each_module_of_what_it_uses(preset):
    path = presets.find(preset, BuildContext())
    read = presets.read(path.read_text(), path.name)
    own = {thing for things in read.modules.values() for thing in things}
    plain = of_sandbox(16)
    for rule in yaml.safe_load(path.read_text())["rules"]:
        for place in presets.PLACES:
            for operation in rule.get(place, ()):
                model = next(operation[verb] for verb in ("upsert", "write", "merge") if verb in operation)
                assert model in plain.models or model in own
        model = next(iter(rule["change"].values()))
        for field in rule.get("values", ()):
            assert f"{model}.{field}" in own


def test_plain_changes_nothing():
    assert made("plain", "patient", "ADT^A01", PID, PV1) == made("", "patient", "ADT^A01", PID, PV1)


def test_oca_medical_keeps_patients_and_encounters():
    admitted = made("oca_medical", "patient", "ADT^A01", PID, PV1)
    assert named(admitted) == [
        ("upsert", "res.partner", "patient/H/1"),
        ("upsert", "medical.patient", "patient/H/1"),
        ("upsert", "res.partner", "location/H/4E/410/A"),
        ("upsert", "calendar.event", "visit/H/V1"),
        ("upsert", "medical.encounter", "encounter/H/V1"),
    ]
    assert values(admitted, "medical.patient") == {
        "partner_id": {"key": "patient/H/1"},
        "birth_date": "1980-01-02",
        "gender": "female",
        "marital_status": "m",
    }
    cancelled = made("oca_medical", "patient", "ADT^A11", PID, PV1)
    assert named(cancelled)[-1] == ("write", "medical.encounter", "encounter/H/V1")
    assert cancelled[-1]["values"] == {"state": "cancelled"}


def test_oca_medical_merges_patients_before_contacts():
    merged = made("oca_medical", "patient", "ADT^A40", PID, "MRG|2{n}^^^H^MR")
    assert [one[:2] for one in named(merged)][-2:] == [("merge", "medical.patient"), ("merge", "res.partner")]


def test_a_number_that_changes_cancels_the_old_encounter_only():
    changed = made("oca_medical", "patient", "ADT^A50", PID, "MRG|1^^^H^MR||||V9^^^H", PV1)
    writes = [one for one in changed if one["model"] == "medical.encounter" and one["op"] == "write"]
    assert [(one["key"], one["values"]) for one in writes] == [("encounter/H/V9", {"state": "cancelled"})]


def test_almightycs_makes_its_own_appointments():
    booked = made("almightycs", "appointment", "SIU^S12", *SIU)
    assert [model for _, model, _ in named(booked)] == [
        "res.partner", "hms.patient", "res.partner", "hms.appointment"]  # fmt: skip
    assert values(booked, "hms.appointment")["state"] == "confirm"
    assert values(booked, "hms.appointment")["date_to"] == "2027-01-04 10:30:00"
    cancelled = made("almightycs", "appointment", "SIU^S15", *SIU)
    assert named(cancelled) == [("write", "hms.appointment", "appointment/SCHED/A1")]


def test_browseinfo_makes_physicians_and_keeps_the_calendar():
    booked = made("browseinfo", "appointment", "SIU^S12", *SIU)
    assert [model for _, model, _ in named(booked)] == [
        "res.partner", "medical.patient", "res.partner", "medical.physician", "calendar.event",
        "product.product", "medical.appointment"]  # fmt: skip
    assert values(booked, "res.partner")["is_patient"] is True
    without = made("browseinfo", "appointment", "SIU^S12", *SIU[:3])
    assert "medical.appointment" not in [model for _, model, _ in named(without)]


GOOD = "rules: [{change: {upsert: res.partner, key: a}, values: {x: 1}}]"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[]", "p.yaml"),
        ("title: x", "p.yaml:1:1"),
        ("rulez: []", "p.yaml:1:1"),
        (GOOD.replace("values: {x: 1}", "vales: {x: 1}"), "p.yaml:1:49"),
        (GOOD.replace("key: a", "kay: a"), "p.yaml:1:9"),
        (GOOD.replace("upsert", "insert"), "p.yaml:1:9"),
        (GOOD.replace("values: {x: 1}", "after: [{for: a in b, upsert: m}]"), "p.yaml:1:57"),
        ("modules: {m: x}\n" + GOOD, "p.yaml:1:11"),
    ],
)
def test_what_is_no_preset(text, where):
    with pytest.raises(ConfigError) as caught:
        presets.read(text, "p.yaml")
    assert caught.value.code == "preset.shape" and caught.value.where == where


def test_an_own_preset_and_an_unknown_one(tmp_path):
    (tmp_path / "ours.yaml").write_text(
        "rules: [{change: {upsert: res.partner, key: patient}, values: {x_born: '{{ p.birth_date }}'}}]"
    )
    context = (
        BuildContext(base=tmp_path) if hasattr(BuildContext(), "base") else BuildContext(folder=tmp_path)
    )
    render = compile_template("patient", context, preset="ours.yaml")
    raw = f"MSH|^~\\&|A|H|||20260301||ADT^A08|C1|P|2.5.1\r{PID}\r".replace("{n}", "1")
    found = render(Scope(Message(raw.encode()), Meta(type="ADT^A08"), interpreter({})))
    assert values(found, "res.partner")["x_born"] == "1980-01-02"
    with pytest.raises(ConfigError) as caught:
        compile_template("patient", context, preset="oca_medica")
    assert caught.value.code == "preset.unknown" and "oca_medical" in caught.value.todo


def test_operations_in_place_take_no_preset():
    with pytest.raises(ValueError, match="changes a `template`"):
        Odoo(connection="c", operations=[{"archive": "m", "key": "k"}], preset="oca_medical")


@pytest.fixture
def linted(tmp_path):
    """What lint finds of the patient template with OCA medical, against a snapshot."""
    (tmp_path / "c.yaml").write_text("channels: {}")
    configuration = load(tmp_path / "c.yaml")
    return lambda snapshot: lint(configuration, snapshot)


def lint(configuration, snapshot, preset="oca_medical", template="patient"):
    path = presets.find(preset, BuildContext())
    sheet = sheet_of_file(Offsets(), NOTHING, shipped_folder() / f"{template}.yaml", path)
    findings = Findings(configuration)
    chosen = Chosen(presets.read(path.read_text(), path.name), Mark("c.yaml", 9, 5))
    check(sheet, snapshot, findings, chosen)
    return [(one.code, str(one.mark), one.text) for one in findings.problems]


def test_lint_says_which_module_is_missing_and_says_it_once(linted):
    found = linted(of_sandbox(16))
    assert {(code, mark) for code, mark, _ in found} == {("odoo.preset", "c.yaml:9:5")}
    texts = " ".join(text for _, _, text in found)
    assert "'medical_base'" in texts and "no medical.patient" in texts and "Odoo 16.0" in texts
    assert len(found) == 3  # medical_base, medical_administration_location, …_encounter


def with_modules(readonly):
    known = of_sandbox(16)
    one = {"type": "char", "string": "x"}
    known.models["medical.patient"] = dict.fromkeys(
        ("partner_id", "birth_date", "gender", "marital_status", "deceased_date"), one
    ) | {"partner_id": {"type": "many2one", "relation": "res.partner"}}
    known.models["medical.encounter"] = {
        name: {**one, "readonly": readonly} for name in ("name", "state")
    } | {name: {"type": "many2one"} for name in ("patient_id", "location_id")}
    known.models["res.partner"] = {**known.models["res.partner"], "is_location": {"type": "boolean"}}
    return Snapshot(known.version, known.models, known.defaults, known.names)


def test_lint_is_content_where_the_modules_are(linted):
    assert linted(with_modules(readonly=True)) == []


def test_lint_tells_a_field_that_another_version_of_the_module_lacks(linted):
    snapshot = with_modules(readonly=False)
    del snapshot.models["medical.patient"]["deceased_date"]
    ((code, mark, text),) = linted(snapshot)
    assert code == "odoo.no_field" and "oca_medical.yaml:" in mark and "deceased_date" in text


if os.environ.get("ODOO_URL"):

    def delivered(odoo, *messages):
        outcomes = [odoo.deliver(message)[0] for message in messages]
        assert [(outcome.result, outcome.text) for outcome in outcomes] == [(Result.SENT, "")] * len(messages)

    def test_oca_medical_on_a_real_odoo(odoo):
        if not odoo.find("ir.model", [["model", "=", "medical.encounter"]], "model"):
            pytest.skip("this Odoo has no medical modules of the OCA's authors")
        one, two = odoo.run_id, f"{odoo.run_id}b"
        admitted = made("oca_medical", "patient", "ADT^A01", PID, PV1, n=one)
        delivered(odoo, admitted, admitted, made("oca_medical", "patient", "ADT^A04", PID, PV1, n=two))
        (partner,) = odoo.find("res.partner", [["ref", "=", one]], "name")
        patients = odoo.find(
            "medical.patient", [["partner_id", "=", partner["id"]]], "name", "gender", "birth_date"
        )
        assert [(patient["gender"], patient["birth_date"]) for patient in patients] == [
            ("female", "1980-01-02")
        ]
        domain = [["patient_id", "=", patients[0]["id"]]]
        encounter = odoo.find("medical.encounter", domain, "state", "location_id", "name")
        assert [(item["state"], bool(item["location_id"])) for item in encounter] == [("in-progress", True)]
        delivered(odoo, made("oca_medical", "patient", "ADT^A03", PID, PV1, n=one))
        assert odoo.find("medical.encounter", domain, "state")[0]["state"] == "finished"
        delivered(odoo, made("oca_medical", "patient", "ADT^A11", PID, PV1, n=one))
        assert odoo.find("medical.encounter", domain, "state")[0]["state"] == "cancelled"
        delivered(odoo, made("oca_medical", "appointment", "SIU^S12", *SIU, n=one))
        doctor = odoo.find(
            "res.partner", [["name", "=", "Greg House"], ["is_practitioner", "=", True]], "name"
        )
        assert doctor
        merge = made("oca_medical", "patient", "ADT^A40", PID, f"MRG|{two}^^^H^MR", n=one)
        delivered(odoo, merge, merge)
        left = odoo.find("res.partner", [["ref", "in", [one, two]]], "active", "ref")
        assert [(item["ref"], item["active"]) for item in left] == [(one, True)]
        delivered(
            odoo, made("oca_medical", "patient", "ADT^A08", PID, n=two)
        )  # the old number is the survivor
        assert len(odoo.find("res.partner", [["id", "=", partner["id"]], ["active", "=", True]], "ref")) == 1
