"""The policy on the wire and the policy of the scoring core are the same constants."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from annotated_types import Ge, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from services.api.opportunities.transitions import REOPEN_DAYS
from services.api.policy.schemas import PolicyDocument
from services.scoring.core.policy import RANGES, Policy
from services.scoring.workspace import policy_of, rates_of

# Follows from the workspace's time zone; set by nobody.
DERIVED = {"utc_offset_hours"}
NOT_OF_THE_CORE = {"rates", "reopen_days"}
NAMES = sorted({field.name for field in fields(Policy)} - DERIVED)


def bounds(field: FieldInfo) -> tuple[float, float]:
    low = [float(each.ge) for each in field.metadata if isinstance(each, Ge)]
    high = [float(each.le) for each in field.metadata if isinstance(each, Le)]
    assert len(low) == len(high) == 1
    return low[0], high[0]


def plain(value: Any) -> Any:
    return tuple(value.model_dump().values()) if isinstance(value, BaseModel) else value


def test_both_have_the_same_names() -> None:
    assert sorted(set(PolicyDocument.model_fields) - NOT_OF_THE_CORE) == NAMES


def test_both_have_the_same_defaults() -> None:
    wire, core = PolicyDocument(), Policy()
    assert {name: plain(getattr(wire, name)) for name in NAMES} == {name: getattr(core, name) for name in NAMES}
    assert wire.reopen_days == REOPEN_DAYS


def test_both_have_the_same_ranges() -> None:
    for name in NAMES:
        field = PolicyDocument.model_fields[name]
        kind = field.annotation
        inner = kind.model_fields.values() if isinstance(kind, type) and issubclass(kind, BaseModel) else [field]
        assert {bounds(each) for each in inner} == {tuple(float(end) for end in RANGES[name])}, name


def test_the_core_reads_what_the_wire_stores() -> None:
    given = PolicyDocument.model_validate(
        {
            "capacities": {"engage": 4, "track": 20, "monitor": 60},
            "cadence_long_days": {"backlog": 300},
            "hysteresis_margin": 1.5,
            "rates": {"USD": "7.12"},
        }
    )
    complete = given.model_dump(mode="json")
    policy = policy_of(complete, 8.0)
    assert policy.capacities == (4, 20, 60)
    assert policy.cadence_long_days == (7, 21, 60, 300)
    assert (policy.hysteresis_margin, policy.utc_offset_hours) == (1.5, 8.0)
    assert rates_of(complete, "CNY") == {"USD": 7.12, "CNY": 1.0}
