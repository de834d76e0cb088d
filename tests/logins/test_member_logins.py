"""What a member has of logins: links that are ended and taken up again, sessions that are ended."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from fastapi import FastAPI

from services.api.auth.tokens import SKEW_SECONDS
from shared.db import sql
from shared.ids import new_id
from tests.contract.test_openapi import complaints
from tests.events.support import streaming
from tests.logins.conftest import Office, set_member
from tests.support.caller import Caller, make_workspace
from tests.support.flow import recording
from tests.support.statements import statements

ANOTHER = "another subject"
ANOTHER_LINK = sql(
    "INSERT INTO sales.member_identities (workspace_id, id, member_id, issuer, subject, recorded_at)"
    " VALUES (:workspace_id, :id, :member_id, 'https://other.example.com', 'the same person', :now)"
)


@pytest.fixture
def running(office: Office) -> FastAPI:
    """The application that takes the tokens of the provider."""
    app: FastAPI = office.http.app  # type: ignore[attr-defined]
    return app


def path(office: Office, rest: str = "") -> str:
    return f"/v1/members/{office.rep.member_id}{rest}"


async def links(office: Office, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await office.admin.ok("GET", path(office, "/logins"), params=params))["data"]
    return found


async def sessions(office: Office, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await office.admin.ok("GET", path(office, "/sessions"), params=params))["data"]
    return found


async def audited(office: Office) -> list[str]:
    entries = (await office.admin.ok("GET", "/v1/audit", params={"subject_id": str(office.rep.member_id)}))["data"]
    return [each["action"] for each in entries]


class TestLinks:
    """Who a member is to the identity providers."""

    async def test_a_link_is_listed_with_its_provider_and_last_use(self, office: Office) -> None:
        assert await links(office) == []
        await office.log_in()
        [link] = await links(office)
        assert (link["provider"], link["issuer"]) == ("main", office.provider.issuer)
        assert link["subject"] == f"rep of {office.admin.workspace_id}"
        assert link["member_id"] == str(office.rep.member_id)
        assert link["last_used_at"] >= link["recorded_at"]
        assert link["unlinked_at"] is None
        assert await links(office, linked="false") == []

    async def test_a_bearer_token_is_a_use_too(self, office: Office) -> None:
        await office.call(office.token())
        assert (await links(office))[0]["last_used_at"] is not None

    async def test_who_is_unlinked_is_nobody_here(self, office: Office) -> None:
        """Sessions, tokens of the provider, refreshes and new logins, with the member's e-mail though they come."""
        tokens, bearer = await office.log_in(), office.token()
        assert (await office.call(bearer)).status_code == 200
        [link] = await links(office)
        for _ in range(2):
            assert (await office.admin.delete(path(office, f"/logins/{link['id']}"))).status_code == 204
        assert (await office.call(tokens["access_token"])).status_code == 401
        refreshed = await office.http.post("/v1/logins:refresh", json={"refresh_token": tokens["refresh_token"]})
        assert refreshed.status_code == 401
        for response in (
            await office.call(bearer),
            await office.call(office.token()),
            await office.call(office.token(), workspace=None),
            await office.try_to_log_in(),
            await office.try_to_log_in(begun={"workspace_id": None}),
        ):
            assert (response.status_code, response.json()["code"]) == (403, "not_a_member")
        [ended] = await links(office, linked="false")
        assert (ended["id"], ended["unlinked_at"] is None) == (link["id"], False)
        assert {"member.identity_unlinked", "member.sessions_ended"} <= set(await audited(office))
        assert (await audited(office)).count("member.identity_unlinked") == 1

    async def test_who_has_the_address_now_is_linked_in_their_place(self, office: Office) -> None:
        await office.log_in()
        [link] = await links(office)
        assert (await office.try_to_log_in(sub=ANOTHER)).status_code == 403
        await office.admin.ok("DELETE", path(office, f"/logins/{link['id']}"))
        tokens = await office.log_in(begun={"workspace_id": None}, sub=ANOTHER)
        assert tokens["member_id"] == str(office.rep.member_id)
        assert [each["subject"] for each in await links(office, linked="true")] == [ANOTHER]
        assert (await office.try_to_log_in()).status_code == 403
        taken = await office.admin.post(path(office, f"/logins/{link['id']}:restore"))
        assert (taken.status_code, taken.json()["code"]) == (409, "already_exists")

    async def test_a_mistake_is_taken_back(self, office: Office) -> None:
        old = await office.log_in()
        [link] = await links(office)
        await office.admin.ok("DELETE", path(office, f"/logins/{link['id']}"))
        for _ in range(2):
            restored = await office.admin.ok("POST", path(office, f"/logins/{link['id']}:restore"))
            assert (restored["id"], restored["provider"], restored["unlinked_at"]) == (link["id"], "main", None)
        assert (await office.call(old["access_token"])).status_code == 401
        assert (await office.log_in())["member_id"] == str(office.rep.member_id)
        assert (await audited(office)).count("member.identity_restored") == 1

    async def test_a_member_is_linked_again_by_their_subject_alone(self, office: Office) -> None:
        """An e-mail that comes back to the one who was unlinked changes nothing."""
        await office.log_in()
        [link] = await links(office)
        await office.admin.ok("DELETE", path(office, f"/logins/{link['id']}"))
        await set_member(office, "other@example.com")
        await set_member(office, office.email)
        assert (await office.try_to_log_in()).status_code == 403

    async def test_only_administrators_end_links(self, office: Office) -> None:
        await office.log_in()
        [link] = await links(office)
        manager, viewer = await office.admin.member("manager"), await office.admin.member("viewer")
        for caller in (office.rep, manager, viewer):
            for response in (
                await caller.delete(path(office, f"/logins/{link['id']}")),
                await caller.post(path(office, f"/logins/{link['id']}:restore")),
            ):
                assert (response.status_code, response.json()["code"]) == (403, "forbidden")
        assert [each["id"] for each in await links(office, linked="true")] == [link["id"]]


