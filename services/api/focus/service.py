"""The ranked seats, their history, and how the reps stand. Nothing here writes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from services.api.errors import Forbidden, NotFound
from services.api.expand import Asked, check_fields
from services.api.focus import capacity, queries
from services.api.focus.schemas import WITHIN, FocusFilters, MoveFilters, empty_counts
from services.api.focus.views import SEAT_FIELDS, FocusParams, as_wished
from services.api.pagination import Cursors, ListParams, PageRequest, binding_of, page_body
from services.api.reasons.facts import Situation
from services.api.reasons.judged import Judged, criteria_wire, labelled, shown
from services.api.reasons.moves import cause_text
from services.api.reasons.ranked import Usual, reasons
from services.api.wire import money
from shared.catalog.scoring import FLAGS, UNKNOWNS
from shared.catalog.selling import CLASS_CODES
from shared.db import Row, Tx
from shared.tenancy import Principal, Reach


def bands_of(params: FocusFilters) -> list[str]:
    """The bands asked for; without a wish all that have a rank."""
    if params.band is not None:
        return [params.band]
    bands = list(WITHIN)
    return bands[: bands.index(params.within or "backlog") + 1]


async def seats(tx: Tx, principal: Principal, params: FocusParams, cursors: Cursors, language: str) -> dict[str, Any]:
    """One page of a rep's seats, by rank, each with its reasons; raises NotFound for a rep out of reach."""
    check_fields(params.fields, SEAT_FIELDS)
    owner_id = params.owner_id or principal.member_id
    owner = await tx.row(queries.OWNER, owner_id=owner_id) if principal.may_see_owner(owner_id) else None
    if owner is None:
        raise NotFound("There is no such member, or their seats are not yours to see.")
    bands = bands_of(params)
    binding = binding_of(principal, "focus", {"owner": owner_id, "bands": bands, "class": params.class_})
    page = PageRequest(params.limit, cursors.read(binding, params.cursor, int) if params.cursor else None)
    given = page.values()
    if params.class_ is not None:
        given["class_code"] = CLASS_CODES.index(params.class_)
    query = queries.page(params.class_ is not None, page.after is not None)
    rows = await tx.rows(query, owner_id=owner_id, bands=bands, now=tx.now, **given)
    usual = Usual.of(owner)

    def wire(row: Row) -> dict[str, Any]:
        about = Situation(row, tx.now, owner["time_zone"], owner["currency"], language)
        return seat_wire(about, Judged.of(row, owner["models"]), usual)

    body = page_body(rows, page, wire, lambda row: cursors.make(binding, row["rank"], row["id"]))
    if params.fields or params.expand:
        asked = Asked(tx, principal, language)
        body["data"] = await as_wished(asked, params, owner_id, rows[: page.limit], body["data"])
    standing = {**load_wire(owner), "currency": owner["currency"], "as_of": tx.now, "pending": owner["pending"]}
    return {**body, "owner_id": owner_id, **standing}


def load_wire(row: Row) -> dict[str, Any]:
    """What the last triage found of one rep; before the first one every seat is empty."""
    counts, shortages = row["counts"] or {}, row["shortages"] or {}
    capacities = capacity.in_force(row)
    vacant = shortages.get("vacant", capacities)
    # Whoever administers or manages and holds no seat does not sell, and lacks no customers.
    sells = (row["role"] == "rep" and row["active"]) or counts.get("subjects", 0) > 0
    return {
        "counts": {name: counts.get(name, 0) for name in empty_counts()},
        "capacities": capacities,
        "shortages": {
            "vacant": vacant,
            "lacking_class": shortages.get("lacking_class", {"engage": 0, "track": 0}),
        },
        "base_deficit": {
            "below_capacity": sells and vacant["monitor"] > 0,
            "empty_seats": vacant["monitor"],
            "needed_new_customers": shortages.get("needed_new_customers") if sells else 0,
        },
        "triaged_at": row["triaged_at"],
    }


