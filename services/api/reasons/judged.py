"""A stored score, read by the codes of the model that made it: any version of the model reads alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.catalog.labels import Labels
from shared.catalog.scoring import CRITERIA
from shared.db import Row

# What a reader might take for lost or for won is never shown, whatever is stored.
LEAST, MOST = 0.001, 0.999
_PLACES = 6


def shown(number: float | None) -> float | None:
    """A number as it goes out: rounded, and null where it is not known."""
    return None if number is None or not math.isfinite(number) else round(number, _PLACES)


def shown_probability(number: float) -> float:
    return round(min(max(number, LEAST), MOST), _PLACES)


def named(codes: Sequence[str], values: Sequence[float]) -> dict[str, float | None]:
    """Values by code; a place without a code is left out."""
    return {code: shown(value) for code, value in zip(codes, values, strict=False)}


def bits(codes: Sequence[str], mask: int) -> list[str]:
    """The codes whose bit is set, in the model's order."""
    return [code for place, code in enumerate(codes) if mask >> place & 1]


def labelled(codes: Sequence[str], labels: Labels, language: str) -> list[dict[str, str]]:
    return [{"code": code, "label": label(code, labels, language)} for code in codes]


def label(code: str, labels: Labels, language: str) -> str:
    return labels[code].in_language(language) if code in labels else code


@dataclass(frozen=True, slots=True)
class Judged:
    """One opportunity's score. Money is in the workspace's currency, unknown is None."""

    probability: float
    low: float
    high: float
    priority: float
    margin: float
    urgency: float
    slack_days: float
    hours: float
    contributions: dict[str, float | None]
    criteria: dict[str, float | None]
    parts: dict[str, float | None]
    flags: list[str]
    unknowns: list[str]
    imputed: list[str]

    @classmethod
    def of(cls, row: Row, models: Mapping[str, Mapping[str, list[str]]] | None) -> Judged | None:
        """The score of a row with the columns `facts.SCORE_COLUMNS`; None where there is none yet."""
        version = row["model_version"]
        if version is None:
            return None
        codes: Mapping[str, list[str]] = (models or {}).get(version, {})
        return cls(
            probability=shown_probability(row["probability"]),
            low=shown_probability(row["probability_low"]),
            high=shown_probability(row["probability_high"]),
            priority=row["score_priority"],
            margin=row["margin"],
            urgency=row["urgency"],
            slack_days=row["score_slack_days"],
            hours=row["hours"],
            contributions=named(codes.get("factors", ()), row["contributions"]),
            criteria=named(codes.get("criteria", ()), row["criteria"]),
            parts=named(codes.get("parts", ()), row["parts"]),
            flags=bits(codes.get("flags", ()), row["flags"]),
            unknowns=bits(codes.get("unknowns", ()), row["unknowns"]),
            imputed=bits(codes.get("imputed", ()), row["imputed"]),
        )

    @property
    def probability_wire(self) -> dict[str, float]:
        return {"value": self.probability, "low": self.low, "high": self.high}

    @property
    def parts_wire(self) -> dict[str, Any]:
        """The parts of the priority."""
        return {
            "margin": shown(self.margin),
            "probability": self.probability,
            "urgency": shown(self.urgency),
            "slack_days": shown(self.slack_days),
            "hours": shown(self.hours),
            "imputed": self.imputed,
        }


def criteria_wire(judged: Judged | None, language: str) -> list[dict[str, Any]]:
    """The five criteria with their labels."""
    found = judged.criteria if judged else {}
    return [{"code": code, "label": label(code, CRITERIA, language), "value": value} for code, value in found.items()]
