"""Statements are compiled once, know their parameters, and run inside one workspace or not at all."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import Executable, bindparam, literal, select, text

from services.api.state import State
from shared.db import Query, sql, statement
from shared.effects import BULK, INTERACTIVE, Effects, Event, Mark
from shared.ids import new_id
from shared.outbox import write_effects


def test_a_query_names_its_parameters_in_order() -> None:
    query = sql("SELECT :b, :a, :b")
    assert "$1" in query.sql
    assert query.values({"a": 1, "b": 2}) == [{"a": 1, "b": 2}[name] for name in query.names]
    with pytest.raises(KeyError):
        query.values({"a": 1})


def test_what_is_bound_in_the_statement_is_its_default() -> None:
    query = Query(select(literal(7).label("n"), bindparam("given", type_=literal(1).type)))
    assert sorted(query.values({"given": 1})) == [1, 7]
    with pytest.raises(KeyError, match="given"):
        query.values({})


def test_a_null_is_given_and_not_forgotten() -> None:
    assert sql("SELECT :a").values({"a": None}) == [None]


def test_a_statement_is_built_once_for_its_arguments() -> None:
    built: list[tuple[str, ...]] = []

    @statement
    def of(names: tuple[str, ...]) -> Executable:
        built.append(names)
        return text("SELECT " + ", ".join(f":{name}" for name in names))

    assert of(("a",)) is of(("a",))
    assert of(("a", "b")) is not of(("a",))
    assert built == [("a",), ("a", "b")]


async def test_a_transaction_is_whole_or_nothing(state: State) -> None:
    workspace_id = new_id()
    insert = sql(
        "INSERT INTO sales.idempotency_keys (workspace_id, digest, request_hash, recorded_at)"
        " VALUES (:workspace_id, :digest, :digest, now())"
    )
    count = sql("SELECT count(*) FROM sales.idempotency_keys WHERE workspace_id = :workspace_id")

    async def fail() -> None:
        async with state.database.transaction(workspace_id) as tx:
            assert await tx.run(insert, digest=b"x") == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with state.database.transaction(workspace_id) as tx:
        assert await tx.value(count) == 0
        assert tx.statements == 1


async def test_a_connection_keeps_nothing_of_a_workspace(state: State) -> None:
    """What is set for one transaction is gone with it, also where it ended by a cancellation."""
    pool = state.database._pool

    async def leave() -> None:
        async with state.database.transaction(new_id()) as tx:
            await tx.value(sql("SELECT pg_sleep(5)"))

    task = asyncio.create_task(leave())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(pool.get_size() + 1):
        async with pool.acquire() as connection:
            assert await connection.fetchval("SELECT current_setting('app.workspace_id', true)") in {None, ""}
            assert await connection.fetchval("SELECT count(*) FROM sales.members") == 0
            assert not connection.is_in_transaction()


async def test_json_and_transaction_ids_come_as_values(state: State) -> None:
    async with state.database.transaction(new_id()) as tx:
        given = {"at": datetime(2026, 1, 1, tzinfo=UTC), "id": UUID(int=7), "text": "压力机"}
        row = await tx.row(sql("SELECT CAST(:given AS jsonb) AS given, pg_current_xact_id() AS xid"), given=given)
    assert row is not None
    assert row["given"] == {"at": "2026-01-01T00:00:00+00:00", "id": str(UUID(int=7)), "text": "压力机"}
    assert isinstance(row["xid"], int)


def _event() -> Event:
    return Event("customer.created", "customer", new_id(), datetime.now(UTC), {})


def test_marks_are_coalesced_and_the_nearer_lane_wins() -> None:
    effects, subject = Effects(), new_id()
    assert not effects
    effects.emit(_event())
    effects.mark(Mark("customer", subject, INTERACTIVE))
    effects.mark(Mark("customer", subject, BULK))
    effects.mark(Mark("owner", subject))
    assert {key: mark.lane for key, mark in effects.marks.items()} == {
        ("customer", subject): INTERACTIVE,
        ("owner", subject): INTERACTIVE,
    }
    assert effects.marks["owner", subject].cause == {
        "event_id": str(effects.events[0].id),
        "type": "customer.created",
        "subject_type": "customer",
        "subject_id": str(effects.events[0].subject_id),
    }
    effects.clear()
    assert not effects


async def test_a_mark_made_again_has_a_version_of_its_own_and_two_writers_do_not_deadlock(state: State) -> None:
    workspace_id, subjects = new_id(), [new_id() for _ in range(20)]

    async def write(order: list[UUID]) -> None:
        async with state.database.transaction(workspace_id) as tx:
            for subject in order:
                tx.effects.mark(Mark("opportunity", subject))
            await write_effects(tx)
            assert not tx.effects

    async def versions() -> set[int]:
        async with state.database.transaction(workspace_id) as tx:
            rows = await tx.rows(sql("SELECT version FROM scoring.dirty_marks WHERE workspace_id = :workspace_id"))
        assert len(rows) == 20
        return {row["version"] for row in rows}

    await write(subjects)
    first = await versions()
    await asyncio.gather(*(write(order) for order in (subjects, subjects[::-1]) for _ in range(5)))
    assert len(first | await versions()) == 40


async def test_an_event_of_another_workspace_is_refused_by_the_database(state: State) -> None:
    async def stray() -> None:
        async with state.database.transaction(new_id()) as tx:
            tx.effects.emit(_event())
            tx.workspace_id = new_id()
            await write_effects(tx)

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await stray()
