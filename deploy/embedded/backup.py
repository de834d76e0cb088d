"""Backup and restore of the embedded data: one file, checked before anything is replaced.

The file is a tar of `manifest.json` (written first: sizes and SHA-256 of the rest), `database.dump` (pg_dump's custom
format, so it also restores into a newer PostgreSQL), `roles.sql`, and the keys of the installation. Redis is not in
it: whatever it holds is rebuilt from PostgreSQL.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.embedded.bundle import POSTGRES_MAJOR, postgres_programs
from deploy.embedded.errors import EmbeddedServerError
from deploy.embedded.layout import Layout, exclusive, open_layout
from deploy.embedded.postgres import LOGIN_ROLE, SUPERUSER
from deploy.embedded.servers import embedded_servers
from deploy.embedded.settings import write_private

FORMAT = 1
MANIFEST = "manifest.json"
DUMP = "database.dump"
ROLES = "roles.sql"
KEYS = ("secret.key", "admin.key")
# These two exist in every fresh cluster.
EXISTING_ROLES = frozenset({f"CREATE ROLE {SUPERUSER};", f"CREATE ROLE {LOGIN_ROLE};"})
CHUNK = 1 << 20

Report = Callable[[str], None]


async def backup(data_dir: Path, file: Path, running_url: str | None, report: Report) -> dict[str, Any]:
    """Write a backup of the embedded database to `file` (mode 600) and return its manifest.

    `running_url` is the login URL of a running installation; None means that it is stopped, and PostgreSQL is
    started for the length of the backup. The dump is one consistent snapshot either way.
    """
    layout = open_layout(data_dir)
    if not layout.postgres.exists():
        raise EmbeddedServerError(f"There is no embedded database in {layout.root}: nothing to back up.")
    programs = await asyncio.to_thread(postgres_programs, None)
    # Beside the target, so that the finished file is put in place by a rename.
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=os.path.dirname(file) or ".") as name:  # noqa: PTH120
        folder = Path(name)
        async with _superuser_url(data_dir, running_url) as url:
            report("Writing out the roles …")
            await _run(programs / "pg_dumpall", f"--dbname={url}", "--roles-only", f"--file={folder / ROLES}")
            report("Writing out the database …")
            await _run(programs / "pg_dump", f"--dbname={url}", "--format=custom", f"--file={folder / DUMP}")
        report("Computing checksums …")
        return await asyncio.to_thread(_pack, layout, folder, file)


async def restore(data_dir: Path, file: Path, *, force: bool, report: Report) -> dict[str, Any]:
    """Replace the embedded data of `data_dir` by the backup in `file`; return its manifest.

    Nothing is touched unless the whole file is intact and was loaded; existing data is only replaced with `force`.
    Raises `EmbeddedServerError`.
    """
    layout = open_layout(data_dir)
    unfinished = layout.root / "restore.unfinished"
    with exclusive(layout), tempfile.TemporaryDirectory(prefix=".restore-", dir=layout.root) as name:
        if layout.postgres.exists() and not force:
            raise EmbeddedServerError(f"{layout.root} already holds a database: use --force to replace it.")
        report("Checking the backup …")
        manifest = await asyncio.to_thread(_unpack, file, Path(name))
        await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
        try:
            async with embedded_servers(unfinished, durable=True, redis=False) as servers:
                report("Loading the database …")
                await _load(Path(name), servers.superuser_url)
            await asyncio.to_thread(_swap, layout, unfinished, Path(name))
        finally:
            await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
        return manifest


@contextlib.asynccontextmanager
async def _superuser_url(data_dir: Path, running_url: str | None) -> AsyncIterator[str]:
    if running_url is None:
        async with embedded_servers(data_dir, durable=True, redis=False) as servers:
            yield servers.superuser_url
        return
    # Row-level security binds even the owner of the tables; only a superuser dumps every workspace.
    yield running_url.replace(f"postgresql://{LOGIN_ROLE}@", f"postgresql://{SUPERUSER}@", 1)


async def _run(program: Path, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        str(program), *arguments, "--no-password", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        lines = output.decode(errors="replace").strip().splitlines()
        raise EmbeddedServerError(f"{program.name} failed: {lines[0] if lines else 'it gave no reason'}")


async def _load(folder: Path, url: str) -> None:
    programs = await asyncio.to_thread(postgres_programs, None)
    roles = folder / ROLES
    lines = (await asyncio.to_thread(roles.read_text)).splitlines(keepends=True)
    await asyncio.to_thread(roles.write_text, "".join(line for line in lines if line.strip() not in EXISTING_ROLES))
    await _run(
        programs / "psql", f"--dbname={url}", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--file={roles}"
    )
    await _run(
        programs / "pg_restore",
        f"--dbname={url}",
        "--exit-on-error",
        "--single-transaction",
        str(folder / DUMP),
    )


def _pack(layout: Layout, folder: Path, file: Path) -> dict[str, Any]:
    for key in KEYS:
        if (layout.root / key).exists():
            shutil.copy(layout.root / key, folder / key)
    files = {path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in sorted(folder.iterdir())}
    manifest = {
        "format": FORMAT,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "postgres": POSTGRES_MAJOR,
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2))
    unfinished = folder / "archive.tar"
    with unfinished.open("xb") as raw, tarfile.open(fileobj=raw, mode="w") as archive:
        for name in (MANIFEST, *files):
            archive.add(folder / name, arcname=name)
        raw.flush()
        os.fsync(raw.fileno())
    unfinished.chmod(0o600)
    unfinished.replace(file)
    return manifest


def _unpack(file: Path, folder: Path) -> dict[str, Any]:
    """Extract `file` into `folder`; raise unless it is a backup of ours and every byte is as it was written."""
    damaged = EmbeddedServerError(f"{file} is damaged or incomplete: nothing was restored. Use another backup.")
    try:
        with tarfile.open(file) as archive:
            manifest = json.load(_member(archive, MANIFEST))
            if manifest["format"] != FORMAT:
                raise EmbeddedServerError(
                    f"{file} was made by another version of Sixteen (format {manifest['format']})."
                )
            for name in manifest["files"]:
                if name not in {DUMP, ROLES, *KEYS}:
                    raise damaged
                with (folder / name).open("wb") as target:
                    shutil.copyfileobj(_member(archive, name), target, CHUNK)
    except FileNotFoundError as error:
        raise EmbeddedServerError(f"There is no file {file}.") from error
    except (tarfile.TarError, KeyError, TypeError, ValueError, EOFError) as error:
        raise EmbeddedServerError(f"{file} is not a backup made by `sixteen backup`, or is damaged.") from error
    if not {DUMP, ROLES} <= manifest["files"].keys():
        raise damaged
    for name, facts in manifest["files"].items():
        if _sha256(folder / name) != facts["sha256"]:
            raise damaged
    if manifest["postgres"] > POSTGRES_MAJOR:
        raise EmbeddedServerError(
            f"{file} was made with PostgreSQL {manifest['postgres']}, this installation ships {POSTGRES_MAJOR}: "
            "restore it with the version of Sixteen that made it."
        )
    return dict(manifest)


def _member(archive: tarfile.TarFile, name: str) -> Any:
    content = archive.extractfile(name)
    if content is None:
        raise KeyError(name)
    return content


def _swap(layout: Layout, unfinished: Path, folder: Path) -> None:
    """Put the loaded cluster and the keys in place; the old cluster is kept until all of it stands."""
    before = layout.before_restore
    if layout.postgres.exists():
        shutil.rmtree(before, ignore_errors=True)
        layout.postgres.rename(before)
    (unfinished / "postgres").rename(layout.postgres)
    for key in KEYS:
        if (folder / key).exists():
            write_private(layout.root / key, (folder / key).read_text())
        else:
            (layout.root / key).unlink(missing_ok=True)
    # Jobs of the data that was replaced.
    shutil.rmtree(layout.redis, ignore_errors=True)
    shutil.rmtree(before, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
