"""`try`, `plan`, channel tests, `impact` and previews know the states of FHIR resources that came before a message."""

import json
import random

import pytest
import yaml
from click.testing import CliRunner
from desk import scripted
from fhir_desk import FhirDesk
from web import post

from channels.preview import Previewer
from channels.tracer import Tracer
from channels.trial import Runner
from engine.cli import cli
from engine.cli.reactor import steady
from engine.fhir.notification import note
from engine.spec.channel import load
from tests.flow.test_plan import isthmus as in_a_process

CONFIG = """
channels:
  hook:
    format: fhir
    canonical: {identity: resource}
    listener: {fhir_subscription: {port: 8080, path: /fhir/hook}}
    filters: [{condition: "event.type != 'appointment.booked'"}]
"""
RESCHEDULED = "appointment.rescheduled"


def appointment(version, hour, id_="1", status="booked"):
    return json.dumps({
        "resourceType": "Appointment", "id": id_, "status": status, "start": f"2026-12-01T{hour:02d}:00:00Z",
        "meta": {"versionId": str(version), "lastUpdated": f"2026-11-01T00:00:{version:02d}Z"},
        "participant": [{"actor": {"reference": "Patient/7"}}],
    })  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "channels.yaml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def desk(tmp_path):
    with scripted():
        made = FhirDesk(tmp_path, CONFIG)
        yield made
        made.stop()


def tell(desk, *texts):
    for text in texts:
        assert post(desk, text.encode(), path="/fhir/hook")[0] == 200
    desk.settle()


def isthmus(*args):
    done = CliRunner().invoke(cli, [str(one) for one in args])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


# Channel tests --------------------------------------------------------------------------------------------


def outcomes(folder, *messages):
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump({"channel": "hook", "name": "steps", "messages": list(messages)}))
    return [one.text for outcome in Runner(load(folder / "channels.yaml")).run(file) for one in outcome.wrong]


def test_messages_without_expect_come_before_the_one_that_is_looked_at(folder):
    first = {"message": appointment(1, 9)}
    moved = {"message": appointment(2, 10), "expect": {"events": [RESCHEDULED]}}
    assert outcomes(folder, first, moved) == []
    (alone,) = outcomes(folder, moved)
    assert "filtered" in alone, "without the first it is booked"
    late = {"message": appointment(1, 9), "expect": {"filtered": "superseded"}}
    assert outcomes(folder, first, moved, late) == []
    assert outcomes(folder, {"message": appointment(2, 10)}, moved) != [], "the same version is no event"


def test_one_test_knows_nothing_of_another(folder):
    file = folder / "test.yaml"
    one = {"name": "a", "message": appointment(1, 9), "expect": {"filtered": "filters[0] condition"}}
    file.write_text(yaml.safe_dump({"channel": "hook", "cases": [one, {**one, "name": "b"}]}))
    found = Runner(load(folder / "channels.yaml")).run(file)
    assert [outcome.wrong for outcome in found] == [[], []]


def test_what_only_comes_before_must_not_be_in_error(folder):
    moved = {"message": appointment(2, 10), "expect": {"events": [RESCHEDULED]}}
    first, *_ = outcomes(folder, {"message": "{"}, moved)
    assert first.startswith("the message is in ERROR")
    assert "`expect` is missing" in outcomes(folder, {"message": appointment(1, 9)})


def test_update_keeps_the_messages_that_come_before(folder):
    (folder / "tests").mkdir()
    file = folder / "tests" / "steps.yaml"
    messages = [
        {"message": appointment(1, 9)},
        {"message": appointment(2, 10), "expect": {"events": ["appointment.cancelled"]}},
    ]
    file.write_text(yaml.safe_dump({"channel": "hook", "name": "steps", "messages": messages}))
    isthmus("test", folder / "tests", "--config", folder / "channels.yaml", "--update")
    first, second = yaml.safe_load(file.read_text())["messages"]
    assert "expect" not in first and second["expect"]["events"] == [RESCHEDULED]


# try ------------------------------------------------------------------------------------------------------


def test_try_tells_the_step_and_where_it_comes_from(folder):
    tracer = Tracer(load(folder / "channels.yaml"), "hook")
    texts = [appointment(1, 9), appointment(2, 10), appointment(1, 9), appointment(2, 10)]
    told = [tracer.trace(text.encode(), 1) for text in texts]
    assert [one.state for one in told] == ["FILTERED", "TRANSFORMED", "FILTERED", "FILTERED"]
    assert [event.type for event in told[1].events] == [RESCHEDULED]
    (start,) = [value for value in told[1].events[0].values if value.field == "appointment.start"]
    assert any("start" in source.path for source in start.sources)
    assert told[2].why == "superseded: a later version came with message 2"
    assert told[3].why == "the same version came with message 2"


