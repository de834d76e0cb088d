"""Why something was judged again or moved, as the api and its readers get it: codes and ids, no words.

A cause is `{"code", "by", "event", "event_id", "request_id"}`, of which only `code` is always there. `code` is one of
`ranking.MOVE_CAUSES`, or `judged` for a new score; `by` is the other subject in it, `{"type", "id"}`, with `event` when
what set everything off happened to that one; `event` is what set it off: `{"type", "subject_type", "subject_id"}`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from services.scoring.core.facts import NO_UUID
from services.scoring.marks import CUSTOMER, OPPORTUNITY, OWNER, WORKSPACE, Taken
from services.scoring.ranking import MOVE_CAUSES, Rows


@dataclass(slots=True)
class Causes:
    """Finds the mark that explains a change, and keeps each distinct cause once.

    `customer_of` maps the batch's opportunities to their customers, `touched` an owner to the first mark that
    concerned one of their subjects, `customers` holds the subjects that are customers.
    """

    marks: dict[tuple[str, bytes], Taken]
    customer_of: dict[bytes, bytes]
    touched: dict[bytes, Taken]
    customers: set[bytes]
    values: list[dict[str, Any]] = field(default_factory=list)
    requests: list[str | None] = field(default_factory=list)
    # The trace context of the request behind each: it goes with the events, and is no part of the cause.
    traces: list[str | None] = field(default_factory=list)
    _places: dict[tuple[object, ...], int] = field(default_factory=dict)
    _whole: Taken | None = None

    def __post_init__(self) -> None:
        self._whole = next((mark for (kind, _), mark in self.marks.items() if kind == WORKSPACE), None)

    def scored(self, opportunity: bytes, owner: bytes) -> int:
        """The place of the cause for which `opportunity` was judged."""
        return self._keep("judged", None, self._own(opportunity) or self._wider(owner))

    def moved(self, move: Rows) -> int:
        """The place of the cause of one move (`ranking.MOVE`)."""
        subject, owner, other = bytes(move["id"]), bytes(move["owner_id"]), bytes(move["cause_id"])
        code = MOVE_CAUSES[move["cause"]]
        by = None if other == NO_UUID else other
        # Who overtakes another does it by what happened to himself; who is displaced, by what happened to the other.
        first, second = (subject, by) if code == "overtook" else (by, subject)
        mark = (self._own(first) if first else None) or (self._own(second) if second else None)
        return self._keep(code, by, mark or self._wider(owner))

    def _own(self, subject: bytes) -> Taken | None:
        found = self.marks.get((OPPORTUNITY, subject)) or self.marks.get((CUSTOMER, subject))
        if found is None and subject in self.customer_of:
            found = self.marks.get((CUSTOMER, self.customer_of[subject]))
        return found

    def _wider(self, owner: bytes) -> Taken | None:
        return self.marks.get((OWNER, owner)) or self.touched.get(owner) or self._whole

    def _keep(self, code: str, by: bytes | None, mark: Taken | None) -> int:
        key = (code, by, mark.type if mark else None, mark.id if mark else None)
        place = self._places.setdefault(key, len(self.values))
        if place == len(self.values):
            value = _cause(code, by, CUSTOMER if by in self.customers else OPPORTUNITY, mark)
            self.values.append(value)
            self.requests.append(value.get("request_id"))
            self.traces.append(mark.cause.get("traceparent") if mark else None)
        return place


def _cause(code: str, by: bytes | None, kind: str, mark: Taken | None) -> dict[str, Any]:
    told = mark.cause if mark else {}
    event, subject = told.get("type"), told.get("subject_id")
    cause: dict[str, Any] = {"code": code}
    if by is not None:
        cause["by"] = {"type": kind, "id": str(UUID(bytes=by))}
        if event and subject == cause["by"]["id"]:
            cause["by"]["event"] = event
    if event:
        cause["event"] = {"type": event, "subject_type": told.get("subject_type"), "subject_id": subject}
    for name in ("event_id", "request_id"):
        if told.get(name) is not None:
            cause[name] = str(told[name])
    return cause
