"""The binary COPY format: read and written by the database itself, and refused where a width is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from services.scoring import staging
from services.scoring.wire import (
    HEADER,
    TRAILER,
    Column,
    Layout,
    WidthMismatch,
    copy_in,
    copy_out,
    fetch_out,
    literal,
    moments,
    positions,
    uuid_list,
    uuids,
)
from shared.ids import new_id
from tests.scoring.support import World

PAIR = Layout.of(id="uuid", amount="float8")


async def test_rows_come_back_as_they_were_selected(world: World) -> None:
    async with world.context.database.transaction(world.id) as tx:
        query = "SELECT gen_random_uuid(), g * 1.5::float8 FROM generate_series(1, 1000) g"
        copied = await copy_out(tx.connection, query, PAIR)
        fetched = await fetch_out(tx.connection, query, [], PAIR)
    assert copied["amount"].tolist() == fetched["amount"].tolist() == [g * 1.5 for g in range(1, 1001)]
    assert len(set(copied["id"].tolist())) == 1000


@pytest.mark.parametrize(
    "query",
    [
        "SELECT gen_random_uuid(), NULL::float8",
        "SELECT gen_random_uuid(), 1.5::float4",
        "SELECT gen_random_uuid()",
        "SELECT gen_random_uuid(), 'seven bytes'",
        # Twice as many bytes as expected in all: only the lengths give it away.
        "SELECT 'sixteen bytes ..'::text || g, 12345678::int8 FROM generate_series(1, 3) g",
    ],
)
async def test_a_width_that_is_not_as_expected_is_refused(world: World, query: str) -> None:
    async with world.context.database.transaction(world.id) as tx:
        with pytest.raises(WidthMismatch):
            await copy_out(tx.connection, query, PAIR)


def test_lengths_are_read_and_not_trusted() -> None:
    records = PAIR.empty(3)
    assert len(PAIR.decode(HEADER + records.tobytes() + TRAILER)) == 3
    for name in ("amount#", "id#", "fields#"):
        wrong = PAIR.empty(3)
        wrong[name][1] = 7
        with pytest.raises(WidthMismatch):
            PAIR.decode(HEADER + wrong.tobytes() + TRAILER)
    with pytest.raises(WidthMismatch):
        PAIR.decode(HEADER + records.tobytes())


async def test_every_type_of_the_staging_tables_arrives(world: World) -> None:
    records = staging.SCORES.empty(2)
    records["opportunity_id"] = uuids([new_id().bytes, new_id().bytes])
    records["probability"] = [0.25, 0.75]
    records["unknowns"] = [1 << 40, 3]
    records["next_due_at"] = moments(np.array([20_000.5, np.inf]))
    records["contributions"]["items"]["value"] = 0.5
    async with world.context.database.transaction(world.id) as tx:
        await tx.connection.execute(staging.CREATE_TABLES)
        await copy_in(tx.connection, "sixteen_scores", staging.SCORES, records)
        rows = await tx.connection.fetch(
            "SELECT probability, unknowns, next_due_at = 'infinity' AS never, extract(epoch FROM next_due_at) / 86400"
            " AS day, array_length(contributions, 1) AS factors, contributions[1] AS first FROM sixteen_scores"
        )
    assert [row["probability"] for row in rows] == [0.25, 0.75]
    assert [row["unknowns"] for row in rows] == [1 << 40, 3]
    assert [row["never"] for row in rows] == [False, True]
    assert float(rows[0]["day"]) == 20_000.5
    assert {(row["factors"], row["first"]) for row in rows} == {(staging.SCORES.columns[-1].length, 0.5)}


async def test_literals_mean_what_they_say(world: World) -> None:
    hostile = "'; DROP TABLE x; -- \\' \\n ''"
    ids = [new_id().bytes for _ in range(3)]
    async with world.context.database.transaction(world.id) as tx:
        assert await tx.connection.fetchval(f"SELECT {literal(hostile)}") == hostile
        found = await tx.connection.fetchval(f"SELECT {uuid_list(ids)}")
    assert [key.bytes for key in found] == ids
    with pytest.raises(ValueError, match="zero byte"):
        literal("a\0b")


def test_positions_of_ids() -> None:
    known = uuids([bytes(15) + bytes([n]) for n in range(5)])
    wanted = uuids([bytes(15) + bytes([n]) for n in (4, 0, 9)])
    assert positions(known, wanted).tolist() == [4, 0, -1]


def test_a_layout_of_arrays_has_the_width_postgresql_gives_it() -> None:
    column = Column("values", "float4[]", 5)
    assert column.payload.itemsize == 20 + 5 * 8