# plan, previews and impact --------------------------------------------------------------------------------


def planned(folder, *args):
    file = folder / "next.json"
    file.write_text(appointment(2, 10))
    done = in_a_process("plan", "hook", file, "--config", folder / "channels.yaml", "--json", *args)
    return [(one["state"], one["why"]) for one in json.loads(done.stdout)]


def test_plan_knows_the_states_of_the_data_folder(desk, tmp_path):
    tell(desk, appointment(1, 9))
    assert planned(tmp_path, "--data", tmp_path / "data") == [("TRANSFORMED", "no destination")]
    ((state, _),) = planned(tmp_path, "--data", tmp_path / "none")
    assert state == "FILTERED"
    tell(desk, appointment(2, 10))
    assert planned(tmp_path, "--data", tmp_path / "data") == [
        ("FILTERED", "the same version came with message 2")
    ]


@pytest.mark.parametrize("seed", range(4))
def test_a_preview_of_replays_tells_what_they_do(desk, tmp_path, seed):
    rng = random.Random(seed)
    tell(
        desk,
        appointment(1, 9),
        appointment(2, 10),
        appointment(3, 11),
        appointment(2, 10, "2"),
        appointment(1, 9, "2"),
    )
    ids = sorted(rng.sample(range(1, 6), rng.randint(1, 3)))
    previewer = Previewer(load(desk.path), tmp_path / "data", steady(), desk.engine.store.reader, brief=True)
    told = [(one.state, one.why) for one in run(previewer.preview("replay", ids))]
    desk.act_on(ids, "replay")
    desk.settle()
    done = desk.rows("SELECT state, reason FROM message WHERE parent_id IS NOT NULL ORDER BY id")
    assert [(state, cause(why)) for state, why in told] == [(state, cause(why)) for state, why in done]


def cause(why):
    """Without the number of a message: replays have new ones."""
    return (why or "no destination").partition(" with message")[0]


def run(work):
    """The result of a coroutine that waits for nobody."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


@pytest.mark.parametrize("last", [1, 2, 3, 10])
def test_impact_judges_by_what_was_known_when_a_message_came(desk, tmp_path, last):
    tell(
        desk,
        appointment(1, 9),
        appointment(1, 9, "2"),
        appointment(2, 10),
        appointment(3, 11),
        appointment(2, 10),
    )
    desk.act_on([3], "replay")
    desk.settle()
    common = (
        "hook",
        "--config",
        tmp_path / "channels.yaml",
        "--data",
        tmp_path / "data",
        "--last",
        last,
        "--json",
    )
    found = json.loads(isthmus("impact", *common).stdout)
    assert found["groups"] == [] and found["messages"] == min(last, 5), found
    (tmp_path / "edited.yaml").write_text(CONFIG.replace("appointment.booked", RESCHEDULED))
    done = isthmus("impact", *("hook", "--config", tmp_path / "edited.yaml", *common[3:]))
    kinds = {one["kind"] for one in json.loads(done.stdout)["groups"]}
    assert last < 3 or "newly filtered" in kinds, done.stdout


@pytest.mark.parametrize("gone", [False, True])
def test_a_channel_test_says_what_the_server_has(folder, gone):
    """A deletion is only believed when the server says so, and then an old version comes too late."""
    text = CONFIG.replace("path: /fhir/hook", "path: /fhir/hook, connection: ehr")
    (folder / "channels.yaml").write_text(
        'connections: {ehr: {fhir: {base: "http://127.0.0.1:9000/fhir"}}}' + text
    )
    deletion = note("Appointment/1", "deleted").decode()
    known = {
        "Appointment/1": json.loads(appointment(2, 10)),
        **({"Appointment/1|gone": True} if gone else {}),
    }
    messages = [
        {"message": appointment(2, 10)},
        {
            "message": deletion,
            "expect": {"events": ["appointment.deleted"]} if gone else {"filtered": "Appointment/1"},
        },
    ]
    file = folder / "test.yaml"
    test = {"channel": "hook", "name": "gone", "lookups": {"ehr": known}, "messages": messages}
    file.write_text(yaml.safe_dump(test))
    (outcome,) = Runner(load(folder / "channels.yaml")).run(file)
    assert [(one.text, one.expected, one.got) for one in outcome.wrong] == []
