"""One told record, or rep, for every rule of the triage (D9), so that each can be looked at in the demo.

The records are found by external source `demo` and the external id named here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deploy.demo.actions import Values
from deploy.demo.script import Script
from deploy.demo.world import FOCUS_REP, MANAGER, SMALL_BOOK_REP, SMALL_CAPACITY_REP

ZHOU, MARCUS, PRIYA = "zhou.qiming", "marcus.hale", "priya.menon"
BOSS = MANAGER.key


@dataclass(frozen=True, slots=True)
class Case:
    """Where a rule can be seen. `record` is an external id, or the address of a rep for rules about a whole book."""

    rule: str
    record: str
    shows: str


CASES = (
    Case("D9.1", "class-a", "Only known of: class A, monitor at most."),
    Case("D9.1", "class-b", "Met, and interest shown: class B, track at most."),
    Case("D9.1", "class-c", "Met, need and pain known, firmer interest: class C, may be engaged."),
    Case("D9.1", "class-d", "Paid: class D, in after-care, without a seat."),
    Case("D9.1", "fell-to-a", "Was C; eleven weeks of silence took it back to A (`interest_dead`, `class_held_down`)."),
    Case("D9.2", "gaps", "Our fit is known; the best rival's fit and the customer's pain are listed as unknown."),
    Case("D9.3", FOCUS_REP, "More than 700 subjects: 16 engaged, nearly 100 tracked, 400 monitored, the rest backlog."),
    Case("D9.3", SMALL_CAPACITY_REP, "Capacities of her own: 6, 50 and 200."),
    Case("D9.3", "b-waits", "Worth more than some engaged ones of its rep, but class B: seats stay empty beside it."),
    Case("D9.3", "queue", "Nobody owns it: judged, but in no seat until it is assigned."),
    Case("D9.4", "near", "The same deal as `far`, bought in six weeks: the urgency sets it higher."),
    Case("D9.4", "far", "The same deal as `near`, bought in seven months."),
    Case("D9.4", "date-passed", "Its purchase date has passed: no slack, and flagged `purchase_date_overdue`."),
    Case("D9.4", "loss", "Delivery eats the margin: priority 0, flagged `unprofitable`."),
    Case("D9.4", "dollars", "Priced in USD; margin and priority are in CNY by the policy's rate."),
    Case("D9.5", "pinned", "Pinned to engage until a date, with the reason, though its priority is low."),
    Case("D9.5", "pinned-b", "Pinned to engage too, but class B: a pin does nothing against class."),
    Case("D9.5", "muted", "Would be among the 16; muted until a date, with the reason."),
    Case("D9.5", "border", "Raised to less than 1.1 times the weakest of the 16, it stays tracked; above, it moves."),
    Case("D9.6", "closing", "One of the 16. Win, lose or abandon it, and the best tracked one moves up at once."),
    Case("D9.7", SMALL_BOOK_REP, "Fewer than 150 subjects: empty seats in every band are reported as shortages."),
    Case("D9.8", "neglected", "One of the 16, last heard of four weeks ago, no next step: `being_forgotten`."),
    Case("D9.8", "resting", "Long line: ten weeks of agreed silence do not kill its interest (`resting`)."),
    Case("D9.8", "broken-promise", "A promise to the customer is overdue (`promise_overdue`)."),
    Case("§14", "shared", "Another rep helps as specialist; only the owner holds the seat."),
    Case("§14", "handed-over", "Went from one rep to another, with the reason; stage and history stayed."),
    Case("§14", "gone-back", "Went back over a reversible milestone: the passage is withdrawn by a row of its own."),
    Case("§14", "reopened", "Lost, then reopened into the stage it stood in."),
)


def tell(script: Script) -> None:
    """Writes all cases into `script`."""
    _classes(script)
    _priorities(script)
    _held(script)
    _owners(script)
    _courses(script)


def money(amount: int, currency: str = "CNY") -> Values:
    return {"amount": str(amount), "currency": currency}


def understood(script: Script, price: int, buys_in: int, **more: Any) -> Values:
    """The facts of a deal that stands well: class C once the customer has been met."""
    return {
        "amount": money(price),
        "margin_rate": 0.34,
        "cost_to_deliver": money(price // 50),
        "delivery_risk": 0.05,
        "payment_risk": 0.03,
        "need": "装箱速度翻倍 Twice the packing speed",
        "pain": "旺季加班也发不完货 Overtime does not clear the season's orders",
        "interest": "interested",
        "budget_status": "requested",
        "budget": money(price),
        "purchase_date": script.ahead(buys_in),
        "purchase_date_firmness": "stated",
        "fit_score": 0.72,
        "rival_fit_score": 0.6,
        **more,
    }


def _classes(script: Script) -> None:
    script.deal("class-a", MARCUS, 20, amount=money(300_000), margin_rate=0.3)
    script.talk("class-a", MARCUS, 19, "call")
    script.deal("class-b", MARCUS, 30, amount=money(300_000), margin_rate=0.3, interest="weak")
    script.talk("class-b", MARCUS, 9, "visit", step_in=6)
    script.deal("class-c", MARCUS, 40, **understood(script, 380_000, 60))
    script.talk("class-c", MARCUS, 12, "demo", step_in=4, signals=["asks_questions"])
    script.deal("class-d", MARCUS, 25, product="spares", amount=money(26_000), margin_rate=0.45)
    script.talk("class-d", MARCUS, 15, "meeting")
    script.move("class-d", MARCUS, 12, "pass")
    script.deal("fell-to-a", ZHOU, 140, **understood(script, 520_000, 40))
    script.talk("fell-to-a", ZHOU, 110, "technical_exchange")
    script.talk("fell-to-a", ZHOU, 78, "visit")
    script.deal("gaps", PRIYA, 35, amount=money(410_000), margin_rate=0.33, interest="weak", fit_score=0.66,
                need="减少人工码垛 Less palletising by hand")  # fmt: skip
    script.talk("gaps", PRIYA, 14, "site_tour", step_in=8)
    script.deal("b-waits", SMALL_BOOK_REP, 28, product="warehouse", amount=money(9_800_000), margin_rate=0.3,
                interest="weak", purchase_date=script.ahead(30), purchase_date_firmness="firm")  # fmt: skip
    script.talk("b-waits", SMALL_BOOK_REP, 6, "meeting", step_in=3)


def _priorities(script: Script) -> None:
    for key, buys_in in (("near", 42), ("far", 210)):
        script.deal(key, PRIYA, 33, **understood(script, 450_000, buys_in))
        script.talk(key, PRIYA, 11, "visit", step_in=5)
    script.deal("date-passed", ZHOU, 70, **understood(script, 280_000, -12))
    script.talk("date-passed", ZHOU, 16, "visit", step_in=2)
    script.deal("loss", MARCUS, 45, **understood(script, 200_000, 50, cost_to_deliver=money(90_000)))
    script.talk("loss", MARCUS, 13, "visit", step_in=7)
    dollars = {"amount": money(64_000, "USD"), "cost_to_deliver": money(1_500, "USD"), "budget": money(60_000, "USD")}
    script.deal("dollars", MARCUS, 50, **understood(script, 0, 55, **dollars))
    script.talk("dollars", MARCUS, 10, "demo", step_in=3)


def _held(script: Script) -> None:
    """Pins and mutes, and what stands at the border and inside it."""
    script.deal("pinned", FOCUS_REP, 60, product="inspector", **understood(script, 60_000, 120))
    script.talk("pinned", FOCUS_REP, 8, "visit", step_in=4)
    script.pin("pinned", FOCUS_REP, 5, "engage", "样板客户，带动整个园区 A reference for the whole park", 30)
    script.deal("pinned-b", FOCUS_REP, 31, amount=money(500_000), margin_rate=0.3, interest="weak")
    script.talk("pinned-b", FOCUS_REP, 9, "visit", step_in=6)
    script.pin("pinned-b", FOCUS_REP, 4, "engage", "老同学介绍 Introduced by an old classmate", 25)
    script.deal("muted", FOCUS_REP, 55, **understood(script, 900_000, 45))
    for days_ago in (50, 41, 33, 22):
        script.talk("muted", FOCUS_REP, days_ago, "meeting")
        script.move("muted", FOCUS_REP, days_ago, "pass")
    script.pin("muted", FOCUS_REP, 3, None, "客户停产检修至下月 Shut down for repairs until next month", 20)
    script.deal("border", FOCUS_REP, 48, **understood(script, 330_000, 70))
    script.talk("border", FOCUS_REP, 7, "visit", step_in=5)
    script.deal("closing", FOCUS_REP, 75, coach=True, **understood(script, 540_000, 25, budget_status="approved"))
    for days_ago in (60, 40, 20, 5):
        script.talk("closing", FOCUS_REP, days_ago, "meeting", step_in=2 if days_ago == 5 else None, confidence=0.8)
    for days_ago in (58, 45, 30, 9):
        script.move("closing", FOCUS_REP, days_ago, "pass")
    script.deal("neglected", FOCUS_REP, 95, **understood(script, 700_000, 30, interest="firm"))
    for days_ago in (70, 58, 44, 27):
        script.talk("neglected", FOCUS_REP, days_ago, "technical_exchange", signals=["brings_others"])
        script.move("neglected", FOCUS_REP, days_ago, "pass")
    script.deal("resting", PRIYA, 130, line="long", resume_on=script.ahead(40),
                line_reason="新厂房交付前不采购 Buys nothing before the new hall stands",
                **understood(script, 700_000, 150))  # fmt: skip
    script.talk("resting", PRIYA, 71, "visit")
    script.deal("broken-promise", ZHOU, 52, **understood(script, 350_000, 65))
    script.talk("broken-promise", ZHOU, 18, "demo", promise_in=-10, step_in=3)


def _owners(script: Script) -> None:
    script.deal("queue", None, 6, by=BOSS, amount=money(620_000), margin_rate=0.3)
    script.deal("shared", ZHOU, 44, product="filler", **understood(script, 1_500_000, 110))
    script.talk("shared", ZHOU, 12, "technical_exchange", step_in=9)
    script.share("shared", ZHOU, 11, PRIYA, "specialist")
    script.deal("handed-over", MARCUS, 120, **understood(script, 480_000, 75))
    script.talk("handed-over", MARCUS, 60, "visit")
    script.move("handed-over", MARCUS, 50, "pass")
    script.hand_over("handed-over", BOSS, 34, PRIYA, "区域调整 The territories were redrawn")
    script.talk("handed-over", PRIYA, 15, "meeting", step_in=4)


def _courses(script: Script) -> None:
    script.deal("gone-back", ZHOU, 80, **understood(script, 360_000, 85))
    script.talk("gone-back", ZHOU, 62, "visit")
    script.move("gone-back", ZHOU, 61, "pass")
    script.move("gone-back", ZHOU, 47, "pass")
    script.talk("gone-back", ZHOU, 21, "visit", step_in=6)
    script.move("gone-back", ZHOU, 20, "back")
    script.deal("reopened", SMALL_CAPACITY_REP, 100, **understood(script, 540_000, 60))
    script.talk("reopened", SMALL_CAPACITY_REP, 85, "visit")
    script.move("reopened", SMALL_CAPACITY_REP, 84, "pass")
    script.move("reopened", SMALL_CAPACITY_REP, 66, "lose", "budget")
    script.move("reopened", SMALL_CAPACITY_REP, 24, "reopen")
    script.talk("reopened", SMALL_CAPACITY_REP, 22, "meeting", step_in=5)
