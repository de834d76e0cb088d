"""A workspace of many opportunities, made by set-based SQL as the superuser: facts, not their making, are needed."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from deploy.embedded import EmbeddedServers

REPS_PER = 400
# A UUID whose first bits are the row's number: distinct, and in the order of the rows.
_ID = (
    "(lpad(to_hex({n}), 12, '0') || '7' || substr(md5(({n})::text || '{salt}'), 1, 3)"
    " || '8' || substr(md5(({n})::text || '{salt}'), 4, 15))::uuid"
)


@dataclass(frozen=True)
class Seeded:
    """What the bench needs to know of its workspace."""

    process_id: UUID
    first_stage_id: UUID
    customer_ids: list[UUID]
    opportunity_ids: list[UUID]
    owners: int


def uuid_of(n: str, salt: str) -> str:
    return _ID.format(n=n, salt=salt)


async def seed_workspace(servers: EmbeddedServers, workspace_id: UUID, opportunities: int) -> Seeded:
    """Reps, one customer an opportunity, opportunities in all open stages, two interactions and a task each."""
    connection = await asyncpg.connect(servers.superuser_url)
    try:
        process_id, first_stage = await connection.fetchrow(
            "SELECT p.id, s.id FROM sales.processes p JOIN sales.stages s ON s.workspace_id = p.workspace_id"
            " AND s.process_id = p.id AND s.position = 0 WHERE p.workspace_id = $1 AND p.is_default",
            workspace_id,
        )
        owners = max(1, opportunities // REPS_PER)
        await connection.execute(f"SET app.workspace_id = '{workspace_id}'")
        for statement in _statements(workspace_id, process_id, opportunities, owners):
            await connection.execute(statement)
        await connection.execute("ANALYZE")
        ids = await connection.fetch(
            "SELECT id FROM sales.opportunities WHERE workspace_id = $1 ORDER BY id LIMIT 2000", workspace_id
        )
        customers = await connection.fetch(
            "SELECT id FROM sales.customers WHERE workspace_id = $1 ORDER BY id LIMIT 2000", workspace_id
        )
    finally:
        await connection.close()
    return Seeded(process_id, first_stage, [row["id"] for row in customers], [row["id"] for row in ids], owners)


def _statements(workspace_id: UUID, process_id: UUID, count: int, owners: int) -> list[str]:
    workspace, rows = f"'{workspace_id}'::uuid", f"generate_series(1, {count}) AS n"
    salt = str(workspace_id)
    member, customer, deal = uuid_of(f"(n % {owners})", f"m{salt}"), uuid_of("n", f"c{salt}"), uuid_of("n", f"o{salt}")
    return [
        "INSERT INTO sales.members (workspace_id, id, name, role, occurred_at, recorded_at, updated_at)"
        f" SELECT DISTINCT {workspace}, {member}, 'Rep ' || (n % {owners}), 'rep', now(), now(), now() FROM {rows}",
        "INSERT INTO sales.customers (workspace_id, id, name, sort_key, owner_id, occurred_at, recorded_at,"
        f" updated_at) SELECT {workspace}, {customer}, 'Customer ' || n, 'customer ' || n, {member}, now(), now(),"
        f" now() FROM {rows}",
        "INSERT INTO sales.opportunities (workspace_id, id, name, sort_key, customer_id, process_id, owner_id,"
        " stage_id, stage_entered_at, amount, currency, margin_rate, purchase_date, need, pain, interest, occurred_at,"
        " recorded_at, updated_at)"
        f" SELECT {workspace}, {deal}, 'Deal ' || n, 'deal ' || n, {customer}, '{process_id}', {member}, s.id,"
        " now() - interval '9 days', 1000 + (n * 7919) % 100000, 'CNY', 0.3,"
        " current_date + (n % 200), CASE WHEN n % 3 > 0 THEN 'need' END, CASE WHEN n % 2 > 0 THEN 'pain' END,"
        " (ARRAY['none', 'weak', 'interested', 'firm'])[1 + n % 4],"
        f" now() - interval '40 days', now(), now() FROM {rows} JOIN sales.stages s"
        f" ON s.workspace_id = {workspace} AND s.process_id = '{process_id}' AND s.position = 0",
        *[
            "INSERT INTO sales.transitions (workspace_id, id, opportunity_id, action, stage_id, occurred_at,"
            f" recorded_at) SELECT {workspace}, {uuid_of(f'n * 8 + {stage}', f't{salt}')}, {deal}, 'pass', s.id, now(),"
            f" now() FROM {rows} JOIN sales.stages s ON s.workspace_id = {workspace} AND s.process_id = '{process_id}'"
            f" AND s.position = {stage} WHERE n % 4 > {stage}"
            for stage in range(3)
        ],
        *[
            "INSERT INTO sales.interactions (workspace_id, id, customer_id, opportunity_id, member_id, kind, signals,"
            " occurred_at, recorded_at, updated_at)"
            f" SELECT {workspace}, {uuid_of(f'n * 2 + {each}', f'i{salt}')}, {customer}, {deal}, {member},"
            f" (ARRAY['call', 'meeting', 'visit'])[1 + (n + {each}) % 3], ARRAY['asks_questions'],"
            f" now() - make_interval(days => (n + {each}) % 60), now(), now() FROM {rows}"
            for each in range(2)
        ],
        "INSERT INTO sales.tasks (workspace_id, id, kind, title, customer_id, opportunity_id, assignee_id, due_on,"
        " occurred_at, recorded_at, updated_at)"
        f" SELECT {workspace}, {uuid_of('n', f'k{salt}')}, 'next_step', 'Call', {customer}, {deal}, {member},"
        f" current_date + n % 30, now(), now(), now() FROM {rows}",
    ]
