"""Custom attributes in the prior: bounded, in the direction of their weight, and nothing where none is to count."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.codes import FACTORS
from services.scoring.core.facts import make_facts
from services.scoring.core.judge import judge
from services.scoring.core.medians import Medians
from services.scoring.core.policy import Policy
from services.scoring.facts_query import facts_query
from services.scoring.inputs import inputs_of
from services.scoring.snapshots import Selection, read_facts
from services.scoring.workspace import read_workspace
from shared.ids import new_id
from tests.scoring.support import FACT, World

PLACE = FACTORS.index("attributes")
KNOWN = {"remaining_win_rate": 0.3, "need_known": 1.0, "interest": 2.0, "fit_score": 0.7}
pushes = st.floats(-50, 50, allow_nan=False)


def chance_of(push: float) -> float:
    return float(judge(make_facts(1, attribute_push=push, **KNOWN), Policy(), Medians.none(), 20_000.0).probability[0])


def test_no_weight_changes_nothing() -> None:
    without = judge(make_facts(1, **KNOWN), Policy(), Medians.none(), 20_000.0)
    for push in (0.0, -0.0, float("nan")):
        found = judge(make_facts(1, attribute_push=push, **KNOWN), Policy(), Medians.none(), 20_000.0)
        assert found.probability[0] == without.probability[0]
        assert found.probability_low[0] == without.probability_low[0]
        assert found.contributions[0, PLACE] == 0.0


@given(pushes, pushes)
def test_more_of_it_is_never_worse_and_it_stays_within_its_bound(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert chance_of(low) <= chance_of(high)
    found = judge(make_facts(1, attribute_push=one, **KNOWN), Policy(), Medians.none(), 20_000.0)
    assert abs(found.contributions[0, PLACE]) <= 1.2
    assert np.sign(found.contributions[0, PLACE]) in (0, np.sign(one))


def test_a_workspace_without_inputs_asks_for_nothing() -> None:
    assert inputs_of(None) == ()
    assert "attributes" not in facts_query(("id",)).replace("attribute_push", "")


def test_what_is_stored_wrongly_is_left_out_and_nothing_can_be_smuggled_in() -> None:
    wrong: list[tuple[str, str, Any]] = [
        ("x'; DROP", "number", {"weight": 1}),
        ("a", "number", {"weight": "1"}),
        ("a", "number", {"weight": float("inf")}),
        ("a", "date", {"weight": 1, "since": "yesterday"}),
        ("a", "text", {"weight": 1}),
        ("a", "category", {"weights": {"x": None}}),
    ]
    definitions = [
        {"subject": "opportunity", "key": key, "kind": kind, "model_input": given} for key, kind, given in wrong
    ]
    assert inputs_of(definitions) == ()


async def pushes_of(world: World) -> dict[UUID, float]:
    async with world.context.database.transaction(world.id) as tx:
        workspace = await read_workspace(tx, world.clock.now())
        assert workspace is not None
        query = "SELECT id, owner_id FROM sales.opportunities WHERE workspace_id = $1"
        rows = await tx.connection.fetch(query, world.id)
        few = await read_facts(tx, workspace, Selection(opportunities={row["id"].bytes for row in rows}))
        many = await read_facts(tx, workspace, Selection(owners={row["owner_id"].bytes for row in rows}))
    assert sorted(row.tobytes() for row in few) == sorted(row.tobytes() for row in many)
    return {UUID(bytes=bytes(row["id"])): float(row["attribute_push"]) for row in few}


async def define(world: World, subject: str, key: str, kind: str, given: dict[str, Any] | None, **more: Any) -> None:
    row = {"id": new_id(), "subject": subject, "key": key, "kind": kind, "label_en": key, "model_input": given}
    await world.insert("sales.attribute_definitions", [{**row, **FACT, **more}])


async def test_each_kind_counts_as_its_definition_says(world: World) -> None:
    await define(world, "opportunity", "size", "number", {"weight": 0.01, "centre": 50})
    await define(world, "opportunity", "vip", "boolean", {"weight": 0.4})
    await define(world, "opportunity", "region", "category", {"weights": {"no'rth {x}": 0.3, "south": -0.2}})
    await define(world, "customer", "since", "date", {"weight": 0.001, "since": "2026-01-01"})
    await define(world, "customer", "retired", "boolean", {"weight": 5}, active=False)
    await define(world, "customer", "plain", "boolean", None)
    rep = await world.member()
    customer = await world.customer(rep, attributes={"since": "2026-04-11", "retired": True, "plain": True})
    cases: list[tuple[dict[str, Any], float]] = [
        ({}, 0.1),
        ({"size": 70, "vip": True}, 0.7),
        ({"size": 1e14}, 1.1),
        ({"size": -1e14, "vip": False}, -0.9),
        ({"region": "no'rth {x}"}, 0.4),
        ({"region": "south"}, -0.1),
        ({"region": "elsewhere", "size": "big", "vip": "yes"}, 0.1),
    ]
    expected = {}
    for attributes, push in cases:
        (opportunity,) = await world.opportunities(rep, 1, customer=customer, attributes=attributes)
        expected[opportunity] = push
    for since in (
        "infinity",
        "2026-02-30",
        "0000-01-01",
        "2026-13-01",
        "2026-4-11",
        "-infinity",
        ["2026-04-11"],
        20260411,
    ):
        no_date = await world.customer(rep, attributes={"since": since})
        (bare,) = await world.opportunities(rep, 1, customer=no_date)
        expected[bare] = 0.0
    assert await pushes_of(world) == pytest.approx(expected)


async def test_they_are_among_the_contributions_that_are_kept(world: World) -> None:
    rep = await world.member()
    plain, vip = [await world.opportunities(rep, 1, attributes={"vip": value}) for value in (False, True)]
    await world.mark("workspace")
    await world.drain()
    query = "SELECT opportunity_id, probability, contributions FROM scoring.scores WHERE workspace_id = $1"
    before = {row["opportunity_id"]: row for row in await world.read(query)}
    assert {row["contributions"][PLACE] for row in before.values()} == {0.0}
    await define(world, "opportunity", "vip", "boolean", {"weight": 0.8})
    await world.mark("workspace")
    await world.drain()
    after = {row["opportunity_id"]: row for row in await world.read(query)}
    assert after[vip[0]]["contributions"][PLACE] > 0.4
    assert after[vip[0]]["probability"] > before[vip[0]]["probability"]
    assert after[plain[0]]["probability"] == before[plain[0]]["probability"]
