"""Calling the api in tests: the whole application with all its middleware, as one member of one workspace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from services.api.state import State
from services.api.workspaces.service import NewWorkspace, create_workspace, issue_key
from shared.db import sql
from shared.ids import new_id
from shared.outbox import write_effects

MEMBER = sql(
    "INSERT INTO sales.members (workspace_id, id, name, role, occurred_at, recorded_at, updated_at)"
    " VALUES (:workspace_id, :id, :name, :role, :now, :now, :now)"
)
TEAM = sql(
    "INSERT INTO sales.teams (workspace_id, id, name, manager_id, occurred_at, recorded_at, updated_at)"
    " VALUES (:workspace_id, :id, :name, :manager_id, :now, :now, :now)"
)
TEAM_MEMBER = sql(
    "INSERT INTO sales.team_members (workspace_id, team_id, member_id) VALUES (:workspace_id, :team_id, :member_id)"
)


@dataclass
class Caller:
    """A member with a key. Every verb returns the response; `ok` asserts a 2xx and gives its JSON."""

    http: httpx.AsyncClient
    state: State
    workspace_id: UUID
    member_id: UUID
    key: str

    async def request(self, method: str, path: str, **given: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", **given.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **given)

    async def get(self, path: str, **given: Any) -> httpx.Response:
        return await self.request("GET", path, **given)

    async def post(self, path: str, json: Any = None, **given: Any) -> httpx.Response:
        return await self.request("POST", path, json=json, **given)

    async def put(self, path: str, json: Any = None, **given: Any) -> httpx.Response:
        return await self.request("PUT", path, json=json, **given)

    async def patch(self, path: str, json: Any = None, **given: Any) -> httpx.Response:
        return await self.request("PATCH", path, json=json, **given)

    async def delete(self, path: str, **given: Any) -> httpx.Response:
        return await self.request("DELETE", path, **given)

    async def ok(self, method: str, path: str, json: Any = None, **given: Any) -> Any:
        response = await self.request(method, path, json=json, **given)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    async def make_customer(self, name: str = "Acme", **fields: Any) -> dict[str, Any]:
        made: dict[str, Any] = await self.ok("POST", "/v1/customers", {"name": name, **fields})
        return made

    async def make_opportunity(self, customer_id: str | None = None, **fields: Any) -> dict[str, Any]:
        customer_id = customer_id or (await self.make_customer())["id"]
        body = {"name": "Deal", "customer_id": customer_id, **fields}
        made: dict[str, Any] = await self.ok("POST", "/v1/opportunities", body)
        return made

    async def transition(self, opportunity_id: str, action: str, **fields: Any) -> httpx.Response:
        return await self.post(f"/v1/opportunities/{opportunity_id}/transitions", {"action": action, **fields})

    async def member(self, role: str, name: str = "Somebody") -> Caller:
        """Another member of the workspace, with a key of their own."""
        member_id = new_id()
        async with self.state.database.transaction(self.workspace_id) as tx:
            await tx.run(MEMBER, id=member_id, name=name, role=role, now=tx.now)
            key, _ = await issue_key(tx, member_id, "test", ())
        return Caller(self.http, self.state, self.workspace_id, member_id, key)

    async def manager_of(self, *reps: Caller) -> Caller:
        """A manager whose team these reps are."""
        manager = await self.member("manager", "Manager")
        team_id = new_id()
        async with self.state.database.transaction(self.workspace_id) as tx:
            await tx.run(TEAM, id=team_id, name=f"Team {team_id}", manager_id=manager.member_id, now=tx.now)
            for rep in reps:
                await tx.run(TEAM_MEMBER, team_id=team_id, member_id=rep.member_id)
        return manager


async def make_workspace(http: httpx.AsyncClient, state: State, name: str = "Test", currency: str = "CNY") -> Caller:
    """A new workspace, as its administrator: tests share the database, and never a workspace."""
    async with state.database.transaction(new_id()) as tx:
        made: NewWorkspace = await create_workspace(tx, name=name, currency=currency)
        await write_effects(tx)
    return Caller(http, state, made.workspace_id, made.admin_id, made.api_key)
