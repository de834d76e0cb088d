"""An application that takes the tokens of the test provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from services.api.auth.providers import IdentityProvider
from services.api.main import create_app
from services.api.settings import ApiSettings
from shared.db import sql
from tests.logins.provider import CLIENT_ID, TestProvider, query_of, running_provider
from tests.support.caller import Caller, make_workspace

BACK = "https://app.example.com/signed-in"
SET_EMAIL = sql(
    "UPDATE sales.members SET email = :email, active = :active WHERE workspace_id = :workspace_id AND id = :id"
)


@dataclass
class Office:
    """A workspace whose people log in; `rep` has an e-mail address."""

    provider: TestProvider
    admin: Caller
    rep: Caller
    email: str

    @property
    def http(self) -> httpx.AsyncClient:
        return self.admin.http

    async def call(self, token: str, method: str = "GET", path: str = "/v1/me", **given: Any) -> httpx.Response:
        """A call with a bearer token, in this workspace unless `workspace` says another (None: none)."""
        workspace = given.pop("workspace", self.admin.workspace_id)
        headers = {"Authorization": f"Bearer {token}"}
        if workspace is not None:
            headers["Sixteen-Workspace"] = str(workspace)
        return await self.http.request(method, path, headers=headers, **given)

    def token(self, **given: Any) -> str:
        """A good token of the rep's, with a verified e-mail."""
        claims: dict[str, Any] = {
            "sub": f"rep of {self.admin.workspace_id}",
            "email": self.email,
            "email_verified": True,
        }
        return self.provider.token(**(claims | given))

    async def begin(self, **more: Any) -> dict[str, Any]:
        body = {"redirect_uri": BACK, "workspace_id": str(self.admin.workspace_id), **more}
        response = await self.http.post("/v1/logins", json=body)
        assert response.status_code == 200, response.text
        started: dict[str, Any] = response.json()
        return started

    async def complete(self, started: dict[str, Any], **more: Any) -> httpx.Response:
        code, state = self.provider.authorize(query_of(started["authorization_url"]))
        body = {"code": code, "state": state, "slip": started["slip"], **more}
        return await self.http.post("/v1/logins:complete", json=body)

    async def try_to_log_in(self, *, begun: dict[str, Any] | None = None, **claims: Any) -> httpx.Response:
        """The answer to a whole login of the rep's; `begun` and `claims` change how it begins and what is said."""
        self.provider.person = {
            "sub": f"rep of {self.admin.workspace_id}",
            "email": self.email,
            "email_verified": True,
            **claims,
        }
        return await self.complete(await self.begin(**(begun or {})))

    async def log_in(self, **given: Any) -> dict[str, Any]:
        response = await self.try_to_log_in(**given)
        assert response.status_code == 200, response.text
        tokens: dict[str, Any] = response.json()
        return tokens


@pytest.fixture(scope="session")
async def provider() -> AsyncIterator[TestProvider]:
    async with running_provider() as made:
        yield made


@pytest.fixture(scope="session")
async def clients(api_settings: ApiSettings, provider: TestProvider) -> AsyncIterator[httpx.AsyncClient]:
    set_ = IdentityProvider(name="main", issuer=provider.issuer, client_id=CLIENT_ID, redirect_uris=(BACK,))
    limits = {"rate_limit_failures": 0, "rate_limit_logins": 0}
    app = create_app(api_settings.model_copy(update={"identity_providers": (set_,), **limits}))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://sixteen.test") as http:
            http.app = app  # type: ignore[attr-defined]
            yield http


@pytest.fixture
async def office(clients: httpx.AsyncClient, provider: TestProvider) -> Office:
    state = clients.app.state.sixteen  # type: ignore[attr-defined]
    admin = await make_workspace(clients, state)
    rep = await admin.member("rep")
    email = f"rep-{rep.member_id.hex}@example.com"
    office = Office(provider, admin, rep, email)
    await set_member(office, email)
    return office


async def set_member(office: Office, email: str | None, *, active: bool = True) -> None:
    async with office.admin.state.database.transaction(office.admin.workspace_id) as tx:
        await tx.run(SET_EMAIL, id=office.rep.member_id, email=email, active=active)
