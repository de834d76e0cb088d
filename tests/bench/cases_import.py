"""An import through the api and its worker, against COPY: of the same bytes into one plain table, and into its own."""

from __future__ import annotations

import asyncio
import io
import random
import time
from datetime import date, datetime, timedelta
from pathlib import Path

import httpx
import orjson

from tests.bench.harness import Results
from tests.bench.stack import Stack

ROWS = 20_000
COLUMNS = (
    "opportunity_id", "sales_agent", "product", "account", "deal_stage", "engage_date", "close_date", "close_value",
)  # fmt: skip
MAPPING = Path(__file__).parents[2] / "deploy" / "imports" / "crm_sales_opportunities.yaml"


def pipeline_csv(rows: int, salt: str) -> bytes:
    """A pipeline like a real one: agents, products, accounts, stages and dates, drawn with a fixed seed."""
    draw = random.Random(16)
    lines = [",".join(COLUMNS)]
    first = date(2025, 1, 1)
    for n in range(rows):
        stage = draw.choice(("Prospecting", "Engaging", "Won", "Lost"))
        engaged = first + timedelta(days=draw.randrange(300))
        closed = engaged + timedelta(days=draw.randrange(1, 120))
        opened_on = "" if stage == "Prospecting" else engaged.isoformat()
        closed_on, value = (closed.isoformat(), str(draw.randrange(50, 5000))) if stage in {"Won", "Lost"} else ("", "")
        account = f"Account {draw.randrange(rows // 100)}"
        agent, product = f"Agent {draw.randrange(30)}", f"Product {draw.randrange(7)}"
        lines.append(f"{salt}{n:07},{agent},{product},{account},{stage},{opened_on},{closed_on},{value}")
    return ("\n".join(lines) + "\n").encode()


async def _copy(stack: Stack, data: bytes) -> float:
    connection = await stack.superuser()
    try:
        await connection.execute("DROP TABLE IF EXISTS public.bench_copy")
        columns = ", ".join(f"{name} text{' PRIMARY KEY' if name == COLUMNS[0] else ''}" for name in COLUMNS)
        await connection.execute(f"CREATE TABLE public.bench_copy ({columns})")
        started = time.perf_counter()
        await connection.copy_to_table(
            "bench_copy", schema_name="public", source=io.BytesIO(data), format="csv", header=True
        )
        return time.perf_counter() - started
    finally:
        await connection.close()


async def _copy_into_own_table(stack: Stack, turn: int) -> float:
    """COPY of the rows an import has made into their own table: keys, references, checks and trigger included."""
    connection = await stack.superuser()
    columns = (
        "workspace_id", "id", "name", "sort_key", "customer_id", "process_id", "owner_id", "product_id", "stage_id",
        "stage_entered_at", "amount", "currency", "external_source", "external_id", "historical", "occurred_at",
        "recorded_at", "updated_at",
    )  # fmt: skip
    again = {
        "id": "gen_random_uuid()",
        "external_source": f"'copy-{turn}'",
        "stage_id": "(SELECT id FROM sales.stages s WHERE s.process_id = o.process_id AND s.position = 0)",
    }
    selected = ", ".join(again.get(name, name) for name in columns)
    rows = io.BytesIO()
    try:
        await connection.execute(f"SET app.workspace_id = '{stack.workspace_id}'")
        await connection.copy_from_query(
            f"SELECT {selected} FROM (SELECT * FROM sales.opportunities WHERE workspace_id = $1"
            " AND external_source = 'crm_sales_opportunities' ORDER BY id DESC LIMIT $2) o",
            stack.workspace_id,
            ROWS,
            output=rows,
        )
        rows.seek(0)
        started = time.perf_counter()
        await connection.copy_to_table("opportunities", schema_name="sales", source=rows, columns=columns)
        return time.perf_counter() - started
    finally:
        await connection.close()


async def _import(stack: Stack, client: httpx.AsyncClient, data: bytes, mapping: str, name: str) -> float:
    response = await client.post(
        "/v1/imports",
        files={"file": (f"{name}.csv", data, "text/csv")},
        data={"mapping": mapping},
        headers={"Idempotency-Key": name},
    )
    response.raise_for_status()
    location = response.headers["Location"]
    for _ in range(3000):
        body = (await client.get(location)).json()
        if body["finished_at"]:
            if body["rows_imported"] != ROWS:
                raise RuntimeError(f"the import went wrong: {orjson.dumps(body).decode()}")
            started, finished = (datetime.fromisoformat(body[key]) for key in ("started_at", "finished_at"))
            return (finished - started).total_seconds()
        await asyncio.sleep(0.05)
    raise TimeoutError("the import did not end")


async def import_against_copy(stack: Stack, results: Results) -> None:
    """Rows a second of an import (upload aside), against COPY of the same bytes into a table of texts with a key.

    Beside it, without a gate: against COPY of the finished opportunities into their own table, and how that COPY itself
    stands against the first. An import also makes passages, events, audit entries and marks, finds references, and has
    its transitions judged.
    """
    mapping = MAPPING.read_text()
    await stack.start("services.api.worker")
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    plain, own, bound = [], [], []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{stack.api_port}", headers=headers, timeout=60) as client:
        for turn in range(4):
            data = pipeline_csv(ROWS, "ABCD"[turn])
            reference = await _copy(stack, data)
            ours = await _import(stack, client, data, mapping, f"bench-{turn}")
            into_own = await _copy_into_own_table(stack, turn)
            if turn:
                plain.append((ROWS / ours, ROWS / reference))
                own.append((ROWS / ours, ROWS / into_own))
                bound.append((ROWS / into_own, ROWS / reference))
    results.ratio("import against COPY of the same bytes (gates)", plain, "rows/s", 0.15)
    results.ratio("import against COPY into its own table (reported)", own, "rows/s", None)
    results.ratio("COPY into its own table against COPY of the same bytes (reported)", bound, "rows/s", None)
