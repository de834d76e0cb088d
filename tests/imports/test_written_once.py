"""A new row is written once, with its documents: they must say what the database itself would say."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from services.api.imports import writing
from services.api.imports.kinds import KINDS
from services.api.imports.telling import document
from shared.db import Tx
from tests.imports.support import SIMPLE, imported, table
from tests.support.caller import Caller

WON = "{0},Won,Acme,Ann Lee,1234.5,Won,2026-01-02,2026-01-09"
# Transitions that this connection has looked at.
READ = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = 'sales.transitions'::regclass"
# Of a row with three transitions: each is found a few times.
MOST_READ = 25
ROWS = (
    "1,Talking,Acme,Ann Lee,,Talk,,", "2,Offered,Acme,Ann Lee,7,Offer,2026-01-02,", WON.format(3),
    "4,Lost,Beta,Ann Lee,12.3456,Lost,2026-01-02,2026-02-01", "5,Lost at once,Beta,Bo Wu,,Lost,,2026-02-01",
)  # fmt: skip


def _mapping(kind: str, fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"kind": kind, "source": "test", "fields": {"external_id": "id", **fields}, **more}


CASES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "opportunities": (table(*ROWS), SIMPLE),
    "customers": (
        table("1,Acme,organisation,+86 21 1", "2,Li,household,+86 1", header="id,name,kind,phone"),
        _mapping("customers", {"name": "name", "kind": "kind", "phone": "phone"}),
    ),
    "contacts": (
        table("1,Li Ming,Acme,1990-02-03,yes", header="id,name,account,born,coach"),
        _mapping("contacts", {"name": "name", "birthday": "born", "is_coach": "coach"}, customer={"name": "account"}),
    ),
    "products": (
        table("1,GTX Pro,99.9,0.3,no", header="id,name,price,margin,active"),
        _mapping("products", {"name": "name", "list_price": "price", "margin_rate": "margin", "active": "active"}),
    ),
    "interactions": (
        table("1,call,2026-01-02 10:00,Acme,12,30.5", header="id,kind,at,account,minutes,cost"),
        _mapping(
            "interactions", {"kind": "kind", "occurred_at": "at", "minutes": "minutes", "cost": "cost"},
            customer={"name": "account"},
        ),
    ),
}  # fmt: skip


def _timed(data: dict[str, Any]) -> dict[str, Any]:
    """The document with its times as times: the same one can be written in two ways."""
    return {name: datetime.fromisoformat(value) if value and name.endswith("_at") else value
            for name, value in data.items()}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_events_say_what_the_database_says(admin: Caller, name: str) -> None:
    file, mapping = CASES[name]
    kind = KINDS[name]
    done = await imported(admin, file, mapping)
    assert done["status"] == "succeeded", done
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        await tx.connection.execute("CREATE TEMPORARY TABLE s ON COMMIT DROP AS SELECT '{}'::text AS changes")
        rows = await tx.connection.fetch(
            f"SELECT e.data, {document(kind)} AS stored, e.resource_version AS told, t.version"
            f" FROM s, events.outbox e JOIN sales.{kind.name} t ON t.workspace_id = e.workspace_id"
            " AND t.id = e.subject_id WHERE e.workspace_id = $1 AND e.type = $2 AND t.external_source = 'test'",
            admin.workspace_id,
            f"{kind.subject}.created",
        )
    assert len(rows) == done["rows_imported"]
    for row in rows:
        assert _timed(row["data"]) == _timed(row["stored"])
        # Written once: the trigger found nothing to set right.
        assert row["told"] == row["version"] == 1


async def _own(admin: Caller, external_id: str) -> dict[str, Any]:
    page = await admin.ok("GET", "/v1/opportunities", params={"limit": 50})
    found: dict[str, Any] = next(row for row in page["data"] if row["external_id"] == external_id)
    return found


async def _lie(
    as_api: asyncpg.Connection, admin: Caller, like: dict[str, Any], stage_id: str | None, standing: dict[str, Any]
) -> Any:
    """Inserts a copy of an opportunity with a standing of its own making, and a first passage where one is given."""
    new = uuid4()
    passage = (
        "WITH passed AS (INSERT INTO sales.transitions (workspace_id, id, opportunity_id, action, stage_id, criteria,"
        " occurred_at, recorded_at) SELECT $1, gen_random_uuid(), $2, 'pass', CAST($4 AS uuid), 'met', now(), now()"
        " WHERE $4 IS NOT NULL) "
    )
    async with as_api.transaction():
        await as_api.execute("SELECT set_config('app.workspace_id', $1, true)", str(admin.workspace_id))
        await as_api.execute(
            f"{passage} INSERT INTO sales.opportunities (workspace_id, id, name, sort_key, customer_id, process_id,"
            " stage_id, stage_entered_at, stage_position, status, won_at, closed_at, close_reason, completed_at,"
            " occurred_at, recorded_at, updated_at)"
            " SELECT $1, $2, o.name, o.sort_key, o.customer_id, o.process_id, coalesce(d.stage_id, o.stage_id),"
            " now(), coalesce(d.stage_position, 0), coalesce(d.status, 'open'), d.won_at, d.closed_at, d.close_reason,"
            " d.completed_at, now(), now(), now() FROM sales.opportunities o,"
            " jsonb_to_record($5::text::jsonb) AS d(stage_id uuid, stage_position int, status text,"
            " won_at timestamptz, closed_at timestamptz, close_reason text, completed_at timestamptz)"
            " WHERE o.workspace_id = $1 AND o.id = $3",
            admin.workspace_id,
            new,
            like["id"],
            stage_id,
            json.dumps(standing),
        )
    return await admin.ok("GET", f"/v1/opportunities/{new}")


LIES: list[dict[str, Any]] = [
    {"status": "won", "won_at": "2026-01-01T00:00:00Z", "closed_at": "2026-01-01T00:00:00Z", "stage_position": 3},
    {"status": "lost", "closed_at": "2026-01-01T00:00:00Z", "close_reason": "price"},
    {"status": "cancelled", "stage_position": 2},
    {"completed_at": "2026-01-01T00:00:00Z"},
    {"stage_position": 2},
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: "+".join(lie))
async def test_nothing_stands_where_its_transitions_do_not_lead(
    admin: Caller, as_api: asyncpg.Connection, lie: dict[str, Any]
) -> None:
    """The api's own role may state where a new opportunity stands; only what its transitions say is kept."""
    await imported(admin, table(*ROWS[:1]))
    first = await _own(admin, "1")
    with pytest.raises(asyncpg.PostgresError) as refused:
        await _lie(as_api, admin, first, None, lie)
    assert refused.value.sqlstate == "SX002"
    if lie.keys() == {"completed_at"}:
        # What is open can't have been completed: nothing more is passed there.
        with pytest.raises(asyncpg.PostgresError) as refused:
            await _lie(as_api, admin, first, first["stage_id"], lie)
        assert refused.value.sqlstate == "SX005"
        return
    told = await _lie(as_api, admin, first, first["stage_id"], lie)
    assert (told["status"], told["stage_position"], told["won_at"], told["closed_at"]) == ("open", 1, None, None)
    assert (told["close_reason"], told["completed_at"]) == (None, None)


async def test_what_others_have_passed_is_not_read(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """New opportunities are judged by their own transitions, found one by one: not by reading through everybody's."""
    read, write = [], writing.write

    async def counted(tx: Tx, *given: Any) -> int:
        before = await tx.connection.fetchval(READ)
        written = await write(tx, *given)
        read.append((await tx.connection.fetchval(READ) - before) / written)
        return written

    monkeypatch.setattr(writing, "write", counted)
    done = await imported(admin, table(*(WON.format(place) for place in range(6_000))), import_batch=1_500)
    assert done["rows_imported"] == 6_000, done
    assert max(read) <= MOST_READ, read
