"""The whole story of the demo's year: what is simulated, what is told, and a few things the team does together."""

from __future__ import annotations

import hashlib
from datetime import date
from random import Random

from deploy.demo.actions import AddCustomer, HandOver, OpenOpportunity, Share, Story
from deploy.demo.behaviour import Desk, simulate
from deploy.demo.buyers import Buyers, customer_values
from deploy.demo.cases import tell
from deploy.demo.deals import money, opportunity_name
from deploy.demo.names import Names
from deploy.demo.script import Script
from deploy.demo.world import MANAGER, PRODUCTS, QUEUED_LEADS, REPS, local_date, moment

SEED = 16
# After the told records of the evening.
NIGHT = 660
GIVEN_AWAY = 8


def plan_year(today: date, seed: int = SEED) -> Story:
    """The actions of the year that ends the day before `today`, in the order in which they are recorded.

    The same day and seed give the same actions, wherever and however often it is called.
    """
    story = Story()
    buyers = Buyers(Names(Random(f"{seed}/names")))
    desks = [Desk(rep, story, buyers, Random(f"{seed}/{rep.person.key}")) for rep in REPS]
    simulate(desks, today, Random(f"{seed}/leads"))
    script = Script(today, buyers, Random(f"{seed}/cases"))
    tell(script)
    story.actions += script.actions
    _queue(story, script, buyers, Random(f"{seed}/queue"))
    _work_together(story, script, desks, Random(f"{seed}/team"))
    # Day by day, and within a day person by person: so a day of one person is written down at once.
    story.actions.sort(key=lambda action: (local_date(action.at), action.actor, action.at))
    return story


def digest(story: Story) -> str:
    """A fingerprint of all facts of the story."""
    return hashlib.sha256("\n".join(map(repr, story.actions)).encode()).hexdigest()


def _queue(story: Story, script: Script, buyers: Buyers, chance: Random) -> None:
    """Leads of the last weeks that nobody has been given yet: customers, and some opportunities."""
    for place in range(QUEUED_LEADS):
        at = moment(script.day(chance.randrange(1, 25)), NIGHT + place)
        buyer = buyers.make(None, chance)
        values = customer_values(buyer, buyers.names, chance)
        story.actions.append(AddCustomer(at, MANAGER.key, buyer.key, values, None))
        if place % 3 == 0:
            product = chance.choice(PRODUCTS)
            facts = {
                "name": opportunity_name(product, buyer, chance),
                "amount": money(product.price, buyer),
                "source": "web",
            }
            story.actions.append(
                OpenOpportunity(at, MANAGER.key, f"q{place}", buyer.key, product.process, product.key, None, facts)
            )


def _work_together(story: Story, script: Script, desks: list[Desk], chance: Random) -> None:
    """The last evening: specialists are called in, and leads that were never called go to somebody else."""
    at = moment(script.day(1), NIGHT + QUEUED_LEADS)
    for desk in desks:
        others = [other.key for other in desks if other is not desk]
        running = [deal for deal in desk.deals if deal.open and deal.price > 600_000]
        for deal in chance.sample(running, min(4, len(running))):
            role = chance.choice(("specialist", "specialist", "collaborator"))
            story.actions.append(Share(at, desk.key, deal.key, chance.choice(others), role))
    marcus = next(desk for desk in desks if desk.key == "marcus.hale")
    uncalled = [buyer for buyer in marcus.leads if not buyer.calls][:GIVEN_AWAY]
    reason = "区域调整 The territories were redrawn"
    story.actions += [HandOver(at, MANAGER.key, buyer.key, "priya.menon", reason) for buyer in uncalled]
