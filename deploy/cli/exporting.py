"""`sixteen export`: a file of what the caller may see, made by the running installation and fetched with progress."""

import json as json_text
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import httpx
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from deploy.cli.connection import describe_problem, get_json, open_client, request
from deploy.cli.errors import CommandError
from deploy.cli.output import JsonSwitch, print_json, stderr, stdout

KINDS = ("customers", "contacts", "products", "opportunities", "interactions", "tasks", "transitions")
FORMATS = ("csv", "xlsx", "ndjson")
POLL_SECONDS = 0.2
UNFINISHED = {"queued", "running"}


def register(app: typer.Typer) -> None:
    app.command("export")(export_file)


def export_file(
    kind: Annotated[str, typer.Argument(help=", ".join(KINDS))],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write, - for standard output; KIND.FORMAT by default."),
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="csv, xlsx or ndjson; else by the file's name.")
    ] = None,
    filters: Annotated[
        list[str] | None, typer.Option("--filter", help="NAME=VALUE, as the kind's list takes it; may be repeated.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="Also write the mapping with which `sixteen import` takes the file back.")
    ] = None,
    json: JsonSwitch = False,
) -> None:
    """Export customers, contacts, products, opportunities, interactions, tasks or transitions to a file."""
    wanted = _format(format_, output)
    if kind not in KINDS:
        raise CommandError(f"There is no kind {kind}: choose one of {', '.join(KINDS)}.", 2)
    target = output or Path(f"{kind}.{wanted}")
    body = {"kind": kind, "format": wanted, "filters": _filters(filters or [])}
    with open_client() as client:
        queued = request(
            client, "POST", "/v1/exports", json=body, headers={"Idempotency-Key": str(uuid.uuid4())}
        ).json()
        done = _follow(client, queued, quiet=json)
        if done["status"] != "succeeded":
            words = done["problem"]["message"] if done["problem"] else f"The export {done['status']}."
            raise CommandError(words)
        document = get_json(client, f"/v1/exports/{done['id']}/mapping") if mapping else None
        _fetch(client, done, target)
    if mapping is not None:
        mapping.write_text(json_text.dumps(document, ensure_ascii=False, indent=2) + "\n")
    if json and str(target) != "-":
        print_json({**done, "file": str(target)})
    elif str(target) != "-":
        stdout.print(f"{done['rows_written']} {kind} in {target}.", markup=False)


def _format(given: str | None, output: Path | None) -> str:
    by_name = output.suffix.removeprefix(".").lower() if output is not None else ""
    wanted = given or {"jsonl": "ndjson"}.get(by_name, by_name) or "csv"
    if wanted not in FORMATS:
        raise CommandError(f"{wanted} is no format: choose one of {', '.join(FORMATS)} with --format.", 2)
    return wanted


def _filters(given: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise CommandError(f"--filter {text}: write NAME=VALUE.", 2)
        if name == "attribute":
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found


def _follow(client: httpx.Client, queued: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Ask until the export has ended; Ctrl-C cancels it."""
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} rows"), console=stderr)
    found = queued
    with bar:
        task = bar.add_task("Exporting", total=None, visible=not quiet)
        while found["status"] in UNFINISHED:
            try:
                time.sleep(POLL_SECONDS)
                found = get_json(client, f"/v1/exports/{queued['id']}")
            except KeyboardInterrupt as error:
                request(client, "POST", f"/v1/exports/{queued['id']}:cancel")
                raise CommandError("Interrupted; the export is cancelled.", 130) from error
            bar.update(task, completed=found["rows_written"])
    return found


def _fetch(client: httpx.Client, done: dict[str, Any], target: Path) -> None:
    """Write the file beside its place and rename it: a half one is never taken for whole."""
    if str(target) == "-":
        _receive(client, done, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    unfinished = target.with_name(f".{target.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            _receive(client, done, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    except OSError as error:
        raise CommandError(f"{target} can't be written: {error.strerror or error}.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _receive(client: httpx.Client, done: dict[str, Any], file: BinaryIO) -> None:
    bar = Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=stderr, transient=True)
    try:
        with bar, client.stream("GET", f"/v1/exports/{done['id']}/content") as response:
            if not response.is_success:
                response.read()
                raise CommandError(describe_problem(response), status=response.status_code)
            task = bar.add_task("Fetching", total=done["total_bytes"])
            for piece in response.iter_bytes():
                file.write(piece)
                bar.advance(task, len(piece))
    except httpx.HTTPError as error:
        raise CommandError(
            f"The file broke off ({error}): GET /v1/exports/{done['id']}/content has it still."
        ) from error
