"""Whose seats are meant: a rep by id, name or e-mail, and the list of reps to choose from."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
from rich.table import Table
from rich.text import Text

from deploy.cli.connection import get_json
from deploy.cli.errors import CommandError

PAGE = "200"
MOST_NAMED = 10


def find_owner(client: httpx.Client, wanted: str) -> str:
    """The id of the member that `wanted` names: by id, by e-mail or name, or by a part of one of them.

    Raises `CommandError` when nobody or more than one is meant.
    """
    try:
        return str(UUID(wanted))
    except ValueError:
        found = _named(list(_pages(client, "/v1/members")), wanted.strip().casefold())
    if len(found) == 1:
        return str(found[0]["id"])
    if not found:
        raise CommandError(f"No member is called {wanted}: `sixteen focus` without a name lists the reps.", 2)
    listed = "; ".join(f"{member['name']} <{member['email'] or 'no e-mail'}> {member['id']}" for member in found)
    if len(found) > MOST_NAMED:
        listed = f"{len(found)} members"
    raise CommandError(f"{wanted} may be more than one, give the id or the e-mail: {listed}.", 2)


def _named(members: list[dict[str, Any]], wanted: str) -> list[dict[str, Any]]:
    texts = [[str(member.get(field) or "").casefold() for field in ("email", "name")] for member in members]
    whole = [member for member, known in zip(members, texts, strict=True) if wanted in known]
    return whole or [
        member for member, known in zip(members, texts, strict=True) if wanted and any(wanted in text for text in known)
    ]


def reps(client: httpx.Client) -> list[dict[str, Any]]:
    """How each rep within the caller's reach stands; empty for a caller who sees no others."""
    try:
        return list(_pages(client, "/v1/focus/overview"))
    except CommandError as error:
        if error.status == httpx.codes.FORBIDDEN:
            return []
        raise


def reps_table(found: list[dict[str, Any]]) -> Table:
    """A row for each rep: name, seats taken in each band, id."""
    table = Table(title="Reps", title_justify="left")
    table.add_column("Rep", overflow="fold")
    for band in ("Engage", "Track", "Monitor"):
        table.add_column(band, justify="right")
    table.add_column("Id", no_wrap=True)
    for rep in found:
        counts = rep.get("counts") or {}
        seats = [str(counts.get(band, 0)) for band in ("engage", "track", "monitor")]
        # As text, not markup: names are data and may hold square brackets.
        table.add_row(Text(str(rep.get("name") or "")), *seats, str(rep.get("owner_id") or ""))
    return table


def _pages(client: httpx.Client, path: str) -> Iterator[dict[str, Any]]:
    parameters = {"limit": PAGE}
    while True:
        page = get_json(client, path, params=parameters)
        yield from page["data"]
        if not page.get("next_cursor"):
            return
        parameters["cursor"] = page["next_cursor"]
