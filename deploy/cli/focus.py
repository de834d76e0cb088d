"""`sixteen focus`: who deserves attention now, in order, and why."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from deploy.cli.connection import get_json, open_client
from deploy.cli.focus_table import seat_lines, seats_table
from deploy.cli.output import JsonSwitch, print_json, stderr, stdout
from deploy.cli.owners import find_owner, reps, reps_table


class Band(StrEnum):
    """The bands that can be asked for."""

    ENGAGE = "engage"
    TRACK = "track"
    MONITOR = "monitor"
    BACKLOG = "backlog"


def register(app: typer.Typer) -> None:
    app.command("focus")(focus)


def focus(
    owner: Annotated[
        str | None, typer.Argument(help="Id, name or e-mail of the rep; without it, the caller's own seats.")
    ] = None,
    band: Annotated[Band, typer.Option(help="Which band to list.")] = Band.ENGAGE,
    limit: Annotated[int, typer.Option(min=1, max=400, help="How many seats at most.")] = 16,
    json: JsonSwitch = False,
) -> None:
    """Print the ranked seats of a rep, with their class, priority and reasons."""
    with open_client() as client:
        parameters: dict[str, str] = {"band": band.value, "limit": str(limit)}
        if owner:
            parameters["owner_id"] = find_owner(client, owner)
        page = get_json(client, "/v1/focus", params=parameters)
        # Whoever has no seats, as an administrator, most likely wants to see somebody else's.
        others = reps(client) if not (json or owner or _has_seats(page)) else []
    if json:
        print_json(page)
        return
    if others:
        stdout.print(reps_table(others))
        stderr.print("You have no seats of your own. Ask for a rep's: sixteen focus ID (or NAME, or E-MAIL).")
        return
    seats = seat_lines(page["data"])
    stdout.print(seats_table(seats, title=f"{band.value}: {len(seats)} seats"))
    if not seats:
        stderr.print("No seats in this band yet.")


def _has_seats(page: dict[str, Any]) -> bool:
    """Whether the rep of this page has anything ranked, in whichever band."""
    return bool(page["data"]) or any((page.get("counts") or {}).values())
