"""Tokens of the identity provider as bearer tokens: good ones, and every way to forge one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.api.auth.keysets import UNKNOWN_KEY_SECONDS, Issuer
from services.api.auth.providers import IdentityProvider
from services.api.auth.tokens import LONGEST, SKEW_SECONDS
from services.api.errors import Unauthorized, Unavailable
from shared.ids import new_id
from tests.logins.conftest import Office, set_member
from tests.logins.provider import CLIENT_ID, TestProvider
from tests.support.caller import make_workspace

EVIL_KEY = rsa.generate_private_key(65537, 2048)
Forge = Callable[[Office], str]


def now() -> int:
    return int(time.time())


def part(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(document)).decode().rstrip("=")


def body_of(office: Office) -> dict[str, Any]:
    return jwt.decode(office.token(), options={"verify_signature": False})


def signed_by_hand(office: Office, headers: dict[str, Any]) -> str:
    """Signed with a key of the forger's own, which `headers` point to."""
    return jwt.encode(body_of(office), EVIL_KEY, "RS256", headers={"kid": office.provider.kid, **headers})


def with_public_key_as_secret(office: Office) -> str:
    """HS256 with the published key as the shared secret, signed by hand: libraries refuse to."""
    public = office.provider.keys[office.provider.kid].public_key()
    secret = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': office.provider.kid})}.{part(body_of(office))}"
    signature = hmac.new(secret, head.encode(), hashlib.sha256).digest()
    return f"{head}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def evil_jwk() -> dict[str, Any]:
    return jwt.algorithms.RSAAlgorithm.to_jwk(EVIL_KEY.public_key(), as_dict=True)


def endless(office: Office, claim: str) -> str:
    """A signed token with a number that is greater than all that a machine counts with."""
    body = orjson.dumps({**body_of(office), claim: 0}).replace(f'"{claim}":0'.encode(), f'"{claim}":1e999'.encode())
    key = office.provider.keys[office.provider.kid]
    return jwt.api_jws.encode(body, key, "RS256", headers={"kid": office.provider.kid})


FORGED: dict[str, Forge] = {
    "no algorithm": lambda o: f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(body_of(o))}.",
    "no algorithm, in capitals": lambda o: f"{part({'alg': 'NONE', 'typ': 'JWT'})}.{part(body_of(o))}.",
    "the public key as a shared secret": with_public_key_as_secret,
    "an algorithm that is not set": lambda o: jwt.encode(
        body_of(o), o.provider.keys[o.provider.kid], "RS512", headers={"kid": o.provider.kid}
    ),
    "a key of the token's own (jwk)": lambda o: signed_by_hand(o, {"jwk": evil_jwk()}),
    "keys at an address of the token's (jku)": lambda o: signed_by_hand(o, {"jku": "http://127.0.0.1:1/jwks"}),
    "a certificate of the token's (x5u)": lambda o: signed_by_hand(o, {"x5u": "http://127.0.0.1:1/cert"}),
    "a certificate in the token (x5c)": lambda o: signed_by_hand(o, {"x5c": ["MIIB"]}),
    "another key under a known name": lambda o: signed_by_hand(o, {}),
    "a kid that is a path": lambda o: signed_by_hand(o, {"kid": "../../../../dev/null"}),
    "a kid that is SQL": lambda o: signed_by_hand(o, {"kid": "' OR 1=1 --"}),
    "a kid of great length": lambda o: signed_by_hand(o, {"kid": "k" * 10_000}),
    "a kid that is no text": lambda o: f"{part({'alg': 'RS256', 'kid': {'a': 1}})}.{part(body_of(o))}.AAAA",
    "the key of another algorithm": lambda o: jwt.encode(body_of(o), EVIL_KEY, "RS256", headers={"kid": "ec-1"}),
    "extensions that must be known": lambda o: o.token(headers={"crit": ["exp"]}),
    "another type": lambda o: o.token(headers={"typ": "logout+jwt"}),
    "expired": lambda o: o.token(exp=now() - SKEW_SECONDS - 5),
    "no end": lambda o: o.token(exp=None),
    "an end after all calendars": lambda o: o.token(exp=10**13, jti=None),
    "an end that is no number": lambda o: endless(o, "exp"),
    "a beginning that is no number": lambda o: endless(o, "nbf"),
    "not yet": lambda o: o.token(nbf=now() + SKEW_SECONDS + 10),
    "made in the future": lambda o: o.token(iat=now() + SKEW_SECONDS + 10),
    "another issuer": lambda o: o.token(iss="https://evil.example.com"),
    "an issuer that begins like ours": lambda o: o.token(iss=o.provider.issuer + "/evil"),
    "no issuer": lambda o: o.token(iss=None),
    "an issuer that is a list": lambda o: f"{part({'alg': 'RS256'})}.{part({**body_of(o), 'iss': ['a']})}.AAAA",
    "another audience": lambda o: o.token(aud="another"),
    "no audience": lambda o: o.token(aud=None),
    "made for another client": lambda o: o.token(aud=[CLIENT_ID, "another"], azp="another"),
    "no subject": lambda o: o.token(sub=None),
    "a subject with a NUL": lambda o: o.token(sub="rep\0"),
    "a jti with a NUL": lambda o: o.token(jti="a\0b"),
    "an empty subject": lambda o: o.token(sub=""),
    "a subject of great length": lambda o: o.token(sub="s" * 300),
    "no time of making": lambda o: o.token(iat=None),
    "claims that were changed": lambda o: ".".join(
        [(token := o.token()).split(".")[0], part({**body_of(o), "sub": "admin"}), token.split(".")[2]]
    ),
    "no signature": lambda o: o.token().rpartition(".")[0] + ".",
    "too long": lambda o: o.token(padding="x" * LONGEST),
    "noise": lambda _: "a.b.c",
    "noise of dots": lambda _: "..",
    "JSON that is no object": lambda _: f"{part({'alg': 'RS256'})}.{base64.urlsafe_b64encode(b'[]').decode()}.AAAA",
}  # fmt: skip


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
async def test_a_forged_token_opens_nothing(office: Office, forge: Forge) -> None:
    assert (await office.call(office.token())).status_code == 200
    response = await office.call(forge(office))
    assert (response.status_code, response.json()["code"]) == (401, "unauthorized"), response.text
    assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "claims",
    [
        dict,
        lambda: {"exp": now() + 60, "nbf": now() + SKEW_SECONDS - 10},
        lambda: {"aud": [CLIENT_ID]},
        lambda: {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID},
        lambda: {"jti": None},
        lambda: {"kid": "ec-1"},
        lambda: {"headers": {"typ": "at+jwt"}},
    ],
)
async def test_a_good_token_opens_what_its_member_may_see(office: Office, claims: Callable[[], dict[str, Any]]) -> None:
    response = await office.call(office.token(**claims()))
    assert response.status_code == 200, response.text
    assert response.json()["member"]["id"] == str(office.rep.member_id)


