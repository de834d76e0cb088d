"""What happened to opportunities, a row a transition: recorded once, by the rules of every other path."""

from __future__ import annotations

from typing import Any

import pytest

from services.api.imports import history
from tests.exports.support import content, exported, rows_of
from tests.imports.support import SIMPLE, errors_of, imported, opportunity, table, upload
from tests.imports.test_rows import count, events_of
from tests.support.caller import Caller

DEALS: dict[str, Any] = {
    **{name: SIMPLE[name] for name in ("kind", "source", "historical", "customer", "owner", "process")},
    "fields": {"external_id": "id", "name": "name", "occurred_at": "opened"},
}
HISTORY: dict[str, Any] = {
    "kind": "transitions",
    "source": "test",
    "historical": True,
    "opportunity": {"external_id": "deal"},
    "fields": {
        "external_id": "id", "action": {"column": "what", "map": {"passed": "pass"}}, "stage_key": "stage",
        "occurred_at": "at", "reason": "why", "note": "note",
    },
}  # fmt: skip
HEADER = "id,deal,what,stage,at,why,note"
PATH = (
    "1,D1,passed,talk,2026-01-05,,a good talk",
    "2,D1,back,talk,2026-01-07,,",
    "3,D1,passed,talk,2026-01-07,,",
    "4,D1,lose,,2026-01-20,price,",
    "5,D1,reopen,,2026-02-01,they called again,",
    "6,D1,passed,offer,2026-02-03,,",
    "7,D1,passed,sign,2026-02-09,,",
)
OFFERED, LOST = (PATH[0], "2,D1,passed,offer,2026-01-06,,"), "2,D1,lose,,2026-01-06,price,"
ACTIONS = ["pass", "back", "pass", "lose", "reopen", "pass", "pass"]


async def deals(caller: Caller, *keys: str) -> None:
    rows = (f"{key},Deal,Acme,Ann Lee,2026-01-01" for key in keys or ("D1",))
    done = await imported(caller, table(*rows, header="id,name,account,agent,opened"), DEALS)
    assert done["status"] == "succeeded", await errors_of(caller, done)


async def told(caller: Caller, *rows: str, **fields: Any) -> list[tuple[int, str, str]]:
    """Imports these rows of history; (row, pointer, code) of what is wrong."""
    done = await imported(caller, table(*rows, header=HEADER), HISTORY, **fields)
    assert done["problem"] is None, done
    return await errors_of(caller, done)


async def path_of(caller: Caller, key: str = "D1") -> list[dict[str, Any]]:
    deal = await opportunity(caller, key)
    page = await caller.ok("GET", f"/v1/opportunities/{deal['id']}/transitions", params={"limit": 200})
    found: list[dict[str, Any]] = page["data"]
    return found[::-1]


@pytest.mark.parametrize("batch", [1, 3, 100])
async def test_a_history_leads_where_it_says(admin: Caller, batch: int) -> None:
    await deals(admin)
    before = await events_of(admin)
    assert await told(admin, *PATH, import_batch=batch) == []
    deal = await opportunity(admin, "D1")
    assert (deal["status"], deal["won_at"], deal["stage_id"]) == ("won", "2026-02-09T00:00:00Z", None)
    path = await path_of(admin)
    assert [each["action"] for each in path] == ACTIONS
    assert [each["occurred_at"][:10] for each in path[:3]] == ["2026-01-05", "2026-01-07", "2026-01-07"]
    assert path[1]["passage_id"] == path[0]["id"]
    assert (path[0]["note"], path[3]["reason"], path[4]["reason"]) == ("a good talk", "price", "they called again")
    assert {(each["imported"], each["criteria"]) for each in path} == {(True, "unverified")}
    new = await events_of(admin) - before
    assert new["opportunity.milestone_passed"] == 4
    assert {name: new[f"opportunity.{name}"] for name in ("milestone_withdrawn", "lost", "reopened", "won")} == {
        "milestone_withdrawn": 1, "lost": 1, "reopened": 1, "won": 1,
    }  # fmt: skip


