"""Milestones, and above all the irreversible ones, on every path there is (DOMAIN §7, §14)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import asyncpg
import pytest

from shared.db import connect_arguments
from shared.ids import new_id
from tests.conftest import Servers
from tests.support.caller import Caller


async def passed(caller: Caller, times: int = 1, **fields: Any) -> dict[str, Any]:
    """An opportunity that has passed its first `times` milestones."""
    made = await caller.make_opportunity(**fields)
    for _ in range(times):
        response = await caller.transition(made["id"], "pass")
        assert response.status_code == 200, response.text
        made = response.json()["opportunity"]
    return made


async def reversible_process(caller: Caller) -> str:
    """A process of four stages whose second milestone alone is irreversible."""
    stage = {"typical_days": 5, "typical_hours": 2, "base_win_rate": 0.5, "irreversible": False}
    stages = [
        {"key": f"s{n}", "name": {"en": f"Stage {n}"}, "milestone": {"en": f"Milestone {n}"}, **stage} for n in range(4)
    ]
    stages[1]["irreversible"] = True
    stages[2]["skippable"] = True
    stages[3]["wins"] = True
    made = await caller.ok("POST", "/v1/processes", {"key": "mixed", "name": {"en": "Mixed"}, "stages": stages})
    return str(made["id"])


async def test_passing_moves_the_stage_and_says_so(admin: Caller) -> None:
    made = await admin.make_opportunity()
    response = await admin.transition(made["id"], "pass", evidence={"minutes": "of 3 May"})
    after = response.json()["opportunity"]
    assert (after["stage_position"], after["status"], after["version"]) == (1, "open", 2)
    assert response.headers["etag"] == '"2"'
    history = await admin.ok("GET", f"/v1/opportunities/{made['id']}/transitions")
    assert [row["action"] for row in history["data"]] == ["pass"]
    assert history["data"][0]["evidence"] == {"minutes": "of 3 May"}


async def test_the_winning_milestone_wins_and_later_stages_are_fulfilment(admin: Caller) -> None:
    won = await passed(admin, 6)
    assert won["status"] == "won"
    assert won["won_at"] is not None
    assert won["completed_at"] is None
    done = won
    for _ in range(2):
        done = (await admin.transition(won["id"], "pass")).json()["opportunity"]
    assert done["completed_at"] is not None
    assert done["stage_id"] is None
    refused = await admin.transition(won["id"], "pass")
    assert refused.status_code == 409
    assert refused.json()["code"] == "transition_not_allowed"


@pytest.mark.parametrize("path", ["transitions", "batch", "patch", "sql_update", "sql_counter_row", "sql_delete"])
async def test_an_irreversible_milestone_is_never_gone_back_over(
    admin: Caller, as_api: asyncpg.Connection, path: str
) -> None:
    made = await passed(admin, 2)
    id_ = made["id"]
    if path == "transitions":
        response = await admin.transition(id_, "back")
        assert (response.status_code, response.json()["code"]) == (409, "milestone_irreversible")
    elif path == "batch":
        back = {"kind": "transition", "id": id_, "body": {"action": "back"}}
        rename = {"kind": "update", "id": id_, "body": {"name": "Renamed"}}
        response = await admin.post("/v1/opportunities:batch", {"operations": [rename, back]})
        assert (response.status_code, response.json()["code"]) == (409, "milestone_irreversible")
        assert response.json()["errors"][0]["pointer"].startswith("/operations/1")
    elif path == "patch":
        response = await admin.patch(f"/v1/opportunities/{id_}", {"stage_position": 0})
        assert (response.status_code, response.json()["errors"][0]["code"]) == (422, "unknown_field")
    else:
        async with as_api.transaction():
            await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
            with pytest.raises(asyncpg.PostgresError) as refused:
                async with as_api.transaction():
                    await _by_hand(as_api, path, id_)
            assert refused.value.sqlstate in {"42501", "SX004"}, refused.value
    after = await admin.ok("GET", f"/v1/opportunities/{id_}")
    assert (after["stage_position"], after["name"], after["version"]) == (2, "Deal", made["version"])


async def _by_hand(connection: asyncpg.Connection, path: str, id_: str) -> None:
    if path == "sql_update":
        await connection.execute("UPDATE sales.opportunities SET stage_position = 0 WHERE id = $1", id_)
    elif path == "sql_delete":
        await connection.execute("DELETE FROM sales.transitions WHERE opportunity_id = $1", id_)
    else:
        await connection.execute(
            "INSERT INTO sales.transitions (workspace_id, id, opportunity_id, action, stage_id, passage_id,"
            " occurred_at, recorded_at) SELECT workspace_id, $2, opportunity_id, 'back', stage_id, id, now(), now()"
            " FROM sales.transitions WHERE opportunity_id = $1 ORDER BY recorded_at DESC LIMIT 1",
            id_,
            new_id(),
        )


@pytest.mark.parametrize("actions", [("pass", "lose"), ("abandon", "pass"), ("lose", "abandon")], ids="+".join)
async def test_what_contradicts_itself_is_not_taken_at_once(
    admin: Caller, as_api: asyncpg.Connection, actions: tuple[str, str]
) -> None:
    """Each fits where the opportunity stands, and they do not fit together: one statement records neither."""
    process_id = await reversible_process(admin)
    made = await passed(admin, 3, process_id=process_id)
    async with as_api.transaction():
        await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
        with pytest.raises(asyncpg.PostgresError) as refused:
            async with as_api.transaction():
                await as_api.execute(
                    "INSERT INTO sales.transitions (workspace_id, id, opportunity_id, action, stage_id, reason,"
                    " occurred_at, recorded_at) SELECT $1, gen_random_uuid(), o.id, a,"
                    " CASE WHEN a = 'pass' THEN o.stage_id END, CASE WHEN a <> 'pass' THEN 'price' END, now(), now()"
                    " FROM sales.opportunities o, unnest(CAST($3 AS text[])) AS a WHERE o.id = $2",
                    admin.workspace_id,
                    made["id"],
                    list(actions),
                )
    assert refused.value.sqlstate == "SX005"
    after = await admin.ok("GET", f"/v1/opportunities/{made['id']}")
    assert (after["status"], after["stage_position"], after["version"]) == ("open", 3, made["version"])


async def test_going_back_within_a_reversible_stretch_is_recorded(admin: Caller) -> None:
    process_id = await reversible_process(admin)
    made = await passed(admin, 3, process_id=process_id)
    back = (await admin.transition(made["id"], "back")).json()["opportunity"]
    assert back["stage_position"] == 2
    stopped = await admin.transition(made["id"], "back")
    assert stopped.json()["code"] == "milestone_irreversible"
    history = await admin.ok("GET", f"/v1/opportunities/{made['id']}/transitions")
    assert Counter(row["action"] for row in history["data"]) == {"pass": 3, "back": 1}


async def test_only_a_skippable_stage_is_skipped(admin: Caller) -> None:
    process_id = await reversible_process(admin)
    process = await admin.ok("GET", f"/v1/processes/{process_id}")
    stages = [stage["id"] for stage in process["stages"]]
    made = await passed(admin, 1, process_id=process_id)
    refused = await admin.transition(made["id"], "pass", stage_id=stages[3])
    assert refused.json()["errors"][0]["code"] == "stage_not_skippable"
    await admin.transition(made["id"], "pass")
    won = (await admin.transition(made["id"], "pass", stage_id=stages[3])).json()["opportunity"]
    assert won["status"] == "won"


async def test_void_is_for_managers_with_a_reason_and_only_the_latest(admin: Caller) -> None:
    rep = await admin.member("rep")
    made = await passed(rep, 2)
    assert (await rep.transition(made["id"], "void", reason="mistaken")).status_code == 403
    assert (await admin.transition(made["id"], "void")).json()["errors"][0]["pointer"] == "/reason"
    voided = await admin.transition(made["id"], "void", reason="mistaken")
    assert voided.json()["opportunity"]["stage_position"] == 1


async def test_a_voided_win_is_open_again_and_a_won_one_is_not_reopened(admin: Caller) -> None:
    won = await passed(admin, 6)
    assert (await admin.transition(won["id"], "reopen")).status_code == 409
    assert (await admin.transition(won["id"], "back")).status_code == 409
    voided = (await admin.transition(won["id"], "void", reason="the wrong deal")).json()["opportunity"]
    assert (voided["status"], voided["won_at"], voided["closed_at"]) == ("open", None, None)


async def test_losing_needs_a_reason_of_the_catalog_and_can_be_undone(admin: Caller) -> None:
    made = await passed(admin, 2)
    assert (await admin.transition(made["id"], "lose", reason="because")).json()["errors"][0]["pointer"] == "/reason"
    lost = (await admin.transition(made["id"], "lose", reason="price")).json()["opportunity"]
    assert (lost["status"], lost["close_reason"], lost["stage_position"]) == ("lost", "price", 2)
    assert (await admin.transition(made["id"], "pass")).status_code == 409
    again = (await admin.transition(made["id"], "reopen")).json()["opportunity"]
    assert (again["status"], again["stage_position"], again["close_reason"]) == ("open", 2, None)


async def test_a_contract_that_falls_through_is_cancelled(admin: Caller) -> None:
    won = await passed(admin, 6)
    cancelled = (await admin.transition(won["id"], "cancel", reason="they went bankrupt")).json()["opportunity"]
    assert cancelled["status"] == "cancelled"
    assert (await admin.transition(won["id"], "pass")).status_code == 409


async def test_fifty_parallel_passes_of_one_version_give_exactly_one(admin: Caller) -> None:
    made = await admin.make_opportunity()
    headers = {"If-Match": '"1"'}
    path = f"/v1/opportunities/{made['id']}/transitions"
    answers = await asyncio.gather(*(admin.post(path, {"action": "pass"}, headers=headers) for _ in range(50)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 49}
    history = await admin.ok("GET", path)
    assert len(history["data"]) == 1


async def test_times_are_in_order_and_not_ahead(admin: Caller) -> None:
    made = await admin.make_opportunity(occurred_at="2026-03-01T08:00:00Z")
    early = await admin.transition(made["id"], "pass", occurred_at="2026-02-01T08:00:00Z")
    assert early.json()["errors"][0]["code"] == "out_of_order"
    ahead = await admin.transition(made["id"], "pass", occurred_at="2126-02-01T08:00:00Z")
    assert ahead.json()["errors"][0]["code"] == "in_future"
    naive = await admin.transition(made["id"], "pass", occurred_at="2026-04-01T08:00:00")
    assert naive.status_code == 422


async def test_two_hands_at_once_do_not_go_back_over_an_irreversible_milestone(
    admin: Caller, servers: Servers, as_api: asyncpg.Connection
) -> None:
    """One passes the irreversible milestone while the other goes back over the one before it, both by SQL."""
    process_id = await reversible_process(admin)
    made = await passed(admin, 1, process_id=process_id)
    stages = [stage["id"] for stage in (await admin.ok("GET", f"/v1/processes/{process_id}"))["stages"]]
    history = (await admin.ok("GET", f"/v1/opportunities/{made['id']}/transitions"))["data"]
    insert = (
        "INSERT INTO sales.transitions (workspace_id, id, opportunity_id, action, stage_id, passage_id, occurred_at,"
        " recorded_at) VALUES ($1, $2, $3, $4, $5, $6, now(), now())"
    )
    common = (admin.workspace_id, new_id(), made["id"])
    other = await asyncpg.connect(**connect_arguments(servers.database_url, "sixteen_api"))
    try:
        for connection in (as_api, other):
            await connection.execute(f"BEGIN; SELECT set_config('app.workspace_id', '{admin.workspace_id}', true)")
        await as_api.execute(insert, *common, "pass", stages[1], None)
        back = (admin.workspace_id, new_id(), made["id"], "back", stages[0], history[0]["id"])
        waiting = asyncio.create_task(other.execute(insert, *back))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await as_api.execute("COMMIT")
        with pytest.raises(asyncpg.PostgresError) as refused:
            await waiting
        assert refused.value.sqlstate == "SX010"
    finally:
        await other.close()
    after = await admin.ok("GET", f"/v1/opportunities/{made['id']}")
    assert after["stage_position"] == 2
