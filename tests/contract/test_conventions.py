"""What holds on every route: problems, scopes, cursors, tags of versions, keys of idempotency."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from services.api.auth.callers import authorize
from services.api.edge import EdgeRoute
from services.api.errors import Problem
from services.api.logins.routes import counted
from shared.ids import new_id
from tests.support.caller import Caller

JSON = {"Content-Type": "application/json"}
UNSUPPORTED = "unsupported_media_type"
LOWER_CAMEL = re.compile(r"[a-z]+([A-Z][a-z0-9]*)+")


def v1_routes(app: FastAPI) -> list[APIRoute]:
    return [route for route in app.state.routes if route.path.startswith("/v1/")]


def test_every_route_runs_at_the_edge_and_names_its_scope(app: FastAPI) -> None:
    for route in v1_routes(app):
        assert isinstance(route, EdgeRoute), route.path
        asked = [each.call for each in route.dependant.dependencies]
        if route.path.startswith("/v1/logins"):
            assert counted in asked, f"{route.path} is open to anybody as often as they like"
        else:
            assert authorize in asked, f"{route.path} asks for no principal"


def test_operation_ids_are_unique_verbs(app: FastAPI) -> None:
    ids = [route.operation_id or "" for route in v1_routes(app)]
    assert [each for each in ids if not LOWER_CAMEL.fullmatch(each)] == []
    assert [each for each, times in Counter(ids).items() if times > 1] == []
    assert all(len(route.tags) == 1 for route in v1_routes(app))


def test_the_document_has_one_problem_and_no_twins(app: FastAPI) -> None:
    document = app.openapi()
    names = document["components"]["schemas"]
    assert "Problem" in names
    assert not [name for name in names if name.endswith(("-Input", "-Output")) or "ValidationError" in name]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert {"400", "401", "403", "429", "500", "503"} <= operation["responses"].keys(), f"{method} {path}"


@pytest.mark.parametrize(
    ("method", "path", "given", "status", "code"),
    [
        ("GET", "/v1/nothing", {}, 404, "not_found"),
        ("GET", "/v1/opportunities/not-an-id", {}, 404, "not_found"),
        ("DELETE", "/v1/opportunities", {}, 405, "method_not_allowed"),
        ("POST", "/v1/customers", {"content": b"{", "headers": JSON}, 400, "malformed_json"),
        ("POST", "/v1/customers", {"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415, UNSUPPORTED),
        ("POST", "/v1/customers", {"json": {"name": "x", "nmae": "y"}}, 422, "invalid"),
        ("POST", "/v1/customers", {"json": {"name": 7}}, 422, "invalid"),
        ("POST", "/v1/customers", {"json": {"name": "x" * 1_100_000}}, 413, "payload_too_large"),
        ("GET", "/v1/customers?colour=red", {}, 400, "invalid_parameter"),
        ("GET", "/v1/customers?limit=0", {}, 400, "invalid_parameter"),
        ("GET", "/v1/customers?sort=shoe_size", {}, 400, "invalid_parameter"),
        ("GET", "/v1/customers?cursor=abc", {}, 400, "invalid_cursor"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_a_problem(
    admin: Caller, method: str, path: str, given: dict[str, Any], status: int, code: str
) -> None:
    response = await admin.request(method, path, **given)
    body = response.json()
    assert (response.status_code, body["code"], body["status"]) == (status, code, status), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["code"] in Problem.registry


async def test_a_body_that_grows_over_its_limit_is_too_large(admin: Caller) -> None:
    """Sent in pieces, without a length that would tell; and on a path below the one that takes uploads."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b" " * 100_000

    for path in ("/v1/customers", f"/v1/imports/{new_id()}:cancel"):
        response = await admin.request("POST", path, content=pieces(), headers={**JSON, "Idempotency-Key": "big"})
        assert (response.status_code, response.json()["code"]) == (413, "payload_too_large"), path


async def test_json_of_great_depth_is_refused_and_not_fatal(admin: Caller) -> None:
    deep = b'{"name":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    response = await admin.request("POST", "/v1/customers", content=deep, headers=JSON)
    assert response.status_code in {400, 422}


async def test_who_is_not_known_is_told_so(http: httpx.AsyncClient, admin: Caller) -> None:
    assert (await http.get("/v1/customers")).status_code == 401
    for key in ("nonsense", admin.key[:-1] + ("0" if admin.key[-1] != "0" else "1"), admin.key.swapcase()):
        response = await http.get("/v1/customers", headers={"Authorization": f"Bearer {key}"})
        assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
        assert response.headers["www-authenticate"].startswith("Bearer")


