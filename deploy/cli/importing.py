"""`sixteen import`: a file with its mapping, imported by the running installation, with progress."""

import time
import uuid
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from deploy.cli.connection import get_json, open_client, request
from deploy.cli.errors import CommandError
from deploy.cli.output import JsonSwitch, print_json, stderr, stdout

ENDED = {"succeeded", "partially_failed", "failed", "cancelled"}
FAILED = {"failed", "cancelled"}
POLL_SECONDS = 0.2
UPLOAD_SECONDS = 3600.0
ERRORS_SHOWN = 20


def register(app: typer.Typer) -> None:
    app.command("import")(import_file)


def import_file(
    file: Annotated[Path, typer.Argument(help="CSV, XLSX or NDJSON.", exists=True, dir_okay=False, readable=True)],
    mapping: Annotated[
        Path,
        typer.Option(help="What its columns mean: YAML or JSON.", exists=True, dir_okay=False, readable=True),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")] = False,
    shift_dates_to: Annotated[
        str | None, typer.Option(help="Move all dates so that the latest is on this day: today, or a date.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it has ended; else return once it is queued.")] = True,
    json: JsonSwitch = False,
) -> None:
    """Import a file; exit code 1 when it failed as a whole, no row came in, or it was cancelled.

    Rows that could not be imported are listed; where others were imported the exit code is 0.
    """
    fields = {"dry_run": str(dry_run).lower()}
    if shift_dates_to:
        fields["shift_dates_to"] = shift_dates_to
    with open_client(timeout=UPLOAD_SECONDS) as client:
        queued = _upload(client, file, mapping, fields)
        if not wait:
            _queued(queued, as_json=json)
            return
        done = _follow(client, queued, quiet=json)
        page = get_json(client, f"/v1/imports/{done['id']}/errors", params={"limit": str(ERRORS_SHOWN)})
    if json:
        print_json({**done, "errors": page["data"]})
    else:
        _report(done, page["data"], more=page["has_more"])
    if done["status"] in FAILED:
        raise typer.Exit(1)


def _upload(client: httpx.Client, file: Path, mapping: Path, fields: dict[str, str]) -> dict[str, Any]:
    with file.open("rb") as content, mapping.open("rb") as document:
        response = request(
            client,
            "POST",
            "/v1/imports",
            files={"file": (file.name, content), "mapping": (mapping.name, document, "application/yaml")},
            data=fields,
            headers={"Idempotency-Key": str(uuid.uuid4())},
        )
    queued: dict[str, Any] = response.json()
    return queued


def _queued(queued: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(queued)
    else:
        stdout.print(f"Queued as {queued['id']}: GET /v1/imports/{queued['id']} tells how far it is.")


def _follow(client: httpx.Client, queued: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Ask until the import has ended; Ctrl-C leaves it running."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=stderr
    )
    with bar:
        task = bar.add_task("Importing", total=None, visible=not quiet)
        found = queued
        while found["status"] not in ENDED:
            time.sleep(POLL_SECONDS)
            try:
                found = get_json(client, f"/v1/imports/{queued['id']}")
            except KeyboardInterrupt as error:
                raise CommandError(f"Interrupted; the import {queued['id']} goes on by itself.", 130) from error
            bar.update(task, total=found["rows_total"], completed=found["rows_read"])
    return found


def _report(done: dict[str, Any], errors: list[dict[str, Any]], *, more: bool) -> None:
    word = "would be imported" if done["dry_run"] else "imported"
    stdout.print(
        f"{done['status'].replace('_', ' ').capitalize()}: {done['rows_read']} rows read,"
        f" {done['rows_imported']} {word}, {done['rows_failed']} refused."
    )
    if done["problem"]:
        stdout.print(f"{done['problem']['pointer']} {done['problem']['message']}", markup=False)
    if not errors:
        return
    table = Table("row", "where", "what", title="Rows refused")
    for error in errors:
        table.add_row(str(error["row"]), error["pointer"], error["message"])
    stdout.print(table)
    if more:
        stdout.print(f"More: GET /v1/imports/{done['id']}/errors (Accept: text/csv gives a table).")
