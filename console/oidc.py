"""Sign-in through OpenID Connect providers: authorization code flow with PKCE (OpenID Connect Core 1.0, RFC 7636).

Guarantees: state, nonce and code verifier are new for each attempt, kept encrypted in a cookie of this browser for ten
minutes and used once; the ID token's signature (asymmetric algorithms of the provider's own keys alone), issuer,
audience, times and nonce are checked; nobody comes in whom the provider's allow list or role mapping does not know.
Refuses (Refused): 401 `oidc.refused` whatever does not fit, 503 `oidc.unreachable` a provider that does not answer.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import httpx
import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from console.problems import Refused
from engine.errors import ConfigError
from engine.security.roles import Grant, Role
from engine.spec.document import read

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
LONGEST = 10.0  # seconds that a provider may take
KNOWN_FOR = 3600.0  # seconds that what a provider says of itself is believed
ATTEMPT = 600.0  # seconds from leaving to coming back
SKEW = 60  # seconds that clocks may differ


class RoleOf(BaseModel):
    """What a group may do."""

    model_config = ConfigDict(extra="forbid")
    role: Role
    channels: list[str] = []
    reveal: bool = False


class Provider(BaseModel):
    """One provider."""

    model_config = ConfigDict(extra="forbid")
    title: str = Field(default="", description="On the button; else its name.")
    issuer: str = Field(description="Its address; `/.well-known/openid-configuration` is below it.")
    client_id: str
    client_secret: str | None = Field(default=None, description="Left out for a public client.")
    authentication: Literal["basic", "post"] = "basic"
    scopes: list[str] = ["openid", "profile", "email"]
    url: str = Field(
        default="", description="Address of this console, where it is not the one that browsers ask."
    )
    name_claim: str = "preferred_username"
    groups_claim: str = Field(default="groups", description="With dots for a claim inside another one.")
    allow: list[str] = Field(default=["*"], description="Patterns of names that may come in.")
    roles: dict[str, RoleOf] = Field(default={}, description="By group.")
    default: RoleOf | None = Field(
        default=None, description="For who is in none of these groups; else refused."
    )

    @field_validator("issuer")
    @classmethod
    def _safe(cls, value: str) -> str:
        parts = urlsplit(value)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme != "https" and not (parts.scheme == "http" and local):
            raise ValueError("an issuer is https://…")
        return value.rstrip("/")


class Attempt(msgspec.Struct):
    """What must be known when the browser comes back."""

    provider: str
    state: str
    nonce: str
    verifier: str
    next: str
    until: float


class Claimed(msgspec.Struct):
    """Who came in, as the provider says."""

    subject: str
    name: str
    grants: list[Grant]
    reveal: bool


def read_providers(path: Path) -> dict[str, Provider]:
    """The providers of a YAML file; `${NAME}` and `!secret` as in channel files. ConfigError."""
    document = read(path)
    for problem in document.problems:
        raise ConfigError(problem.text, code=problem.code, where=str(problem.mark), todo=problem.hint)
    body = (document.data or {}).get("providers") if isinstance(document.data, dict) else None
    if not isinstance(body, dict) or not body:
        raise ConfigError(
            "there are no providers", code="oidc.settings", where=str(path), todo="write `providers:`"
        )
    found = {}
    for name, settings in body.items():
        try:
            found[str(name)] = Provider.model_validate(settings)
        except ValidationError as error:
            first = error.errors()[0]
            where = document.mark(("providers", name, *first["loc"]))
            raise ConfigError(first["msg"], code="oidc.settings", where=str(where)) from None
    return found


class SignOn:
    """Talks to the providers, for many threads."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self.providers = dict(providers)
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, dict[str, Any], KeySet]] = {}

    def provider(self, name: str) -> Provider:
        """Refused 404 when there is none of this name."""
        if name not in self.providers:
            raise Refused(404, "oidc.unknown", "there is no such sign-in")
        return self.providers[name]

    def leave(self, name: str, console: str, target: str) -> tuple[str, Attempt]:
        """Where to send the browser, and what to keep."""
        provider, (about, _) = self.provider(name), self._about(name)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        attempt = Attempt(name, state, nonce, verifier, target, time.time() + ATTEMPT)
        digest = hashlib.sha256(attempt.verifier.encode()).digest()
        asked = {
            "response_type": "code", "client_id": provider.client_id, "scope": " ".join(provider.scopes),
            "redirect_uri": self._back(name, console), "state": attempt.state, "nonce": attempt.nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), "code_challenge_method": "S256",
        }  # fmt: skip
        joint = "&" if "?" in about["authorization_endpoint"] else "?"
        return f"{about['authorization_endpoint']}{joint}{urlencode(asked)}", attempt

    def arrive(self, name: str, console: str, given: Mapping[str, str], attempt: Attempt | None) -> Claimed:
        """Who came back; Refused when anything does not fit."""
        provider = self.provider(name)
        state = given.get("state", "")
        if attempt is None or attempt.provider != name or attempt.until < time.time():
            raise _refused("this sign-in was not begun in this browser, or too long ago")
        if not hmac.compare_digest(state.encode(), attempt.state.encode()):
            raise _refused("this answer belongs to another sign-in")
        if given.get("error") or not given.get("code"):
            raise _refused("the provider did not let you in")
        about, _ = self._about(name)
        if given.get("iss", about["issuer"]) != about["issuer"]:
            raise _refused("this answer came from another provider")
        token = self._token(provider, about, self._back(name, console), given["code"], attempt)
        return self._claimed(provider, self._checked(name, provider, token, attempt.nonce))

    def _back(self, name: str, console: str) -> str:
        return f"{(self.providers[name].url or console).rstrip('/')}/oidc/{name}/callback"

    def _about(self, name: str, again: bool = False) -> tuple[dict[str, Any], KeySet]:
        with self._lock:
            known = self._known.get(name)
        if known is not None and known[0] > time.monotonic() and not again:
            return known[1], known[2]
        issuer = self.providers[name].issuer
        about = _asked(lambda: httpx.get(f"{issuer}/.well-known/openid-configuration", timeout=LONGEST))
        needed = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
        if (
            any(not isinstance(about.get(one), str) for one in needed)
            or about["issuer"].rstrip("/") != issuer
        ):
            raise Refused(503, "oidc.unreachable", "the provider does not describe itself as it should")
        if any(urlsplit(about[one]).scheme not in ("https", urlsplit(issuer).scheme) for one in needed):
            raise Refused(503, "oidc.unreachable", "the provider names an address without TLS")
        try:
            keys = KeySet.import_key_set(_asked(lambda: httpx.get(about["jwks_uri"], timeout=LONGEST)))  # type: ignore[arg-type]
        except (JoseError, KeyError, TypeError, ValueError):
            raise Refused(503, "oidc.unreachable", "the provider's keys cannot be read") from None
        with self._lock:
            self._known[name] = time.monotonic() + KNOWN_FOR, about, keys
        return about, keys

    def _token(
        self, provider: Provider, about: Mapping[str, Any], back: str, code: str, attempt: Attempt
    ) -> str:
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": back, "client_id": provider.client_id,
            "code_verifier": attempt.verifier,
        }  # fmt: skip
        basic = None
        if provider.client_secret and provider.authentication == "basic":
            basic = httpx.BasicAuth(provider.client_id, provider.client_secret)
        elif provider.client_secret:
            form["client_secret"] = provider.client_secret
        found = _asked(
            lambda: httpx.post(about["token_endpoint"], data=form, auth=basic, timeout=LONGEST), refusing=True
        )
        if not isinstance(found.get("id_token"), str):
            raise _refused("the provider gave no ID token")
        return str(found["id_token"])

    def _checked(self, name: str, provider: Provider, token: str, nonce: str) -> dict[str, Any]:
        about, keys = self._about(name)
        try:
            found = jwt.decode(token, keys, algorithms=ALGORITHMS)
        except (JoseError, ValueError):  # the provider may have new keys
            about, keys = self._about(name, again=True)
            try:
                found = jwt.decode(token, keys, algorithms=ALGORITHMS)
            except (JoseError, ValueError):
                raise _refused("the ID token is not signed by the provider") from None
        claims = found.claims
        rules = jwt.JWTClaimsRegistry(
            leeway=SKEW, iss={"essential": True, "value": about["issuer"]}, sub={"essential": True},
            aud={"essential": True, "value": provider.client_id}, exp={"essential": True}, iat={"essential": True},
        )  # fmt: skip
        try:
            rules.validate(claims)
        except JoseError as error:
            raise _refused(f"the ID token does not fit: {error.error}") from None
        many = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", provider.client_id) != provider.client_id or (many and "azp" not in claims):
            raise _refused("the ID token was made for another client")
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise _refused("the ID token belongs to another sign-in")
        return claims

    def _claimed(self, provider: Provider, claims: Mapping[str, Any]) -> Claimed:
        name = str(claims.get(provider.name_claim) or "")
        if provider.name_claim == "email" and claims.get("email_verified") is False:
            raise _refused("this e-mail address is not verified")
        if not name or not any(fnmatchcase(name, pattern) for pattern in provider.allow):
            raise _refused("you may not sign in here", "ask who manages this console")
        groups: Any = claims
        for part in provider.groups_claim.split("."):
            groups = groups.get(part) if isinstance(groups, Mapping) else None
        named = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        roles = [provider.roles[one] for one in dict.fromkeys(map(str, named)) if one in provider.roles]
        if not roles and provider.default is not None:
            roles = [provider.default]
        if not roles:
            raise _refused("you may not sign in here", "ask who manages this console for a group that may")
        grants = [Grant(one.role, tuple(one.channels)) for one in roles]
        return Claimed(str(claims["sub"]), name, grants, any(one.reveal for one in roles))


def _asked(ask: Callable[[], httpx.Response], refusing: bool = False) -> dict[str, Any]:
    """A JSON object of a provider."""
    try:
        answer = ask()
        if refusing and 400 <= answer.status_code < 500:
            raise _refused("the provider did not accept the code")
        answer.raise_for_status()
        found = answer.json()
        if isinstance(found, dict):
            return found
    except (httpx.HTTPError, ValueError):
        pass
    raise Refused(503, "oidc.unreachable", "the sign-in provider does not answer", "sign in with a password")


def _refused(what: str, todo: str = "begin again") -> Refused:
    return Refused(401, "oidc.refused", what, todo)
