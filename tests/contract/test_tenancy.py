"""No workspace ever sees another: in the catalog of the database, on every path, and by hand as the api's role."""

from __future__ import annotations

import re
from typing import Any

import asyncpg
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from shared.ids import new_id
from tests.support.caller import Caller
from tests.support.webhooks import webhook_day

TENANT_TABLES = """
SELECT n.nspname || '.' || c.relname AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
  EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'own_workspace' AND p.polpermissive
    AND pg_get_expr(p.polqual, p.polrelid) LIKE '%SELECT%current_setting%'
    AND pg_get_expr(p.polwithcheck, p.polrelid) LIKE '%current_setting%') AS has_policy
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('sales', 'scoring', 'events') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""
PARAMETER = re.compile(r"{(\w+)}")


async def test_every_table_of_ours_has_forced_row_level_security(as_api: asyncpg.Connection) -> None:
    tables = await as_api.fetch(TENANT_TABLES)
    assert len(tables) > 25
    assert [row["name"] for row in tables if not (row["enabled"] and row["forced"] and row["has_policy"])] == []


async def test_no_second_policy_opens_a_table_to_the_api(as_api: asyncpg.Connection) -> None:
    """Permissive policies are alternatives: one more of them would undo the tenant check."""
    others = await as_api.fetch(
        "SELECT p.polrelid::regclass::text AS name, p.polname FROM pg_policy p"
        " WHERE p.polpermissive AND p.polname <> 'own_workspace' AND EXISTS (SELECT FROM unnest(p.polroles) r"
        "   WHERE r = 0 OR pg_has_role('sixteen_api', r, 'USAGE'))"
    )
    assert [tuple(row) for row in others] == []


async def test_what_runs_as_the_owner_is_for_the_services_alone(as_api: asyncpg.Connection) -> None:
    """The functions that look past the tenants' wall: none is anybody's, and each says ids and counts at most."""
    functions = await as_api.fetch(
        "SELECT p.oid::regprocedure::text AS name, has_function_privilege('sixteen_api', p.oid, 'EXECUTE') AS of_api,"
        "   p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0) AS of_all"
        " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE p.prosecdef AND n.nspname IN ('sales', 'scoring', 'events') AND p.prorettype <> 'trigger'::regtype"
    )
    assert len(functions) >= 8
    assert [row["name"] for row in functions if row["of_all"]] == []
    assert all(row["of_api"] for row in functions)


async def test_without_a_workspace_queues_are_empty_too(admin: Caller, as_api: asyncpg.Connection) -> None:
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        await tx.connection.execute(
            "INSERT INTO sales.idempotency_keys (workspace_id, digest, request_hash, recorded_at)"
            " VALUES ($1, '', '', now() - interval '25 hours')",
            admin.workspace_id,
        )
        await tx.connection.execute(
            "INSERT INTO sales.imports (workspace_id, id, kind, format, mapping, status, created_by, occurred_at,"
            " recorded_at, updated_at) VALUES ($1, $2, 'customers', 'csv', '{}', 'cancelled', $3, now(), now(), now())",
            admin.workspace_id,
            new_id(),
            admin.member_id,
        )
    for table in ("sales.imports", "sales.idempotency_keys", "scoring.scores", "scoring.seats"):
        assert await as_api.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_partitions_can_not_be_read_around_their_table(as_api: asyncpg.Connection) -> None:
    """A policy on a partitioned table does not guard its partitions when they are named themselves."""
    readable = await as_api.fetchval(
        "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'events'"
        " AND c.relispartition AND has_table_privilege('sixteen_api', c.oid, 'SELECT, INSERT, UPDATE, DELETE')"
    )
    assert readable == 0


async def test_service_roles_are_neither_owners_nor_above_the_policies(as_api: asyncpg.Connection) -> None:
    rows = await as_api.fetch(
        "SELECT rolname, rolsuper, rolbypassrls, rolcanlogin,"
        " EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid) AS owns"
        " FROM pg_roles r WHERE rolname IN ('sixteen_api', 'sixteen_scoring', 'sixteen_guard')"
    )
    assert len(rows) == 3
    assert not any(row["rolsuper"] or row["rolbypassrls"] or row["rolcanlogin"] or row["owns"] for row in rows)


async def test_without_a_workspace_there_is_nothing(admin: Caller, as_api: asyncpg.Connection) -> None:
    await admin.make_customer()
    assert await as_api.fetchval("SELECT count(*) FROM sales.customers") == 0
    async with as_api.transaction():
        await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
        assert await as_api.fetchval("SELECT count(*) FROM sales.customers") == 1
    assert await as_api.fetchval("SELECT count(*) FROM sales.customers") == 0


async def test_a_row_can_not_be_written_into_another_workspace(
    admin: Caller, other: Caller, as_api: asyncpg.Connection
) -> None:
    async with as_api.transaction():
        await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with as_api.transaction():
                await as_api.execute(
                    "INSERT INTO sales.customers (workspace_id, id, name, sort_key, occurred_at, recorded_at,"
                    " updated_at) VALUES ($1, $2, 'x', 'x', now(), now(), now())",
                    other.workspace_id,
                    new_id(),
                )


def routes_with_ids(app: FastAPI) -> list[tuple[str, APIRoute]]:
    routes: list[APIRoute] = app.state.routes
    return [
        (method, route)
        for route in routes
        if route.path.startswith("/v1/") and PARAMETER.search(route.path)
        for method in sorted(route.methods or ())
    ]


async def _something_of_everything(owner: Caller) -> dict[str, str]:
    """Ids of one workspace's records, by the first part of the path they stand under."""
    customer = await owner.make_customer()
    opportunity = await owner.make_opportunity(customer["id"])
    rep = await owner.member("rep", "Rep")
    made: dict[str, Any] = {
        "customers": customer,
        "opportunities": opportunity,
        "contacts": await owner.ok("POST", "/v1/contacts", {"customer_id": customer["id"], "name": "Li"}),
        "products": await owner.ok("POST", "/v1/products", {"name": "Press"}),
        "tasks": await owner.ok("POST", "/v1/tasks", {"kind": "other", "title": "x", "customer_id": customer["id"]}),
        "interactions": await owner.ok("POST", "/v1/interactions", {"customer_id": customer["id"], "kind": "call"}),
        "teams": await owner.ok("POST", "/v1/teams", {"name": "North"}),
        "processes": (await owner.ok("GET", "/v1/processes"))["data"][0],
        "api-keys": (await owner.ok("GET", "/v1/api-keys"))["data"][0],
        "attributes": await owner.ok(
            "POST",
            "/v1/attributes",
            {"subject": "customer", "key": "region", "kind": "text", "label": {"en": "Region"}},
        ),
        "members": {"id": str(rep.member_id)},
        **await _webhooks(owner),
    }
    return {name: str(body["id"]) for name, body in made.items()}