async def test_clocks_may_differ_by_less_than_a_minute(office: Office) -> None:
    assert SKEW_SECONDS <= 60
    assert (await office.call(office.token(exp=now() - SKEW_SECONDS + 10))).status_code == 200


class TestPeople:
    """Whom a token names."""

    async def test_a_stranger_is_told_what_is_missing(self, office: Office) -> None:
        response = await office.call(office.token(sub="stranger", email="stranger@example.com"))
        assert (response.status_code, response.json()["code"]) == (403, "not_a_member")

    @pytest.mark.parametrize("verified", [False, None, "false", "yes", 1])
    async def test_an_email_that_is_not_verified_says_nothing(self, office: Office, verified: Any) -> None:
        response = await office.call(office.token(email_verified=verified))
        assert response.status_code == (200 if verified == 1 and verified is True else 403)

    async def test_once_linked_the_subject_decides(self, office: Office) -> None:
        """Who takes over an address later is not the member; and a member who changes theirs stays one."""
        assert (await office.call(office.token())).status_code == 200
        assert (await office.call(office.token(sub="another"))).status_code == 403
        await set_member(office, "moved@example.com")
        assert (await office.call(office.token(email=None))).status_code == 200

    async def test_who_has_left_is_refused(self, office: Office) -> None:
        assert (await office.call(office.token())).status_code == 200
        await set_member(office, office.email, active=False)
        assert (await office.call(office.token())).status_code == 403

    async def test_letters_of_an_email_may_be_large(self, office: Office) -> None:
        assert (await office.call(office.token(email=office.email.upper()))).status_code == 200


class TestWorkspaces:
    """In which workspace a token is used."""

    async def test_the_only_one_a_person_is_known_in_needs_no_name(self, office: Office) -> None:
        assert (await office.call(office.token(), workspace=None)).status_code == 200

    async def test_another_workspace_is_closed_and_says_nothing_of_itself(self, office: Office) -> None:
        other = await make_workspace(office.http, office.admin.state, "Other")
        answers = [await office.call(office.token(), workspace=each) for each in (other.workspace_id, new_id())]
        assert {each.status_code for each in answers} == {403}
        assert len({each.json()["detail"] for each in answers}) == 1

    async def test_a_provider_speaks_for_its_own_workspaces(self, office: Office) -> None:
        tokens = office.admin.state.identities.tokens
        issuer = tokens.issuers[office.provider.issuer]
        before = issuer.provider
        issuer.provider = before.model_copy(update={"workspaces": (new_id(), new_id())})
        try:
            assert (await office.call(office.token())).status_code == 403
            issuer.provider = before.model_copy(update={"workspaces": (office.admin.workspace_id,)})
            assert (await office.call(office.token(), workspace=None)).status_code == 200
        finally:
            issuer.provider = before

    async def test_a_claim_names_the_workspace(self, office: Office) -> None:
        issuer = office.admin.state.identities.tokens.issuers[office.provider.issuer]
        before = issuer.provider
        issuer.provider = before.model_copy(update={"workspace_claim": "workspace"})
        id_ = str(office.admin.workspace_id)
        try:
            assert (await office.call(office.token(workspace=id_), workspace=None)).status_code == 200
            assert (await office.call(office.token(), workspace=None)).status_code == 401
            assert (await office.call(office.token(workspace="x"))).status_code == 401
            assert (await office.call(office.token(workspace=id_), workspace=new_id())).status_code == 403
        finally:
            issuer.provider = before


