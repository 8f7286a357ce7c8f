"""Sign-in through a real OpenID Connect provider: roles by group, and whatever does not fit is refused."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from console_desk import Browser
from joserfc.jwk import RSAKey
from oidc_provider import Provider

from console import oidc
from console.app import make_app
from console.guard import COOKIE
from engine.errors import ConfigError
from engine.security.roles import Grant, Role
from engine.store import audit, users


@pytest.fixture
def provider():
    found = Provider()
    yield found
    found.close()


@pytest.fixture
def console(store, people, provider, tmp_path):
    """Makes a browser before a console that knows the provider."""
    made = []

    def start(**settings):
        providers = {"clinic": oidc.Provider.model_validate(provider.settings(**settings))}
        made.append(make_app(tmp_path, tmp_path / "channels.yaml", providers))
        return Browser(made[-1])

    yield start
    for app in made:
        app.state.workbench.close()
        app.state.stores.close()


def go(one, next="/"):
    """Leave for the provider; gives the address that it sends the browser back to."""
    left = one.get(f"/oidc/clinic/login?next={next}")
    assert left.status_code == 303, left.text
    return httpx.get(left.headers["location"]).headers["location"].removeprefix("http://console.test")


def test_one_comes_in_with_the_roles_of_their_groups(console, provider, store):
    one = console()
    assert "Sign in with Clinic" in one.get("/login").text
    answer = one.get(go(one, "/messages"))
    assert answer.status_code == 200 and 'content="0;url=/messages"' in answer.text
    assert "samesite=strict" in answer.headers["set-cookie"].lower() and one.get("/").status_code == 200
    user = users.get(store.reader, "nora")
    assert user.grants == (Grant(Role.OPERATOR, ("adt",)),) and not user.has_password and not user.reveal
    assert audit.find(store.reader, action="sign-in")[0].detail == "through clinic"
    provider.claims["groups"] = ["isthmus-admins", "others"]
    provider.claims["preferred_username"] = "nora"
    one.get(go(one))
    assert users.get(store.reader, "nora").grants == (Grant(Role.ADMIN),)
    assert one.get("/users").status_code == 200


@pytest.mark.parametrize(
    "lie", ["expired", "audience", "authorized", "from", "nonce", "key", "hmac", "none", "denied"]
)
def test_what_does_not_fit_is_refused(console, provider, store, lie):
    one, provider.lie = console(), lie
    answer = one.get(go(one))
    assert answer.status_code == 401 and COOKIE not in answer.headers.get("set-cookie", "")
    assert users.get(store.reader, "nora") is None and one.get("/").status_code == 303
    assert audit.find(store.reader, action="sign-in")[0].outcome == "refused"


def test_an_answer_is_good_once_in_the_browser_that_asked(console):
    one, other = console(), console()
    back = go(one)
    assert other.get(back).status_code == 401
    again = go(one)
    assert one.get(back).status_code == 401  # the state of an earlier attempt
    assert one.get(again).status_code == 401  # the attempt ended with that
    once = go(one)
    assert one.get(once).status_code == 200
    one.http.cookies.delete(COOKIE)
    assert one.get(once).status_code == 401
    changed = parse_qs(urlsplit(go(one)).query)
    assert one.get(f"/oidc/clinic/callback?code=x&state={changed['state'][0]}").status_code == 401


def test_who_is_not_on_the_list_or_in_a_group_stays_out(console, provider, store):
    provider.claims["preferred_username"] = "eve"
    one = console()
    assert one.get(go(one)).status_code == 401
    provider.claims |= {"preferred_username": "eve@clinic.test", "groups": ["others"]}
    assert one.get(go(one)).status_code == 401
    one = console(default={"role": "viewer"})
    assert one.get(go(one)).status_code == 200
    assert users.get(store.reader, "eve@clinic.test").grants == (Grant(Role.VIEWER),)


def test_nobody_becomes_a_local_user_or_somebody_elses(console, provider, store):
    provider.claims |= {"preferred_username": "admin", "groups": ["isthmus-admins"]}
    one = console(allow=["*"])
    answer = one.get(go(one))
    assert answer.status_code == 401 and "belongs to another user" in answer.text
    provider.claims["preferred_username"] = "nora"
    assert one.get(go(one)).status_code == 200
    provider.claims["sub"] = "another"
    assert console(allow=["*"]).get(go(one)).status_code == 401
    store.writer.call(lambda tx: users.change(tx, "nora", disabled=True))
    provider.claims["sub"] = "4711"
    assert one.get(go(one)).status_code == 401


def test_without_the_provider_the_local_admin_still_comes_in(console, provider):
    one = console()
    provider.close()
    assert one.get("/oidc/clinic/login").status_code == 503
    assert one.sign_in("admin").status_code == 303


def test_a_provider_that_says_it_is_another_is_not_believed(console, provider):
    provider.lie = "issuer"
    assert console().get("/oidc/clinic/login").status_code == 503
    assert console().get("/oidc/nobody/login").status_code == 404


def test_new_keys_of_the_provider_are_taken_up(console, provider):
    one = console()
    back = go(one)
    provider.key = RSAKey.generate_key(2048, {"kid": "two"})
    assert one.get(back).status_code == 200


def test_one_is_sent_nowhere_else_afterwards(console):
    one = console()
    assert 'content="0;url=/"' in one.get(go(one, "//evil.test")).text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("providers: {}", "no providers"),
        ("providers: {x: {issuer: 'http://idp.test', client_id: a}}", "https"),
        ("providers: {x: {issuer: 'https://idp.test', client_id: a, clientid: b}}", "permitted"),
    ],
)
def test_wrong_settings_are_told_with_their_place(tmp_path, text, told):
    (tmp_path / "oidc.yaml").write_text(text)
    with pytest.raises(ConfigError, match=told) as refused:
        oidc.read_providers(tmp_path / "oidc.yaml")
    assert "oidc.yaml" in refused.value.where