async def _webhooks(owner: Caller) -> dict[str, Any]:
    made = await webhook_day(owner)
    names = {"endpoint": "endpoints", "delivery": "deliveries", "attempt": "attempts", "webhook_job": "jobs"}
    return {f"webhook-{path}": made[name] for name, path in names.items()}


async def test_every_path_parameter_with_the_others_id_is_404(app: FastAPI, admin: Caller, other: Caller) -> None:
    """Every route that takes an id, with every method, tried with the id of another workspace's record."""
    ids = await _something_of_everything(other)
    tried, wrong = 0, []
    for method, route in routes_with_ids(app):
        resource = re.split("[:/{]", route.path.removeprefix("/v1/"))[0]
        if "external_id" in route.path:
            continue  # an external id is a name of the caller's own; it can't reach another workspace's row
        theirs = ids.get(resource, str(new_id()))
        path = PARAMETER.sub(lambda match: theirs, route.path)  # noqa: B023 - used at once
        response = await admin.request(method, path, json={} if method in {"POST", "PUT", "PATCH"} else None)
        tried += 1
        if response.status_code not in {404, 422}:
            wrong.append(f"{method} {path} ({route.path}): {response.status_code} {response.text[:120]}")
        elif response.status_code == 422:
            # The body was refused before the path was looked at: with a body that passes, it must be 404.
            again = await _with_body(admin, app, method, route, path)
            if again not in {404, None}:
                wrong.append(f"{method} {path} ({route.path}): {again} with a valid body")
    assert tried > 40
    assert wrong == []


BODIES: dict[str, Any] = {
    "transitionOpportunity": {"action": "pass"},
    "reassignOpportunity": {"owner_id": None, "reason": "x"},
    "reassignCustomer": {"owner_id": None, "reason": "x"},
    "snoozeTask": {"due_on": "2030-01-01"},
    "recoverWebhookEndpoint": {"since": "2026-01-01T00:00:00Z"},
}


async def _with_body(admin: Caller, app: FastAPI, method: str, route: APIRoute, path: str) -> int | None:
    body = BODIES.get(route.operation_id or "")
    if body is None and route.operation_id == "addOpportunityMember":
        body = {"member_id": str(admin.member_id)}
    if body is None:
        return None
    return (await admin.request(method, path, json=body)).status_code


