"""The state of one simulated deal, and what a talk reveals about it.

Every deal has a hidden quality that nobody records. Facts come to light talk by talk and lean on it, so that what is
recorded foretells the outcome as well, and as badly, as in life.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Any

from deploy.demo.actions import Due, Values
from deploy.demo.names import Trade
from deploy.demo.world import COURSES, CURRENCY, USD_RATE, Course, Product, Rep

INTERESTS = ("none", "weak", "interested", "firm")
BUDGETS = ("none", "indicated", "requested", "approved", "locked")
FIRMNESS = ("guessed", "stated", "firm")
# What a customer is met for, stage by stage as a share of the way to winning.
EARLY, MIDDLE, LATE = (
    ("call", "message", "visit", "meeting", "visit", "demo"),
    ("visit", "meeting", "demo", "technical_exchange", "call", "business_meal", "site_tour", "trial"),
    ("meeting", "negotiation", "quotation", "business_meal", "call", "visit"),
)
ONE_WAY = ("call", "email", "message")
SCOPES = (
    ("新增项目", "expansion"), ("替换旧设备", "replacement"), ("二期", "phase two"), ("试点", "pilot"),
    ("年度采购", "yearly purchase"), ("技改", "retrofit"),
)  # fmt: skip
LONG_LINE_REASONS = (
    ("新厂房明年才交付", "The new hall is handed over only next year"),
    ("现有设备还在折旧期", "The present machine is still being written off"),
    ("等集团批复投资计划", "The group has yet to approve its investment plan"),
)


@dataclass(slots=True)
class Buyer:
    """A simulated customer."""

    key: str
    number: int
    trade: Trade
    rep: str | None
    chinese: bool
    household: bool = False
    dollars: bool = False
    contacts: list[str] = field(default_factory=list)
    coach: bool = False
    executive: bool = False
    calls: int = 0
    done_with: bool = False


@dataclass(slots=True)
class Deal:
    """A simulated opportunity; `quality` is about 0 on average, with a spread of 1."""

    key: str
    buyer: Buyer
    product: Product
    quality: float
    price: float
    entered: date
    next_contact: date
    stage: int = 0
    open: bool = True
    interest: int | None = None
    fit: float | None = None
    rival: float | None = None
    budget: int | None = None
    purchase: date | None = None
    known: set[str] = field(default_factory=set)
    misses: int = 0
    talks: int = 0
    long_line: bool = False
    next_step: Due | None = None
    promises: list[Due] = field(default_factory=list)

    @property
    def course(self) -> Course:
        return COURSES[self.product.process]

    @property
    def progress(self) -> float:
        """How far along the way to the winning milestone: 0 to 1."""
        return self.stage / max(1, self.course.winning)

    def strength(self, rep: Rep) -> float:
        """What moves the odds: the hidden quality, and what has been won for our side and become known."""
        people = 0.35 * self.buyer.coach + 0.25 * self.buyer.executive
        money = 0.35 if (self.budget or 0) >= 3 else 0.0
        lead = 0.0 if self.fit is None or self.rival is None else 1.2 * (self.fit - self.rival)
        return self.quality + rep.skill + people + money + lead

    def cadence(self) -> int:
        """Days until a careful rep calls again."""
        if self.long_line:
            return 30
        return 20 if self.stage == 0 and not self.talks else round(16 - 9 * self.progress)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def clamp(value: float, low: float = 0.0, high: float = 1.0) -> float:
    return min(high, max(low, value))


def money(amount: float, buyer: Buyer) -> Values:
    """An amount in the buyer's currency, in round figures."""
    if buyer.dollars:
        return {"amount": f"{max(100, round(amount / USD_RATE, -2)):.0f}", "currency": "USD"}
    return {"amount": f"{max(100, round(amount, -2)):.0f}", "currency": CURRENCY}


def opportunity_name(product: Product, buyer: Buyer, chance: Random) -> str:
    return f"{product.code} {chance.choice(SCOPES)[0 if buyer.chinese else 1]}"


