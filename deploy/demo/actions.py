"""What happens in the simulated year, as dated values: who did what, when. Nothing here knows a database.

Subjects are named by keys of the simulation (`c17`, `o203`); `values` are what the API's bodies hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, TypeAlias

Values: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that the member `actor` did at `at` (UTC)."""

    at: datetime
    actor: str


@dataclass(frozen=True, slots=True)
class AddCustomer(Deed):
    key: str
    values: Values
    owner: str | None


@dataclass(frozen=True, slots=True)
class AddContact(Deed):
    key: str
    customer: str
    values: Values


@dataclass(frozen=True, slots=True)
class OpenOpportunity(Deed):
    key: str
    customer: str
    process: str
    product: str | None
    owner: str | None
    values: Values


@dataclass(frozen=True, slots=True)
class Due:
    """Something to be done by a day: the next step, or a promise to the customer. `key` names its task."""

    key: str
    title: str
    due_on: date


@dataclass(frozen=True, slots=True)
class Touch(Deed):
    """A recorded interaction, with what was agreed in it."""

    key: str
    customer: str
    opportunity: str | None
    contacts: tuple[str, ...]
    values: Values
    next_step: Due | None = None
    promises: tuple[Due, ...] = ()


@dataclass(frozen=True, slots=True)
class FinishTask(Deed):
    task: str
    kept: bool | None = None


@dataclass(frozen=True, slots=True)
class Revise(Deed):
    """New facts about an opportunity."""

    opportunity: str
    values: Values


@dataclass(frozen=True, slots=True)
class Move(Deed):
    """A transition: pass, back, lose, abandon or reopen."""

    opportunity: str
    action: str
    reason: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class HandOver(Deed):
    """A customer with its open opportunities, or a single opportunity, goes to another rep."""

    subject: str
    to: str
    reason: str


@dataclass(frozen=True, slots=True)
class Share(Deed):
    opportunity: str
    member: str
    role: str


@dataclass(frozen=True, slots=True)
class Pin(Deed):
    """A pin (`band` given) or a mute of an opportunity."""

    opportunity: str
    band: str | None
    reason: str
    expires_at: datetime


Action: TypeAlias = (
    AddCustomer | AddContact | OpenOpportunity | Touch | FinishTask | Revise | Move | HandOver | Share | Pin
)


@dataclass(slots=True)
class Story:
    """The actions of the year in order, and how many of each kind."""

    actions: list[Action] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for action in self.actions:
            name = type(action).__name__
            found[name] = found.get(name, 0) + 1
        return found
