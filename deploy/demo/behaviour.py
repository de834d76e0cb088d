"""The day loop: each rep works through the year, leads come in, talks take place, deals advance, slip and close."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from random import Random

from deploy.demo.actions import (
    AddContact,
    AddCustomer,
    Due,
    FinishTask,
    Move,
    OpenOpportunity,
    Revise,
    Story,
    Touch,
)
from deploy.demo.buyers import Buyers, contact_values, customer_values
from deploy.demo.deals import (
    ONE_WAY,
    Buyer,
    Deal,
    clamp,
    close_reason,
    learn,
    long_line,
    opening_facts,
    sigmoid,
    talk_values,
)
from deploy.demo.world import PRODUCTS, Product, Rep, days_of_year, moment, works_on

# Minutes between two entries of one person's day.
STEP = 1
FRIDAY = 4


class Desk:
    """One rep's desk through the year. Everything they do is added to `story` in the order of time."""

    def __init__(self, rep: Rep, story: Story, buyers: Buyers, chance: Random) -> None:
        self.rep = rep
        self.key = rep.person.key
        self.story = story
        self.buyers = buyers
        self.chance = chance
        self.leads: list[Buyer] = []
        self.deals: list[Deal] = []
        self.later: dict[date, list[tuple[str, Deal]]] = defaultdict(list)
        self._minute = 0
        self._numbers = 0

    def begin_day(self) -> None:
        self._minute = 0

    def at(self, day: date) -> datetime:
        self._minute += STEP
        return moment(day, self._minute)

    def name(self, kind: str) -> str:
        """A key of this desk's own: `lin.lan/t17`."""
        self._numbers += 1
        return f"{self.key}/{kind}{self._numbers}"

    def take_lead(self, day: date) -> None:
        buyer = self.buyers.make(self.rep, self.chance)
        values = customer_values(buyer, self.buyers.names, self.chance)
        self.story.actions.append(AddCustomer(self.at(day), self.key, buyer.key, values, self.key))
        self.leads.append(buyer)

    def first_call(self, day: date) -> None:
        """Calls a lead; some of them turn out to have something in mind."""
        waiting = [buyer for buyer in self.leads[-80:] + self.leads[:80] if not buyer.done_with]
        if not waiting:
            return
        buyer = self.chance.choice(waiting)
        buyer.calls += 1
        if self.chance.random() < self.rep.conversion:
            buyer.done_with = True
            self.open_deal(day, buyer, self._product(buyer))
            return
        buyer.done_with = buyer.calls >= 2
        answered = self.chance.random() < 0.5
        values = {
            "kind": self.chance.choice(ONE_WAY),
            "direction": "two_way" if answered else "outbound",
            "summary": ("目前没有需求" if buyer.chinese else "Nothing planned at present")
            if answered
            else ("未接通" if buyer.chinese else "No answer"),
            "minutes": self.chance.randrange(2, 9),
        }
        self.story.actions.append(Touch(self.at(day), self.key, self.name("t"), buyer.key, None, (), values))

    def _product(self, buyer: Buyer) -> Product:
        if buyer.household:
            return PRODUCTS[-1]
        return self.chance.choices(PRODUCTS, (2, 1, 4, 4, 4, 3, 3))[0]

    def open_deal(self, day: date, buyer: Buyer, product: Product) -> None:
        deal = Deal(
            self.name("o"), buyer, product, self.chance.gauss(0, 1),
            product.price * self.chance.lognormvariate(0, 0.45), day, day,
        )  # fmt: skip
        if not buyer.contacts:
            self._meet(day, buyer)
        values = opening_facts(deal, self.chance)
        self.story.actions.append(
            OpenOpportunity(self.at(day), self.key, deal.key, buyer.key, product.process, product.key, self.key, values)
        )
        self.deals.append(deal)
        self.touch(day, deal)

    def _meet(self, day: date, buyer: Buyer, **fixed: object) -> None:
        key = self.name("p")
        values = contact_values(buyer, self.buyers.names, self.chance) | fixed
        buyer.contacts.append(key)
        buyer.executive |= values.get("level") == "executive"
        buyer.coach |= bool(values.get("is_coach"))
        self.story.actions.append(AddContact(self.at(day), self.key, key, buyer.key, values))

    def work(self, day: date) -> None:
        """One working day: what was put off until today, running deals by need, first calls."""
        for what, deal in self.later.pop(day, []):
            self._due(day, what, deal)
        if day.weekday() == FRIDAY:
            self._give_up(day)
        due = [deal for deal in self.deals if deal.open and deal.next_contact <= day]
        # Big and advanced ones first, but nobody's judgement is perfect: some slip.
        due.sort(key=lambda d: -(d.price**0.3) * (0.4 + d.progress) * self.chance.lognormvariate(0, 0.6))
        for deal in due[: self._about(self.rep.touches)]:
            self.touch(day, deal)
        for _ in range(self._about(self.rep.calls)):
            self.first_call(day)

    def _give_up(self, day: date) -> None:
        """Once a week: what nobody has had time for in two months, and nobody wants much, is let go (D7.3)."""
        for deal in self.deals:
            stale = deal.open and (day - deal.next_contact).days > 45 and (deal.interest or 0) < 2
            if stale and self.chance.random() < 0.2:
                self._close(day, deal, "abandon", "not_worth_it")

    def _about(self, mean: float) -> int:
        whole = int(mean)
        return max(0, whole + (self.chance.random() < mean - whole) + self.chance.choice((-1, 0, 0, 1)) * (whole > 1))

    def _due(self, day: date, what: str, deal: Deal) -> None:
        chance = self.chance
        if what == "reopen" and not deal.open:
            deal.open, deal.next_contact, deal.misses = True, day, 0
            note = "预算恢复，重新启动" if deal.buyer.chinese else "The budget is back"
            self.story.actions.append(Move(self.at(day), self.key, deal.key, "reopen", note=note))
        elif what == "fulfil":
            self.story.actions.append(Move(self.at(day), self.key, deal.key, "pass"))
            deal.stage += 1
            if deal.stage < len(deal.course.days):
                self._put_off(day, chance.randrange(40, 75), "fulfil", deal)
        elif what == "care":
            rating = chance.randrange(6, 11)
            values = {"kind": "after_care", "direction": "two_way", "minutes": 20, "customer_rating": rating}
            touch = Touch(self.at(day), self.key, self.name("t"), deal.buyer.key, None, (), values)
            self.story.actions.append(touch)
        elif what == "repeat":
            self.open_deal(day, deal.buyer, self._product(deal.buyer))

    def _put_off(self, day: date, days: int, what: str, deal: Deal) -> None:
        then = day + timedelta(days=days)
        while not works_on(then):
            then += timedelta(days=1)
        self.later[then].append((what, deal))

    def touch(self, day: date, deal: Deal) -> None:
        """One talk, or an attempt at one, and all that follows from it."""
        chance, actions = self.chance, self.story.actions
        self._settle(day, deal)
        answered = chance.random() < sigmoid(1.5 + 0.6 * deal.quality - 0.35 * deal.misses)
        deal.misses = 0 if answered else deal.misses + 1
        values = talk_values(deal, chance, answered=answered)
        deal.next_contact = day + timedelta(days=max(2, round(deal.cadence() * chance.uniform(0.6, 1.5))))
        key = self.name("t")
        step, promises = self._agree(deal, key, answered=answered) if deal.open else (None, ())
        met = tuple(deal.buyer.contacts[:1] if values["kind"] in ONE_WAY else deal.buyer.contacts[-2:])
        met = met if answered else ()
        actions.append(Touch(self.at(day), self.key, key, deal.buyer.key, deal.key, met, values, step, promises))
        if answered:
            deal.talks += 1
            self._progress(day, deal)
        elif deal.misses >= 3 and chance.random() < 0.35:
            self._close(day, deal, "abandon", "no_decision")

    def _agree(self, deal: Deal, key: str, *, answered: bool) -> tuple[Due | None, tuple[Due, ...]]:
        """The next step and what is promised until then."""
        step: Due | None = None
        promises: tuple[Due, ...] = ()
        if self.chance.random() < self.rep.discipline * (1.0 if answered else 0.6):
            title = "再次联系并确认下一步" if deal.buyer.chinese else "Call again and agree on what comes next"
            step = Due(f"{key}/n", title, deal.next_contact)
        if answered and self.chance.random() < 0.12:
            title = "寄送资料和参考案例" if deal.buyer.chinese else "Send the data sheet and a reference"
            promises = (Due(f"{key}/p", title, deal.next_contact - timedelta(days=1)),)
        deal.next_step = step
        deal.promises.extend(promises)
        return step, promises

    def _settle(self, day: date, deal: Deal) -> None:
        """The step agreed last time is this talk; what was promised was kept or not."""
        if deal.next_step is not None:
            self.story.actions.append(FinishTask(self.at(day), self.key, deal.next_step.key))
            deal.next_step = None
        for promise in deal.promises:
            kept = self.chance.random() < self.rep.reliability
            self.story.actions.append(FinishTask(self.at(day), self.key, promise.key, kept))
        deal.promises.clear()

    def _progress(self, day: date, deal: Deal) -> None:
        chance, buyer, actions = self.chance, deal.buyer, self.story.actions
        if not buyer.household and len(buyer.contacts) < 5 and chance.random() < 0.13 + 0.08 * deal.progress:
            coach = not buyer.coach and deal.talks >= 2 and chance.random() < 0.4
            self._meet(day, buyer, **({"is_coach": True} if coach else {}))
        found = learn(deal, day, chance)
        if not deal.long_line and deal.talks == 2 and chance.random() < 0.07:
            found |= long_line(deal, day, chance)
        strength = deal.strength(self.rep)
        if chance.random() < clamp(0.08 * 2 ** (-0.8 * strength), 0.015, 0.4) + 0.02 * (deal.rival or 0):
            self._revise(day, deal, found)
            self._close(day, deal, "lose", close_reason(deal, chance))
            return
        self._revise(day, deal, found)
        in_stage = (day - deal.entered).days
        ripe = in_stage >= 0.6 * deal.course.days[deal.stage]
        if ripe and deal.talks > 1 and chance.random() < clamp(0.25 * 2 ** (0.6 * strength), 0.03, 0.85):
            actions.append(Move(self.at(day), self.key, deal.key, "pass"))
            deal.stage, deal.entered = deal.stage + 1, day
            if deal.stage > deal.course.winning:
                self._won(day, deal)
        elif deal.stage and deal.course.reversible[deal.stage - 1] and chance.random() < 0.05:
            note = "需求变更，重新勘察" if buyer.chinese else "The need has changed: back to the survey"
            actions.append(Move(self.at(day), self.key, deal.key, "back", note=note))
            deal.stage, deal.entered = deal.stage - 1, day

    def _revise(self, day: date, deal: Deal, found: dict[str, object]) -> None:
        if found:
            self.story.actions.append(Revise(self.at(day), self.key, deal.key, found))

    def _won(self, day: date, deal: Deal) -> None:
        deal.open = False
        self._settle(day, deal)
        self._put_off(day, self.chance.randrange(20, 45), "care", deal)
        if deal.stage < len(deal.course.days):
            self._put_off(day, self.chance.randrange(40, 80), "fulfil", deal)
        if self.chance.random() < 0.3:
            self._put_off(day, self.chance.randrange(50, 150), "repeat", deal)

    def _close(self, day: date, deal: Deal, how: str, reason: str) -> None:
        deal.open = False
        self._settle(day, deal)
        self.story.actions.append(Move(self.at(day), self.key, deal.key, how, reason))
        if self.chance.random() < 0.06:
            self._put_off(day, self.chance.randrange(15, 60), "reopen", deal)


def simulate(desks: list[Desk], today: date, chance: Random) -> None:
    """Lets every desk work through the year that ends the day before `today`."""
    days = list(days_of_year(today))
    working = [day for day in days if works_on(day)]
    for day in days:
        for desk in desks:
            desk.begin_day()
            if day == working[0]:
                for _ in range(desk.rep.book):
                    desk.take_lead(day)
            if not works_on(day):
                continue
            for _ in range(arrivals(desk.rep.leads / (len(working) - 1), chance)):
                desk.take_lead(day)
            desk.work(day)


def arrivals(mean: float, chance: Random) -> int:
    """A Poisson number: leads come when they come."""
    product, count, floor = chance.random(), 0, 2.718281828459045**-mean
    while product > floor:
        product *= chance.random()
        count += 1
    return count
