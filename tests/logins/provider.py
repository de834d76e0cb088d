"""An identity provider for tests, over real HTTP: discovery, keys that rotate, /authorize, /token with PKCE."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import jwt
import orjson
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from starlette.types import Receive, Scope, Send

from shared.ids import new_id

CLIENT_ID = "sixteen-web"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class TestProvider:
    """One issuer. `person` is who logs in next: the claims of their ID token."""

    __test__ = False

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.keys: dict[str, PrivateKey] = {}
        self.reads = {"discovery": 0, "jwks": 0}
        self.away = False
        self.person: dict[str, Any] = {"sub": "somebody"}
        self.said: dict[str, Any] = {}
        self._codes: dict[str, dict[str, str]] = {}
        self.rotate("rsa-1")
        self.add_elliptic("ec-1")

    def rotate(self, kid: str) -> None:
        self.keys = {each: key for each, key in self.keys.items() if isinstance(key, ec.EllipticCurvePrivateKey)}
        self.keys[kid] = rsa.generate_private_key(65537, 2048)

    def add_elliptic(self, kid: str) -> None:
        self.keys[kid] = ec.generate_private_key(ec.SECP256R1())

    @property
    def kid(self) -> str:
        return next(kid for kid, key in self.keys.items() if isinstance(key, rsa.RSAPrivateKey))

    def token(self, *, kid: str | None = None, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A signed token, good unless `claims` (None leaves one out) or `headers` say otherwise."""
        now = int(time.time())
        kid = kid or self.kid
        whole = {
            "iss": self.issuer, "aud": CLIENT_ID, "sub": "somebody", "iat": now, "exp": now + 300, "jti": str(new_id())
        } | claims  # fmt: skip
        algorithm = "RS256" if isinstance(self.keys[kid], rsa.RSAPrivateKey) else "ES256"
        body = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(body, self.keys[kid], algorithm, headers={"kid": kid, **(headers or {})})

    def authorize(self, query: dict[str, str]) -> tuple[str, str]:
        """What the person's browser comes back with: code and state."""
        assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
        assert query["client_id"] == CLIENT_ID
        code = str(new_id())
        self._codes[code] = query
        return code, query["state"]

    def jwks(self) -> dict[str, Any]:
        keys = []
        for kid, key in self.keys.items():
            if isinstance(key, rsa.RSAPrivateKey):
                public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
            else:
                public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
            keys.append({**public, "kid": kid, "use": "sig"})
        return {"keys": keys}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, answer = self._answer(scope["path"], body)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": orjson.dumps(answer)})

    def _answer(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if self.away:
            return 503, {}
        if path == "/.well-known/openid-configuration":
            self.reads["discovery"] += 1
            endpoints = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/jwks"}
            return 200, {"issuer": self.issuer} | {name: self.issuer + each for name, each in endpoints.items()}
        if path == "/jwks":
            self.reads["jwks"] += 1
            return 200, self.jwks()
        return self._exchange({name: values[0] for name, values in parse_qs(body.decode()).items()})

    def _exchange(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        asked = self._codes.pop(form.get("code", ""), None)
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).decode().rstrip("=")
        if asked is None or challenge != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        token = self.token(**({"nonce": asked["nonce"]} | self.person))
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": token}


@asynccontextmanager
async def running_provider() -> AsyncIterator[TestProvider]:
    """The provider behind a real port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        provider = TestProvider(f"http://127.0.0.1:{listening.getsockname()[1]}")
        server = uvicorn.Server(uvicorn.Config(provider, log_config=None, access_log=False, lifespan="off"))
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield provider
        finally:
            server.should_exit = True
            await task


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(url.partition("?")[2]).items()}
