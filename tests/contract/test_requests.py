"""What every route answers alike, however it is called: conditions, empty bodies, methods, escaped slashes."""

from __future__ import annotations

import asyncio
import codecs
import gzip
import re
from typing import Any, ClassVar

import asyncpg
import httpx
import pytest
from fastapi import FastAPI, Response
from fastapi.routing import APIRoute

from services.api import deprecation
from services.api.routing import RouteIndex, Router
from shared import telemetry
from shared.catalog.currencies import CURRENCIES, CURRENT
from tests.conftest import Servers
from tests.contract.test_conventions import v1_routes
from tests.support.caller import Caller
from tests.support.flow import reads, working_day
from tests.support.scoring import drain


async def test_what_was_read_is_not_sent_again(admin: Caller, servers: Servers) -> None:
    """Every read and list: an ETag, 304 with it, and no 304 with another."""
    made = await working_day(admin)
    await drain(servers, admin.workspace_id)
    # Counted up to the moment of asking, so that each answer is another.
    lasting = [path for path in reads(made) if not path.endswith("/stats")]
    for path in lasting:
        first = await admin.get(path)
        tag = first.headers["etag"]
        assert re.fullmatch(r'(W/)?"[^"]+"', tag), path
        again = await admin.get(path, headers={"If-None-Match": f'"other", {tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag), path
        assert (await admin.get(path, headers={"If-None-Match": '"other"'})).status_code == 200, path


async def test_a_list_that_changed_is_sent_again(admin: Caller) -> None:
    await admin.make_customer()
    tag = (await admin.get("/v1/customers")).headers["etag"]
    await admin.make_customer()
    assert (await admin.get("/v1/customers", headers={"If-None-Match": tag})).status_code == 200


async def test_a_create_guard_replaces_nothing(admin: Caller) -> None:
    path, guard = "/v1/customers/by-external-id/erp/1", {"If-None-Match": "*"}
    assert (await admin.put(path, {"name": "A"}, headers=guard)).status_code == 201
    refused = await admin.put(path, {"name": "B"}, headers=guard)
    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
    assert [each["name"] for each in (await admin.ok("GET", "/v1/customers"))["data"]] == ["A"]
    assert (await admin.put(path, {"name": "B"})).status_code == 200


async def test_a_replacement_may_name_the_version_it_replaces(admin: Caller) -> None:
    path = "/v1/customers/by-external-id/erp/1"
    nothing = await admin.put(path, {"name": "A"}, headers={"If-Match": "*"})
    assert (nothing.status_code, nothing.json()["code"]) == (412, "precondition_failed")
    assert (await admin.ok("GET", "/v1/customers"))["data"] == []
    made = await admin.put(path, {"name": "A"})
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    assert (await admin.put(path, {"name": "B"}, headers={"If-Match": '"1"'})).status_code == 200
    stale = await admin.put(path, {"name": "C"}, headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["current_version"]) == (412, 2)
    assert [each["name"] for each in (await admin.ok("GET", "/v1/customers"))["data"]] == ["B"]


@pytest.mark.parametrize("external_id", ["2026/17", "a/b/c", "50%", "50%2F", "北/1"])
async def test_an_external_id_may_hold_a_slash(admin: Caller, external_id: str) -> None:
    escaped = _escape(external_id)
    made = await admin.ok("PUT", f"/v1/customers/by-external-id/erp%2Fcn/{escaped}", {"name": "A"})
    assert (made["external_source"], made["external_id"]) == ("erp/cn", external_id)
    again = await admin.put(f"/v1/customers/by-external-id/erp%2Fcn/{escaped}", {"name": "B"})
    assert (again.status_code, again.json()["id"]) == (200, made["id"])


def _escape(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


async def test_a_verb_that_asks_for_nothing_needs_no_body(app: FastAPI, admin: Caller) -> None:
    verbs = [route for route in v1_routes(app) if getattr(route, "body_may_be_empty", False)]
    assert "completeTask" in {route.operation_id for route in verbs}
    task = await admin.ok("POST", "/v1/tasks", {"title": "Call back"})
    response = await admin.post(f"/v1/tasks/{task['id']}:complete", headers={"Idempotency-Key": "k"})
    assert (response.status_code, response.json()["status"]) == (200, "done"), response.text
    # No body and an empty object are one request.
    again = await admin.post(f"/v1/tasks/{task['id']}:complete", {}, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.content) == (200, response.content)
    for route in verbs:
        path = f"/paths/{route.path_format.replace('/', '~1')}"
        assert app.openapi()["paths"][route.path_format]["post"]["requestBody"]["required"] is False, path


async def test_a_body_that_is_needed_is_asked_for(admin: Caller) -> None:
    response = await admin.post("/v1/customers")
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


async def test_another_method_is_told_which_there_are(app: FastAPI, admin: Caller) -> None:
    methods: dict[str, set[str]] = {}
    for route in v1_routes(app):
        methods.setdefault(route.path_format, set()).update(route.methods or ())
    for path, known in methods.items():
        called = re.sub(r"\{[^}]+\}", "0198c0de-0000-7000-8000-000000000001", path)
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - known:
            response = await admin.request(method, called)
            if response.status_code != 405:
                # The path may be one of another route too: `/imports/mapping-schema` is also `/imports/{id}`.
                assert any(other != path and _fits(other, called) for other in methods), (method, path)
                continue
            assert known <= set(response.headers["allow"].split(", ")), (method, path)
            assert response.json()["code"] == "method_not_allowed"


async def test_a_verb_is_never_an_id(admin: Caller) -> None:
    made = await admin.make_customer()
    response = await admin.patch(f"/v1/customers/{made['id']}:restore", {"name": "x"})
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


def _fits(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\\\{[^}]+\\\}", "[^/]+", re.escape(template)), path) is not None


async def test_members_of_an_opportunity_come_a_page_at_a_time(admin: Caller) -> None:
    deal = await admin.make_opportunity(owner_id=str((await admin.member("rep")).member_id))
    added = [str((await admin.member("rep")).member_id) for _ in range(5)]
    path = f"/v1/opportunities/{deal['id']}/members"
    for member_id in added:
        response = await admin.post(path, {"member_id": member_id})
        assert (await admin.ok("GET", response.headers["location"]))["member_id"] == member_id
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await admin.ok("GET", f"{path}?limit=2{f'&cursor={cursor}' if cursor else ''}")
        seen += [each["member_id"] for each in page["data"]]
        cursor = page["next_cursor"]
    assert seen == added
    other = await admin.make_opportunity()
    first = await admin.ok("GET", f"{path}?limit=2")
    refused = await admin.get(f"/v1/opportunities/{other['id']}/members?cursor={first['next_cursor']}")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_cursor")
    assert (await admin.get(f"{path}/{deal['owner_id']}")).status_code == 404


@pytest.mark.parametrize("code", ["ABC", "XXX", "DEM", "EURO"])
async def test_a_currency_is_one_of_iso_4217(admin: Caller, code: str) -> None:
    customer = await admin.make_customer()
    amount = {"amount": "1.00", "currency": code}
    body = {"name": "x", "customer_id": customer["id"], "amount": amount}
    response = await admin.post("/v1/opportunities", body)
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/amount/currency")


def test_the_currencies_are_those_there_are() -> None:
    assert {"CNY", "EUR", "USD", "HKD", "TWD", "JPY"} <= CURRENT
    assert all(re.fullmatch("[A-Z]{3}", code) for code in CURRENCIES)
    assert 170 < len(CURRENT) < 190


class TestDeprecation:
    """A route that is to go says so on every answer, and its callers are counted."""

    EXTRA: ClassVar[dict[str, Any]] = {"x-deprecated-since": "2026-11-22", "x-sunset": "2027-06-30"}

    def test_every_deprecated_route_says_since_and_until_when(self, app: FastAPI) -> None:
        for route in v1_routes(app):
            if route.deprecated:
                assert deprecation.headers_of(route.operation_id, route.openapi_extra or {})
                assert app.openapi()["paths"][route.path_format][next(iter(route.methods)).lower()]["deprecated"]

    def test_one_that_does_not_say_can_not_be_made(self) -> None:
        router = Router()
        with pytest.raises(TypeError, match="getOld"):
            router.add_api_route("/v1/old", _old, deprecated=True, operation_id="getOld", openapi_extra={})

    async def test_headers_and_count(self) -> None:
        from services.api.middleware import Edge

        router = Router()
        router.add_api_route("/v1/old", _old, deprecated=True, operation_id="getOld", openapi_extra=self.EXTRA)
        app = FastAPI()
        app.router.routes.append(RouteIndex([each for each in router.routes if isinstance(each, APIRoute)]))
        transport = httpx.ASGITransport(Edge(app, body_limit=1000, upload_limit=1000))
        before = telemetry.DEPRECATED_CALLS.labels("getOld")._value.get()
        async with httpx.AsyncClient(transport=transport, base_url="http://sixteen.test") as client:
            response = await client.get("/v1/old")
        assert response.status_code == 200
        assert response.headers["deprecation"] == "@1795305600"
        assert response.headers["sunset"] == "Wed, 30 Jun 2027 00:00:00 GMT"
        assert telemetry.DEPRECATED_CALLS.labels("getOld")._value.get() == before + 1


async def _old() -> Response:
    return Response(b"{}", media_type="application/json")


@pytest.mark.parametrize("value", ["0.5", "1700000000", "-1", "1e9"])
async def test_a_number_is_no_time(admin: Caller, value: str) -> None:
    response = await admin.get(f"/v1/customers?updated_after={value}")
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (400, "?updated_after")
    written = await admin.post("/v1/customers", {"name": "x", "occurred_at": float(value)})
    assert (written.status_code, written.json()["errors"][0]["pointer"]) == (422, "/occurred_at")


async def test_a_name_in_a_path_is_never_an_id(admin: Caller) -> None:
    response = await admin.patch("/v1/processes/templates", {"active": False})
    assert (response.status_code, response.headers["allow"]) == (405, "GET")


async def test_who_sends_slowly_holds_no_connection(app: FastAPI, admin: Caller) -> None:
    """More callers than there are connections, each of whom begins a body under a key and does not end it."""
    began, rest = asyncio.Semaphore(0), asyncio.Event()

    async def send_slowly(number: int) -> int:
        pieces = iter([{"type": "http.request", "body": b"{", "more_body": True}])
        statuses: list[int] = []

        async def receive() -> Any:
            if piece := next(pieces, None):
                return piece
            began.release()
            await rest.wait()
            return {"type": "http.request", "body": b"}", "more_body": False}

        async def send(message: Any) -> None:
            statuses.extend([message["status"]] if message["type"] == "http.response.start" else [])

        path = "/v1/stream-tickets"
        headers = {
            "Authorization": f"Bearer {admin.key}",
            "Idempotency-Key": f"slow-{number}",
            "Content-Type": "application/json",
        }
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "headers": raw, "client": ("127.0.0.1", 1), "server": ("test", 80), "scheme": "http",
        }  # fmt: skip
        await app(scope, receive, send)
        return statuses[0]

    slow = [asyncio.create_task(send_slowly(number)) for number in range(admin.state.settings.database_pool + 2)]
    async with asyncio.timeout(10):
        for _ in slow:
            await began.acquire()
        assert (await admin.get("/v1/customers?limit=1")).status_code == 200
    rest.set()
    assert {*await asyncio.gather(*slow)} == {201}


async def test_an_escaped_slash_is_part_of_a_name(admin: Caller) -> None:
    assert (await admin.get("/v1%2Fcustomers")).status_code == 404
    assert (await admin.get("/v1/customers%2F")).status_code == 404


async def test_who_waits_for_a_row_gives_up_in_time(admin: Caller, servers: Servers) -> None:
    """Or some callers who want one row would keep every connection from all others."""
    made = await admin.make_customer()
    holder = await asyncpg.connect(servers.superuser_url())
    try:
        async with holder.transaction():
            await holder.execute("SELECT FROM sales.customers WHERE id = $1 FOR UPDATE", made["id"])
            async with asyncio.timeout(12):
                response = await admin.patch(f"/v1/customers/{made['id']}", json={"name": "Other"})
    finally:
        await holder.close()
    assert (response.status_code, response.json()["code"]) == (409, "request_in_flight")
    assert response.headers["retry-after"] == "1"


async def test_a_body_is_taken_as_it_is(admin: Caller) -> None:
    marked = codecs.BOM_UTF8 + b'{"name": "Acme"}'
    json_type = {"Content-Type": "application/json"}
    assert (await admin.post("/v1/customers", content=marked, headers=json_type)).status_code == 201
    packed = {**json_type, "Content-Encoding": "gzip"}
    refused = await admin.post("/v1/customers", content=gzip.compress(b'{"name": "Acme"}'), headers=packed)
    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")
    assert "Content-Encoding" in refused.json()["detail"]


@pytest.mark.parametrize("amount", ["1_000", "1e5", " 5 ", "+5", "１２", "١٢٣", "5.", ".5", "NaN", ""])
async def test_an_amount_is_a_plain_decimal(admin: Caller, amount: str) -> None:
    customer = await admin.make_customer()
    body = {"name": "Deal", "customer_id": customer["id"], "amount": {"amount": amount, "currency": "CNY"}}
    response = await admin.post("/v1/opportunities", json=body)
    assert response.status_code == 422
    assert [each["pointer"] for each in response.json()["errors"]] == ["/amount/amount"]
