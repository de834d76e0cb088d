"""Importing in tests: uploads through the api, and the worker's own code run to the end in this process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx

from services.api.imports.attempt import run
from services.api.imports.execution import Worker
from services.api.jobs.settings import WorkerSettings
from tests.support.caller import Caller

SIMPLE: dict[str, Any] = {
    "kind": "opportunities",
    "source": "test",
    "historical": True,
    "fields": {"external_id": "id", "name": "name", "amount": {"column": "amount", "thousands": ","}},
    "customer": {"name": "account"},
    "owner": {"name": "agent", "missing": "create"},
    "process": {
        "key": "short",
        "name": {"en": "Short"},
        "stages": [
            {
                "key": "talk", "name": {"en": "Talk"}, "milestone": {"en": "Talked"}, "irreversible": False,
                "typical_days": 5, "typical_hours": 1, "base_win_rate": 0.5,
            },
            {
                "key": "offer", "name": {"en": "Offer"}, "milestone": {"en": "Offer given"}, "irreversible": True,
                "typical_days": 5, "typical_hours": 1, "base_win_rate": 0.5,
            },
            {
                "key": "sign", "name": {"en": "Sign"}, "milestone": {"en": "Signed"}, "irreversible": True,
                "wins": True, "typical_days": 5, "typical_hours": 1, "base_win_rate": 0.5,
            },
        ],
    },
    "stage": {
        "value": "stage",
        "values": {
            "Talk": {"stage": "talk"},
            "Offer": {"stage": "offer"},
            "Sign": {"stage": "sign"},
            "Won": {"won": True},
            "Lost": {"lost": "price"},
        },
        "passed_at": {"talk": "talked"},
        "closed_at": "closed",
    },
}  # fmt: skip
HEADER = "id,name,account,agent,amount,stage,talked,closed"


def table(*rows: str, header: str = HEADER) -> bytes:
    return "\n".join((header, *rows, "")).encode()


async def upload(
    caller: Caller, file: bytes, mapping: Mapping[str, Any] | str | None = None, name: str = "file.csv", **fields: Any
) -> httpx.Response:
    """POST /v1/imports."""
    headers = {"Idempotency-Key": fields.pop("key", str(uuid4()))}
    given = SIMPLE if mapping is None else mapping
    data = {"mapping": given if isinstance(given, str) else json.dumps(given), **fields}
    return await caller.request("POST", "/v1/imports", files={"file": (name, file)}, data=data, headers=headers)


@asynccontextmanager
async def worker_of(caller: Caller, **settings: Any) -> AsyncIterator[Worker]:
    """What a worker process has, over the application's own pool."""
    own = WorkerSettings(**{**caller.state.settings.model_dump(), "database_pool": 3, **settings})
    yield Worker(caller.state.database, own, caller.state.clock, caller.state.nudger)


async def come_due(caller: Caller, import_id: str) -> None:
    """As if the lease of the last attempt, and the rest after it, were over."""
    async with caller.state.database.transaction(caller.workspace_id) as tx:
        await tx.connection.execute(
            "UPDATE sales.imports SET lease_until = now() - interval '1 second', next_attempt_at = NULL WHERE id = $1",
            UUID(import_id),
        )


async def finish(caller: Caller, import_id: str, **settings: Any) -> dict[str, Any]:
    """Runs a queued import to its end; the import afterwards."""
    async with worker_of(caller, **settings) as worker:
        assert await run(worker, caller.workspace_id, UUID(import_id))
    done: dict[str, Any] = await caller.ok("GET", f"/v1/imports/{import_id}")
    return done


async def imported(
    caller: Caller, file: bytes, mapping: Mapping[str, Any] | str | None = None, **fields: Any
) -> dict[str, Any]:
    """Uploads and runs; asserts that every row is accounted for."""
    settings = {name: fields.pop(name) for name in tuple(fields) if name.startswith("import_")}
    response = await upload(caller, file, mapping, **fields)
    assert response.status_code == 202, response.text
    done = await finish(caller, response.json()["id"], **settings)
    assert done["rows_read"] == done["rows_imported"] + done["rows_failed"], done
    return done


async def errors_of(caller: Caller, done: Mapping[str, Any]) -> list[tuple[int, str, str]]:
    """(row, pointer, code) of every error."""
    page = await caller.ok("GET", f"/v1/imports/{done['id']}/errors", params={"limit": 200})
    return [(error["row"], error["pointer"], error["code"]) for error in page["data"]]


async def opportunity(caller: Caller, external_id: str) -> dict[str, Any]:
    """The imported opportunity that the file calls so."""
    page = await caller.ok("GET", "/v1/opportunities", params={"limit": 200})
    found = [row for row in page["data"] if row["external_id"] == external_id]
    assert len(found) == 1, [row["external_id"] for row in page["data"]]
    only: dict[str, Any] = found[0]
    return only
