"""The reference page: whole, and nothing in it from elsewhere."""

from __future__ import annotations

import re

import httpx
from fastapi import FastAPI

from services.api.errors import Problem


async def test_the_page_shows_every_operation_and_loads_nothing(http: httpx.AsyncClient, app: FastAPI) -> None:
    response = await http.get("/docs")
    assert response.status_code == 200
    for route in app.state.routes:
        if route.path.startswith("/v1/"):
            assert f'id="{route.operation_id}"' in response.text
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", response.text)
    links = set(re.findall(r'href="#([^"]+)"', response.text))
    assert links <= set(re.findall(r'id="([^"]+)"', response.text))


async def test_every_error_code_has_its_place(http: httpx.AsyncClient) -> None:
    text = (await http.get("/docs/errors")).text
    for code in Problem.registry:
        assert f'id="{code}"' in text
