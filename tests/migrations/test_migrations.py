"""The schema is what the models say, whichever way a database came to it, and refusals say what to do."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from migrations.upgrade import MigrationRefused, alembic_config, head, upgrade, upgrade_async
from shared.db import connect_arguments
from shared.models import EVENTS, SALES, SCORING, metadata
from shared.schema_check import SCHEMA_REVISION, NotReady, require_schema
from shared.urls import sqlalchemy_url
from tests.conftest import Servers
from tests.migrations.conftest import MakeDatabase, at

T = TypeVar("T")
# Everything that a migration makes: tables, columns, constraints, indexes, policies, triggers, functions, grants.
CATALOG = """
SELECT 'column' AS kind, format('%s.%s.%s %s %s %s', table_schema, table_name, column_name, data_type, is_nullable,
    column_default) AS what FROM information_schema.columns WHERE table_schema IN ('sales', 'scoring', 'events')
UNION ALL SELECT 'constraint', format('%s %s %s', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid))
  FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE n.nspname IN ('sales', 'scoring', 'events')
UNION ALL SELECT 'index', indexdef FROM pg_indexes WHERE schemaname IN ('sales', 'scoring', 'events')
UNION ALL SELECT 'policy', format('%s.%s %s %s %s %s', schemaname, tablename, policyname, cmd, qual, with_check)
  FROM pg_policies
UNION ALL SELECT 'trigger', pg_get_triggerdef(t.oid) FROM pg_trigger t WHERE NOT t.tgisinternal
UNION ALL SELECT 'function', format('%s %s %s %s', p.oid::regprocedure, md5(p.prosrc), p.proconfig, p.prosecdef)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname IN ('sales', 'scoring', 'events')
UNION ALL SELECT 'grant', format('%s %s.%s %s', grantee, table_schema, table_name, privilege_type)
  FROM information_schema.role_table_grants WHERE table_schema IN ('sales', 'scoring', 'events')
UNION ALL SELECT 'column grant', format('%s %s.%s.%s %s', grantee, table_schema, table_name, column_name,
    privilege_type) FROM information_schema.column_privileges WHERE table_schema IN ('sales', 'scoring', 'events')
