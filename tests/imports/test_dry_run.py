"""A dry run tells what the real run tells, whatever the batches: rows of later ones are judged against earlier ones."""

from __future__ import annotations

from random import Random
from typing import Any
from uuid import UUID

import pytest

from services.api.imports import execution
from services.api.imports.attempt import run
from tests.imports.support import SIMPLE, come_due, errors_of, finish, imported, table, upload, worker_of
from tests.imports.test_history import HEADER as HISTORY_HEADER
from tests.imports.test_history import HISTORY, PATH, deals
from tests.imports.test_rows import count
from tests.imports.test_uploads import changed
from tests.support.caller import Caller

Report = tuple[Any, ...]
KEPT = ("opportunities", "customers", "contacts", "members", "products", "processes", "transitions")


async def report(caller: Caller, file: bytes, mapping: dict[str, Any], **fields: Any) -> Report:
    done = await imported(caller, file, mapping, **fields)
    assert done["problem"] is None, done["problem"]
    return (
        done["status"],
        done["rows_read"],
        done["rows_imported"],
        done["rows_failed"],
        await errors_of(caller, done),
    )


async def both(caller: Caller, file: bytes, mapping: dict[str, Any], **fields: Any) -> Report:
    """What the dry run reports, which is what the real run after it does; the dry one leaves nothing."""
    before = [await count(caller, f"sales.{name}") for name in KEPT]
    dry = await report(caller, file, mapping, dry_run="true", **fields)
    assert [await count(caller, f"sales.{name}") for name in KEPT] == before
    assert dry == await report(caller, file, mapping, **fields)
    return dry


async def test_a_third_batch_that_refers_to_the_first(admin: Caller) -> None:
    """4,500 rows in batches of 2,000."""
    rows = [f"d{n},Deal {n},Customer {n % 50},Rep {n % 3},{n},Sign,2026-01-02," for n in range(1, 4_495)]
    late = (
        "d1,Deal 1,Customer 1,Rep 1,1,Talk,2026-01-02,",  # goes back over an irreversible milestone
        "d2,Deal 2,Customer 2,Rep 1,1,Sign,2026-01-02,",  # another owner
        "d3,Deal 3,Customer 9,Rep 0,1,Sign,2026-01-02,",  # another customer
        "d4,Renamed,Customer 4,Rep 1,1,Sign,2026-01-02,",
        "d5,Deal 5,Customer 5,Rep 2,1,Won,2026-01-02,2026-01-09",
        "d5,Deal 5,Customer 5,Rep 2,1,Talk,2026-01-02,",  # what the row before it has won
    )
    found = await both(admin, table(*rows, *late), SIMPLE)
    assert found[:4] == ("partially_failed", 4_500, 4_496, 4)
    assert found[4] == [
        (4_495, "/stage", "milestone_irreversible"),
        (4_496, "/agent", "immutable"),
        (4_497, "/account", "immutable"),
        (4_500, "/stage", "milestone_irreversible"),
    ]


async def test_a_name_that_two_earlier_batches_gave_to_two(admin: Caller) -> None:
    mapping = changed(SIMPLE, {"external_id": "number", "name": "account"}, "customer")
    head = "id,name,number,account,agent,amount,stage,talked,closed"
    rows = [f"{n},Deal,{number},Acme,Ann Lee,1,Talk,," for n, number in enumerate(("7", "8", "7", ""))]
    found = await both(admin, table(*rows, header=head), mapping, import_batch=1)
    assert found[4] == [(4, "/number", "ambiguous_reference")]


