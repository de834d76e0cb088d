"""Whoever has a good token of a provider and is no member costs as much as who guesses keys."""

from __future__ import annotations

from collections import Counter

import httpx

from services.api.auth.providers import IdentityProvider
from services.api.main import create_app
from services.api.settings import ApiSettings
from shared.ids import new_id
from tests.logins.provider import CLIENT_ID, TestProvider
from tests.support.caller import make_workspace


async def test_tokens_of_no_member_are_counted_as_failures_by_their_address(
    api_settings: ApiSettings, provider: TestProvider
) -> None:
    set_ = IdentityProvider(name="main", issuer=provider.issuer, client_id=CLIENT_ID)
    app = create_app(api_settings.model_copy(update={"identity_providers": (set_,), "rate_limit_failures": 20}))
    async with app.router.lifespan_context(app):
        client = (f"2001:db8:{new_id().hex[-4:]}:{new_id().hex[-8:-4]}::1", 4000)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=client)
        async with httpx.AsyncClient(transport=transport, base_url="http://sixteen.test") as http:
            admin = await make_workspace(http, app.state.sixteen)

            async def call(path: str, subject: int) -> httpx.Response:
                token = provider.token(sub=f"stranger {subject} of {admin.workspace_id}")
                headers = {"Authorization": f"Bearer {token}", "Sixteen-Workspace": str(admin.workspace_id)}
                return await http.get(path, headers=headers)

            # What leads nowhere looks the caller up as well.
            answers = [await call("/v1/me" if number % 2 else "/v1/nowhere", number) for number in range(200)]
            codes = Counter(each.json()["code"] for each in answers)
            assert answers[1].json()["code"] == "not_a_member"
            # A minute may end among them, and both minutes have their own.
            assert codes["quota_exceeded"] >= 160
            assert codes["not_a_member"] + codes["not_found"] <= 40
            assert answers[-1].json()["violated_policies"] == ["failures"]
            assert (await admin.get("/v1/me")).status_code == 200