def seat_wire(about: Situation, judged: Judged | None, usual: Usual) -> dict[str, Any]:
    """One seat as JSON."""
    row, language = about.row, about.language
    is_customer = row["subject_type"] == "customer"
    name, version = (
        ("customer_name", "customer_version") if is_customer else ("opportunity_name", "opportunity_version")
    )
    pin = None
    if row["pin_id"] is not None:
        names = ("id", "kind", "band", "expires_at")
        pin = {field: row[f"pin_{field}"] for field in names}
    return {
        "rank": row["rank"] or None,
        "band": row["band"],
        "class": CLASS_CODES[row["class_code"]],
        "priority": shown(row["priority"]),
        "subject": {"type": row["subject_type"], "id": row["id"], "name": row[name], "version": row[version]},
        "customer": {"id": row["customer_id"], "name": row["customer_name"]},
        "stage": stage_wire(row, language),
        "amount": money(row["amount"], row["currency"]),
        "purchase_date": row["purchase_date"],
        "probability": judged.probability_wire if judged else None,
        "parts": judged.parts_wire if judged else None,
        "criteria": criteria_wire(judged, language),
        "reasons": reasons(about, judged, usual),
        "unknowns": labelled(judged.unknowns, UNKNOWNS, language) if judged else [],
        "flags": labelled(judged.flags, FLAGS, language) if judged else [],
        "next_step": next_step_wire(row),
        "since": row["since"],
        "pinned": pin is not None and pin["band"] == row["band"],
        "pin": pin,
    }


def stage_wire(row: Row, language: str) -> dict[str, Any] | None:
    if row["stage_id"] is None:
        return None
    name = (row["stage_name_zh_hans"] if language == "zh-Hans" else None) or row["stage_name_en"]
    return {"id": row["stage_id"], "key": row["stage_key"], "name": name}


def next_step_wire(row: Row) -> dict[str, Any] | None:
    if row["next_step_on"] is None:
        return None
    return {"title": row["next_step_title"], "due_on": row["next_step_on"]}


async def moves(tx: Tx, principal: Principal, params: MoveFilters, cursors: Cursors, language: str) -> dict[str, Any]:
    """Moves of seats, the newest first; raises NotFound for a rep out of reach."""
    if params.owner_id is not None and not principal.may_see_owner(params.owner_id):
        raise NotFound("There is no such member, or their seats are not yours to see.")
    owners = owners_within_reach(principal) if params.owner_id is None else [params.owner_id]
    shape = {"owner": params.owner_id, "subject": params.subject_id, "since": params.since}
    binding = binding_of(principal, "moves", shape)
    page = PageRequest(params.limit, cursors.read(binding, params.cursor, int) if params.cursor else None)
    query = queries.moves(
        owners is not None, params.subject_id is not None, params.since is not None, page.after is not None
    )
    given = {"owners": owners, "subject_id": params.subject_id, "since": params.since, **page.values()}
    rows = await tx.rows(query, **given)
    return page_body(rows, page, lambda row: move_wire(row, language), lambda row: cursors.make(binding, 0, row["id"]))


def owners_within_reach(principal: Principal) -> list[UUID] | None:
    """The members whose seats the caller sees; None for all."""
    if principal.reach is Reach.ALL:
        return None
    return list(principal.owner_ids) if principal.reach is Reach.TEAM else [principal.member_id]


def move_wire(row: Row, language: str) -> dict[str, Any]:
    cause = row["cause"]
    by = cause.get("by")
    return {
        "id": row["id"],
        "owner_id": row["owner_id"],
        "subject": {"type": row["subject_type"], "id": row["subject_id"], "name": row["subject_name"]},
        "from": row["from_band"],
        "to": row["to_band"],
        "cause": {
            "code": cause["code"],
            "text": cause_text(cause, row["by_name"], language),
            "by": by and {"type": by["type"], "id": by["id"], "name": row["by_name"]},
            "event": cause.get("event"),
            "event_id": cause.get("event_id"),
            "request_id": cause.get("request_id"),
        },
        "recorded_at": row["recorded_at"],
    }


async def overview(tx: Tx, principal: Principal, params: ListParams, cursors: Cursors) -> dict[str, Any]:
    """How each rep within reach stands (D9.8)."""
    if principal.reach is Reach.OWN:
        raise Forbidden("The overview is a manager's.")
    owners = owners_within_reach(principal)
    binding = binding_of(principal, "focus_overview", {})
    page = PageRequest(params.limit, cursors.read(binding, params.cursor, str) if params.cursor else None)
    rows = await tx.rows(queries.overview(owners is not None, page.after is not None), owners=owners, **page.values())
    return page_body(rows, page, rep_wire, lambda row: cursors.make(binding, row["name"], row["id"]))


def rep_wire(row: Row) -> dict[str, Any]:
    return {"owner_id": row["id"], "name": row["name"], **load_wire(row), "neglected": row["neglected"]}