@pytest.mark.parametrize("mode", ["skip", "report"])
async def test_twins_in_different_batches(admin: Caller, mode: str) -> None:
    mapping = {
        "kind": "customers", "source": "test", "duplicates": mode,
        "fields": {"external_id": "id", "name": "name", "phone": "phone"},
    }  # fmt: skip
    rows = (
        "1,北方重工有限公司,",
        "2,Acme,13800138000",
        "3,北方重工,",
        "4,Beta,",
        "5,Acme Ltd,",
        "6,Gamma,13800138000",
        "7,Delta,",
    )
    found = await both(admin, table(*rows, header="id,name,phone"), mapping, import_batch=2)
    code = "duplicate" if mode == "skip" else "possible_duplicate"
    assert found[4] == [(3, "", code), (5, "", code), (6, "", code)]


async def test_a_history_spread_over_batches(admin: Caller) -> None:
    await deals(admin, "D1", "D2")
    other = "x,D2,lose,,2026-01-05,price,"
    wrong = "y,D1,passed,sign,2026-03-01,,"
    file = table(*PATH[:3], other, *PATH[3:], other, wrong, header=HISTORY_HEADER)
    found = await both(admin, file, HISTORY, import_batch=2)
    assert found[4] == [(10, "/what", "transition_not_allowed")]


STAGES = ("Talk,,", "Offer,2026-01-02,", "Sign,2026-01-02,", "Won,2026-01-02,2026-01-09", "Lost,2026-01-02,2026-01-09")


@pytest.mark.parametrize("seed", range(6))
async def test_rows_at_random(admin: Caller, seed: int) -> None:
    """Keys that come again, in whatever batches, with customers, owners and stages that may and may not be."""
    random = Random(seed)

    def row() -> str:
        name = "" if random.random() < 0.05 else "Deal"
        who = f"Customer {random.randrange(3)},Rep {random.randrange(2)}"
        return f"k{random.randrange(12)},{name},{who},{random.randrange(5)},{random.choice(STAGES)}"

    file = table(*(row() for _ in range(60)))
    found = await both(admin, file, SIMPLE, import_batch=random.choice((1, 2, 5, 17)))
    assert {"immutable", "milestone_irreversible"} & {code for _, _, code in found[4]}


async def test_a_dry_run_that_is_killed_goes_on_as_if_it_had_not_been(
    admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (
        "1,Deal,Acme,Ann Lee,1,Sign,2026-01-02,", "2,,Acme,Ann Lee,1,Talk,,", "3,Deal,Acme,Ann Lee,1,Talk,,",
        "1,Deal,Acme,Ann Lee,1,Talk,,", "4,Deal,Acme,Ann Lee,1,Talk,,", "3,Deal,Acme,Bo Wu,1,Talk,,",
    )  # fmt: skip
    queued = (await upload(admin, table(*rows), dry_run="true")).json()
    real, batches = execution.Execution._report, 0

    async def killed(self: Any, *given: Any) -> Any:
        nonlocal batches
        batches += 1
        if batches == 2:
            raise RuntimeError("killed")
        return await real(self, *given)

    monkeypatch.setattr(execution.Execution, "_report", killed)
    left = await finish(admin, queued["id"], import_batch=2)
    assert (left["status"], left["rows_read"]) == ("running", 2)
    monkeypatch.undo()
    await come_due(admin, queued["id"])
    # Batches of another size as well.
    async with worker_of(admin, import_batch=3) as worker:
        assert await run(worker, admin.workspace_id, UUID(queued["id"]))
    done = await admin.ok("GET", f"/v1/imports/{queued['id']}")
    assert (done["status"], done["rows_read"], done["rows_imported"]) == ("partially_failed", 6, 3)
    assert [(row, code) for row, _, code in await errors_of(admin, done)] == [
        (2, "required"), (4, "milestone_irreversible"), (6, "immutable"),
    ]  # fmt: skip


async def test_rows_of_earlier_batches_do_not_stay_on_disk(admin: Caller, tmp_path: Any) -> None:
    import tempfile

    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path)
    try:
        await imported(admin, table("1,Deal,Acme,Ann Lee,1,Talk,,"), dry_run="true")
    finally:
        tempfile.tempdir = before
    assert list(tmp_path.iterdir()) == []