class TestRevoking:
    """A token of the provider's that was given back is known by issuer and jti, not by its bytes."""

    async def test_a_token_that_was_given_back_opens_nothing(self, office: Office) -> None:
        token, another = office.token(jti=str(new_id())), office.token()
        assert (await office.call(token)).status_code == 200
        assert (await office.http.post("/v1/logins:revoke", json={"token": token})).status_code == 204
        assert (await office.call(token)).status_code == 401
        assert (await office.call(another)).status_code == 200

    async def test_the_same_name_signed_again_is_the_same_token(self, office: Office) -> None:
        jti = str(new_id())
        await office.http.post("/v1/logins:revoke", json={"token": office.token(jti=jti)})
        assert (await office.call(office.token(jti=jti, exp=now() + 200))).status_code == 401

    async def test_a_token_without_a_name_can_not_be_given_back(self, office: Office) -> None:
        response = await office.http.post("/v1/logins:revoke", json={"token": office.token(jti=None)})
        assert (response.status_code, response.json()["errors"][0]["code"]) == (422, "no_jti")

    async def test_a_forged_token_gives_nothing_back(self, office: Office) -> None:
        jti = str(new_id())
        forged = jwt.encode({**body_of(office), "jti": jti}, EVIL_KEY, "RS256", headers={"kid": office.provider.kid})
        assert (await office.http.post("/v1/logins:revoke", json={"token": forged})).status_code == 204
        assert (await office.call(office.token(jti=jti))).status_code == 200


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class TestKeys:
    """Keys are read once, again for one that is not known, and not more often than is due."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def issuer(self, provider: TestProvider, clock: Clock) -> Issuer:
        return Issuer(IdentityProvider(name="main", issuer=provider.issuer, client_id=CLIENT_ID), clock)

    async def test_rotation_is_followed_and_invented_keys_cost_nothing(
        self, provider: TestProvider, issuer: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The application of the other tests goes on with the keys it knows.
        monkeypatch.setattr(provider, "keys", provider.keys)
        await issuer.key(provider.kid, "RS256")
        provider.rotate(f"rsa-{new_id()}")
        clock.seconds += UNKNOWN_KEY_SECONDS
        await issuer.key(provider.kid, "RS256")
        assert issuer.reads == 2
        for n in range(50):
            with pytest.raises(Unauthorized):
                await issuer.key(f"invented-{n}", "RS256")
        assert issuer.reads == 2
        clock.seconds += UNKNOWN_KEY_SECONDS
        with pytest.raises(Unauthorized):
            await issuer.key("invented", "RS256")
        assert issuer.reads == 3
        await issuer.close()

    async def test_an_issuer_that_is_away_is_not_missed_for_a_day(
        self, provider: TestProvider, issuer: Issuer, clock: Clock
    ) -> None:
        await issuer.key(provider.kid, "RS256")
        provider.away = True
        try:
            clock.seconds += 7200
            assert await issuer.key(provider.kid, "RS256")
            clock.seconds += 86_400
            with pytest.raises(Unavailable):
                await issuer.key(provider.kid, "RS256")
        finally:
            provider.away = False
        clock.seconds += 10
        assert await issuer.key(provider.kid, "RS256")
        await issuer.close()

    async def test_discovery_of_another_issuer_is_not_believed(self, provider: TestProvider, clock: Clock) -> None:
        liar = Issuer(IdentityProvider(name="liar", issuer=provider.issuer + "/", client_id=CLIENT_ID), clock)
        with pytest.raises(Unavailable):
            await liar.key(provider.kid, "RS256")
        await liar.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "http://idp.example.com"},
        {"issuer": "idp.example.com"},
        {"algorithms": ("HS256",)},
        {"algorithms": ("none",)},
        {"algorithms": ()},
        {"colour": "red"},
    ],
)
def test_a_provider_that_would_be_unsafe_is_found_at_the_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        IdentityProvider(**({"name": "main", "issuer": "https://idp.example.com", "client_id": "x"} | wrong))
