"""Exporting in tests: asked for through the api, and the worker's own code run to the end in this process."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import openpyxl
import orjson

from services.api.exports.attempt import Exporter, run
from services.api.jobs.settings import WorkerSettings
from tests.faults.installation import eventually
from tests.support.caller import Caller


def exporter_of(caller: Caller, **settings: Any) -> Exporter:
    own = WorkerSettings(**{**caller.state.settings.model_dump(), "database_pool": 3, **settings})
    return Exporter(caller.state.database, own, caller.state.clock, caller.state.nudger)


async def ask(caller: Caller, kind: str, format_: str = "csv", **filters: Any) -> dict[str, Any]:
    """POST /v1/exports; the export, queued."""
    body = {"kind": kind, "format": format_, "filters": filters}
    response = await caller.request("POST", "/v1/exports", json=body)
    assert response.status_code == 202, response.text
    made: dict[str, Any] = response.json()
    assert response.headers["Location"] == f"/v1/exports/{made['id']}"
    return made


async def exported(caller: Caller, kind: str, format_: str = "csv", **filters: Any) -> dict[str, Any]:
    """Asks for an export and makes it; the export afterwards."""
    made = await ask(caller, kind, format_, **filters)
    await run(exporter_of(caller), caller.workspace_id, UUID(made["id"]))

    async def done() -> dict[str, Any] | None:
        found: dict[str, Any] = await caller.ok("GET", f"/v1/exports/{made['id']}")
        return found if found["status"] not in {"queued", "running"} else None

    # Where a worker runs, it may have taken the export first.
    found = await eventually(done)
    assert found is not None
    return found


async def content(caller: Caller, done: Mapping[str, Any]) -> bytes:
    response = await caller.request("GET", f"/v1/exports/{done['id']}/content")
    assert response.status_code == 200, response.text
    assert len(response.content) == done["total_bytes"]
    return response.content


def rows_of(format_: str, data: bytes) -> list[dict[str, Any]]:
    """The file as its reader sees it."""
    if format_ == "csv":
        return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    if format_ == "ndjson":
        return [orjson.loads(line) for line in data.splitlines()]
    sheet = openpyxl.load_workbook(io.BytesIO(data)).worksheets[0]
    header, *rows = sheet.iter_rows(values_only=True)
    return [dict(zip((str(name) for name in header), row, strict=True)) for row in rows]
