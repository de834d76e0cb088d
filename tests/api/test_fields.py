"""Reading less: fewer fields, nothing where nothing changed, fewer bytes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.types import Scope

from services.api.auth.identity import FIND, TOUCH
from services.api.compression import SMALLEST, Compression, accepts_gzip
from services.api.edge import MOST_QUERY
from tests.conftest import Servers
from tests.support.caller import Caller
from tests.support.scoring import drain
from tests.support.statements import statements

IDENTITY = {FIND.sql, TOUCH.sql}
PLAIN = {"Accept-Encoding": "identity"}


class TestFields:
    """`fields=` leaves out what was not named."""

    async def test_one_resource(self, admin: Caller) -> None:
        customer = await admin.make_customer(phone="1")
        response = await admin.get(f"/v1/customers/{customer['id']}?fields=phone,name")
        assert response.json() == {"id": customer["id"], "name": "Acme", "phone": "1", "version": 1}
        # It is the same version of the same resource: what was read in part can be changed with the tag it came with.
        assert response.headers["etag"] == '"1"'
        changed = await admin.patch(
            f"/v1/customers/{customer['id']}", {"phone": "2"}, headers={"If-Match": response.headers["etag"]}
        )
        assert changed.status_code == 200

    @pytest.mark.parametrize(
        "resource", ["customers", "opportunities", "contacts", "interactions", "tasks", "products", "members"]
    )
    async def test_every_list(self, admin: Caller, resource: str) -> None:
        deal = await admin.make_opportunity()
        about = {"customer_id": deal["customer_id"]}
        await admin.ok("POST", "/v1/contacts", {**about, "name": "Wang"})
        await admin.ok("POST", "/v1/interactions", {**about, "kind": "call"})
        await admin.ok("POST", "/v1/tasks", {**about, "title": "Draw"})
        await admin.ok("POST", "/v1/products", {"name": "Press"})
        page = await admin.ok("GET", f"/v1/{resource}?fields=recorded_at")
        assert [sorted(row) for row in page["data"]] == [["id", "recorded_at", "version"]]
        whole = (await admin.ok("GET", f"/v1/{resource}"))["data"][0]
        for name in whole:
            assert name in (await admin.ok("GET", f"/v1/{resource}/{whole['id']}?fields={name}"))
        refused = await admin.get(f"/v1/{resource}?fields=id,shoe_size")
        error = refused.json()["errors"][0]
        assert (refused.status_code, error["pointer"]) == (400, "?fields")
        assert "recorded_at" in error["message"]

    async def test_seats(self, admin: Caller, servers: Servers) -> None:
        rep = await admin.member("rep")
        deal = await rep.make_opportunity()
        await drain(servers, admin.workspace_id)
        [seat] = (await rep.ok("GET", "/v1/focus?fields=rank,class&expand=customer"))["data"]
        assert sorted(seat) == ["class", "expanded", "rank", "subject"]
        assert seat["expanded"]["customer"]["id"] == deal["customer_id"]
        assert (await rep.get("/v1/focus?fields=shoe")).status_code == 400

    async def test_with_neighbours(self, admin: Caller) -> None:
        deal = await admin.make_opportunity()
        body = await admin.ok("GET", f"/v1/opportunities/{deal['id']}?fields=name&expand=customer")
        assert sorted(body) == ["expanded", "id", "name", "version"]
        assert body["expanded"]["customer"]["name"] == "Acme"

    async def test_pages_may_be_read_with_other_fields(self, admin: Caller) -> None:
        for name in "ABC":
            await admin.make_customer(name)
        first = await admin.ok("GET", "/v1/customers?limit=1&sort=name")
        query = f"limit=1&sort=name&fields=name&expand=owner&cursor={first['next_cursor']}"
        [second] = (await admin.ok("GET", f"/v1/customers?{query}"))["data"]
        assert second["name"] == "B"


class TestConditional:
    """What is known is not sent again, and finding that out is cheap."""

    @pytest.mark.parametrize(
        ("resource", "query"),
        [("opportunities", ""), ("customers", "?fields=name"), ("interactions", ""), ("tasks", ""), ("members", "")],
    )
    async def test_it_costs_one_look_at_the_version(self, admin: Caller, resource: str, query: str) -> None:
        deal = await admin.make_opportunity()
        about = {"customer_id": deal["customer_id"]}
        await admin.ok("POST", "/v1/interactions", {**about, "kind": "call"})
        await admin.ok("POST", "/v1/tasks", {**about, "title": "Draw"})
        [row] = (await admin.ok("GET", f"/v1/{resource}"))["data"]
        path = f"/v1/{resource}/{row['id']}{query}"
        tag = (await admin.get(path)).headers["etag"]
        with statements() as seen:
            again = await admin.get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        [one] = [sql for sql in seen if sql not in IDENTITY]
        assert one.startswith(f"SELECT sales.{resource}.version \nFROM"), one
        for wanted, status in (("*", 304), (f'W/{tag}, "x"', 304), ('"77"', 200)):
            assert (await admin.get(path, headers={"If-None-Match": wanted})).status_code == status

    async def test_what_is_not_there_is_not_found(self, admin: Caller, other: Caller) -> None:
        theirs = await other.make_customer()
        response = await admin.get(f"/v1/customers/{theirs['id']}", headers={"If-None-Match": "*"})
        assert response.status_code == 404

    async def test_neighbours_are_covered_by_the_tag(self, admin: Caller) -> None:
        deal = await admin.make_opportunity()
        path = f"/v1/opportunities/{deal['id']}?expand=customer"
        first = await admin.get(path)
        tag = first.headers["etag"]
        assert tag.startswith('"1-')
        assert (await admin.get(path, headers={"If-None-Match": tag})).status_code == 304
        await admin.ok("PATCH", f"/v1/customers/{deal['customer_id']}", {"name": "Renamed"})
        after = await admin.get(path, headers={"If-None-Match": tag})
        assert (after.status_code, after.json()["expanded"]["customer"]["name"]) == (200, "Renamed")
        # The opportunity itself is the same: its tag changes it, and a stale one does not.
        own = f"/v1/opportunities/{deal['id']}"
        changed = await admin.patch(own, {"need": "more"}, headers={"If-Match": tag})
        assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
        stale = await admin.patch(own, {"need": "less"}, headers={"If-Match": tag})
        assert (stale.status_code, stale.json()["current_version"]) == (412, 2)


class TestCompression:
    """gzip for who accepts it and for what is worth it; the tag stays."""

    async def test_a_large_answer_is_smaller_and_says_so(self, admin: Caller) -> None:
        for n in range(20):
            await admin.make_customer(f"Customer {n}")
        whole = await admin.get("/v1/customers", headers=PLAIN)
        packed = await admin.get("/v1/customers", headers={"Accept-Encoding": "br, gzip"})
        assert (packed.headers["content-encoding"], packed.content) == ("gzip", whole.content)
        assert int(packed.headers["content-length"]) < len(whole.content) / 3
        assert packed.headers["etag"] == whole.headers["etag"]
        assert "content-encoding" not in whole.headers
        for response in (whole, packed):
            assert response.headers["vary"].lower().count("accept-encoding") == 1
        again = await admin.get("/v1/customers", headers={"If-None-Match": packed.headers["etag"]})
        assert again.status_code == 304

    async def test_a_small_answer_stays_as_it_is(self, admin: Caller) -> None:
        response = await admin.get("/v1/workspace", headers={"Accept-Encoding": "gzip"})
        assert len(response.content) < SMALLEST
        assert "content-encoding" not in response.headers

    async def test_a_tag_of_a_compressed_answer_changes_it(self, admin: Caller) -> None:
        made = await admin.make_customer(notes="long " * 500)
        path = f"/v1/customers/{made['id']}"
        packed = await admin.get(path, headers={"Accept-Encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        changed = await admin.patch(path, {"name": "B"}, headers={"If-Match": packed.headers["etag"]})
        assert changed.status_code == 200

    async def test_a_stream_of_events_is_left_alone(self) -> None:
        app = FastAPI()
        app.add_middleware(Compression)

        @app.get("/stream")
        async def stream() -> StreamingResponse:
            return StreamingResponse(iter([b"data: x\n\n" * 500] * 3), media_type="text/event-stream")

        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            response = await client.get("/stream", headers={"Accept-Encoding": "gzip"})
        assert "content-encoding" not in response.headers
        assert response.content == b"data: x\n\n" * 1500

    @pytest.mark.parametrize(
        ("given", "accepted"),
        [
            (None, False), ("", False), ("gzip", True), ("deflate, GZIP;q=0.5", True), ("gzip;q=0", False),
            ("gzip; q=0.000, br", False), ("*", True), ("*;q=0", False), ("identity", False), ("gzip;q=1.0", True),
            ("*, gzip;q=0", False), ("x-gzip-not", False),
        ],
    )  # fmt: skip
    def test_what_the_caller_accepts(self, given: str | None, accepted: bool) -> None:
        headers = [] if given is None else [(b"accept-encoding", given.encode())]
        scope: Scope = {"type": "http", "headers": headers}
        assert accepts_gzip(scope) is accepted


async def test_a_query_has_a_longest(admin: Caller) -> None:
    """However it is filled, it is refused before anything reads it."""
    fits = await admin.get("/v1/customers", params={"name_prefix": "x" * 200})
    assert fits.status_code == 200
    response = await admin.get("/v1/customers", params={"attribute": ["x" * 2000] * 9})
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["code"]) == (414, "query_too_long")
    assert str(MOST_QUERY) in body["detail"]


@pytest.mark.parametrize(("limit", "rows"), [(1, 1), (200, 3), (100_000, 3)])
async def test_a_limit_beyond_the_most_is_the_most(admin: Caller, limit: int, rows: int) -> None:
    for name in "ABC":
        await admin.make_customer(name)
    page = await admin.ok("GET", f"/v1/customers?limit={limit}")
    assert len(page["data"]) == rows
    for wrong in (0, -1, "many"):
        response = await admin.get(f"/v1/customers?limit={wrong}")
        assert (response.status_code, response.json()["errors"][0]["pointer"]) == (400, "?limit")
