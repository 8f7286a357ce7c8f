"""Groups and tags of channels: on the dashboard, and in rights; what needs a look is seen at once."""

from __future__ import annotations

from collections import deque

from console.overview import GROWING, Sampler
from engine.security.roles import Grant, Identity, Role, resolved
from engine.store import users


def test_channels_stand_under_their_groups_and_are_chosen_by_tag(beat, browser):
    one = browser("viewer")
    page = one.get("/").text
    assert (
        page.index(">free<") < page.index(">Laboratory<") < page.index(">lab<") < page.index(">Registration<")
    )
    assert "&lt;b&gt;" in page and "<b>" not in page
    page = one.get("/?tag=night").text
    assert ">lab2<" in page and ">adt<" not in page and 'sse-connect="/live?tag=night"' in page
    found = one.get("/api/v1/channels?tag=ehr").json()
    assert [channel["name"] for channel in found["channels"]] == ["adt"]
    assert found["tags"] == ["<b>", "ehr", "night"]


def test_rights_on_a_tag_follow_the_tag(beat, browser, store, hashed, put):
    here, there = put("C1", channel="lab"), put("C2", channel="adt")
    store.writer.call(lambda tx: users.add(tx, "night", hashed, [Grant(Role.OPERATOR, ("tag:night",))]))
    one = browser("night")
    names = [channel["name"] for channel in one.get("/api/v1/channels").json()["channels"]]
    assert names == ["lab", "lab2"]
    assert (
        one.get(f"/messages/{here}").status_code == 200 and one.get(f"/messages/{there}").status_code == 404
    )
    token = one.http.post(
        "/api/v1/tokens", json={"name": "x", "grants": [{"role": "viewer", "channels": ["lab", "adt"]}]},
        headers={"x-csrf-token": one.csrf},
    ).json()["secret"]  # fmt: skip
    http = one.http
    http.cookies.clear()
    http.headers["authorization"] = f"Bearer {token}"
    assert [channel["name"] for channel in http.get("/api/v1/channels").json()["channels"]] == ["lab"]
    beat(lab={"tags": []}, lab2={"tags": []})
    assert http.get("/api/v1/channels").status_code == 403


def test_a_tag_that_no_channel_has_gives_nothing():
    identity = Identity("x", (Grant(Role.ADMIN, ("tag:gone",)), Grant(Role.VIEWER, ("tag:a", "adt"))))
    found = resolved(identity, {"a": {"lab"}})
    assert found.grants == (Grant(Role.VIEWER, ("adt", "lab")),) and not found.may(Role.ADMIN)


def test_a_silent_feed_and_a_growing_queue_are_seen_at_once(beat, browser, store, put):
    for name in ("lab", "lab2", "free"):
        put(f"{name}1", channel=name)
    store.writer.call(
        lambda tx: tx.execute("UPDATE message SET received_at = received_at - 120000000").rowcount
    )
    beat()
    page = browser("viewer").get("/").text
    assert "1 channel is silent: lab" in page and page.count('class="look"') == 1
    beat(lab={"state": "stopped"})
    assert "silent" not in browser("viewer").get("/").text
    sampler = Sampler()
    with store.reader.snapshot():
        sampler.look(store.reader)
    sampler._queues["lab"] = deque([1, 2, 3, 40, 50, 60, GROWING * 2], maxlen=12)
    view = next(one for one in sampler.look(store.reader).channels if one.name == "lab")
    assert view.growing
