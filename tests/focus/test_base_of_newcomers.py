"""Who was never triaged is, before owning anything: what a newcomer lacks is known within moments."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Servers
from tests.support.caller import Caller
from tests.support.scoring import drain

NOT_ASKED = {"below_capacity": False, "empty_seats": 400, "needed_new_customers": 0}


async def deficit(admin: Caller, member_id: Any) -> tuple[dict[str, Any], bool]:
    """What the base lacks, and whether the member was triaged."""
    page = await admin.ok("GET", f"/v1/focus?owner_id={member_id}")
    return page["base_deficit"], page["triaged_at"] is not None


async def test_a_new_rep_is_told_how_many_customers_it_takes(admin: Caller, servers: Servers) -> None:
    rep = await admin.ok("POST", "/v1/members", {"name": "New", "role": "rep"})
    assert (await admin.ok("GET", f"/v1/focus?owner_id={rep['id']}"))["pending"] is True
    await drain(servers, admin.workspace_id)
    found = {"below_capacity": True, "empty_seats": 400, "needed_new_customers": 400}
    assert await deficit(admin, rep["id"]) == (found, True)
    (shown,) = [each for each in (await admin.ok("GET", "/v1/focus/overview"))["data"] if each["owner_id"] == rep["id"]]
    assert shown["base_deficit"] == found


@pytest.mark.parametrize(
    ("made", "change"),
    [({"role": "viewer"}, {"role": "rep"}), ({"role": "rep", "active": False}, {"active": True})],
)
async def test_whoever_comes_to_sell_is_triaged(
    admin: Caller, servers: Servers, made: dict[str, Any], change: dict[str, Any]
) -> None:
    active = made.pop("active", True)
    member = await admin.ok("POST", "/v1/members", {"name": "New", **made})
    if not active:
        await admin.ok("PATCH", f"/v1/members/{member['id']}", {"active": False})
    elif made["role"] == "viewer":
        await drain(servers, admin.workspace_id)
        assert await deficit(admin, member["id"]) == (NOT_ASKED, False)
    await admin.ok("PATCH", f"/v1/members/{member['id']}", change)
    await drain(servers, admin.workspace_id)
    found, triaged = await deficit(admin, member["id"])
    assert (found["needed_new_customers"], triaged) == (400, True)


@pytest.mark.parametrize("role", ["admin", "manager"])
async def test_who_does_not_sell_is_asked_for_no_customers_until_they_do(
    admin: Caller, servers: Servers, role: str
) -> None:
    member = await admin.ok("POST", "/v1/members", {"name": "Boss", "role": role})
    await drain(servers, admin.workspace_id)
    assert await deficit(admin, member["id"]) == (NOT_ASKED, True)
    await admin.make_customer(owner_id=member["id"])
    await drain(servers, admin.workspace_id)
    found, _ = await deficit(admin, member["id"])
    assert (found["below_capacity"], found["empty_seats"]) == (True, 399)
    assert found["needed_new_customers"] > 0


async def test_the_first_administrator_is_asked_for_none_without_a_triage(admin: Caller) -> None:
    assert await deficit(admin, admin.member_id) == (NOT_ASKED, False)
