"""A backup loaded into another cluster: cursors of a sync from before it are refused, those from after it go on."""

from __future__ import annotations

import pytest

from services.api import sync
from shared.db import sql
from tests.support.caller import Caller
from tests.support.synced import Copy

# What the cluster said of itself where the backup was made: another number, with transactions that go on as here.
ELSEWHERE = {
    "SNAPSHOT": sql(
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest,"
        " pg_current_xact_id()::text::bigint AS following, '1' AS cluster"
    ),
    "CLUSTER": sql("SELECT '1'"),
}


async def refused(copy: Copy) -> bool:
    response = await copy.caller.get(f"/v1/{copy.resource}:sync", params={"cursor": copy.cursor})
    return (response.status_code, response.json()["code"]) == (410, "sync_expired")


async def test_cursors_of_another_cluster_are_refused(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [(await admin.make_customer(name))["id"] for name in ("A", "B", "C")]
    whole, halfway = Copy(admin, "customers"), Copy(admin, "customers", limit=1)
    with monkeypatch.context() as there:
        for name, query in ELSEWHERE.items():
            there.setattr(sync, name, query)
        assert await whole.follow() == made
        assert await halfway.page()
        assert await halfway.page()
        assert await whole.at_rest()
    assert await refused(whole)
    assert await refused(halfway)
    # Both begin again, and are told of everything.
    for copy in (whole, halfway):
        copy.cursor = None
        assert await copy.follow() == made
        assert await copy.at_rest()


async def test_a_cursor_of_numbers_yet_to_come_is_refused(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cluster, set back to an earlier time."""
    copy = Copy(admin, "customers")
    with monkeypatch.context() as later:
        later.setattr(
            sync,
            "SNAPSHOT",
            sql(
                "SELECT 1000000000::bigint AS oldest, 1000000001::bigint AS following,"
                " system_identifier::text AS cluster FROM pg_control_system()"
            ),
        )
        await copy.follow()
    assert await refused(copy)
