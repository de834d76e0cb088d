"""Limits as a client meets them: headers on what is let through, 429 on what is not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from starlette.types import Scope

from services.api.auth.identity import Identities
from services.api.auth.keys import make_key
from services.api.limits.admission import address_of
from services.api.main import create_app
from services.api.settings import ApiSettings
from shared.ids import new_id
from shared.tenancy import Principal
from tests.conftest import Servers
from tests.support.caller import Caller, make_workspace

Opened = Callable[..., AbstractAsyncContextManager[Caller]]
STANDING = re.compile(r'"(\w+)";r=(\d+);t=(\d+)')


@pytest.fixture
def opened(api_settings: ApiSettings) -> Opened:
    """Opens an application of its own with other limits; gives an administrator of a new workspace of it."""

    @asynccontextmanager
    async def open_with(**limits: Any) -> AsyncIterator[Caller]:
        app = create_app(api_settings.model_copy(update=limits))
        async with app.router.lifespan_context(app):
            address = f"2001:db8:{new_id().hex[-4:]}:{new_id().hex[-8:-4]}::1"
            transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 4000))
            async with httpx.AsyncClient(transport=transport, base_url="http://sixteen.test") as http:
                http.app = app  # type: ignore[attr-defined]
                yield await make_workspace(http, app.state.sixteen)

    return open_with


def standing(response: httpx.Response) -> dict[str, tuple[int, int]]:
    return {name: (int(left), int(ends)) for name, left, ends in STANDING.findall(response.headers["ratelimit"])}


async def test_every_answer_to_a_caller_says_what_is_left(admin: Caller) -> None:
    answers = [
        await admin.get("/v1/customers"),
        await admin.post("/v1/customers", {"name": 7}),
        await admin.get(f"/v1/customers/{new_id()}"),
        await admin.post("/v1/customers", {"name": "Acme"}),
    ]
    assert [each.status_code for each in answers] == [200, 422, 404, 201]
    settings = admin.state.settings
    for number, response in enumerate(answers, start=1):
        assert response.headers.get_list("ratelimit-policy") == [
            f'"key";q={settings.rate_limit_key};w=60, "workspace";q={settings.rate_limit_workspace};w=60'
        ]
        left = standing(response)
        assert 1 <= left["key"][1] <= 60
        if left["key"][1] > 5:
            assert left["key"][0] == settings.rate_limit_key - number


async def test_what_is_no_request_is_counted_too(opened: Opened) -> None:
    json = {"Content-Type": "application/json"}

    async def wrong(caller: Caller) -> list[httpx.Response]:
        return [
            await caller.request("DELETE", "/v1/customers"),
            await caller.get("/v1/nowhere"),
            await caller.post("/v1/customers?x=1", {"name": "X"}),
            await caller.post("/v1/customers", content=b"{", headers=json),
            await caller.post("/v1/customers", content=b"[" * 5000, headers=json),
            await caller.post("/v1/customers", content=b"{}", headers={"Content-Type": "text/plain"}),
            await caller.get("/v1/customers?x=" + "x" * 17_000),
        ]

    async with opened() as admin:
        before = standing(await admin.get("/v1/me"))["key"]
        answers = await wrong(admin)
        assert [each.status_code for each in answers] == [405, 404, 400, 400, 400, 415, 414]
        left = [standing(each)["key"] for each in answers]
        if left[-1][1] < before[1]:
            assert [each[0] for each in left] == [before[0] - n for n in range(1, 8)]
        assert all(len(each.headers.get_list("ratelimit")) == 1 for each in answers)
    async with opened(rate_limit_key=3) as admin:
        answers = await wrong(admin) + await wrong(admin)
        assert answers[-1].status_code == 429
        assert answers[-1].json()["violated_policies"] == ["key"]
    async with opened(rate_limit_failures=3) as admin:
        nobody = Caller(admin.http, admin.state, admin.workspace_id, admin.member_id, "sk_none")
        answers = await wrong(nobody) + await wrong(nobody)
        assert answers[0].status_code == 405
        assert answers[-1].json()["violated_policies"] == ["failures"]


async def test_who_asks_too_much_is_told_which_limit_and_when_it_ends(opened: Opened) -> None:
    async with opened(rate_limit_key=5, rate_limit_workspace=1000) as admin:
        answers = [await admin.get("/v1/me") for _ in range(12)]
        refused = [each for each in answers if each.status_code == 429]
        assert len(refused) >= 2
        last = refused[-1]
        body = last.json()
        assert (body["code"], body["violated_policies"]) == ("quota_exceeded", ["key"])
        assert last.headers["content-type"] == "application/problem+json"
        assert 1 <= int(last.headers["retry-after"]) <= 60
        assert standing(last)["key"][0] == 0
        rep = await admin.member("rep")
        assert (await rep.get("/v1/me")).status_code == 200, "one key's use is not another's"


async def test_a_workspace_is_limited_over_all_its_keys(opened: Opened) -> None:
    async with opened(rate_limit_key=1000, rate_limit_workspace=6) as admin:
        callers = [admin, await admin.member("rep"), await admin.member("viewer")]
        answers = [await callers[n % 3].get("/v1/me") for n in range(24)]
        refused = [each.json()["violated_policies"] for each in answers if each.status_code == 429]
        assert refused
        assert all(each == ["workspace"] for each in refused)
        other = await make_workspace(admin.http, admin.state, "Other")
        assert (await other.get("/v1/me")).status_code == 200


async def test_zero_is_no_limit(opened: Opened) -> None:
    async with opened(rate_limit_key=0, rate_limit_workspace=0) as admin:
        response = await admin.get("/v1/me")
        assert (response.status_code, "ratelimit" in response.headers) == (200, False)


async def test_tickets_have_a_limit_of_their_own(opened: Opened) -> None:
    async with opened(rate_limit_tickets=3) as admin:
        answers = [await admin.post("/v1/stream-tickets") for _ in range(8)]
        assert {each.status_code for each in answers} == {201, 429}
        assert answers[-1].json()["violated_policies"] == ["tickets"]
        assert (await admin.get("/v1/me")).status_code == 200


async def test_guessing_keys_ends_in_429_and_shuts_out_no_good_key(opened: Opened) -> None:
    """Well-formed keys of the workspace with wrong secrets; a good key from the same address opens what it should."""
    async with opened(rate_limit_failures=5, identity_ttl=0.001) as admin:
        assert (await admin.get("/v1/me")).status_code == 200
        answers = []
        for _ in range(15):
            guess, _ = make_key(admin.workspace_id, new_id())
            answers.append(await admin.http.get("/v1/me", headers={"Authorization": f"Bearer {guess}"}))
        assert answers[0].status_code == 401
        assert answers[-1].status_code == 429
        assert answers[-1].json()["violated_policies"] == ["failures"]
        assert "retry-after" in answers[-1].headers
        assert (await admin.get("/v1/me")).status_code == 200
        stranger = await admin.member("rep")
        assert (await stranger.get("/v1/me")).status_code == 200
        revoked = await admin.ok("POST", "/v1/api-keys", {"name": "x"})
        await admin.ok("DELETE", f"/v1/api-keys/{revoked['id']}")
        for each in (revoked["key"], make_key(admin.workspace_id, new_id())[0], "x", f"sixteen_access_{'A' * 75}"):
            refused = await admin.http.get("/v1/me", headers={"Authorization": f"Bearer {each}"})
            assert (refused.status_code, refused.json()["violated_policies"]) == (429, ["failures"])
        ticket = await admin.http.get("/v1/events/stream", params={"ticket": "sixteen_ticket_x"})
        assert ticket.status_code == 429


async def test_guesses_take_one_look_up_at_a_time_and_a_few_places(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From an address over the limit; a good key waits its turn among them."""
    async with opened(rate_limit_failures=3, identity_ttl=60) as admin:
        guesses = [make_key(admin.workspace_id, new_id())[0] for _ in range(30)]

        async def guess(key: str) -> int:
            return (await admin.http.get("/v1/me", headers={"Authorization": f"Bearer {key}"})).status_code

        assert [await guess(each) for each in guesses[:6]] == [401] * 3 + [429] * 3
        looked_up: list[str] = []
        going_on = most = 0
        principal = Identities.principal

        async def slowly(self: Identities, key: str, *more: Any) -> Principal:
            nonlocal going_on, most
            looked_up.append(key)
            going_on += 1
            most = max(most, going_on)
            try:
                await asyncio.sleep(0)
                return await principal(self, key, *more)
            finally:
                going_on -= 1

        monkeypatch.setattr(Identities, "principal", slowly)
        good = await admin.member("rep")
        answers = await asyncio.gather(*(guess(each) for each in (guesses[6], good.key, *guesses[7:])))
        assert answers == [429, 200] + [429] * 23
        assert (most, len(looked_up)) == (1, 8)
        # Once known it waits for nobody.
        assert await asyncio.gather(*(guess(each) for each in (*guesses[:20], good.key))) == [429] * 20 + [200]