async def test_the_same_history_again_records_nothing(admin: Caller) -> None:
    await deals(admin)
    await told(admin, *PATH[:4])
    before, stored = await events_of(admin), await count(admin, "sales.transitions")
    assert await told(admin, *PATH[:4], PATH[3], import_batch=2) == []
    assert await count(admin, "sales.transitions") == stored == 4
    assert not [name for name in await events_of(admin) - before if name.startswith("opportunity.")]
    # A longer file goes on where the last one ended.
    assert await told(admin, *PATH) == []
    assert [each["action"] for each in await path_of(admin)] == ACTIONS


async def test_what_was_recorded_is_not_changed(admin: Caller) -> None:
    await deals(admin)
    await told(admin, *PATH[:1])
    assert await told(admin, "1,D1,passed,talk,2026-01-06,,") == [(1, "/id", "immutable")]
    assert await told(admin, "1,D1,lose,,2026-01-05,price,") == [(1, "/id", "immutable")]
    assert [each["action"] for each in await path_of(admin)] == ["pass"]


async def test_what_stands_already_is_not_recorded_twice(admin: Caller) -> None:
    """A passage, and a closing, that came with the opportunity's own row."""
    await imported(admin, table("D1,Deal,Acme,Ann Lee,1,Lost,2026-01-02,2026-01-09"))
    rows = ("1,D1,passed,talk,2026-01-02,,", "2,D1,lose,,2026-01-09,price,")
    assert await told(admin, *rows) == []
    assert await count(admin, "sales.transitions") == 2


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        (("1,D9,passed,talk,2026-01-05,,",), (1, "/deal", "unknown_reference")),
        (("1,,passed,talk,2026-01-05,,",), (1, "/deal", "required")),
        (("1,D1,danced,talk,2026-01-05,,",), (1, "/what", "unknown_code")),
        (("1,D1,passed,nowhere,2026-01-05,,",), (1, "/stage", "unknown_reference")),
        (("1,D1,passed,,2026-01-05,,",), (1, "/stage", "required")),
        (("1,D1,passed,sign,2026-01-05,,",), (1, "/stage", "stage_not_skippable")),
        (("1,D1,passed,talk,2025-12-05,,",), (1, "/at", "out_of_order")),
        (("1,D1,passed,talk,2999-01-01,,",), (1, "/at", "out_of_range")),
        (("1,D1,passed,talk,2027-12-01,,",), (1, "/occurred_at", "in_future")),
        (("1,D1,lose,,2026-01-05,,",), (1, "/why", "required")),
        (("1,D1,lose,,2026-01-05,boredom,",), (1, "/why", "unknown_code")),
        (("1,D1,reopen,,2026-01-05,,",), (1, "/what", "transition_not_allowed")),
        (("1,D1,cancel,,2026-01-05,why,",), (1, "/what", "transition_not_allowed")),
        ((PATH[0], "2,D1,passed,talk,2026-01-06,,"), (2, "/stage", "transition_not_allowed")),
        ((PATH[0], "2,D1,passed,offer,2026-01-04,,"), (2, "/at", "out_of_order")),
        ((*OFFERED, "3,D1,back,offer,2026-01-07,,"), (3, "/stage", "milestone_irreversible")),
        ((*OFFERED, "3,D1,back,talk,2026-01-07,,"), (3, "/stage", "transition_not_allowed")),
        ((PATH[0], LOST, "3,D1,reopen,,2026-06-06,,"), (3, "/what", "transition_not_allowed")),
        (("1,D1,lose,,2026-01-06,price,", "2,D1,passed,talk,2026-01-07,,"), (2, "/what", "transition_not_allowed")),
    ],
)  # fmt: skip
async def test_a_row_that_may_not_be(admin: Caller, rows: tuple[str, ...], wrong: tuple[int, str, str]) -> None:
    """The others are recorded, and those of other opportunities; a dry run says the same."""
    await deals(admin, "D1", "D2")
    rows = (*rows, "z,D2,passed,talk,2026-01-05,,")
    assert await told(admin, *rows, dry_run="true") == [wrong]
    assert await count(admin, "sales.transitions") == 0
    assert await told(admin, *rows) == [wrong]
    assert await count(admin, "sales.transitions") == len(rows) - 1


