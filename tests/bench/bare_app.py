"""What the api is measured against: FastAPI and asyncpg with one statement, and nothing else.

The same bytes come back: rows are shown with the product's own wire function, so that only what surrounds it
(identity, tenant, transaction, events, audit, marks) is compared. The login is a superuser: no row-level security.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import uvicorn
from fastapi import FastAPI, Response

from services.api.opportunities.resource import OPPORTUNITIES
from services.api.opportunities.schemas import OpportunityCreate
from services.api.wire import dump
from shared.db import connect_arguments, prepare_connection
from shared.ids import new_id

READ = "SELECT * FROM sales.opportunities WHERE workspace_id = $1 AND id = $2"
LIST = (
    "SELECT o.*, s.priority FROM scoring.scores s JOIN sales.opportunities o"
    " ON o.workspace_id = s.workspace_id AND o.id = s.opportunity_id"
    " WHERE s.workspace_id = $1 ORDER BY s.priority DESC, s.opportunity_id DESC LIMIT 50"
)
INSERT = (
    "INSERT INTO sales.opportunities (workspace_id, id, name, sort_key, customer_id, process_id, stage_id,"
    " stage_entered_at, amount, currency, occurred_at, recorded_at, updated_at)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $8, $8, $8) RETURNING *"
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    arguments = connect_arguments(os.environ["BENCH_SUPERUSER_URL"], "")
    # The trigger on opportunities runs in the tables' owner, who sees the workspace that is entered.
    arguments["server_settings"]["app.workspace_id"] = os.environ["BENCH_WORKSPACE"]
    app.state.pool = await asyncpg.create_pool(**arguments, min_size=1, max_size=10, init=prepare_connection)
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)
WORKSPACE = UUID(os.environ.get("BENCH_WORKSPACE", "00000000-0000-7000-8000-000000000000"))
STAGE = UUID(os.environ.get("BENCH_STAGE", "00000000-0000-7000-8000-000000000000"))


def answer(body: object, status: int = 200) -> Response:
    return Response(dump(body), status, media_type="application/json")


@app.get("/opportunities/{id}")
async def read(id: UUID) -> Response:  # noqa: A002 - the name in the path
    async with app.state.pool.acquire() as connection:
        row = await connection.fetchrow(READ, WORKSPACE, id)
    return answer(OPPORTUNITIES.wire(row))


@app.get("/opportunities")
async def list_by_priority() -> Response:
    async with app.state.pool.acquire() as connection:
        rows = await connection.fetch(LIST, WORKSPACE)
    return answer({"data": [OPPORTUNITIES.wire(row) for row in rows], "next_cursor": None, "has_more": True})


@app.post("/opportunities", status_code=201)
async def create(body: OpportunityCreate) -> Response:
    now = datetime.now(UTC)
    money = body.amount
    values = (
        WORKSPACE, new_id(), body.name, body.name.lower(), body.customer_id, body.process_id, STAGE, now,
        money.amount if money else None, money.currency if money else None,
    )  # fmt: skip
    async with app.state.pool.acquire() as connection:
        row = await connection.fetchrow(INSERT, *values)
    return answer(OPPORTUNITIES.wire(row), 201)


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), loop="uvloop", http="httptools", access_log=False,
        log_level="warning",
    )  # fmt: skip
