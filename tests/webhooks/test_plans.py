"""Lists and pages read what they show, however much there is: their order is that of an index."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from services.api.webhooks import jobs, queries
from shared.db import Query
from shared.ids import new_id
from shared.tenancy import Reach
from tests.support.caller import Caller

PAGE = {"page_limit": 51, "after_value": new_id(), "after_id": new_id()}
HELD = {"since": None, "until": datetime(2100, 1, 1, tzinfo=UTC), "after": UUID(int=0), "endpoint_id": new_id()}
PLANS: dict[str, tuple[Query, dict[str, Any], str]] = {
    "attempts": (
        queries._select_page(queries.ATTEMPTS, Reach.ALL, ("endpoint_id", "outcome"), True),
        {**PAGE, "f_endpoint_id": new_id(), "f_outcome": "timeout"},
        "_endpoint_id_id_idx",
    ),
    "attempts of a delivery": (
        queries._select_page(queries.ATTEMPTS, Reach.ALL, ("delivery_id", "endpoint_id"), False),
        {"page_limit": 51, "f_endpoint_id": new_id(), "f_delivery_id": new_id()},
        "_id_idx",
    ),
    "deliveries": (
        queries._select_page(queries.DELIVERIES, Reach.ALL, ("endpoint_id", "status"), True),
        {**PAGE, "f_endpoint_id": new_id(), "f_status": "failed"},
        "_endpoint_id_id_idx",
    ),
    "events of a replay": (jobs.EVENTS, {**HELD, "endpoint_id": new_id()}, "_pkey"),
}


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", []) for node in nodes(part))]


@pytest.mark.parametrize("name", list(PLANS))
async def test_no_list_is_sorted(admin: Caller, name: str) -> None:
    """With sorting and scanning all but forbidden, none is left where an index has the order already."""
    query, given, index = PLANS[name]
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        for forbidden in ("seqscan", "sort", "bitmapscan"):
            await tx.connection.execute(f"SET LOCAL enable_{forbidden} = off")
        values = query.values({"workspace_id": admin.workspace_id, **given})
        found = await tx.connection.fetchval(f"EXPLAIN (FORMAT JSON) {query.sql}", *values)
    plan = orjson.loads(found)[0]["Plan"]
    kinds = {node["Node Type"] for node in nodes(plan)}
    assert not kinds & {"Sort", "Incremental Sort", "Seq Scan"}, orjson.dumps(plan, option=orjson.OPT_INDENT_2).decode()
    assert any(node.get("Index Name", "").endswith(index) for node in nodes(plan))
