"""Who the simulated buyers are: organisations and households, and the people one meets there."""

from __future__ import annotations

from datetime import date
from random import Random

from deploy.demo.actions import Values
from deploy.demo.deals import Buyer
from deploy.demo.names import TITLES, TRADES, Names, email
from deploy.demo.world import Rep

REGIONS = ("east", "south", "west", "north")


class Buyers:
    """Makes buyers, each with a number and a name of its own."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self._count = 0

    def make(self, rep: Rep | None, chance: Random) -> Buyer:
        self._count += 1
        chinese = chance.random() < (rep.chinese if rep else 0.7)
        return Buyer(
            f"c{self._count}",
            self._count,
            chance.choice(TRADES),
            rep.person.key if rep else None,
            chinese,
            household=chance.random() < 0.04,
            dollars=not chinese and chance.random() < 0.3,
        )


def customer_values(buyer: Buyer, names: Names, chance: Random) -> Values:
    """The body of a new customer."""
    chinese = buyer.chinese
    name = names.household(chinese=chinese) if buyer.household else names.company(buyer.trade, chinese=chinese)
    values: Values = {
        "name": name,
        "kind": "household" if buyer.household else "organisation",
        "source": chance.choice(("exhibition", "web", "referral", "directory", "partner")),
    }
    if chance.random() < 0.7:
        values["phone"] = names.phone(chinese=chinese)
    if buyer.household:
        return values
    values["industry"] = buyer.trade.code
    if chance.random() < 0.5:
        values["email"] = email(buyer.number)
    if chance.random() < 0.3:
        values["address"] = names.address(chinese=chinese)
    if chance.random() < 0.25:
        values["tier"] = chance.choices(("core", "key", "normal"), (1, 3, 6))[0]
    if chance.random() < 0.5:
        region = chance.choice(REGIONS) if chinese else "abroad"
        values["attributes"] = {"employees": int(chance.lognormvariate(5, 1)) + 5, "region": region}
    return values


def contact_values(buyer: Buyer, names: Names, chance: Random) -> Values:
    """The body of a new contact."""
    chinese = buyer.chinese
    values: Values = {"name": names.person(chinese=chinese)}
    if chance.random() < 0.6:
        values["phone"] = names.phone(chinese=chinese)
    if buyer.household:
        return values
    function = chance.choices(list(TITLES), (3, 3, 3, 1, 2))[0]
    senior = chance.randrange(2)
    level = ("operational", "managerial")[senior]
    if function == "management" or (function == "technical" and senior):
        level = "executive"
    values |= {
        "function": function,
        "level": level,
        "title": TITLES[function][1 - senior][0 if chinese else 1],
        "email": email(buyer.number, f"p{len(buyer.contacts) + 1}"),
    }
    if chance.random() < 0.4:
        values["personality"] = chance.choice(("peacock", "koala", "owl", "tiger"))
    if chance.random() < 0.3:
        born = date(chance.randrange(1965, 2000), chance.randrange(1, 13), chance.randrange(1, 29))
        values["birthday"] = born.isoformat()
    return values
