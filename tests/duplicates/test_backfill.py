"""Records that were there before the keys were have them too, in every workspace."""

from __future__ import annotations

import asyncpg

from migrations.upgrade import upgrade_async
from shared.db import connect_arguments
from shared.ids import new_id
from tests.migrations.conftest import MakeDatabase


async def test_what_was_there_before_has_keys(new_database: MakeDatabase) -> None:
    url = await new_database()
    await upgrade_async(url, "2026_11_22_0008")
    workspaces = [new_id(), new_id()]
    connection = await asyncpg.connect(**connect_arguments(url, "sixteen_api"))
    try:
        for workspace_id in workspaces:
            async with connection.transaction():
                await connection.execute("SELECT set_config('app.workspace_id', $1, true)", str(workspace_id))
                for name, deleted in (("Acme Ltd", "NULL"), ("北方重工有限公司", "NULL"), ("Gone", "now()")):
                    await connection.execute(
                        "INSERT INTO sales.customers (workspace_id, id, name, sort_key, phone, occurred_at,"
                        f" recorded_at, updated_at, deleted_at) VALUES ($1, $2, $3, 'x', '010-65551234', now(), now(),"
                        f" now(), {deleted})",
                        workspace_id,
                        new_id(),
                        name,
                    )
        await upgrade_async(url)
        for workspace_id in workspaces:
            async with connection.transaction():
                await connection.execute("SELECT set_config('app.workspace_id', $1, true)", str(workspace_id))
                keys = await connection.fetch("SELECT key FROM sales.duplicate_keys")
                assert sorted(row["key"] for row in keys) == [
                    "h:acme", "h:北方", "n:acme", "n:北方重工", "p:5551234", "p:5551234", "y:x",
                ]  # fmt: skip
    finally:
        await connection.close()