async def test_the_others_ids_in_a_body_are_unknown(admin: Caller, other: Caller) -> None:
    ids = await _something_of_everything(other)
    own = await admin.make_customer()
    opportunity = {"name": "x", "customer_id": own["id"]}
    for body, pointer in (
        ({"name": "x", "customer_id": ids["customers"]}, "/customer_id"),
        ({**opportunity, "process_id": ids["processes"]}, "/process_id"),
        ({**opportunity, "product_id": ids["products"]}, "/product_id"),
        ({**opportunity, "owner_id": ids["members"]}, "/owner_id"),
    ):
        response = await admin.post("/v1/opportunities", body)
        assert response.status_code == 422, response.text
        assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
        assert response.json()["errors"][0]["code"] == "unknown_reference"


async def test_a_key_of_one_workspace_is_of_no_use_in_another(admin: Caller, other: Caller) -> None:
    seen = {row["id"] for row in (await admin.ok("GET", "/v1/customers"))["data"]}
    made = await other.make_customer("Theirs")
    assert made["id"] not in seen
    assert (await admin.ok("GET", "/v1/customers"))["data"] == []
    assert (await admin.get(f"/v1/customers/{made['id']}")).status_code == 404


class TestRoles:
    """A rep sees own and shared records, a manager the team's and the queue, a viewer reads, and no more."""

    async def test_a_rep_sees_own_and_shared_records_and_not_the_queue(self, admin: Caller) -> None:
        rep, colleague = await admin.member("rep"), await admin.member("rep")
        own = await rep.make_opportunity(name="Own")
        theirs = await colleague.make_opportunity(name="Theirs")
        queued = await admin.make_opportunity(name="Queued", owner_id=None)
        assert (await rep.get(f"/v1/opportunities/{theirs['id']}")).status_code == 404
        assert (await rep.get(f"/v1/opportunities/{queued['id']}")).status_code == 404
        await colleague.ok("POST", f"/v1/opportunities/{theirs['id']}/members", {"member_id": str(rep.member_id)})
        listed = {row["id"] for row in (await rep.ok("GET", "/v1/opportunities"))["data"]}
        assert listed == {own["id"], theirs["id"]}
        assert (await rep.get(f"/v1/customers/{theirs['customer_id']}")).status_code == 200

    async def test_a_manager_sees_the_team_and_what_nobody_owns(self, admin: Caller) -> None:
        rep, stranger = await admin.member("rep"), await admin.member("rep")
        manager = await admin.manager_of(rep)
        mine = await rep.make_opportunity()
        foreign = await stranger.make_opportunity()
        queued = await admin.make_opportunity(owner_id=None)
        listed = {row["id"] for row in (await manager.ok("GET", "/v1/opportunities"))["data"]}
        assert mine["id"] in listed
        assert queued["id"] in listed
        assert foreign["id"] not in listed

    async def test_a_viewer_writes_nothing(self, admin: Caller) -> None:
        viewer = await admin.member("viewer")
        made = await admin.make_opportunity()
        assert (await viewer.get(f"/v1/opportunities/{made['id']}")).status_code == 200
        refused = await viewer.patch(f"/v1/opportunities/{made['id']}", {"name": "x"})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert (await viewer.transition(made["id"], "pass")).status_code == 403

    async def test_a_rep_gives_nothing_away(self, admin: Caller) -> None:
        rep, colleague = await admin.member("rep"), await admin.member("rep")
        made = await rep.make_opportunity()
        body = {"owner_id": str(colleague.member_id), "reason": "on holiday"}
        assert (await rep.post(f"/v1/opportunities/{made['id']}:reassign", body)).status_code == 403
        refused = await rep.post(
            "/v1/opportunities",
            {"name": "x", "customer_id": made["customer_id"], "owner_id": str(colleague.member_id)},
        )
        assert refused.status_code == 403

    async def test_a_handover_keeps_stage_and_history(self, admin: Caller) -> None:
        """Elsewhere it resets the stage and detaches the history (FIELD, defect 2)."""
        rep, colleague = await admin.member("rep"), await admin.member("rep")
        manager = await admin.manager_of(rep, colleague)
        made = await rep.make_opportunity()
        await rep.transition(made["id"], "pass")
        body = {"owner_id": str(colleague.member_id), "reason": "a better fit"}
        after = await manager.ok("POST", f"/v1/opportunities/{made['id']}:reassign", body)
        assert (after["owner_id"], after["stage_position"]) == (str(colleague.member_id), 1)
        history = await colleague.ok("GET", f"/v1/opportunities/{made['id']}/transitions")
        assert [row["action"] for row in history["data"]] == ["pass"]
        assert (await rep.get(f"/v1/opportunities/{made['id']}")).status_code == 404