class TestSessions:
    """What logins have left."""

    async def test_they_are_listed_and_ended_one_by_one(self, office: Office) -> None:
        first, second = await office.log_in(), await office.log_in()
        newer, older = await sessions(office, live="true")
        assert newer["recorded_at"] > older["recorded_at"]
        assert (newer["provider"], newer["ended_at"], newer["member_id"]) == ("main", None, second["member_id"])
        assert newer["expires_at"] == second["refresh_expires_at"]
        for _ in range(2):
            assert (await office.admin.delete(path(office, f"/sessions/{older['id']}"))).status_code == 204
        assert (await office.call(first["access_token"])).status_code == 401
        assert (await office.call(second["access_token"])).status_code == 200
        assert [each["id"] for each in await sessions(office, live="false")] == [older["id"]]
        assert (await audited(office)).count("member.session_ended") == 1

    async def test_a_member_logs_out_everywhere(self, office: Office) -> None:
        tokens = [await office.log_in() for _ in range(3)]
        mine = {"Authorization": f"Bearer {tokens[0]['access_token']}"}
        seen = (await office.http.get(path(office, "/sessions"), headers=mine)).json()["data"]
        assert len(seen) == 3
        response = await office.http.post(path(office, ":end-sessions"), headers=mine)
        assert (response.status_code, response.json()) == (200, {"ended": 3})
        for each in tokens:
            assert (await office.call(each["access_token"])).status_code == 401
        assert (await office.admin.ok("POST", path(office, ":end-sessions"))) == {"ended": 0}
        assert (await audited(office)).count("member.sessions_ended") == 1
        assert (await office.rep.get("/v1/me")).status_code == 200, "keys are not touched"
        assert (await office.log_in())["member_id"] == str(office.rep.member_id)

    async def test_an_administrator_ends_those_of_others(self, office: Office) -> None:
        tokens = await office.log_in()
        assert (await office.admin.ok("POST", path(office, ":end-sessions"))) == {"ended": 1}
        assert (await office.call(tokens["access_token"])).status_code == 401

    async def test_others_are_no_business_of_theirs(self, office: Office) -> None:
        await office.log_in()
        [session] = await sessions(office)
        for role in ("rep", "manager", "viewer"):
            caller = await office.admin.member(role)
            for method, rest in (
                ("GET", "/logins"),
                ("GET", "/sessions"),
                ("DELETE", f"/sessions/{session['id']}"),
                ("POST", ":end-sessions"),
            ):
                assert (await caller.request(method, path(office, rest))).status_code == 403, (role, rest)
        integration = await office.admin.member("integration")
        refused = await integration.get(f"/v1/members/{integration.member_id}/sessions")
        assert (refused.status_code, "logins:read" in refused.json()["detail"]) == (403, True)

    async def test_a_key_needs_the_scope(self, office: Office) -> None:
        made = await office.admin.ok("POST", "/v1/api-keys", {"name": "n", "scopes": ["members:write", "logins:read"]})
        narrow = Caller(office.http, office.admin.state, office.admin.workspace_id, office.admin.member_id, made["key"])
        assert (await narrow.get(path(office, "/sessions"))).status_code == 200
        assert (await narrow.post(path(office, ":end-sessions"))).status_code == 403

    async def test_a_stream_ends_with_the_session_that_made_its_ticket(
        self, office: Office, running: FastAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.api.events.stream.HEARTBEAT_SECONDS", 0.05)
        tokens, other = await office.log_in(), await office.log_in()
        tickets = [
            (await office.call(each["access_token"], "POST", "/v1/stream-tickets")).json()["ticket"]
            for each in (tokens, other)
        ]
        async with (
            streaming(running, None, ticket=tickets[0]) as stream,
            streaming(running, None, ticket=tickets[1]) as kept,
        ):
            [_, first] = await sessions(office)
            await office.admin.ok("DELETE", path(office, f"/sessions/{first['id']}"))
            await stream.end()
            assert not kept.ended.is_set()

    async def test_a_stream_ends_with_the_link_that_its_maker_came_by(
        self, office: Office, running: FastAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.api.events.stream.HEARTBEAT_SECONDS", 0.05)
        ticket = (await office.call(office.token(), "POST", "/v1/stream-tickets")).json()["ticket"]
        async with streaming(running, None, ticket=ticket) as stream:
            [link] = await links(office)
            await office.admin.ok("DELETE", path(office, f"/logins/{link['id']}"))
            await stream.end()


class TestTicketsOfTokens:
    """A ticket opens nothing once what it was made with does not, and a stream opened by it ends."""

    @staticmethod
    async def ticket(office: Office, token: str) -> str:
        made = await office.call(token, "POST", "/v1/stream-tickets")
        assert made.status_code == 201, made.text
        return str(made.json()["ticket"])

    async def test_a_stream_ends_with_its_own_link_and_no_other(
        self, office: Office, running: FastAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of two links of one member: to the provider, and to another that is no more than a row here."""
        monkeypatch.setattr("services.api.events.stream.HEARTBEAT_SECONDS", 0.05)
        token = office.token()
        tickets = [await self.ticket(office, token) for _ in range(3)]
        async with office.admin.state.database.transaction(office.admin.workspace_id) as tx:
            await tx.run(ANOTHER_LINK, id=new_id(), member_id=office.rep.member_id, now=tx.now)
        by_issuer = {each["issuer"]: each["id"] for each in await links(office)}
        async with streaming(running, None, ticket=tickets[0]) as stream:
            await office.admin.ok("DELETE", path(office, f"/logins/{by_issuer['https://other.example.com']}"))
            await asyncio.sleep(0.5)
            assert not stream.ended.is_set()
            await office.admin.ok("POST", path(office, f"/logins/{by_issuer['https://other.example.com']}:restore"))
            await office.admin.ok("DELETE", path(office, f"/logins/{by_issuer[office.provider.issuer]}"))
            await stream.end()
        async with streaming(running, None, ticket=tickets[1]) as stream:
            assert stream.status == 401

    async def test_a_stream_ends_when_the_token_is_given_back(
        self, office: Office, running: FastAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.api.events.stream.HEARTBEAT_SECONDS", 0.05)
        token, other = office.token(), office.token()
        ticket, unused, kept = [await self.ticket(office, each) for each in (token, token, other)]
        async with (
            streaming(running, None, ticket=ticket) as stream,
            streaming(running, None, ticket=kept) as going_on,
        ):
            assert (await office.http.post("/v1/logins:revoke", json={"token": token})).status_code == 204
            await stream.end()
            assert not going_on.ended.is_set()
        async with streaming(running, None, ticket=unused) as refused:
            assert refused.status == 401

    async def test_a_stream_ends_when_the_token_does(
        self, office: Office, running: FastAPI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Which is as long as a token is taken: with the skew that clocks may have."""
        monkeypatch.setattr("services.api.events.stream.HEARTBEAT_SECONDS", 0.05)
        soon = office.token(exp=int(time.time()) - SKEW_SECONDS + 3)
        ticket, unused = [await self.ticket(office, soon) for _ in range(2)]
        async with streaming(running, None, ticket=ticket) as stream:
            assert stream.status == 200
            await stream.end()
        async with streaming(running, None, ticket=unused) as refused:
            assert refused.status == 401


async def test_what_is_answered_is_what_is_declared(office: Office, running: FastAPI) -> None:
    async with recording(office.admin) as seen:
        await office.log_in()
        [link], [session] = await links(office), await sessions(office)
        await office.admin.ok("DELETE", path(office, f"/logins/{link['id']}"))
        await office.admin.ok("POST", path(office, f"/logins/{link['id']}:restore"))
        await office.log_in()
        await office.admin.ok("DELETE", path(office, f"/sessions/{session['id']}"))
        await office.admin.ok("POST", path(office, ":end-sessions"))
        await sessions(office)
        await office.rep.delete(path(office, f"/logins/{link['id']}"))
    assert len(seen) >= 12
    assert [complaint for response in seen for complaint in complaints(running, response)] == []


async def test_what_is_not_there_is_404(office: Office) -> None:
    await office.log_in()
    [link], [session] = await links(office), await sessions(office)
    stranger = await make_workspace(office.http, office.admin.state, "Other")
    admin_path = f"/v1/members/{office.admin.member_id}"
    for caller, method, at in (
        (office.admin, "GET", f"/v1/members/{new_id()}/logins"),
        (office.admin, "GET", f"/v1/members/{new_id()}/sessions"),
        (office.admin, "DELETE", path(office, f"/logins/{new_id()}")),
        (office.admin, "POST", path(office, f"/logins/{new_id()}:restore")),
        (office.admin, "DELETE", path(office, f"/sessions/{new_id()}")),
        (office.admin, "DELETE", f"{admin_path}/logins/{link['id']}"),
        (office.admin, "POST", f"{admin_path}/logins/{link['id']}:restore"),
        (office.admin, "DELETE", f"{admin_path}/sessions/{session['id']}"),
        (stranger, "GET", path(office, "/logins")),
        (stranger, "DELETE", path(office, f"/logins/{link['id']}")),
        (stranger, "DELETE", path(office, f"/sessions/{session['id']}")),
        (stranger, "POST", path(office, ":end-sessions")),
        (stranger, "DELETE", f"/v1/members/{stranger.member_id}/logins/{link['id']}"),
    ):
        response = await caller.request(method, at)
        assert (response.status_code, response.json()["code"]) == (404, "not_found"), at
    assert (await links(office, linked="true"), await sessions(office, live="true")) == ([link], [session])


async def test_lists_are_paged_at_a_constant_cost(office: Office) -> None:
    for _ in range(3):
        await office.log_in()
    with statements() as few:
        page = await office.admin.ok("GET", path(office, "/sessions"), params={"limit": 1})
    rest = await office.admin.ok("GET", path(office, "/sessions"), params={"cursor": page["next_cursor"]})
    assert len({each["id"] for each in page["data"] + rest["data"]}) == 3
    for _ in range(7):
        await office.log_in()
    with statements() as many:
        await office.admin.ok("GET", path(office, "/sessions"))
    assert len(few) == len(many)
    wrong = await office.admin.get(path(office, "/sessions"), params={"colour": "red"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, "?colour")
