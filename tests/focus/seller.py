"""A rep with opportunities of different worth, made over HTTP, for the tests of the triage."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conftest import Servers
from tests.support.caller import Caller
from tests.support.scoring import drain

TODAY = datetime.now(UTC).date()
# The stage of the shipped process from which class C is evidenced, and how many milestones lie before it.
MILESTONES_TO_ENGAGE = 3


@dataclass
class Seller:
    """A rep, the admin of the workspace, and the opportunities made so far by name."""

    admin: Caller
    rep: Caller
    servers: Servers
    made: dict[str, str] = field(default_factory=dict)

    async def opportunity(self, name: str, amount: int, *, engaging: bool = True, **fields: Any) -> str:
        """An opportunity whose priority follows its amount; engaging ones stand where class C is evidenced."""
        customer = await self.rep.make_customer(f"Customer of {name}")
        body = {
            "name": name,
            "amount": {"amount": f"{amount}.00", "currency": "CNY"},
            "margin_rate": 0.3,
            "purchase_date": (TODAY + timedelta(days=120)).isoformat(),
            "purchase_date_firmness": "stated",
            **fields,
        }
        made = await self.rep.make_opportunity(customer["id"], **body)
        for _ in range(MILESTONES_TO_ENGAGE if engaging else 0):
            assert (await self.rep.transition(made["id"], "pass")).status_code == 200
        self.made[name] = made["id"]
        return str(made["id"])

    async def drain(self) -> None:
        await drain(self.servers, self.admin.workspace_id)

    async def focus(self, caller: Caller | None = None, **params: Any) -> dict[str, Any]:
        page: dict[str, Any] = await (caller or self.rep).ok("GET", "/v1/focus", params={"limit": 200, **params})
        return page

    async def names(self, band: str, caller: Caller | None = None, **params: Any) -> list[str]:
        """Names of the subjects in one band, by rank."""
        return [seat["subject"]["name"] for seat in (await self.focus(caller, band=band, **params))["data"]]

    async def moves(self, name: str, caller: Caller | None = None) -> list[dict[str, Any]]:
        """Moves of one subject, the newest first."""
        page = await (caller or self.rep).ok("GET", "/v1/focus/moves", params={"subject_id": self.made[name]})
        found: list[dict[str, Any]] = page["data"]
        return found


async def make_seller(admin: Caller, servers: Servers, count: int, *, engaging: bool = True) -> Seller:
    """A rep with `count` opportunities, "01" the most valuable, judged and seated."""
    seller = Seller(admin, await admin.member("rep", "Rep"), servers)
    for place in range(1, count + 1):
        await seller.opportunity(f"{place:02}", 1_000_000 - place * 25_000, engaging=engaging)
    await seller.drain()
    return seller


def in_days(days: float) -> str:
    """The moment so many days from now, as the api takes it."""
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


def pin_of(subject_id: Any, **fields: Any) -> dict[str, Any]:
    """A pin of a subject; `...` leaves a field out."""
    body = {
        "kind": "pin",
        "subject_type": "opportunity",
        "subject_id": str(subject_id),
        "band": "engage",
        "reason": "promised to Mr Li",
        "expires_at": in_days(10),
    }
    return {name: value for name, value in {**body, **fields}.items() if value is not ...}
