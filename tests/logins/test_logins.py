"""A person logs in: Authorization Code with PKCE, a session, its refreshes and its end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.db import sql
from shared.ids import new_id
from tests.logins.conftest import BACK, Office, set_member
from tests.logins.provider import query_of

AGE = sql(
    "UPDATE sales.sessions SET access_expires_at = access_expires_at - :seconds * interval '1 second',"
    " refresh_expires_at = refresh_expires_at - :seconds * interval '1 second',"
    " expires_at = expires_at - :seconds * interval '1 second' WHERE workspace_id = :workspace_id"
)
STORED = sql("SELECT * FROM sales.sessions WHERE workspace_id = :workspace_id")
ACTIONS = sql("SELECT action FROM sales.audit_entries WHERE workspace_id = :workspace_id AND subject_id = :id")


async def age(office: Office, seconds: int) -> None:
    async with office.admin.state.database.transaction(office.admin.workspace_id) as tx:
        await tx.run(AGE, seconds=seconds)


async def refresh(office: Office, token: str) -> Any:
    return await office.http.post("/v1/logins:refresh", json={"refresh_token": token})


async def test_a_whole_day(office: Office) -> None:
    """From the button to the last click: log in, work, refresh, work, log out."""
    tokens = await office.log_in()
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 600)
    assert tokens["member_id"] == str(office.rep.member_id)
    me = (await office.call(tokens["access_token"], workspace=None)).json()
    assert (me["member"]["id"], me["role"], me["api_key_id"]) == (str(office.rep.member_id), "rep", None)
    made = await office.call(tokens["access_token"], "POST", "/v1/customers", json={"name": "Acme"})
    assert made.status_code == 201
    again = (await refresh(office, tokens["refresh_token"])).json()
    assert (await office.call(again["access_token"])).status_code == 200
    assert (await office.call(tokens["access_token"])).status_code == 401
    assert (await office.http.post("/v1/logins:revoke", json={"token": again["access_token"]})).status_code == 204
    assert (await office.call(again["access_token"])).status_code == 401
    assert (await refresh(office, again["refresh_token"])).status_code == 401
    async with office.admin.state.database.transaction(office.admin.workspace_id) as tx:
        actions = [row["action"] for row in await tx.rows(ACTIONS, id=office.rep.member_id)]
    assert {"member.identity_linked", "member.logged_in", "member.logged_out"} <= set(actions)


async def test_a_login_asks_the_provider_as_it_should(office: Office) -> None:
    started = await office.begin()
    query = query_of(started["authorization_url"])
    assert started["authorization_url"].startswith(f"{office.provider.issuer}/authorize?")
    assert (query["state"], query["redirect_uri"]) == (started["state"], BACK)
    assert query["scope"].split()[0] == "openid"
    assert len({query["state"], query["nonce"], query["code_challenge"]}) == 3
    another = query_of((await office.begin())["authorization_url"])
    assert all(query[name] != another[name] for name in ("state", "nonce", "code_challenge"))


async def test_no_secret_is_stored(office: Office) -> None:
    tokens = await office.log_in()
    async with office.admin.state.database.transaction(office.admin.workspace_id) as tx:
        rows = await tx.rows(STORED)
    held = repr([tuple(row.values()) for row in rows])
    for name in ("access_token", "refresh_token"):
        assert tokens[name].rpartition("_")[2][-20:] not in held


async def test_who_is_on_the_list_of_providers(office: Office) -> None:
    listed = (await office.http.get("/v1/logins/options")).json()["providers"]
    assert [each["name"] for each in listed] == ["main"]
    assert listed[0].keys() == {"name", "issuer", "client_id", "scopes"}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"redirect_uri": "https://evil.example.com/"}, "/redirect_uri"),
        ({"redirect_uri": BACK + "/more"}, "/redirect_uri"),
        ({"redirect_uri": BACK, "provider": "nobody"}, "/provider"),
        ({"redirect_uri": BACK, "workspace_id": "x"}, "/workspace_id"),
        ({"redirect_uri": BACK, "colour": "red"}, "/colour"),
        ({}, "/redirect_uri"),
    ],
)
async def test_a_login_that_is_begun_wrong(office: Office, body: dict[str, Any], pointer: str) -> None:
    response = await office.http.post("/v1/logins", json=body)
    assert response.status_code == 422, response.text
    assert [each["pointer"] for each in response.json()["errors"]] == [pointer]


class TestCompleting:
    """What must not be completed."""

    async def test_a_state_of_another_login(self, office: Office) -> None:
        one, other = await office.begin(), await office.begin()
        response = await office.complete(one, state=other["state"])
        assert (response.status_code, response.json()["code"]) == (400, "login_failed")

    async def test_a_slip_of_another_login(self, office: Office) -> None:
        """Somebody else's code and state in a page that began a login of its own."""
        own, evil = await office.begin(), await office.begin()
        response = await office.complete(evil, slip=own["slip"])
        assert (response.status_code, response.json()["code"]) == (400, "login_failed")

    async def test_a_slip_that_was_changed(self, office: Office) -> None:
        started = await office.begin()
        for slip in ("x", "é", started["slip"][:-4] + "AAAA", "A" * len(started["slip"])):
            response = await office.complete(started, slip=slip)
            assert (response.status_code, response.json()["code"]) == (400, "login_failed"), slip

    async def test_a_code_a_second_time(self, office: Office) -> None:
        started = await office.begin()
        code, state = office.provider.authorize(query_of(started["authorization_url"]))
        office.provider.person = {"sub": f"rep of {office.admin.workspace_id}", "email": office.email} | {
            "email_verified": True
        }
        body = {"code": code, "state": state, "slip": started["slip"]}
        answers = [await office.http.post("/v1/logins:complete", json=body) for _ in range(2)]
        assert [each.status_code for each in answers] == [200, 400]
        assert answers[1].json()["code"] == "login_failed"

    @pytest.mark.parametrize("claims", [{"nonce": "another"}, {"nonce": None}, {"aud": "another"}, {"exp": 1}])
    async def test_an_id_token_that_is_not_this_logins(self, office: Office, claims: dict[str, Any]) -> None:
        office.provider.person = {"sub": "x", "email": office.email, "email_verified": True, **claims}
        response = await office.complete(await office.begin())
        assert (response.status_code, response.json()["code"]) == (400, "login_failed")

    async def test_somebody_who_is_no_member(self, office: Office) -> None:
        office.provider.person = {"sub": "stranger", "email": "stranger@example.com", "email_verified": True}
        response = await office.complete(await office.begin())
        assert (response.status_code, response.json()["code"]) == (403, "not_a_member")

    async def test_a_provider_that_is_away(self, office: Office) -> None:
        started = await office.begin()
        office.provider.away = True
        try:
            response = await office.complete(started)
        finally:
            office.provider.away = False
        assert (response.status_code, response.json()["code"]) == (503, "unavailable")
        assert "retry-after" in response.headers


