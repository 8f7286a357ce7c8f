"""What `plan` foretells of a FHIR server is what a delivery then does, element by element: for messages in any order,
on whatever stands there, written by this engine or by somebody else. And whatever happens on the way, what stands
there at the end is the same."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from desk import scripted
from fhir_desk import FhirDesk, of
from test_fhir_destination import CONFIG, FT1, HEAD, RXA, VISIT, book, pid, send, states
from twisted.internet.defer import ensureDeferred

from engine.fhir.entries import Entry
from engine.fhirserver.plan import _leaves

BIRTHS = ("19840917", '""', "")
OBR = "OBR|1|P1^EHR|F{n}^LAB|GLU^Glucose^LN|||20260228||||||||17^Moreau^Claire^^^Dr^^^NPI|||||||||{status}"


def some(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    """A message about one of three patients."""
    who = str(rng.randint(1, 3))
    other = str(rng.randint(1, 3))
    person = pid(who, rng.choice(("Keller^Nora", "Boyd^Nora")), rng.choice(BIRTHS))
    visit = VISIT.replace("V1", f"V{who}")
    return rng.choice(
        (
            ("ADT^A28", (person,)),
            ("ADT^A31", (person,)),
            ("ADT^A01", (person, visit)),
            ("ADT^A03", (person, visit)),
            ("ADT^A29", (person,)),
            ("ADT^A40", (person, f"MRG|{other}^^^RGH^MR")),
            ("ADT^A47", (person, f"MRG|{other}^^^RGH^MR")),
            ("SIU^S12", book(who)),
            ("SIU^S13", book(who, f"202604{rng.randint(10, 20)}100000+0000")),
            (
                "DFT^P03",
                (person, visit, FT1.format(kind=rng.choice(("CG", "CD"))).replace("T1^", f"T{who}^")),
            ),
            ("VXU^V04", (person, f"ORC|RE||{who}^DCS", RXA)),
            ("VXU^V04", (person, f"ORC|RE||{who}^DCS", RXA + "||||||D")),
            (
                "ORU^R01",
                (person, OBR.format(n=who, status=rng.choice("PF")), "OBX|1|NM|2345-7^G^LN||7|mmol/L|||||F"),
            ),
        )
    )


def state(desk: FhirDesk) -> dict[tuple[str, str], dict[str, str]]:
    return {
        (kind, id_): dict(_leaves(resource))
        for kind in desk.server.versions
        for id_, resource in desk.server.all(kind).items()
    }


def named(desk: FhirDesk, text: Any) -> Any:
    """`Patient/7` of `Patient?identifier=…`."""
    if not isinstance(text, str) or "?identifier=" not in text:
        return text
    kind, _, search = text.partition("?identifier=")
    system, _, value = search.rpartition("|")
    (found,) = [
        id_
        for id_, one in desk.server.all(kind).items()
        if any((item.get("system"), item["value"]) == (system, value) for item in one.get("identifier", ()))
    ]
    return f"{kind}/{found}"


def foretell(desk: FhirDesk, payload: bytes) -> list[Any]:
    destination = desk.engine.channels["adt"].router.pipelines["adt"].routes[0].destination
    found: list[Any] = []
    work = destination.planner().plan(msgspec.json.decode(payload, type=list[Entry]))
    ensureDeferred(work).addBoth(found.append)
    desk.settle()
    assert isinstance(found[0], list), found
    return found[0]


@pytest.mark.parametrize(("seed", "version"), list(enumerate(("R4", "R4B", "R5"))))
def test_what_is_foretold_is_done(tmp_path, seed, version):
    rng = random.Random(seed)
    with scripted():
        desk = FhirDesk(tmp_path, of(CONFIG, version))
        seen: set[str] = set()
        for _ in range(40):
            kind, segments = some(rng)
            before, asked = state(desk), len(desk.server.log)
            payloads = rendered(desk, kind, segments)
            told = [one for payload in payloads for one in foretell(desk, payload)]
            assert state(desk) == before, "to foretell is to write nothing"
            assert len(desk.server.log) - asked == len(payloads)
            control_id = send(desk, kind, *segments)
            rows = desk.rows(
                "SELECT d.state FROM delivery d JOIN message m ON m.id = d.message_id WHERE m.control_id = ?",
                control_id,
            )
            assert rows == [("SENT",)]
            done = state(desk)
            changed = {
                (
                    model,
                    id_,
                    field,
                    before.get((model, id_), {}).get(field, ""),
                    done[model, id_].get(field, ""),
                )
                for model, id_ in done
                for field in {**done[model, id_], **before.get((model, id_), {})}
                if before.get((model, id_), {}).get(field, "") != done[model, id_].get(field, "")
            }
            new = {(model, id_) for model, id_ in done if (model, id_) not in before}
            made = {(one.model, one.key) for one in told if one.field and one.old is None}
            assert len(made) == len(new)
            foretold = {
                (one.model, one.record or made_as(desk, one), one.field, one.old or "", named(desk, one.new))
                for one in told
                if one.field
            }
            assert foretold == changed, (kind, segments)
            seen.add(kind)
            if rng.random() < 0.3 and desk.server.all("Patient"):  # somebody else writes
                patient = rng.choice(list(desk.server.all("Patient").values()))
                desk.server.put(
                    {**patient, "photo": [{"title": str(rng.random())}], "name": [{"family": "Theirs"}]}
                )
        assert len(seen) > 7
        desk.stop()


def made_as(desk: FhirDesk, change: Any) -> str:
    return str(named(desk, f"{change.model}?identifier={change.key}")).partition("/")[2]


def rendered(desk: FhirDesk, kind: str, segments: tuple[str, ...]) -> list[bytes]:
    """What the channel makes of a message."""
    pipeline = desk.engine.channels["adt"].router.pipelines["adt"]
    raw = (HEAD.format(kind=kind, id="P") + "\r".join(segments) + "\r").encode()
    done = pipeline.process(raw, pipeline.meta(raw))
    assert done.state == "TRANSFORMED", done
    return [payload for _, payload in done.payloads]


def normal(desk: FhirDesk) -> list[str]:
    """What stands on the server, without the ids that it gave."""
    names = {
        f"{kind}/{id_}": f"{kind}?{sorted(item['value'] for item in one['identifier'])}"
        for kind in desk.server.versions
        for id_, one in desk.server.all(kind).items()
    }
    found = []
    for kind in desk.server.versions:
        for one in desk.server.all(kind).values():
            text = json.dumps(
                {key: value for key, value in one.items() if key not in ("id", "meta")}, sort_keys=True
            )
            for name, other in names.items():
                text = text.replace(f'"{name}"', f'"{other}"')
            found.append(text)
    return sorted(found)


@pytest.mark.parametrize("seed", range(3))
def test_an_outage_faults_and_crashes_end_in_the_same_state(tmp_path, seed):
    """The same messages, once one by one into a healthy server, once into one that is down, slow, drops and fails.

    Without merges: what comes under a retired number is not in order with what comes under the number that stays.
    """
    rng = random.Random(seed)
    drawn = [some(rng) for _ in range(60)]
    messages = [one for one in drawn if one[0] not in ("ADT^A40", "ADT^A47")][:30]
    (tmp_path / "calm").mkdir(), (tmp_path / "storm").mkdir()
    with scripted():
        calm = FhirDesk(tmp_path / "calm", CONFIG)
        for kind, segments in messages:
            send(calm, kind, *segments)
        storm = FhirDesk(tmp_path / "storm", CONFIG)
        storm.server.faults = lambda method, path: (503, {}, b"")
        for kind, segments in messages[:15]:
            send(storm, kind, *segments)
        faults = ["drop", "drop-after", (500, {}, b""), (503, {}, b""), (429, {"Retry-After": "2"}, b""), 0.5]
        storm.server.faults = lambda method, path: rng.choice(faults) if rng.random() < 0.3 else None
        for kind, segments in messages[15:]:
            send(storm, kind, *segments)
            if rng.random() < 0.2:
                storm.crash()
            storm.advance(1)
        storm.until(lambda: storm.open()["adt"] == 0, seconds=3600)
        assert set(states(storm)) == set(states(calm)) == {"SENT"}
        assert normal(storm) == normal(calm)
        calm.stop(), storm.stop()
