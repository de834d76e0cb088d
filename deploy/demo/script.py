"""A small language in which single records of the demo are told, day by day, beside what is simulated."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from random import Random
from typing import Any

from deploy.demo.actions import (
    Action,
    AddContact,
    AddCustomer,
    Due,
    FinishTask,
    HandOver,
    Move,
    OpenOpportunity,
    Pin,
    Revise,
    Share,
    Touch,
    Values,
)
from deploy.demo.buyers import Buyers, contact_values, customer_values
from deploy.demo.deals import opportunity_name
from deploy.demo.world import EXTERNAL_SOURCE, PRODUCT_BY_KEY, moment, works_on

# Told records come after the working day's simulated ones, so that both keep their order.
EVENING = 490


class Script:
    """Tells the records of one case after another; `today` is the day after the year's last."""

    def __init__(self, today: date, buyers: Buyers, chance: Random) -> None:
        self.today = today
        self.actions: list[Action] = []
        self._buyers = buyers
        self._chance = chance
        self._minute = EVENING
        self._talks = 0

    def day(self, days_ago: int) -> date:
        """The working day at or before so many days ago."""
        found = self.today - timedelta(days=days_ago)
        while not works_on(found) or found == self.today:
            found -= timedelta(days=1)
        return found

    def ahead(self, days: int) -> str:
        return (self.today + timedelta(days=days)).isoformat()

    def at(self, days_ago: int) -> datetime:
        self._minute += 1
        return moment(self.day(days_ago), self._minute)

    def deal(
        self,
        key: str,
        owner: str | None,
        days_ago: int,
        *,
        product: str = "packer",
        by: str | None = None,
        coach: bool = False,
        **values: Any,
    ) -> None:
        """A customer, a contact and an opportunity, all found by the external id `key` in the source `demo`."""
        actor = by or owner or ""
        buyer = self._buyers.make(None, self._chance)
        named = {"external_source": EXTERNAL_SOURCE, "external_id": key}
        facts = customer_values(buyer, self._buyers.names, self._chance)
        sold = PRODUCT_BY_KEY[product]
        body: Values = {"name": opportunity_name(sold, buyer, self._chance), "source": "referral", **values, **named}
        self.actions += [
            AddCustomer(self.at(days_ago), actor, key, facts | named, owner),
            AddContact(
                self.at(days_ago), actor, f"{key}/contact", key,
                contact_values(buyer, self._buyers.names, self._chance) | ({"is_coach": True} if coach else {}),
            ),
            OpenOpportunity(self.at(days_ago), actor, key, key, sold.process, product, owner, body),
        ]  # fmt: skip

    def talk(
        self,
        key: str,
        by: str,
        days_ago: int,
        kind: str = "visit",
        *,
        step_in: int | None = None,
        promise_in: int | None = None,
        **values: Any,
    ) -> str:
        """One interaction; `step_in` and `promise_in` count days from today. Returns its key."""
        self._talks += 1
        name = f"{key}/talk{self._talks}"
        step = self._due(f"{name}/n", "Next talk 下次沟通", step_in)
        promise = self._due(f"{name}/p", "Send the reference 提供案例", promise_in)
        body = {"kind": kind, "direction": "two_way", "minutes": 45, **values}
        self.actions.append(
            Touch(self.at(days_ago), by, name, key, key, (f"{key}/contact",), body, step, (promise,) if promise else ())
        )
        return name

    def _due(self, key: str, title: str, days: int | None) -> Due | None:
        return None if days is None else Due(key, title, self.today + timedelta(days=days))

    def revise(self, key: str, by: str, days_ago: int, **values: Any) -> None:
        self.actions.append(Revise(self.at(days_ago), by, key, values))

    def move(self, key: str, by: str, days_ago: int, action: str, reason: str | None = None) -> None:
        self.actions.append(Move(self.at(days_ago), by, key, action, reason))

    def hand_over(self, key: str, by: str, days_ago: int, to: str, reason: str) -> None:
        self.actions.append(HandOver(self.at(days_ago), by, key, to, reason))

    def share(self, key: str, by: str, days_ago: int, member: str, role: str) -> None:
        self.actions.append(Share(self.at(days_ago), by, key, member, role))

    def pin(self, key: str, by: str, days_ago: int, band: str | None, reason: str, days: int) -> None:
        """A pin into `band`, or a mute where there is none, until `days` from today."""
        expires_at = moment(self.today + timedelta(days=days), 0)
        self.actions.append(Pin(self.at(days_ago), by, key, band, reason, expires_at))

    def finish(self, task: str, by: str, days_ago: int, kept: bool) -> None:
        self.actions.append(FinishTask(self.at(days_ago), by, task, kept))
