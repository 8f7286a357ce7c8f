"""`--server`: verbs through the API of a real console say and return what they do on the data folder itself."""

from __future__ import annotations

import time

import pyotp
import pytest
from conftest import RAW
from console_desk import MAIN, PASSWORD, Browser

from engine.security import passwords
from engine.security.roles import Grant, Role
from engine.store import audit, commands, jobs, tokens, users, versions


@pytest.mark.parametrize(
    "words",
    [
        ("messages", "list", "--state", "TRANSFORMED", "--json"),
        ("messages", "list", "--mrn", "100234", "--since", "1h"),
        ("messages", "list", "--control-id", "none"),
        ("messages", "show", "1"),
        ("messages", "show", "1", "--raw"),
        ("messages", "show", "2", "--json"),
        ("messages", "show", "77"),
        ("messages", "errors"),
        ("messages", "errors", "--json"),
        ("job", "list"),
        ("job", "show", "9"),
        ("config", "history"),
        ("config", "show", "1"),
        ("config", "diff", "1", "2"),
    ],
    ids=" ".join,
)
def test_it_says_the_same_there_as_here(run, put, store, words):
    put()
    put("C2", error="table.code")
    for number, text in enumerate((MAIN, MAIN.replace("adt", "lab"))):
        files = {"channels.yaml": text.encode()}
        store.writer.call(lambda tx, n=number, f=files: versions.add(tx, f"v{n}", "test", f, note="x"))
    here, there = run(*words, there=False), run(*words)
    assert there == here and (here[1] or here[2])


def test_a_message_that_is_not_there_is_told(run, put):
    put()
    for verb in ("replay", "discard"):
        here, there = run("messages", verb, "77", "78", there=False), run("messages", verb, "77", "78")
        assert there == here and here[0] == 1 and "no message 77, 78" in here[2]
    assert run("messages", "replay", "--state", "ERROR", there=False)[0] == 0


def test_what_is_older_is_told_the_same_there_as_here(run, put, store):
    old, newer = put(), put("C2")
    sent = "UPDATE delivery SET state = 'SENT', finished_at = ? WHERE message_id = ?"
    store.writer.call(lambda tx: tx.execute(sent, (tx.now(), newer)).rowcount)
    for more in ((), ("--json",)):
        words = ("messages", "replay", str(old), "--no-wait", *more)
        here, there = run(*words, there=False), run(*words)
        assert there == here and here[0] == 1 and f"{old} → {newer}  odoo" in here[2]


def test_what_is_done_and_shown_here_is_in_the_audit_log_as_well(run, put, store, tmp_path):
    number = put("C2", error="table.code")
    run("messages", "show", str(number), there=False)
    run("messages", "export", str(number), "-o", str(tmp_path / "out.hl7"), there=False)
    said = run("messages", "discard", str(number), "--no-wait", "--note", "by hand", there=False)[1]
    assert run("job", "cancel", "1", there=False)[0] == 0, said
    found = [(one.action, one.object) for one in reversed(audit.find(store.reader))]
    assert found == [
        ("phi.reveal", str(number)), ("messages.export", str(number)), ("messages.discard", str(number)),
        ("job.cancel", "1"),
    ]  # fmt: skip
    assert all(one.actor.startswith("cli:") for one in audit.find(store.reader))
    assert "by hand" in audit.find(store.reader, action="messages.discard")[0].detail


def test_the_status_is_the_same(run, store):
    status = {"store": {"state": "open"}, "channels": {}}
    epoch = store.epoch
    assert run("status")[0] == run("status", there=False)[0] == 1
    store.writer.call(lambda tx: commands.heartbeat(tx, epoch, status))
    code, text, told = run("status")
    assert code == 0 and text, told


def test_messages_are_acted_upon_by_the_user_of_the_token(run, put, store):
    number = put("C2", error="table.code")
    code, text, told = run(
        "messages", "discard", str(number), "--note", "by hand", "--no-wait", user="operator"
    )
    assert code == 0 and text.startswith("Job 1: 1 message."), told
    assert jobs.get(store.reader, 1).verb == "discard"
    assert audit.find(store.reader, action="messages.discard")[0].actor == "operator"
    code, text, told = run("messages", "replay", str(number))
    assert code == 1 and "No engine is running" in told
    assert run("job", "pause", "2")[0] == 0 and jobs.get(store.reader, 2).state == "paused"
    assert "is canceled" in run("job", "cancel", "2")[1] or jobs.get(store.reader, 2).state != "paused"
    code, _, told = run("messages", "discard", str(number), user="viewer")
    assert code == 2 and "role operator" in told
    assert (
        run("messages", "replay")[0] == 2 and run("messages", "replay", "--dry-run", "--brief", "1")[0] == 2
    )


WRITES = """
connections: {clinic: {odoo: {url: "sandbox:", database: clinic, api_key: sandbox}}}
channels:
  adt:
    listener: {mllp: {port: 0}}
    destinations: {odoo: {odoo: {connection: clinic, template: patient}}}
"""