class TestVersions:
    """Strong ETags, If-Match and If-None-Match (API-4)."""

    async def test_a_stale_version_changes_nothing(self, admin: Caller) -> None:
        made = await admin.make_customer()
        path = f"/v1/customers/{made['id']}"
        first = await admin.patch(path, {"name": "B"}, headers={"If-Match": '"1"'})
        assert (first.status_code, first.headers["etag"]) == (200, '"2"')
        stale = await admin.patch(path, {"name": "C"}, headers={"If-Match": '"1"'})
        assert (stale.status_code, stale.json()["current_version"]) == (412, 2)
        assert (await admin.ok("GET", path))["name"] == "B"

    async def test_of_many_changes_of_one_version_one_succeeds(self, admin: Caller) -> None:
        made = await admin.make_customer()
        path, headers = f"/v1/customers/{made['id']}", {"If-Match": '"1"'}
        answers = await asyncio.gather(*(admin.patch(path, {"name": f"N{n}"}, headers=headers) for n in range(20)))
        assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 19}

    async def test_what_is_known_is_not_sent_again(self, admin: Caller) -> None:
        made = await admin.make_customer()
        response = await admin.get(f"/v1/customers/{made['id']}", headers={"If-None-Match": '"1"'})
        assert (response.status_code, response.content) == (304, b"")

    async def test_changing_nothing_leaves_the_version(self, admin: Caller) -> None:
        made = await admin.make_customer("Same")
        response = await admin.patch(f"/v1/customers/{made['id']}", {"name": "Same"})
        assert response.json()["version"] == 1

    async def test_null_and_clear_both_clear(self, admin: Caller) -> None:
        made = await admin.make_customer(phone="1", website="w")
        path = f"/v1/customers/{made['id']}"
        after = await admin.ok("PATCH", path, {"phone": None, "clear": ["website"]})
        assert (after["phone"], after["website"]) == (None, None)
        refused = await admin.patch(path, {"clear": ["name"]})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/name")


class TestIdempotency:
    """A key and its effect are one transaction (API-3)."""

    async def test_a_repeated_request_is_answered_again(self, admin: Caller) -> None:
        headers = {"Idempotency-Key": "k-1"}
        first = await admin.post("/v1/customers", {"name": "Once"}, headers=headers)
        again = await admin.post("/v1/customers", {"name": "Once"}, headers={"Idempotency-Key": '"k-1"'})
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["location"] == first.headers["location"]
        assert len((await admin.ok("GET", "/v1/customers"))["data"]) == 1

    async def test_the_key_belongs_to_its_body(self, admin: Caller) -> None:
        headers = {"Idempotency-Key": "k-2"}
        await admin.ok("POST", "/v1/customers", {"name": "A"}, headers=headers)
        other = await admin.post("/v1/customers", {"name": "B"}, headers=headers)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")

    async def test_the_key_belongs_to_the_version_it_would_change(self, admin: Caller) -> None:
        made = await admin.make_opportunity()
        path, headers = f"/v1/opportunities/{made['id']}/transitions", {"Idempotency-Key": "k"}
        first = await admin.post(path, {"action": "pass"}, headers={**headers, "If-Match": '"1"'})
        assert first.status_code == 200
        other = await admin.post(path, {"action": "pass"}, headers={**headers, "If-Match": '"2"'})
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")

    async def test_a_repeated_transition_is_not_made_twice(self, admin: Caller) -> None:
        """Repeated after its effect, the request itself would be refused; its answer is still the first one."""
        made = await admin.make_opportunity()
        headers = {"Idempotency-Key": "pass-1", "If-Match": '"1"'}
        path = f"/v1/opportunities/{made['id']}/transitions"
        first = await admin.post(path, {"action": "pass"}, headers=headers)
        again = await admin.post(path, {"action": "pass"}, headers=headers)
        assert (first.status_code, again.status_code) == (200, 200)
        assert again.content == first.content
        assert len((await admin.ok("GET", path))["data"]) == 1

    async def test_two_hundred_at_once_have_one_effect(self, admin: Caller) -> None:
        headers = {"Idempotency-Key": "k-3"}
        answers = await asyncio.gather(
            *(admin.post("/v1/customers", {"name": "Only"}, headers=headers) for _ in range(200))
        )
        codes = Counter(answer.status_code for answer in answers)
        assert set(codes) <= {201, 409}
        assert codes[201] >= 1
        assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
        assert len((await admin.ok("GET", "/v1/customers"))["data"]) == 1
        async with admin.state.database.transaction(admin.workspace_id) as tx:
            from shared.db import sql

            count = await tx.value(sql("SELECT count(*) FROM events.outbox WHERE type = 'customer.created'"))
        assert count == 1

    async def test_a_refused_request_may_be_mended_and_sent_again(self, admin: Caller) -> None:
        headers = {"Idempotency-Key": "k-4"}
        assert (await admin.post("/v1/customers", {"nmae": "A"}, headers=headers)).status_code == 422
        assert (await admin.post("/v1/customers", {"name": "A"}, headers=headers)).status_code == 201

    async def test_a_key_is_of_the_member_who_used_it(self, admin: Caller) -> None:
        """What was answered to one is not told to another who happens on the same key."""
        rep, colleague = await admin.member("rep"), await admin.member("rep")
        headers = {"Idempotency-Key": "1"}
        made = await rep.make_opportunity()
        path = f"/v1/opportunities/{made['id']}/transitions"
        assert (await rep.post(path, {"action": "pass"}, headers=headers)).status_code == 200
        assert (await colleague.post(path, {"action": "pass"}, headers=headers)).status_code == 404
        first = await rep.post("/v1/customers", {"name": "A"}, headers=headers)
        second = await colleague.post("/v1/customers", {"name": "A"}, headers=headers)
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json()["id"] != second.json()["id"]

    async def test_a_key_that_is_no_key_is_refused(self, admin: Caller) -> None:
        for key in ("", "x" * 256, "two\tparts", '"', 'a"b'):
            response = await admin.post("/v1/customers", {"name": "A"}, headers={"Idempotency-Key": key})
            assert response.status_code == 400


