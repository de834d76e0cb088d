"""Alembic's environment: one asyncpg connection as the owning login role, one transaction a migration."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from shared.models import EVENTS, SALES, SCORING, metadata

OWN_SCHEMAS = {SALES, SCORING, EVENTS}
_PARTITION = re.compile(r"_[0-9]{8}$")


def include_object(item: Any, name: str | None, kind: str, *_: object) -> bool:
    """Leaves out what is not the model's: the daily partitions and Alembic's own table."""
    if kind == "table":
        return item.schema in OWN_SCHEMAS and not _PARTITION.search(name or "")
    return True


def include_name(name: str | None, kind: str, _: Any) -> bool:
    if kind == "schema":
        return name in OWN_SCHEMAS
    if kind == "table":
        return not _PARTITION.search(name or "") and name != "alembic_version"
    return True


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_schemas=True,
        include_object=include_object,
        include_name=include_name,
        version_table_schema="public",
        transaction_per_migration=True,
        compare_server_default=False,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_async(url: str) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    asyncio.run(run_async(context.config.get_main_option("sqlalchemy.url") or ""))