SENT = "UPDATE delivery SET state = 'SENT', finished_at = ? WHERE message_id = ?"


def test_what_a_replay_would_change_is_told_there_as_here(run, put, tmp_path, store):
    config = tmp_path / "channels.yaml"
    config.write_text(WRITES)
    numbers = [str(put()), str(put("C2", mrn="7", name="Vogel"))]
    words = ("messages", "replay", "--dry-run", *numbers)
    here = run(*words, "--config", str(config), there=False)
    assert here[0] == 0 and "Vogel" in here[1] and "2 created" in here[1], here
    assert run(*words) == here
    masked = run(*words, user="operator")
    assert masked[0] == 0 and "Vogel" not in masked[1] and "patient/RGH/7" not in masked[1]
    assert "2 created" in masked[1]
    assert run(*words, "--json", user="operator")[1].startswith('[{"message_id":1')
    assert jobs.newest(store.reader, 5) == []


def test_a_message_is_edited_there_as_here(run, put, tmp_path, store, engine):
    config, file = tmp_path / "channels.yaml", tmp_path / "edited.hl7"
    config.write_text(WRITES)
    number = put()
    edit = ("messages", "edit", str(number), str(file), "--config", str(config))
    file.write_bytes(RAW % (b"C1", b"100234", b"Keller"))
    same = run(*edit, there=False)
    assert run(*edit) == same and same[0] == 2 and "Nothing was changed" in same[2]
    exact = (RAW % (b"C1", b"100234", "V\u00f6gel".encode("latin-1"))).replace(b"||19", b"|\x1f|19")
    file.write_bytes(exact)
    here = run(*edit, "--dry-run", there=False)
    assert here[0] == 0 and "1 created" in here[1], here
    assert run(*edit, "--dry-run") == here and not engine
    assert run(*edit, "--json", "--note", "name") == (0, f'{{"id": {number}, "parent_id": {number}}}\n', "")
    ((command, secret),) = engine
    assert secret == exact and (command.actor, command.args["note"]) == ("admin", "name")
    newer = put("C2")
    assert store.writer.call(lambda tx: tx.execute(SENT, (tx.now(), newer)).rowcount)
    older = run(*edit, there=False)
    assert run(*edit) == older and older[0] == 1 and f"{number} \u2192 {newer}" in older[2]
    assert run(*edit, "--force")[:2] == (0, f"Replayed as {number}.\n") and len(engine) == 2
    gone = ("messages", "edit", "77", str(file))
    assert run(*gone) == run(*gone, there=False)
    code, _, told = run(*edit, user="operator")
    assert code == 2 and "patient data" in told and len(engine) == 2


def test_a_configuration_is_rolled_back_there(run, tmp_path, store):
    one = {"channels.yaml": MAIN.replace("adt", "lab").encode()}
    for version, files in (("aaaa", one), ("bbbb", {"channels.yaml": MAIN.encode()})):
        store.writer.call(lambda tx, v=version, f=files: versions.add(tx, v, "test", f))
    code, text, told = run("config", "rollback", "aaaa", "--note", "why not")
    assert code == 0 and "channels.yaml written" in text, told
    assert "lab" in (tmp_path / "channels.yaml").read_text()
    assert versions.latest(store.reader).note == "rollback to aaaa: why not"


def test_tokens_never_stand_on_the_command_line_or_travel_in_clear(run, tmp_path, store, url):
    code, _, told = run("job", "list", user=None)
    assert code == 2 and "server.token" in told
    code, _, told = run("job", "list", user=None, ISTHMUS_TOKEN="ist_wrong")
    assert code == 2 and "does not accept this token" in told
    file = tmp_path / "token"
    file.write_text("ist_x\n")
    file.chmod(0o644)
    code, _, told = run("job", "list", "--token-file", str(file), user=None)
    assert code == 2 and "others can read" in told
    code, _, told = run("job", "list", "--server", "http://console.example", there=False)
    assert code == 2 and "server.url" in told
    code, _, told = run("job", "list", "--server", "http://127.0.0.1:1", there=False)
    assert code == 2 and "server.down" in told
    code, text, _ = run("job", "list", there=False, ISTHMUS_SERVER=url)
    assert code == 0 or text


@pytest.mark.parametrize(
    "words",
    [
        ("user", "list"),
        ("audit", "list", "--fhir", "--action", "user.create"),
        ("audit", "list", "--actor", "a&limit=1 +ü", "--since", "7d"),
        ("audit", "list", "--limit", "1200", "--json"),
        ("audit", "verify", "--json", "--expect", "00ff"),
        ("user", "remove", "nobody"),
        ("token", "revoke", "77"),
    ],
    ids=" ".join,
)
def test_people_and_what_they_did_are_the_same_there_as_here(run, store, words):
    def happened(tx):
        for number in range(1100):
            audit.record(tx, "a&limit=1 +ü", "user.create", f"u{number}")

    store.writer.call(happened)
    here, there = run(*words, there=False), run(*words)
    assert there == here and (here[1] or here[2])


