"""`sixteen demo`: a simulated year of a sales team, in a workspace of its own."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.cli.connection import local_facts
from deploy.cli.database import find_addresses, outages_in_words
from deploy.cli.output import JsonSwitch, print_json, stderr, stdout

if TYPE_CHECKING:
    from deploy.demo.seed import Progress as Tell
    from deploy.demo.seed import Seeded


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    describe: Annotated[
        bool, typer.Option("--describe", help="Only say what the demo contains; change nothing.")
    ] = False,
    json: JsonSwitch = False,
) -> None:
    """Make the demo workspace in a running installation (once), and say what it contains."""
    seeded = None if describe else _make()
    if json:
        made: dict[str, Any] = {} if seeded is None else {
            "created": seeded.created, "api_key": seeded.api_key, "focus_rep_id": seeded.focus_rep_id,
        }  # fmt: skip
        print_json({**made, **_contents()})
        return
    if seeded is not None:
        stdout.print("The demo workspace has been made." if seeded.created else "The demo workspace was there already.")
        stdout.print(f"Admin API key: {seeded.api_key}", soft_wrap=True)
        stdout.print(f"See the 16: SIXTEEN_API_KEY=… sixteen focus {seeded.focus_rep_id}", soft_wrap=True)
    stdout.print(_table())


def _make() -> "Seeded":
    database_url, redis_url = find_addresses()
    with _bar() as tell, outages_in_words():
        return asyncio.run(_seed(database_url, redis_url, tell))


async def _seed(database_url: str, redis_url: str, tell: "Tell") -> "Seeded":
    from deploy.demo.seed import make_demo, open_seeding
    from shared.clock import SystemClock

    database = await open_seeding(database_url, redis_url)
    try:
        known_key = os.environ.get("SIXTEEN_API_KEY") or (local_facts() or {}).get("api_key")
        return await make_demo(database, SystemClock().now(), known_key=known_key, progress=tell)
    finally:
        await database.close()


@contextmanager
def _bar() -> Iterator["Tell"]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr, transient=True) as progress:
        task = progress.add_task("Simulating a year …")
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _contents() -> dict[str, Any]:
    from deploy.demo.cases import CASES
    from deploy.demo.seed import DEMO_WORKSPACE
    from deploy.demo.world import MANAGER, REPS, WORKSPACE_NAME

    people = [MANAGER, *(rep.person for rep in REPS)]
    return {
        "workspace_id": str(DEMO_WORKSPACE),
        "workspace": WORKSPACE_NAME,
        "members": [{"name": person.name, "role": person.role, "email": person.email} for person in people],
        "cases": [{"rule": case.rule, "record": case.record, "shows": case.shows} for case in CASES],
    }


def _table() -> Table:
    contents = _contents()
    table = Table(title=f"{contents['workspace']}: where each rule can be seen", title_justify="left")
    for heading in ("Rule", "Record", "Shows"):
        table.add_column(heading, overflow="fold")
    for case in contents["cases"]:
        table.add_row(case["rule"], case["record"], case["shows"])
    return table
