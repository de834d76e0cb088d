"""What `make run` can be told by environment variables."""

import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.errors import StartupError
from shared.urls import check_database_url, check_redis_url

DEFAULT_PORT = 8016
SWITCH = {"0": False, "false": False, "1": True, "true": True}


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """`SIXTEEN_DATA_DIR`, `SIXTEEN_PORT`, `SIXTEEN_DEMO`, `SIXTEEN_DATABASE_URL`, `SIXTEEN_REDIS_URL`.

    A URL that is None means: run that server here.
    """

    data_dir: Path
    port: int
    demo: bool
    database_url: str | None
    redis_url: str | None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def local_settings(environment: Mapping[str, str] = os.environ) -> LocalSettings:
    """Read the settings; raises `StartupError` for a value that makes no sense."""
    port = environment.get("SIXTEEN_PORT", "").strip() or str(DEFAULT_PORT)
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise StartupError(f"SIXTEEN_PORT is {port!r}: it has to be a number from 1 to 65535.")
    demo = environment.get("SIXTEEN_DEMO", "").strip() or "1"
    if demo.lower() not in SWITCH:
        raise StartupError(f"SIXTEEN_DEMO is {demo!r}: it has to be 0 or 1 (or false or true).")
    database_url, redis_url = environment.get("SIXTEEN_DATABASE_URL"), environment.get("SIXTEEN_REDIS_URL")
    try:
        database_url = check_database_url(database_url) if database_url else None
        redis_url = check_redis_url(redis_url) if redis_url else None
    except ValueError as error:
        raise StartupError(f"{error}.") from error
    return LocalSettings(
        data_dir=Path(environment.get("SIXTEEN_DATA_DIR") or ".data"),
        port=int(port),
        demo=SWITCH[demo.lower()],
        database_url=database_url,
        redis_url=redis_url,
    )


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path`, readable by the owner only, so that a reader sees the old or the new, never half."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def read_private(path: Path) -> str | None:
    """The text of `path` without surrounding blanks, or None if it does not exist or is empty."""
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None


def secret_key(path: Path) -> str:
    """The installation's secret: made once and kept in `path`."""
    if (kept := read_private(path)) is not None:
        return kept
    made = secrets.token_urlsafe(48)
    write_private(path, f"{made}\n")
    return made