def test_a_log_whose_end_was_cut_off_is_told_there_as_here(run, store):
    store.writer.call(lambda tx: audit.record(tx, "a", "user.create", "u"))
    head = audit.verify(store.reader).head
    words = ("audit", "verify", "--expect", head)
    assert run(*words)[0] == run(*words, there=False)[0] == 0
    store.writer.call(lambda tx: tx.execute("DELETE FROM audit").rowcount)
    store.writer.call(lambda tx: tx.execute("DELETE FROM sqlite_sequence WHERE name = 'audit'").rowcount)
    here, there = run(*words, there=False), run(*words)
    assert there == here and here[0] == 1 and "cut off" in here[1]


def test_users_are_managed_there(run, store, app):
    secret = "a whole new sentence"
    made = ("user", "add", "nightshift", "--role", "operator", "--channel", "adt", "--reveal")
    code, text, told = run(*made, typed=f"{secret}\n")
    assert (code, text) == (0, "User nightshift is there.\n"), told
    one = users.get(store.reader, "nightshift")
    assert one.grants == (Grant(Role.OPERATOR, ("adt",)),) and one.reveal
    assert Browser(app).sign_in("nightshift", secret).status_code == 303
    assert run(*made, typed=f"{secret}\n") == run(*made, there=False, typed=f"{secret}\n")
    weak = ("user", "password", "nightshift")
    assert run(*weak, typed="short\n") == run(*weak, there=False, typed="short\n")
    assert run(*weak, typed="yet another sentence\n")[:2] == (0, "The password of nightshift is new.\n")
    assert Browser(app).sign_in("nightshift", "yet another sentence").status_code == 303
    store.writer.call(lambda tx: users.set_totp(tx, "nightshift", "JBSWY3DPEHPK3PXP" * 2))
    code, text, told = run("user", "unlock", "nightshift", "--second-factor-off")
    assert (code, text) == (0, "nightshift may sign in without a second factor.\n"), told
    assert not users.get(store.reader, "nightshift").has_totp
    code, _, told = run("user", "remove", "nightshift", user="operator")
    assert code == 2 and "role admin" in told and users.get(store.reader, "nightshift")
    assert run("user", "remove", "nightshift")[:2] == (0, "User nightshift is gone.\n")
    assert users.get(store.reader, "nightshift") is None
    assert audit.find(store.reader, action="user.delete")[0].actor == "admin"


def test_tokens_are_seen_and_ended_there(run, store):
    run("job", "list"), run("job", "list", user="operator")
    listed = run("token", "list")
    assert listed == run("token", "list", there=False) and len(listed[1].splitlines()) == 2
    assert run("token", "list", user="operator")[1].count("of operator") == 1
    mine = tokens.find(store.reader, "operator")[0].id
    assert run("token", "revoke", str(mine))[:2] == (0, f"Token {mine} is revoked.\n")
    assert "does not accept this token" in run("job", "list", user="operator")[2]


def test_ones_own_tokens_are_made_there_with_what_one_signs_in_with(run, store):
    add = (
        "token",
        "add",
        "night",
        "--user",
        "operator",
        "--role",
        "operator",
        "--channel",
        "adt",
        "--days",
        "3",
    )
    code, text, told = run(*add, user="operator", typed=f"{PASSWORD}\n")
    assert code == 0 and text.startswith("ist_"), told
    made = tokens.find(store.reader, "operator")[0]
    assert (made.name, made.grants) == ("night", (Grant(Role.OPERATOR, ("adt",)),))
    assert run("job", "list", user=None, ISTHMUS_TOKEN=text.strip())[0] == 0
    factor = passwords.new_totp()
    store.writer.call(lambda tx: users.set_totp(tx, "operator", factor))
    now = pyotp.TOTP(factor).at(int(time.time()))
    rotate = ("token", "rotate", str(made.id), "--overlap", "1")
    for typed, why in (
        (f"{PASSWORD}?\n{now}\n", "password.wrong"),
        (f"{PASSWORD}\n1\n", "password.wrong"),
        (f"\n{now}\n", "cannot make tokens"),
    ):
        code, text, told = run(*rotate, user="operator", typed=typed)
        assert code == 2 and why in told and not text
    assert len(audit.find(store.reader, action="token.rotate")) == 2, "refused ones, too"
    code, text, told = run(*rotate, user="operator", typed=f"{PASSWORD}\n{now}\n")
    assert code == 0 and text.startswith("ist_"), told
    assert "totp.used" in run(*rotate, user="operator", typed=f"{PASSWORD}\n{now}\n")[2]
    code, _, told = run(*add, typed=f"{PASSWORD}\n")
    assert code == 2 and "token.owner" in told