class TestLists:
    """Keyset cursors bound to their list (API-5)."""

    async def test_paging_meets_each_row_once_while_rows_arrive(self, admin: Caller) -> None:
        names = [f"Customer {n:03}" for n in range(25)]
        for name in names:
            await admin.make_customer(name)
        seen: list[str] = []
        cursor = None
        while True:
            page = await admin.ok("GET", f"/v1/customers?limit=4{f'&cursor={cursor}' if cursor else ''}")
            seen += [row["name"] for row in page["data"]]
            await admin.make_customer(f"Newcomer {len(seen)}")
            cursor = page["next_cursor"]
            if not page["has_more"]:
                assert cursor is None
                break
        assert [name for name in seen if name in names] == names[::-1]
        assert len(seen) == len(set(seen))

    async def test_a_cursor_is_of_its_list_only(self, admin: Caller, other: Caller) -> None:
        for caller in (admin, other):
            for n in range(3):
                await caller.make_customer(f"C{n}")
        cursor = (await admin.ok("GET", "/v1/customers?limit=1"))["next_cursor"]
        for caller, query in ((admin, "&sort=name"), (admin, "&kind=household"), (other, "")):
            response = await caller.get(f"/v1/customers?limit=1&cursor={cursor}{query}")
            assert (response.status_code, response.json()["code"]) == (400, "invalid_cursor")

    async def test_sorted_by_every_column_both_ways(self, admin: Caller) -> None:
        customer = await admin.make_customer()
        for n in (3, 1, 2):
            money = {"amount": f"{n}.50", "currency": "CNY"}
            await admin.make_opportunity(customer["id"], name=f"D{n}", amount=money, purchase_date=f"2027-0{n}-01")
        await admin.make_opportunity(customer["id"], name="D0")
        for sort in ("name", "amount", "purchase_date", "recorded_at", "updated_at"):
            forward, backward = [
                [row["name"] for row in await _all(admin, f"/v1/opportunities?limit=1&sort={sign}{sort}")]
                for sign in ("", "-")
            ]
            assert forward == backward[::-1], sort
            assert len(forward) == 4

    async def test_deleted_rows_are_tombstones_to_those_who_ask(self, admin: Caller) -> None:
        made = await admin.make_customer()
        await admin.delete(f"/v1/customers/{made['id']}")
        assert (await admin.ok("GET", "/v1/customers"))["data"] == []
        shown = (await admin.ok("GET", "/v1/customers?include_deleted=true"))["data"]
        assert shown[0]["deleted_at"] is not None
        restored = await admin.ok("POST", f"/v1/customers/{made['id']}:restore")
        assert restored["deleted_at"] is None


async def _all(caller: Caller, path: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await caller.ok("GET", f"{path}{f'&cursor={cursor}' if cursor else ''}")
        rows += page["data"]
        cursor = page["next_cursor"]
    return rows


async def test_a_client_may_make_its_id(admin: Caller) -> None:
    own = str(new_id())
    made = await admin.make_customer(id=own)
    assert made["id"] == own
    taken = await admin.post("/v1/customers", {"name": "x", "id": own})
    assert (taken.status_code, taken.json()["errors"][0]["pointer"]) == (409, "/id")
    old = await admin.post("/v1/customers", {"name": "x", "id": "7b0c0c0e-6f3b-4d1c-9a3e-0d8a3f0b1c2d"})
    assert old.status_code == 422


async def test_upsert_by_external_id_is_one_record(admin: Caller) -> None:
    """The upsert and the unique constraint agree (FIELD, defect 14)."""
    path = "/v1/customers/by-external-id/erp/4711"
    first = await admin.put(path, {"name": "A"})
    second = await admin.put(path, {"name": "B"})
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    parallel = await asyncio.gather(
        *(admin.put("/v1/customers/by-external-id/erp/42", {"name": "P"}) for _ in range(10))
    )
    assert len({answer.json()["id"] for answer in parallel if answer.is_success}) == 1
    assert {answer.status_code for answer in parallel} <= {200, 201, 409}
