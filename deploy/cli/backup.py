"""`sixteen backup` and `sixteen restore`: the embedded data in one file."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.cli.connection import data_dir, local_facts
from deploy.cli.errors import CommandError
from deploy.cli.output import JsonSwitch, print_json, stderr, stdout
from deploy.embedded.backup import backup as write_backup
from deploy.embedded.backup import restore as read_backup
from deploy.embedded.layout import is_in_use, open_layout


def register(app: typer.Typer) -> None:
    app.command("backup")(backup)
    app.command("restore")(restore)


def backup(
    file: Annotated[Path, typer.Argument(help="Where to write the backup.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE if it exists.")] = False,
    json: JsonSwitch = False,
) -> None:
    """Back up the embedded data (running or stopped) into one file. It holds keys: keep it as a secret."""
    if file.exists() and not force:
        raise CommandError(f"{file} exists: choose another name, or use --force to overwrite it.")
    if not file.absolute().parent.is_dir():
        raise CommandError(f"There is no folder {file.absolute().parent}: create it first.")
    url = _running_url()
    with stderr.status("Backing up …") as status:
        manifest = asyncio.run(write_backup(data_dir(), file, url, status.update))
    _report(manifest, file, "Backed up to", as_json=json)


def restore(
    file: Annotated[Path, typer.Argument(help="A file written by `sixteen backup`.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the data that is there.")] = False,
    json: JsonSwitch = False,
) -> None:
    """Restore the embedded data from FILE. Sixteen must be stopped; the file is checked before anything changes."""
    with stderr.status("Restoring …") as status:
        manifest = asyncio.run(read_backup(data_dir(), file, force=force, report=status.update))
    _report(manifest, file, "Restored from", as_json=json)


def _running_url() -> str | None:
    """The database URL of the running installation, or None if it is stopped."""
    if not is_in_use(open_layout(data_dir())):
        return None
    url = (local_facts() or {}).get("database_url")
    if not url:
        raise CommandError("Sixteen is just starting or stopping: try again in a moment.")
    if "?host=" not in url:
        raise CommandError("The database is not embedded but your own: back it up with pg_dump.")
    return str(url)


def _report(manifest: dict[str, Any], file: Path, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"file": str(file), **manifest})
        return
    size = sum(facts["bytes"] for facts in manifest["files"].values())
    stdout.print(f"{what} {file} ({size / 1e6:.1f} MB, made {manifest['created_at']}).", soft_wrap=True)
