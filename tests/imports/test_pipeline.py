"""The pipeline that ships a mapping with the product, read whole; skipped where the data is not at hand."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from tests.imports.support import errors_of, imported
from tests.support.caller import Caller

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY.parent / "shared" / "data" / "crm_sales_opportunities" / "pipeline.csv"
MAPPING = REPOSITORY / "deploy" / "imports" / "crm_sales_opportunities.yaml"
COUNTS = "SELECT status, stage_position, count(*) FROM sales.opportunities WHERE workspace_id = $1 GROUP BY 1, 2"


@pytest.mark.skipif(not FILE.exists(), reason="the sample pipeline is not on this machine")
async def test_every_row_of_the_pipeline_is_accounted_for(admin: Caller) -> None:
    done = await imported(admin, FILE.read_bytes(), MAPPING.read_text(), name="pipeline.csv")
    with FILE.open() as file:
        rows = list(csv.DictReader(file))
    assert (done["status"], done["rows_imported"], done["rows_failed"]) == ("succeeded", len(rows), 0), await errors_of(
        admin, done
    )
    expected = Counter(
        {"Won": ("won", 2), "Lost": ("lost", 1), "Engaging": ("open", 1), "Prospecting": ("open", 0)}[row["deal_stage"]]
        for row in rows
    )
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        found = await tx.connection.fetch(COUNTS, admin.workspace_id)
        members = await tx.connection.fetchval(
            "SELECT count(*) FROM sales.members WHERE workspace_id = $1 AND role = 'rep'", admin.workspace_id
        )
        customers = await tx.connection.fetchval(
            "SELECT count(*) FROM sales.customers WHERE workspace_id = $1", admin.workspace_id
        )
        products = await tx.connection.fetchval(
            "SELECT count(*) FROM sales.products WHERE workspace_id = $1", admin.workspace_id
        )
        latest = await tx.connection.fetchval(
            "SELECT now() - max(closed_at) < interval '1 day' FROM sales.opportunities WHERE workspace_id = $1",
            admin.workspace_id,
        )
    assert {(row["status"], row["stage_position"]): row["count"] for row in found} == expected
    accounts = {row["account"] for row in rows if row["account"]}
    assert customers == len(accounts) + sum(not row["account"] for row in rows)
    assert members == len({row["sales_agent"] for row in rows})
    assert products == len({row["product"].replace("GTXPro", "GTX Pro") for row in rows})
    assert latest
