"""`sixteen focus`: who deserves attention now, in order, and why."""

from enum import StrEnum
from typing import Annotated

import typer

from deploy.cli.connection import get_json, open_client
from deploy.cli.focus_table import seat_lines, seats_table
from deploy.cli.output import JsonSwitch, print_json, stderr, stdout


class Band(StrEnum):
    """The bands that can be asked for."""

    ENGAGE = "engage"
    TRACK = "track"
    MONITOR = "monitor"
    BACKLOG = "backlog"


def register(app: typer.Typer) -> None:
    app.command("focus")(focus)


def focus(
    owner: Annotated[str | None, typer.Argument(help="Id of the rep; without it, the caller's own seats.")] = None,
    band: Annotated[Band, typer.Option(help="Which band to list.")] = Band.ENGAGE,
    limit: Annotated[int, typer.Option(min=1, max=400, help="How many seats at most.")] = 16,
    json: JsonSwitch = False,
) -> None:
    """Print the ranked seats of a rep, with their class, priority and reasons."""
    with open_client() as client:
        parameters: dict[str, str] = {"band": band.value, "limit": str(limit)}
        if owner:
            parameters["owner_id"] = owner
        page = get_json(client, "/v1/focus", params=parameters)
    if json:
        print_json(page)
        return
    seats = seat_lines(page["data"])
    stdout.print(seats_table(seats, title=f"{band.value}: {len(seats)} seats"))
    if not seats:
        stderr.print("No seats in this band yet.")
