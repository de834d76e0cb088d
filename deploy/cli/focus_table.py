"""The ranked seats of an owner: fetched from the api, shown as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from rich.table import Table
from rich.text import Text

MOST_SEATS = 16
REASONS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class SeatLine:
    """One seat as a person reads it. `priority` is money per hour of the rep's time."""

    rank: int
    band: str
    subject_id: str
    name: str
    customer: str
    customer_class: str
    priority: str
    reasons: tuple[str, ...]
    pinned: bool


async def fetch_seats(base_url: str, api_key: str, owner_id: str, band: str = "engage") -> list[SeatLine]:
    """The first seats of `owner_id` in `band`, in order. Raises `httpx.HTTPError`."""
    headers = {"Authorization": f"Bearer {api_key}"}
    async with httpx.AsyncClient(base_url=base_url, headers=headers, timeout=30, trust_env=False) as client:
        response = await client.get("/v1/focus", params={"owner_id": owner_id, "band": band, "limit": str(MOST_SEATS)})
        response.raise_for_status()
        return seat_lines(response.json()["data"])


async def focus_table(base_url: str, api_key: str, owner_id: str) -> Table:
    """The engage band of `owner_id` as a table. Raises `httpx.HTTPError`."""
    return seats_table(await fetch_seats(base_url, api_key, owner_id))


def seat_lines(seats: Sequence[dict[str, Any]]) -> list[SeatLine]:
    """Seats as the api sends them, reduced to what is shown; what is missing stays blank."""
    return [_seat_line(seat, place) for place, seat in enumerate(seats, 1)]


def _seat_line(seat: dict[str, Any], place: int) -> SeatLine:
    subject = seat.get("subject") or {}
    customer = seat.get("customer") or {}
    return SeatLine(
        rank=int(seat.get("rank") or place),
        band=str(seat.get("band") or ""),
        subject_id=str(subject.get("id") or ""),
        name=str(subject.get("name") or ""),
        customer=str(customer.get("name") or ""),
        customer_class=str(seat.get("class") or ""),
        priority=_priority(seat.get("priority")),
        reasons=tuple(_reason(reason) for reason in seat.get("reasons") or ()),
        pinned=bool(seat.get("pinned")),
    )


def _priority(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("amount") or value.get("value")
    try:
        return f"{float(value):,.0f}"
    except (TypeError, ValueError):
        return "unknown"


def _reason(reason: Any) -> str:
    return str(reason.get("text") or reason.get("code") or "") if isinstance(reason, dict) else str(reason)


def seats_table(seats: Sequence[SeatLine], title: str = "The 16 that matter now") -> Table:
    """A table with a row for each seat."""
    table = Table(title=title, title_justify="left", show_lines=False)
    table.add_column("#", justify="right")
    table.add_column("Opportunity", overflow="fold", ratio=3)
    table.add_column("Customer", overflow="fold", ratio=2)
    table.add_column("Class", justify="center")
    table.add_column("Priority/h", justify="right")
    table.add_column("Why", overflow="fold", ratio=5)
    for seat in seats:
        # As text, not markup: names are data and may hold square brackets.
        table.add_row(
            str(seat.rank),
            Text(seat.name),
            Text(seat.customer),
            seat.customer_class,
            seat.priority,
            Text("; ".join([*(["pinned"] if seat.pinned else []), *seat.reasons[:REASONS_SHOWN]])),
        )
    return table