class TestRefreshing:
    """A refresh token is good once."""

    async def test_one_that_comes_again_ends_the_session(self, office: Office) -> None:
        tokens = await office.log_in()
        second = (await refresh(office, tokens["refresh_token"])).json()
        third = (await refresh(office, second["refresh_token"])).json()
        stolen = await refresh(office, tokens["refresh_token"])
        assert (stolen.status_code, stolen.json()["code"]) == (401, "unauthorized")
        assert (await office.call(third["access_token"])).status_code == 401
        assert (await refresh(office, third["refresh_token"])).status_code == 401

    async def test_of_many_at_once_one_gets_the_next_pair(self, office: Office) -> None:
        tokens = await office.log_in()
        answers = await asyncio.gather(*(refresh(office, tokens["refresh_token"]) for _ in range(8)))
        assert sorted(each.status_code for each in answers) == [200] + [401] * 7

    async def test_an_invented_one_ends_nothing(self, office: Office) -> None:
        tokens = await office.log_in()
        kept = tokens["refresh_token"]
        for text in ("x", "sixteen_refresh_", kept[:-6] + ("AAAAAA" if kept[-6:] != "AAAAAA" else "BBBBBB")):
            assert (await refresh(office, text)).status_code == 401
        assert (await refresh(office, kept)).status_code == 200

    async def test_tokens_end_with_time(self, office: Office) -> None:
        tokens = await office.log_in()
        await age(office, 601)
        assert (await office.call(tokens["access_token"])).status_code == 401
        tokens = (await refresh(office, tokens["refresh_token"])).json()
        await age(office, 15 * 86_400)
        assert (await refresh(office, tokens["refresh_token"])).status_code == 401

    async def test_a_session_ends_with_its_member(self, office: Office) -> None:
        tokens = await office.log_in()
        await set_member(office, office.email, active=False)
        assert (await office.call(tokens["access_token"])).status_code == 401
        assert (await refresh(office, tokens["refresh_token"])).status_code == 401

    async def test_kinds_are_not_mistaken_for_each_other(self, office: Office) -> None:
        tokens = await office.log_in()
        assert (await office.call(tokens["refresh_token"])).status_code == 401
        assert (await refresh(office, tokens["access_token"])).status_code == 401

    async def test_a_session_is_of_one_workspace(self, office: Office) -> None:
        tokens = await office.log_in()
        assert (await office.call(tokens["access_token"], workspace=new_id())).status_code == 401
        assert (await office.call(tokens["access_token"], workspace="x")).status_code == 400


async def test_giving_back_what_is_not_known_is_no_error(office: Office) -> None:
    for token in ("x", "sixteen_access_AAAA", "a.b.c", office.provider.token(exp=1)):
        assert (await office.http.post("/v1/logins:revoke", json={"token": token})).status_code == 204