async def test_a_passage_recorded_by_mistake_is_voided(admin: Caller) -> None:
    await deals(admin)
    assert await told(admin, *OFFERED, "3,D1,void,offer,2026-01-06,wrong deal,") == []
    assert [each["action"] for each in await path_of(admin)] == ["pass", "pass", "void"]
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        query = (
            "SELECT data::text FROM events.outbox WHERE workspace_id = $1 UNION ALL"
            " SELECT changes::text FROM sales.audit_entries WHERE workspace_id = $1"
        )
        words = [row[0] for row in await tx.connection.fetch(query, admin.workspace_id)]
    assert not [each for each in words if "wrong deal" in each or "a good talk" in each]


async def test_a_won_contract_that_fell_through(admin: Caller) -> None:
    await deals(admin)
    assert await told(admin, *PATH, "8,D1,cancel,,2026-03-01,no money,") == []
    assert (await opportunity(admin, "D1"))["status"] == "cancelled"
    assert (await events_of(admin))["opportunity.cancelled"] == 1


async def test_a_manager_writes_the_history_of_their_team_alone(admin: Caller) -> None:
    rep = await admin.member("rep", "Ann Lee")
    await admin.member("rep", "Bo Wu")
    manager = await admin.manager_of(rep)
    await deals(admin)
    head = "id,name,account,agent,opened"
    await imported(admin, table("D2,Deal,Beta,Bo Wu,2026-01-01", header=head), DEALS)
    assert await told(manager, PATH[0], "x,D2,passed,talk,2026-01-05,,") == [(2, "/deal", "out_of_reach")]
    assert [each["action"] for each in await path_of(admin)] == ["pass"]


async def test_a_mapping_of_a_history_names_its_opportunity(admin: Caller) -> None:
    for section, pointer in (
        (None, "/mapping/opportunity"),
        ({"external_id": "deal", "missing": "leave_empty"}, "/mapping/opportunity/missing"),
    ):
        mapping = {**HISTORY, "opportunity": section}
        if section is None:
            del mapping["opportunity"]
        response = await upload(admin, table(PATH[0], header=HEADER), mapping)
        assert response.status_code == 422
        assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


async def test_a_statement_count_that_does_not_grow_with_the_rows(
    admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deals(admin, *(f"D{number}" for number in range(40)))
    rows = [f"{n}-{stage},D{n},passed,{stage},2026-01-05,," for n in range(40) for stage in ("talk", "offer", "sign")]
    counts: list[int] = []
    real = history.apply

    async def counted(tx: Any, *given: Any) -> int:
        before = tx.statements
        written: int = await real(tx, *given)
        counts.append(tx.statements - before)
        return written

    monkeypatch.setattr(history, "apply", counted)
    for part in (rows[:3], rows):
        assert await told(admin, *part) == []
    assert counts[0] == counts[1], counts


async def test_an_export_is_taken_back(admin: Caller, other: Caller) -> None:
    """Opportunities without their stage, then their history: as it was, in its order."""
    await deals(admin)
    await told(admin, *PATH[:4])
    for kind in ("customers", "opportunities", "transitions"):
        done = await exported(admin, kind, "csv")
        mapping = await admin.ok("GET", f"/v1/exports/{done['id']}/mapping")
        if kind == "opportunities":
            del mapping["stage"]
            mapping["process"] = SIMPLE["process"]
            mapping["owner"]["missing"] = "leave_empty"
        back = await imported(other, await content(admin, done), mapping)
        assert back["status"] == "succeeded", (kind, await errors_of(other, back))
    again = await exported(other, "transitions", "csv")
    kept = ("action", "stage_key", "occurred_at", "reason", "note")
    written = [rows_of("csv", await content(who, await exported(who, "transitions", "csv"))) for who in (admin, other)]
    assert again["rows_written"] == 4
    first, second = ([{name: row[name] for name in kept} for row in rows] for rows in written)
    assert first == second
