"""What a page of another origin may do: those on the list everything, problems included; others nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import ValidationError

from services.api.cors import SENT
from services.api.main import create_app
from services.api.settings import ApiSettings
from tests.support.caller import Caller, make_workspace

APP, EVIL = "https://app.example.com", "https://evil.example.com"
CORS = {"Origin": APP}


@pytest.fixture
async def page(api_settings: ApiSettings) -> AsyncIterator[Caller]:
    """An administrator of an application with a list of one origin."""
    app = create_app(api_settings.model_copy(update={"cors_origins": (APP,), "rate_limit_key": 8}))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://sixteen.test") as http:
            yield await make_workspace(http, app.state.sixteen)


async def preflight(page: Caller, origin: str, method: str, headers: str = "") -> httpx.Response:
    sent = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        sent["Access-Control-Request-Headers"] = headers
    return await page.http.options("/v1/customers", headers=sent)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_a_preflight_lets_what_we_read_through(page: Caller, method: str) -> None:
    response = await preflight(page, APP, method, ", ".join(each.lower() for each in SENT))
    assert response.status_code == 200, response.text
    assert response.headers["access-control-allow-origin"] == APP
    assert method in response.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in response.headers
    assert "origin" in response.headers["vary"].lower()


async def test_a_preflight_of_another_origin_or_header_is_refused(page: Caller) -> None:
    refused = {
        "origin": await preflight(page, EVIL, "GET"),
        "headers": await preflight(page, APP, "GET", "X-Other"),
        "method": await preflight(page, APP, "TRACE"),
    }
    for why, response in refused.items():
        body = response.json()
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["content-length"] == str(len(response.content))
        assert (response.status_code, body["status"], body["code"]) == (400, 400, "bad_request")
        assert (why in body["detail"], body["instance"]) == (True, "/v1/customers")
        assert body["request_id"] == response.headers["x-request-id"] != ""
        assert "origin" in response.headers["vary"].lower()
    assert refused["headers"].headers["access-control-allow-origin"] == APP
    assert "access-control-allow-origin" not in (await preflight(page, EVIL, "GET")).headers


async def test_a_refused_preflight_keeps_the_id_that_it_came_with(page: Caller) -> None:
    sent = {"Origin": EVIL, "Access-Control-Request-Method": "GET"}
    for given, kept in (("of-mine", True), ("not one\u00e9".encode("latin-1"), False)):
        response = await page.http.options("/v1/customers", headers={**sent, "X-Request-Id": given})
        assert (response.headers["x-request-id"] == "of-mine") is kept
        assert response.json()["request_id"] == response.headers["x-request-id"]


async def test_a_page_reads_the_headers_that_matter(page: Caller) -> None:
    response = await page.post("/v1/customers", {"name": "Acme"}, headers=CORS)
    shown = {each.strip().lower() for each in response.headers["access-control-expose-headers"].split(",")}
    assert {"etag", "location", "ratelimit", "ratelimit-policy", "x-request-id"} <= response.headers.keys() & shown
    assert {"idempotency-replayed", "retry-after"} <= shown


async def test_a_page_of_another_origin_reads_nothing(page: Caller) -> None:
    response = await page.get("/v1/me", headers={"Origin": EVIL})
    assert "access-control-allow-origin" not in response.headers


async def test_a_page_reads_every_problem(page: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of routes, of the edge (too large) and of what nobody foresaw."""
    answers = [
        await page.http.get("/v1/me", headers=CORS),
        await page.get("/v1/nothing", headers=CORS),
        await page.post("/v1/customers", {"name": 7}, headers=CORS),
        await page.post("/v1/customers", {"name": "x" * 1_100_000}, headers=CORS),
    ]
    answers += [each for each in [await page.get("/v1/me", headers=CORS) for _ in range(12)] if each.is_error][-1:]

    def break_it(*_: object) -> None:
        raise RuntimeError("surprise")

    monkeypatch.setattr(page.state.identities, "principal", break_it)
    answers.append(await page.get("/v1/me", headers=CORS))
    assert [each.status_code for each in answers] == [401, 404, 422, 413, 429, 500]
    for response in answers:
        assert response.headers["access-control-allow-origin"] == APP, response.status_code
        assert response.json()["code"]


async def test_without_a_list_no_origin_is_let_in(admin: Caller) -> None:
    response = await admin.get("/v1/me", headers=CORS)
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("origin", ["https://app.example.com/", "app.example.com", "https://app.example.com/path", ""])
def test_an_origin_that_would_never_match_is_found_at_the_start(api_settings: ApiSettings, origin: str) -> None:
    with pytest.raises(ValidationError, match="cors_origins"):
        ApiSettings(**{**api_settings.model_dump(), "cors_origins": (origin,)})
