"""The ranked seats over HTTP: who may see what, every wrong input, and what reading must not do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.api.focus import schemas
from services.api.pagination import Page
from services.scoring.jobs.drain import drain as drain_once
from shared.db import sql
from shared.ids import new_id
from tests.conftest import Servers
from tests.focus.seller import in_days, make_seller, pin_of
from tests.support.caller import Caller
from tests.support.scoring import drain, scoring
from tests.support.statements import statements

WRITTEN = sql(
    "SELECT (SELECT array_agg(xmin::text ORDER BY opportunity_id) FROM scoring.scores"
    " WHERE workspace_id = CAST(:workspace_id AS uuid)) AS scores,"
    " (SELECT array_agg(xmin::text ORDER BY subject_id) FROM scoring.seats"
    " WHERE workspace_id = CAST(:workspace_id AS uuid)) AS seats,"
    " (SELECT count(*) FROM scoring.moves WHERE workspace_id = CAST(:workspace_id AS uuid)) AS moves,"
    " (SELECT count(*) FROM scoring.dirty_marks WHERE workspace_id = CAST(:workspace_id AS uuid)) AS marks,"
    " (SELECT count(*) FROM events.outbox WHERE workspace_id = CAST(:workspace_id AS uuid)) AS events,"
    " (SELECT count(*) FROM sales.audit_entries WHERE workspace_id = CAST(:workspace_id AS uuid)) AS audit"
)


async def test_before_anything_is_judged_every_seat_is_empty(admin: Caller) -> None:
    rep = await admin.member("rep")
    page = await rep.ok("GET", "/v1/focus")
    schemas.FocusPage.model_validate(page)
    assert (page["data"], page["has_more"], page["triaged_at"]) == ([], False, None)
    assert page["shortages"]["vacant"] == {"engage": 16, "track": 100, "monitor": 400}
    assert page["owner_id"] == str(rep.member_id)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("band=attack", "?band"),
        ("within=muted", "?within"),
        ("class=E", "?class"),
        ("limit=0", "?limit"),
        ("limit=many", "?limit"),
        ("owner_id=nobody", "?owner_id"),
        ("colour=red", "?colour"),
        ("band=track&within=track", "?within"),
        ("cursor=abc", "?cursor"),
    ],
)
async def test_a_wrong_parameter_is_named(admin: Caller, query: str, pointer: str) -> None:
    response = await admin.get(f"/v1/focus?{query}")
    assert response.status_code == 400, response.text
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


async def test_a_cursor_belongs_to_its_own_list(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 3)
    cursor = (await seller.focus(limit=1))["next_cursor"]
    assert (await seller.rep.get("/v1/focus", params={"cursor": cursor, "within": "track"})).status_code == 400
    other_list = await seller.rep.get("/v1/focus/moves", params={"cursor": cursor})
    assert (other_list.status_code, other_list.json()["code"]) == (400, "invalid_cursor")


async def test_a_rep_sees_their_own_a_manager_the_teams_an_admin_all(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 2)
    rep, colleague = seller.rep, await admin.member("rep", "Colleague")
    manager = await admin.manager_of(rep)
    stranger = await admin.manager_of(colleague)
    viewer = await admin.member("viewer")
    paths = [
        f"/v1/focus?owner_id={rep.member_id}",
        f"/v1/focus/moves?owner_id={rep.member_id}",
        f"/v1/focus/capacity?owner_id={rep.member_id}",
    ]
    for path in paths:
        seen = {who.member_id: (await who.get(path)).status_code for who in (rep, manager, admin, viewer)}
        assert set(seen.values()) == {200}, path
        assert (await colleague.get(path)).status_code == 404, path
        assert (await stranger.get(path)).status_code == 404, path
    assert len((await seller.focus(manager, owner_id=str(rep.member_id)))["data"]) == 2
    # Without an owner the moves are those within reach: a manager's are the team's.
    assert len((await manager.ok("GET", "/v1/focus/moves"))["data"]) == 2
    assert len((await admin.ok("GET", "/v1/focus/moves"))["data"]) == 2
    assert (await stranger.ok("GET", "/v1/focus/moves"))["data"] == []
    assert (await colleague.ok("GET", "/v1/focus/moves"))["data"] == []
    assert (await admin.get(f"/v1/focus?owner_id={new_id()}")).status_code == 404


async def test_what_nobody_owns_is_on_no_list_of_ones_own(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 1)
    customer = await admin.make_customer("Waiting", owner_id=None)
    queued = await admin.make_opportunity(customer["id"], owner_id=None)
    await seller.drain()
    assert await seller.names("engage") == ["01"]
    assert [seat["subject"]["name"] for seat in (await seller.focus())["data"]] == ["01"]
    assert (await seller.rep.get(f"/v1/opportunities/{queued['id']}/score")).status_code == 404
    refused = await seller.rep.post("/v1/focus/pins", pin_of(queued["id"]))
    assert refused.json()["errors"][0]["code"] == "unknown_reference"


async def test_reading_writes_nothing(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 3)

    async def written() -> Any:
        async with admin.state.database.transaction(admin.workspace_id) as tx:
            return dict(await tx.row(WRITTEN) or {})

    before = await written()
    paths = ["/v1/focus", "/v1/focus/moves", "/v1/focus/capacity", f"/v1/opportunities/{seller.made['01']}/score"]
    with statements() as seen:
        for path in [*paths, "/v1/focus/pins"]:
            await seller.rep.ok("GET", path)
        await admin.ok("GET", "/v1/focus/overview")
    asked = [query for query in seen if "UPDATE" in query or "INSERT" in query or "DELETE" in query]
    # Who is calling is noted at most once a minute; nothing else is.
    assert [query for query in asked if "sales.api_keys" not in query] == []
    assert await written() == before


async def test_the_number_of_statements_does_not_grow(admin: Caller, servers: Servers) -> None:
    one, many = await make_seller(admin, servers, 1), await make_seller(admin, servers, 12)
    for path, most in (("/v1/focus", 2), ("/v1/focus/moves", 1), ("/v1/focus/capacity", 1)):
        counts = []
        for seller in (one, many):
            with statements() as seen:
                await seller.rep.ok("GET", path)
            counts.append(len([query for query in seen if "api_keys" not in query]))
        assert counts == [most, most], path
    with statements() as seen:
        overview = await admin.ok("GET", "/v1/focus/overview")
    assert len(overview["data"]) == 2
    assert len([query for query in seen if "api_keys" not in query]) == 1


async def test_the_overview_shows_each_rep_and_what_is_neglected(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 2)
    await seller.opportunity("old", 2_000_000, occurred_at=in_days(-40))
    await seller.drain()
    manager = await admin.manager_of(seller.rep)
    page = await manager.ok("GET", "/v1/focus/overview")
    Page[schemas.RepOverview].model_validate(page)
    assert [rep["name"] for rep in page["data"]] == ["Rep"]
    rep = page["data"][0]
    assert rep["counts"]["engage"] == 3
    assert [seat["name"] for seat in rep["neglected"]] == ["old"]
    # Three of class C are worth 9.5 new customers each: 400 - 28.6.
    assert rep["base_deficit"] == {"below_capacity": True, "empty_seats": 397, "needed_new_customers": 372}
    assert (await seller.rep.get("/v1/focus/overview")).status_code == 403
    await admin.member("rep", "Another")
    first = await admin.ok("GET", "/v1/focus/overview?limit=1")
    assert [each["name"] for each in first["data"]] == ["Another"]
    second = await admin.ok("GET", f"/v1/focus/overview?limit=1&cursor={first['next_cursor']}")
    assert ([each["name"] for each in second["data"]], second["has_more"]) == (["Rep"], False)


async def test_the_forgotten_timer_ignores_edits_and_respects_the_next_step(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 0)
    id_ = await seller.opportunity("old", 500_000, occurred_at=in_days(-40))

    async def forgotten() -> bool:
        await seller.drain()
        return "being_forgotten" in [flag["code"] for flag in (await seller.focus())["data"][0]["flags"]]

    assert await forgotten()
    opportunity = await seller.rep.ok("PATCH", f"/v1/opportunities/{id_}", {"name": "Edited", "notes": "an edit"})
    assert await forgotten()
    mail = {
        "customer_id": opportunity["customer_id"],
        "opportunity_id": id_,
        "kind": "email",
        "direction": "outbound",
    }
    await seller.rep.ok("POST", "/v1/interactions", mail)
    assert await forgotten()
    step = {"title": "Call about the drawings", "due_on": in_days(20)[:10]}
    await seller.rep.ok("POST", "/v1/interactions", {**mail, "next_step": step})
    assert not await forgotten()
    assert (await seller.focus())["data"][0]["next_step"] == step


async def test_capacity_holds_while_two_workers_and_many_requests_race(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 6)
    await admin.ok("PUT", f"/v1/focus/capacity?owner_id={seller.rep.member_id}", {"engage": 3})
    await seller.drain()
    seen: list[int] = []
    done = asyncio.Event()

    async def drain_on() -> None:
        async with scoring(servers) as context:
            while not done.is_set():
                await drain_once(context, admin.workspace_id)
                await asyncio.sleep(0)

    async def watch() -> None:
        while not done.is_set():
            page = await seller.focus(limit=50)
            seen.append(sum(seat["band"] == "engage" for seat in page["data"]))

    workers = [asyncio.create_task(drain_on()), asyncio.create_task(drain_on()), asyncio.create_task(watch())]
    for name in ("01", "04", "05"):
        await seller.rep.ok("POST", f"/v1/opportunities/{seller.made[name]}/transitions", {"action": "pass"})
        await seller.opportunity(f"late {name}", 3_000_000)
    await asyncio.sleep(0.3)
    done.set()
    await asyncio.gather(*workers)
    await drain(servers, admin.workspace_id)
    assert seen
    assert max(seen) == 3
    assert len(await seller.names("engage")) == 3