def opening_facts(deal: Deal, chance: Random) -> Values:
    """What is known of a deal when it is first written down."""
    buyer = deal.buyer
    values: Values = {
        "name": opportunity_name(deal.product, buyer, chance),
        "source": chance.choice(("exhibition", "web", "referral", "cold_call", "partner")),
    }
    if chance.random() < 0.8:
        values["amount"] = money(deal.price * chance.uniform(0.85, 1.15), buyer)
        values["margin_rate"] = round(clamp(deal.product.margin + chance.gauss(0, 0.03), 0.05, 0.6), 3)
        deal.known.add("amount")
    return values


def learn(deal: Deal, day: date, chance: Random) -> Values:
    """What one good talk reveals: the changes to the recorded facts, perhaps none."""
    found: Values = {}
    buyer, quality = deal.buyer, deal.quality
    _learn_case(deal, chance, found)
    seen = 1.4 + 0.75 * quality + 0.6 * deal.progress + chance.gauss(0, 0.5)
    interest = max(0, min(3, round(seen)))
    if interest != deal.interest and (deal.interest is None or chance.random() < 0.4):
        deal.interest = interest
        found["interest"] = INTERESTS[interest]
    if deal.fit is None and chance.random() < 0.35:
        deal.fit = round(clamp(0.58 + 0.12 * quality + chance.gauss(0, 0.1), 0.1, 0.98), 2)
        found["fit_score"] = deal.fit
    if deal.rival is None and chance.random() < 0.22:
        deal.rival = round(clamp(0.52 - 0.05 * quality + chance.gauss(0, 0.12), 0.1, 0.95), 2)
        found["rival_fit_score"] = deal.rival
    if "costs" not in deal.known and chance.random() < 0.25:
        deal.known.add("costs")
        found["cost_to_deliver"] = money(deal.price * chance.uniform(0.01, 0.06), buyer)
        found["delivery_risk"] = round(chance.uniform(0.01, 0.15), 2)
        found["payment_risk"] = round(chance.uniform(0.0, 0.12), 2)
    if "amount" not in deal.known and chance.random() < 0.5:
        deal.known.add("amount")
        found["amount"] = money(deal.price, buyer)
        found["margin_rate"] = round(deal.product.margin, 3)
    _learn_budget(deal, chance, found)
    _learn_date(deal, day, chance, found)
    if "attributes" not in deal.known and chance.random() < 0.15:
        deal.known.add("attributes")
        found["attributes"] = {"site_ready": chance.random() < 0.5}
    return found


def _learn_case(deal: Deal, chance: Random, found: Values) -> None:
    language = 0 if deal.buyer.chinese else 1
    for name, texts, odds in (("need", deal.buyer.trade.needs, 0.5), ("pain", deal.buyer.trade.pains, 0.45)):
        if name not in deal.known and chance.random() < odds:
            deal.known.add(name)
            found[name] = chance.choice(texts)[language]


def _learn_budget(deal: Deal, chance: Random, found: Values) -> None:
    if deal.budget is None:
        if chance.random() < 0.3:
            deal.budget = chance.choices((0, 1, 2), (2, 5, 2))[0]
            found["budget_status"] = BUDGETS[deal.budget]
    elif deal.budget < 4 and chance.random() < clamp(0.16 + 0.08 * deal.quality + 0.15 * deal.progress):
        deal.budget += 1
        found["budget_status"] = BUDGETS[deal.budget]
        if "budget" not in deal.known:
            deal.known.add("budget")
            found["budget"] = money(deal.price * chance.uniform(0.78, 1.12), deal.buyer)


