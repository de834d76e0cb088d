"""What imports ask: duplicates of thousands of rows at once, and rows of what was merged away."""

from __future__ import annotations

from typing import Any

from services.api.duplicates.candidates import Probe
from services.api.duplicates.service import find_for_many
from shared.tenancy import Principal, Reach
from tests.duplicates.test_keys import CSV, MAPPING
from tests.duplicates.test_merge import merge
from tests.imports.support import errors_of, imported
from tests.support.caller import Caller


def principal_of(caller: Caller, reach: Reach = Reach.ALL) -> Principal:
    return Principal(caller.workspace_id, caller.member_id, "admin", reach, frozenset())


async def test_many_rows_are_compared_in_two_statements(admin: Caller) -> None:
    one = await admin.make_customer("Firm 7 Ltd")
    two = await admin.make_customer("Somebody", phone="13800000009")
    probes = [Probe(f"Firm {n}", f"138{n:08}") for n in range(500)]
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        found = await find_for_many(tx, principal_of(admin), "customer", probes)
        assert tx.statements == 2
        itself = [Probe("Firm 7", exclude=frozenset((found[7][0].id,)))]
        assert await find_for_many(tx, principal_of(admin), "customer", itself) == [[]]
        assert await find_for_many(tx, principal_of(admin), "customer", []) == []
    alike = {place: [str(match.id) for match in matches] for place, matches in enumerate(found) if matches}
    assert alike == {7: [one["id"]], 9: [two["id"]]}
    assert (found[7][0].score, found[7][0].within_reach) == (0.8, True)


async def test_what_is_out_of_reach_is_likely_or_not_told(admin: Caller) -> None:
    rep = await admin.member("rep")
    await admin.make_customer("Acme Ltd", website="acme.example")
    probes = [Probe("Acme"), Probe("Apex", website="acme.example")]
    async with admin.state.database.transaction(admin.workspace_id) as tx:
        found = await find_for_many(tx, principal_of(rep, Reach.OWN), "customer", probes)
    assert [[match.within_reach for match in matches] for matches in found] == [[False], []]


async def test_a_row_of_what_was_merged_away_does_not_bring_it_back(admin: Caller) -> None:
    """Its external id stays an alias: an import may change the survivor or refuse the row, and doubles nothing."""
    await imported(admin, CSV.encode(), MAPPING)
    rows: list[Any] = (await admin.ok("GET", "/v1/customers?sort=name"))["data"]
    by_key = {row["external_id"]: row for row in rows}
    await merge(admin, by_key["2"], by_key["1"])
    done = await imported(admin, CSV.replace("north.example", "south.example").encode(), MAPPING)
    assert (await admin.get(f"/v1/customers/{by_key['1']['id']}")).status_code == 410
    assert [row["id"] for row in (await admin.ok("GET", "/v1/customers"))["data"]] == [by_key["2"]["id"]]
    refused = await errors_of(admin, done)
    assert [row for row, _, _ in refused] in ([], [1], [2])
