"""A workspace's policy document as the core takes it."""

from __future__ import annotations

from datetime import datetime

import pytest

from services.scoring.core.policy import Policy
from services.scoring.workspace import own_policy, policy_of, rates_of, read_workspace
from tests.scoring.support import World


def test_what_a_document_leaves_out_is_the_default() -> None:
    made = policy_of({"urgency_half_life_days": 20, "capacities": [10, 50, 200], "other": 1}, 8.0)
    assert (made.urgency_half_life_days, made.capacities, made.utc_offset_hours) == (20, (10, 50, 200), 8.0)
    assert made.hysteresis_margin == Policy().hysteresis_margin


def test_capacities_may_be_named_by_band() -> None:
    made = policy_of({"capacities": {"engage": 1, "track": 2, "monitor": 3}}, 0.0)
    assert made.capacities == (1, 2, 3)


@pytest.mark.parametrize("document", [{"capacities": "many"}, {"hysteresis_margin": 0.5}, {"capacities": [9, 1, 1]}])
def test_a_document_out_of_range_falls_back_to_the_defaults(document: dict[str, object]) -> None:
    assert policy_of(document, 1.0) == Policy(utc_offset_hours=1.0)


def test_rates_that_are_no_rates_are_left_out() -> None:
    assert rates_of({"rates": {"EUR": "8.5", "USD": -1, "GBP": "x"}}, "CNY") == {"EUR": 8.5, "CNY": 1.0}
    assert rates_of({"rates": None}, "CNY") == {"CNY": 1.0}


def test_own_capacities_stay_nested() -> None:
    policy = Policy()
    assert own_policy(policy, (None, None, None)) is policy
    assert own_policy(policy, (200, None, None)).capacities == (200, 200, 400)
    assert own_policy(policy, (None, 5, 3)).capacities == (16, 16, 16)


@pytest.mark.parametrize(
    ("zone", "now", "hours"),
    [
        ("America/New_York", "2026-03-08T06:59:59Z", -5),
        ("America/New_York", "2026-03-08T07:00:00Z", -4),
        ("America/New_York", "2026-11-01T05:59:59Z", -4),
        ("America/New_York", "2026-11-01T06:00:00Z", -5),
        ("Australia/Lord_Howe", "2026-04-04T14:59:59Z", 11),
        ("Australia/Lord_Howe", "2026-04-04T15:00:00Z", 10.5),
        ("Asia/Kathmandu", "2026-03-08T07:00:00Z", 5.75),
    ],
)
async def test_the_offset_is_that_of_the_moment_to_the_second_of_the_change_of_clocks(
    world: World, zone: str, now: str, hours: float
) -> None:
    await world.write("UPDATE sales.workspaces SET time_zone = $2 WHERE id = $1", zone)
    async with world.context.database.transaction(world.id) as tx:
        workspace = await read_workspace(tx, datetime.fromisoformat(now))
    assert workspace is not None
    assert workspace.policy.utc_offset_hours == hours
