"""What stands in an exported file, for whom, and that it can be taken back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.api.exports.columns import KINDS
from services.api.exports.writers import as_text
from services.api.imports.kinds import check_mapping
from services.api.imports.mapping import Mapping
from tests.exports.support import content, exported, rows_of
from tests.imports.support import SIMPLE, imported, table
from tests.support.caller import Caller

FORMATS = ("csv", "xlsx", "ndjson")
DEALS = (
    "1,Talking,Acme,Ann Lee,,Talk,,", "2,Offered,Acme,Ann Lee,7,Offer,2026-01-02,",
    '3,Won,李明公司,Ann Lee,"1,234.5",Won,2026-01-02,2026-01-09',
    "4,Lost,Beta,Bo Wu,12.3456,Lost,2026-01-02,2026-02-01",
)  # fmt: skip
HOSTILE = (
    "=1+1",
    "+86 21 5555",
    "-2",
    "@SUM(A1)",
    "'=x",
    "''-y",
    "tab\tin it",
    'a "quoted", text',
    "line\nbreak",
    "'plain",
    "'\n=1+1",
    "\uff1d1\uff0b1",
    "\uff0b86",
    "'\uff0d2",
    "\uff20SUM(A1)",
)


async def _scene(admin: Caller) -> None:
    await imported(admin, table(*DEALS), SIMPLE)
    customer = (await admin.ok("GET", "/v1/customers"))["data"][0]
    body = {"customer_id": customer["id"], "name": "Li Ming", "birthday": "1990-02-03"}
    contact = await admin.ok("POST", "/v1/contacts", body)
    body = {"customer_id": customer["id"], "kind": "call", "occurred_at": "2026-01-05T08:00:00Z", "minutes": 12}
    await admin.ok("POST", "/v1/interactions", {**body, "contact_ids": [contact["id"]]})


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_in_every_format(admin: Caller, kind: str, format_: str) -> None:
    await _scene(admin)
    done = await exported(admin, kind, format_)
    assert done["status"] == "succeeded", done
    rows = rows_of(format_, await content(admin, done))
    assert len(rows) == done["rows_written"]
    assert len(rows) == {"opportunities": 4, "customers": 3, "transitions": 6, "tasks": 0, "products": 0}.get(kind, 1)
    if kind == "opportunities":
        won = next(row for row in rows if row["external_id"] == "3")
        assert (won["customer_name"], won["owner_name"], won["standing"]) == ("李明公司", "Ann Lee", "won")
        assert won["passed_at.talk"] == "2026-01-02T00:00:00Z"
        assert float(won["amount"]) == 1234.5


@pytest.mark.parametrize("format_", FORMATS)
async def test_formulas_are_texts_and_come_back_as_they_were(admin: Caller, other: Caller, format_: str) -> None:
    for text in HOSTILE:
        await admin.make_customer(name=f"Customer {HOSTILE.index(text)}", notes=text)
    done = await exported(admin, "customers", format_)
    data = await content(admin, done)
    written = sorted(str(row["notes"]) for row in rows_of(format_, data))
    if format_ == "ndjson":
        assert written == sorted(HOSTILE)
    else:
        assert [text for text in written if text[:1] in "=+-@\n\uff1d\uff0b\uff0d\uff20"] == []
        assert {"'=1+1", "'+86 21 5555", "''=x", "'''-y", "'plain"} <= set(written)
    mapping = await admin.ok("GET", f"/v1/exports/{done['id']}/mapping")
    back = await imported(other, data, mapping, name=f"file.{format_}")
    assert back["status"] == "succeeded", back
    notes = [row["notes"] for row in (await other.ok("GET", "/v1/customers"))["data"]]
    assert sorted(notes) == sorted(text.strip() for text in HOSTILE)


@pytest.mark.parametrize("first", "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
def test_whatever_begins_a_formula_is_quoted(first: str) -> None:
    assert as_text(f"{first}1") == f"'{first}1"


_SAME: dict[str, tuple[str, ...]] = {
    "products": ("name", "list_price", "active"),
    "customers": ("name", "kind", "tier", "phone"),
    "contacts": ("name", "birthday", "is_coach"),
    "opportunities": (
        "name", "status", "stage_position", "amount", "won_at", "closed_at", "close_reason", "occurred_at",
    ),
    "interactions": ("kind", "minutes", "occurred_at"),
}  # fmt: skip


async def _facts(caller: Caller, kind: str) -> list[str]:
    page = await caller.ok("GET", f"/v1/{kind}", params={"limit": 200})
    return sorted(str([row[name] for name in _SAME[kind]]) for row in page["data"])


@pytest.mark.parametrize("format_", FORMATS)
async def test_what_is_exported_can_be_taken_back(admin: Caller, other: Caller, format_: str) -> None:
    """All kinds into another workspace, in the order of the guide; and once more, which changes nothing."""
    await _scene(admin)
    await admin.ok("POST", "/v1/products", {"name": "GTX Pro", "list_price": {"amount": "9.90", "currency": "CNY"}})
    # The other workspace follows the same process.
    await imported(other, table("9,Any,Any,,,Talk,,"), SIMPLE)
    own = {kind: await _facts(other, kind) for kind in _SAME}
    for turn in range(2):
        for kind in _SAME:
            done = await exported(admin, kind, format_)
            mapping = await admin.ok("GET", f"/v1/exports/{done['id']}/mapping")
            back = await imported(other, await content(admin, done), mapping, name=f"file.{format_}")
            assert (back["status"], back["rows_imported"]) == ("succeeded", done["rows_written"]), (kind, back)
            assert await _facts(other, kind) == sorted([*await _facts(admin, kind), *own[kind]]), (kind, turn)
    people = (await other.ok("GET", "/v1/contacts"))["data"]
    calls = (await other.ok("GET", "/v1/interactions"))["data"]
    assert [row["contact_ids"] for row in calls] == [[row["id"] for row in people]]


async def test_filters_are_those_of_the_list(admin: Caller) -> None:
    await _scene(admin)
    page = await admin.ok("GET", "/v1/opportunities", params={"status": "won"})
    done = await exported(admin, "opportunities", "ndjson", status="won")
    assert [row["id"] for row in rows_of("ndjson", await content(admin, done))] == [row["id"] for row in page["data"]]
    some = await exported(admin, "customers", "ndjson", name_prefix="AC")
    assert [row["name"] for row in rows_of("ndjson", await content(admin, some))] == ["Acme"]


async def test_deleted_records_only_where_asked_for(admin: Caller) -> None:
    made = await admin.make_customer(name="Gone")
    await admin.ok("DELETE", f"/v1/customers/{made['id']}")
    assert (await exported(admin, "customers"))["rows_written"] == 0
    assert (await exported(admin, "customers", include_deleted=True))["rows_written"] == 1


async def test_a_manager_gets_what_their_team_has(admin: Caller) -> None:
    ann = await admin.member("rep", "Ann Lee")
    await admin.member("rep", "Bo Wu")
    manager = await admin.manager_of(ann)
    await imported(admin, table(*DEALS), SIMPLE)
    seen: dict[str, Any] = {}
    for kind in ("opportunities", "transitions", "customers"):
        done = await exported(manager, kind, "ndjson")
        seen[kind] = rows_of("ndjson", await content(manager, done))
    assert {row["owner_name"] for row in seen["opportunities"]} == {"Ann Lee"}
    assert {row["opportunity_name"] for row in seen["transitions"]} <= {row["name"] for row in seen["opportunities"]}
    assert "Beta" not in {row["name"] for row in seen["customers"]}


async def test_attributes_are_columns(admin: Caller) -> None:
    await admin.ok(
        "POST", "/v1/attributes", {"subject": "customer", "key": "size", "kind": "number", "label": {"en": "Size"}}
    )
    await admin.make_customer(name="Sized", attributes={"size": 12.5})
    done = await exported(admin, "customers", "ndjson")
    assert rows_of("ndjson", await content(admin, done))[0]["attributes.size"] == 12.5
    mapping = await admin.ok("GET", f"/v1/exports/{done['id']}/mapping")
    assert mapping["attributes"] == {"size": "attributes.size"}


@pytest.mark.parametrize("kind", ["customers", "contacts", "opportunities", "interactions", "transitions"])
async def test_no_column_that_a_narrowed_key_may_not_read(admin: Caller, kind: str) -> None:
    """Names and addresses of others are left out; the mapping does without, and the ids stay."""
    await _scene(admin)
    own = {"transitions": "opportunities"}.get(kind, kind)
    scopes = ["exports:read", "exports:write", f"{own}:read"]
    key = await admin.ok("POST", "/v1/api-keys", {"name": "n", "scopes": scopes})
    narrow = replace(admin, key=key["key"])
    done = await exported(narrow, kind)
    columns = set(rows_of("csv", await content(narrow, done))[0])
    foreign = {f"{base}_{what}" for base in ("owner", "member", "assignee") for what in ("name", "email")}
    if kind != "customers":
        foreign |= {"customer_name", "product_name"}
    assert columns & foreign == set()
    assert set(KINDS[kind].columns) - columns <= foreign | {"opportunity_name"}
    assert ("opportunity_name" in columns) == (kind == "transitions")
    if kind != "transitions":
        mapping = await narrow.ok("GET", f"/v1/exports/{done['id']}/mapping")
        named = [mapping.get(section, {}) for section in ("customer", "owner", "product")]
        assert {column for each in named for column in each.values()} & foreign == set()
        assert check_mapping(Mapping.model_validate(mapping)) == []
    whole = await exported(admin, kind)
    refused = await narrow.request("GET", f"/v1/exports/{whole['id']}/content")
    assert refused.status_code == 403, refused.text
