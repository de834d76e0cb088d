"""What is too large is refused before it is read to its end: bodies, depths, lists, texts, queries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.api.main import create_app
from services.api.settings import ApiSettings
from tests.support.caller import Caller, make_workspace

JSON = {"Content-Type": "application/json"}
PIECE = 1_000_000
GIGABYTE = 1000


class Upload:
    """A gigabyte in pieces, without a length that would tell; `sent` counts those that were asked for."""

    def __init__(self, head: bytes = b"") -> None:
        self.head = head
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self.head:
            yield self.head
        for _ in range(GIGABYTE):
            self.sent += 1
            yield b" " * PIECE


async def test_a_gigabyte_in_pieces_is_refused_at_its_beginning(admin: Caller) -> None:
    upload = Upload()
    response = await admin.request("POST", "/v1/customers", content=upload, headers=JSON)
    assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")
    assert upload.sent <= admin.state.settings.body_limit // PIECE + 1


async def test_an_upload_is_refused_once_it_is_over_its_limit(api_settings: ApiSettings) -> None:
    app = create_app(api_settings.model_copy(update={"upload_limit": 5 * PIECE}))
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nname\r\n'
    upload = Upload(head)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://sixteen.test") as http:
            admin = await make_workspace(http, app.state.sixteen)
            headers = {"Content-Type": "multipart/form-data; boundary=x", "Idempotency-Key": "large"}
            response = await admin.request("POST", "/v1/imports", content=upload, headers=headers)
    assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")
    assert upload.sent <= 6


@pytest.mark.parametrize(
    "bomb",
    [
        b"[" * 400_000,
        b"[" * 400_000 + b"]" * 400_000,
        b'{"name":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"attributes":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b',"name":"x"}',
    ],
    ids=["open", "lists", "objects", "attributes"],
)
async def test_depth_is_refused(admin: Caller, bomb: bytes) -> None:
    response = await admin.request("POST", "/v1/customers", content=bomb, headers=JSON)
    assert response.status_code in {400, 422}, response.text
    assert (await admin.get("/v1/me")).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/v1/customers", {"name": "x" * 100_000}, "/name"),
        ("/v1/api-keys", {"name": "x", "scopes": ["events:read"] * 10_000}, "/scopes"),
        ("/v1/logins:refresh", {"refresh_token": "x" * 10_000}, "/refresh_token"),
    ],
)
async def test_texts_and_lists_have_an_end(admin: Caller, path: str, body: dict[str, Any], pointer: str) -> None:
    response = await admin.post(path, body)
    assert response.status_code == 422, response.text
    assert [each["pointer"] for each in response.json()["errors"]] == [pointer]


async def test_queries_have_an_end(admin: Caller) -> None:
    assert (await admin.get(f"/v1/customers?name={'x' * 20_000}")).status_code == 414