class TestProxies:
    """Behind a proxy the caller's address is the one that it says, and nobody else may say one."""

    PROXY = "10.1.2.3"

    async def refused_from(self, admin: Caller, peer: str, *forwarded: str) -> str:
        """The address that a request with a bad key is counted under."""
        transport = httpx.ASGITransport(admin.http.app, raise_app_exceptions=False, client=(peer, 4000))  # type: ignore[attr-defined]
        headers = [("Authorization", "Bearer x"), *(("X-Forwarded-For", each) for each in forwarded)]
        async with httpx.AsyncClient(transport=transport, base_url="http://sixteen.test") as http:
            before = self.counted(admin)
            assert (await http.get("/v1/me", headers=headers)).status_code == 401
            [address] = [each for each, spent in self.counted(admin).items() if spent > before.get(each, 0)]
            return address

    @staticmethod
    def counted(admin: Caller) -> dict[str, int]:
        buckets = admin.state.limits._limiter._buckets
        return {str(who): each.policy.quota - each.left for (name, who), each in buckets.items() if name == "failures"}

    @pytest.mark.parametrize(
        ("peer", "forwarded", "address"),
        [
            (PROXY, ["203.0.113.9"], "203.0.113.9"),
            (PROXY, ["203.0.113.9:5123"], "203.0.113.9"),
            (PROXY, ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
            (PROXY, ["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
            (PROXY, ["6.6.6.6, 203.0.113.9, 10.1.9.9"], "203.0.113.9"),
            (PROXY, ["2001:db8:1:2:3::4"], "2001:db8:1:2::"),
            (PROXY, ["[2001:db8:1:2:3::4]:443"], "2001:db8:1:2::"),
            (PROXY, [], PROXY),
            (PROXY, [""], PROXY),
            (PROXY, ["x" * 5000], "x" * 64),
            ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
            ("10.2.0.1", ["203.0.113.9"], "10.2.0.1"),
            ("127.0.0.1", ["203.0.113.9"], "127.0.0.1"),
        ],
    )
    async def test_the_rightmost_that_is_no_proxy_calls(
        self, opened: Opened, peer: str, forwarded: list[str], address: str
    ) -> None:
        async with opened(rate_limit_failures=1000, trusted_proxies=("10.1.0.0/16",)) as admin:
            assert await self.refused_from(admin, peer, *forwarded) == address

    async def test_without_the_setting_nobody_is_believed(self, opened: Opened) -> None:
        async with opened(rate_limit_failures=1000) as admin:
            assert await self.refused_from(admin, "127.0.0.1", "203.0.113.9") == "127.0.0.1"

    @pytest.mark.parametrize(
        "given", ["*", "0.0.0.0/0", "::/0", "10.0.0.1/8", "proxy.example.com", "10.0.0.1 10.0.0.2"]
    )
    def test_a_proxy_that_is_none_or_everybody_is_found_at_the_start(
        self, api_settings: ApiSettings, monkeypatch: pytest.MonkeyPatch, given: str
    ) -> None:
        monkeypatch.setenv("SIXTEEN_TRUSTED_PROXIES", given)
        given_otherwise = api_settings.model_dump(exclude={"trusted_proxies"})
        with pytest.raises(ValidationError, match="TRUSTED_PROXIES"):
            ApiSettings(**given_otherwise)

    def test_it_is_read_with_commas_between(self, api_settings: ApiSettings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SIXTEEN_TRUSTED_PROXIES", "10.0.0.7, 10.1.0.0/16,fd00::/8")
        read = ApiSettings(**api_settings.model_dump(exclude={"trusted_proxies"}))
        assert read.trusted_proxies == ("10.0.0.7", "10.1.0.0/16", "fd00::/8")


async def test_who_sends_nothing_has_guessed_nothing(opened: Opened) -> None:
    async with opened(rate_limit_failures=2) as admin:
        answers = [await admin.http.get("/v1/me") for _ in range(9)]
        assert {each.status_code for each in answers} == {401}


async def test_a_good_key_beside_a_ticket_is_no_guess(opened: Opened) -> None:
    async with opened(rate_limit_failures=2) as admin:
        for _ in range(6):
            both = await admin.get("/v1/events/stream", params={"ticket": "sixteen_ticket_x"})
            assert (both.status_code, both.json()["code"]) == (400, "bad_request")
        guess = await admin.http.get("/v1/me", headers={"Authorization": "Bearer x"})
        assert guess.status_code == 401


async def test_without_redis_reads_and_writes_go_on_under_the_same_limits(
    servers: Servers, api_settings: ApiSettings, opened: Opened
) -> None:
    """Redis answers at first, and is then away."""
    assert servers.embedded is None or servers.redis_url
    async with opened(rate_limit_key=20, redis_url="unix:///nowhere/redis.sock") as admin:
        answers = [await admin.get("/v1/me") for _ in range(40)]
        assert [each.status_code for each in answers] == [200] * 20 + [429] * 20


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("203.0.113.7", 1), "203.0.113.7"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::"),
        (("::ffff:203.0.113.7", 1), "203.0.113.7"),
        (("testclient", 1), "testclient"),
        (None, "-"),
    ],
)
def test_an_address_is_that_of_one_customer(client: tuple[str, int] | None, address: str) -> None:
    scope: Scope = {"type": "http", "client": client}
    assert address_of(scope) == address