"""


async def catalog(url: str) -> set[tuple[str, str]]:
    connection = await asyncpg.connect(**connect_arguments(url, ""))
    try:
        return {(row["kind"], row["what"]) for row in await connection.fetch(CATALOG)}
    finally:
        await connection.close()


async def on(url: str, work: Callable[[Connection], T]) -> T:
    """Runs something that SQLAlchemy does in its blocking way."""
    engine = create_async_engine(sqlalchemy_url(url), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _is_ours(item: Any, name: str | None, kind: str, *_: object) -> bool:
    """The daily partitions are made as time passes, and are no part of the models."""
    if kind == "table":
        return item.schema in {SALES, SCORING, EVENTS} and re.search(r"_[0-9]{8}$", name or "") is None
    return True


def _differences(connection: Connection) -> list[Any]:
    options = {"include_schemas": True, "include_object": _is_ours, "compare_server_default": False}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


@pytest.mark.filterwarnings("ignore:Did not recognize type 'xid8'")
async def test_the_models_and_the_migrations_agree(servers: Servers) -> None:
    assert await on(servers.database_url, _differences) == []


def test_the_schema_that_services_ask_for_is_the_newest() -> None:
    assert head() == SCHEMA_REVISION
    assert len(ScriptDirectory.from_config(alembic_config()).get_heads()) == 1


def test_migrations_are_named_by_date_and_say_what_they_are_for() -> None:
    for script in ScriptDirectory.from_config(alembic_config()).walk_revisions():
        assert script.doc, script.revision
        assert script.path.rpartition("/")[2].startswith(script.revision), script.path
        assert callable(script.module.downgrade)


async def test_migrating_twice_changes_nothing(new_database: MakeDatabase) -> None:
    url = await new_database()
    await upgrade_async(url)
    first = await catalog(url)
    assert len(first) > 400
    await upgrade_async(url)
    assert await catalog(url) == first


async def test_two_migrators_at_once_take_turns(new_database: MakeDatabase) -> None:
    url, alone = await new_database(), await new_database()
    await upgrade_async(alone)
    await asyncio.gather(*(asyncio.to_thread(upgrade, url) for _ in range(3)))
    assert await catalog(url) == await catalog(alone)


async def test_the_newest_step_goes_back_to_where_it_came_from(new_database: MakeDatabase) -> None:
    url = await new_database()
    newest = ScriptDirectory.from_config(alembic_config()).get_revision(head())
    assert isinstance(newest.down_revision, str)
    await upgrade_async(url, newest.down_revision)
    first = await catalog(url)
    await upgrade_async(url)
    assert await catalog(url) != first
    await on(url, _down_to(newest.down_revision))
    assert await catalog(url) == first


def _down_to(revision: str) -> Callable[[Connection], None]:
    def down(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
        connection.commit()

    return down


async def test_down_and_up_again_is_the_same(new_database: MakeDatabase) -> None:
    url = await new_database()
    await upgrade_async(url)
    first = await catalog(url)
    await on(url, _down_to("base"))
    assert not {what for kind, what in await catalog(url) if kind in {"column", "policy", "trigger", "function"}}
    await upgrade_async(url)
    assert await catalog(url) == first


async def test_a_newer_database_is_refused_in_words(new_database: MakeDatabase) -> None:
    url = await new_database()
    await upgrade_async(url)
    connection = await asyncpg.connect(**connect_arguments(url, ""))
    await connection.execute("UPDATE public.alembic_version SET version_num = '2031_01_01_0001'")
    await connection.close()
    before = await catalog(url)
    with pytest.raises(MigrationRefused, match=r"2031_01_01_0001.*newer.*backup"):
        await upgrade_async(url)
    assert await catalog(url) == before
    with pytest.raises(NotReady, match=r"2031_01_01_0001.*newer version"):
        await require_schema(url, "sixteen_api")


async def test_an_old_schema_is_a_clear_refusal_to_start(new_database: MakeDatabase) -> None:
    url = await new_database()
    with pytest.raises(NotReady, match=r"schema none.*python -m migrations"):
        await require_schema(url, "")
    await upgrade_async(url, "2026_11_22_0002")
    with pytest.raises(NotReady, match=r"2026_11_22_0002.*python -m migrations"):
        await require_schema(url, "sixteen_api")
    await upgrade_async(url)
    await require_schema(url, "sixteen_api")
    await require_schema(url, "sixteen_scoring")


async def test_a_role_that_is_not_there_is_named(servers: Servers) -> None:
    with pytest.raises(NotReady, match=r"role sixteen_nobody can't be entered.*python -m migrations"):
        await require_schema(servers.database_url, "sixteen_nobody")


async def test_a_database_that_is_not_there_is_named(servers: Servers) -> None:
    gone = at(servers.database_url, "sixteen_no_such_database")
    with pytest.raises(NotReady, match=r"sixteen_no_such_database.*does not exist"):
        await require_schema(gone, "")
    with pytest.raises(MigrationRefused, match=r"sixteen_no_such_database.*does not exist.*Create it"):
        await upgrade_async(gone)


async def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    url = "postgresql://sixteen:secret@127.0.0.1:1/sixteen"
    for refusal in (
        await _refusal(MigrationRefused, upgrade_async(url)),
        await _refusal(NotReady, require_schema(url, "sixteen_api")),
    ):
        assert "127.0.0.1:1/sixteen can't be reached" in refusal
        assert "Is it running?" in refusal
        assert "secret" not in refusal


async def _refusal(kind: type[Exception], work: Any) -> str:
    with pytest.raises(kind) as refused:
        await work
    return str(refused.value)


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        (None, 2, "SIXTEEN_DATABASE_URL is not set"),
        ("postgresql://sixteen@127.0.0.1:1/sixteen", 1, "can't be reached"),
        ("mysql://sixteen@127.0.0.1/sixteen", 1, "must look like postgresql://"),
    ],
)
def test_the_command_says_what_is_wrong_without_a_traceback(url: str | None, code: int, words: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "SIXTEEN_DATABASE_URL"}
    environment |= {} if url is None else {"SIXTEEN_DATABASE_URL": url}
    done = subprocess.run(
        [sys.executable, "-m", "migrations"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert words in done.stderr