def _learn_date(deal: Deal, day: date, chance: Random, found: Values) -> None:
    remaining = sum(deal.course.days[deal.stage : deal.course.winning + 1])
    if deal.purchase is None:
        if chance.random() < 0.4:
            ahead = remaining * math.exp(chance.gauss(0.1 - 0.15 * deal.quality, 0.35)) + 7
            deal.purchase = day + timedelta(days=round(ahead))
            found["purchase_date"] = deal.purchase.isoformat()
            found["purchase_date_firmness"] = FIRMNESS[chance.choices((0, 1, 2), (3, 4, 1))[0]]
        return
    slips = deal.purchase < day + timedelta(days=5) or chance.random() < clamp(0.05 - 0.03 * deal.quality)
    if slips and chance.random() < 0.8:
        deal.purchase = max(deal.purchase, day) + timedelta(days=chance.randrange(14, 50))
        found["purchase_date"] = deal.purchase.isoformat()
        found["purchase_date_firmness"] = FIRMNESS[chance.choices((0, 1, 2), (1, 4, 2))[0]]


def talk_values(deal: Deal, chance: Random, *, answered: bool) -> Values:
    """The record of one touch."""
    if not answered:
        quiet = ["goes_quiet"] if deal.misses >= 3 else []
        text = "未联系上，已留言" if deal.buyer.chinese else "No answer; left a message"
        return {
            "kind": chance.choice(ONE_WAY), "direction": "outbound", "summary": text, "signals": quiet,
            "purpose_reached": False, "minutes": chance.randrange(2, 6),
        }  # fmt: skip
    kinds = EARLY if deal.progress < 0.25 else MIDDLE if deal.progress < 0.7 else LATE
    kind = chance.choice(kinds)
    values: Values = {
        "kind": kind,
        "direction": "two_way",
        "purpose": _purpose(deal, chance),
        "purpose_reached": chance.random() < sigmoid(0.6 + 0.5 * deal.quality),
        "minutes": chance.randrange(8, 25) if kind in ONE_WAY else chance.randrange(30, 150, 5),
        "confidence": round(clamp(0.5 + 0.14 * deal.quality + 0.15 * deal.progress + chance.gauss(0, 0.12)), 2),
        "signals": _signals(deal, chance),
    }
    if kind not in ONE_WAY:
        values["setting_quality"] = chance.choices(("good", "fair", "poor"), (5, 3, 1))[0]
    return values


def _purpose(deal: Deal, chance: Random) -> str:
    aims = (
        ("介绍我们能带来什么", "Who we are and what chance we bring"),
        ("了解他们的问题和想法", "Their problems and their thinking"),
        ("说明我们如何满足", "How we satisfy them"),
        ("疑虑和条件", "Doubts and terms"),
    )
    place = deal.talks if deal.talks < len(aims) else chance.randrange(1, len(aims))
    return aims[place][0 if deal.buyer.chinese else 1]


def _signals(deal: Deal, chance: Random) -> list[str]:
    odds: dict[str, float] = {
        "asks_questions": 0.22 + 0.1 * deal.quality,
        "finds_fault": 0.12 + 0.03 * deal.quality,
        "contacts_us": 0.06 + 0.05 * deal.quality,
        "brings_others": 0.06 + 0.05 * deal.quality,
        "postpones": 0.05 - 0.05 * deal.quality,
    }
    return [signal for signal, share in odds.items() if chance.random() < share]


def close_reason(deal: Deal, chance: Random) -> str:
    """Why a deal was lost: what is known of it makes some reasons likelier."""
    weights = {"price": 3.0, "competitor": 2.0, "timing": 1.5, "budget": 1.5, "no_decision": 2.0, "product": 1.0}
    if (deal.rival or 0) > (deal.fit or 1):
        weights["competitor"] += 4
    if deal.budget in (0, 1):
        weights["budget"] += 3
    if deal.interest in (0, 1):
        weights["no_decision"] += 2
    return chance.choices(list(weights), list(weights.values()))[0]


def long_line(deal: Deal, day: date, chance: Random) -> dict[str, Any]:
    """The deal is not in a hurry: why, and when it is taken up again."""
    deal.long_line = True
    resume_on = day + timedelta(days=chance.randrange(45, 160))
    deal.next_contact = min(resume_on, day + timedelta(days=chance.randrange(40, 70)))
    reason = chance.choice(LONG_LINE_REASONS)[0 if deal.buyer.chinese else 1]
    return {"line": "long", "line_reason": reason, "resume_on": resume_on.isoformat()}
