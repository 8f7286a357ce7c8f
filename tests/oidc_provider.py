"""A real OpenID Connect provider on a port of this machine: discovery, keys, authorization code with PKCE, ID tokens.

It is as strict as a provider should be: codes are good once, for their client, redirect address and code verifier.
What a test sets in `lie` goes wrong on purpose.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "isthmus", "a client's secret"


class Provider:
    """Lets in whoever `claims` say."""

    def __init__(self):
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self.claims = {"sub": "4711", "preferred_username": "nora", "groups": ["isthmus-operators"]}
        self.codes = {}
        self.lie = ""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *told):
                pass

            def do_GET(self):
                provider.get(self, urlsplit(self.path))

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                provider.token(self, {key: one[0] for key, one in parse_qs(body).items()})

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}/realm"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def settings(self, **more):
        """What a console is told of it."""
        return {
            "title": "Clinic", "issuer": self.issuer, "client_id": CLIENT, "client_secret": SECRET,
            "allow": ["nora", "*@clinic.test"],
            "roles": {
                "isthmus-operators": {"role": "operator", "channels": ["adt"]},
                "isthmus-admins": {"role": "admin", "reveal": True},
            },
            **more,
        }  # fmt: skip

    def get(self, http, parts):
        if parts.path == "/realm/.well-known/openid-configuration":
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            about = {name: f"{self.issuer}/{path}" for name, path in names.items()}
            issuer = "http://127.0.0.1:1/evil" if self.lie == "issuer" else self.issuer
            _json(http, 200, {"issuer": issuer, **about})
        elif parts.path == "/realm/keys":
            _json(http, 200, {"keys": [self.key.as_dict(private=False)]})
        elif parts.path == "/realm/authorize":
            asked = {key: one[0] for key, one in parse_qs(parts.query).items()}
            assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
            assert "openid" in asked["scope"].split() and asked["client_id"] == CLIENT
            code = secrets.token_urlsafe(16)
            self.codes[code] = asked
            back = {"code": code, "state": asked["state"], "iss": self.issuer}
            if self.lie == "denied":
                back = {"error": "access_denied", "state": asked["state"]}
            http.send_response(302)
            http.send_header("Location", f"{asked['redirect_uri']}?{urlencode(back)}")
            http.end_headers()
        else:
            _json(http, 404, {})

    def token(self, http, form):
        asked = self.codes.pop(form["code"], None)
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        right = (
            asked and asked["code_challenge"] == challenge and asked["redirect_uri"] == form["redirect_uri"]
        )
        if not right or http.headers.get("authorization") != f"Basic {basic}":
            _json(http, 400, {"error": "invalid_grant"})
            return
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.claims,
        }
        key = self.key
        if self.lie in LIES:
            claims.update(LIES[self.lie](now))
        elif self.lie == "key":
            key = RSAKey.generate_key(2048, {"kid": "one"})
        token = jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, key)
        body = token.split(".")[1]
        if self.lie == "none":
            token = f"{_b64(NONE)}.{body}."
        elif self.lie == "hmac":  # the public key taken for a shared secret
            signed = f"{_b64(SHARED)}.{body}"
            mac = hmac.digest(self.key.as_pem(private=False), signed.encode(), "sha256")
            token = f"{signed}.{_b64(mac)}"
        _json(http, 200, {"access_token": "x", "token_type": "Bearer", "id_token": token})


NONE, SHARED = b'{"alg":"none"}', b'{"alg":"HS256"}'
LIES = {
    "expired": lambda now: {"exp": now - 600},
    "audience": lambda now: {"aud": "another"},
    "authorized": lambda now: {"aud": [CLIENT, "another"], "azp": "another"},
    "from": lambda now: {"iss": "http://127.0.0.1:1/evil"},
    "nonce": lambda now: {"nonce": "another"},
}


def _b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _json(http, status, body):
    content = json.dumps(body).encode()
    http.send_response(status)
    http.send_header("Content-Type", "application/json")
    http.send_header("Content-Length", str(len(content)))
    http.end_headers()
    http.wfile.write(content)
