"""Where things lie under the data directory, and the lock that keeps two runs apart.

```
.data/
  lock            held by the one process that runs this directory
  postgres/       the cluster            postgres.lock   held while any PostgreSQL process lives
  redis/          the append-only file   redis.lock      held while Redis lives
  run/            unix sockets, unless the path is too long or has unusual characters
  logs/           one file per process
  secret.key  admin.key  local.json      mode 600
```
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.errors import EmbeddedServerError
from deploy.embedded.privileges import ServerUser, can_reach, make_private, server_user

# A unix socket's path has at most 107 bytes; PostgreSQL's name in the folder takes 15 of them.
LONGEST_SOCKET_FOLDER = 90
# Not every client unquotes a path in a URL, so sockets only ever lie where nothing needs quoting.
PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one data directory and the account that owns the servers' part of it."""

    root: Path
    user: ServerUser | None

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def before_restore(self) -> Path:
        """The cluster that a restore is about to replace; there only while it does."""
        return self.root / "postgres.before-restore"

    @property
    def redis(self) -> Path:
        return self.root / "redis"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def local_json(self) -> Path:
        return self.root / "local.json"

    @property
    def admin_key(self) -> Path:
        return self.root / "admin.key"

    @property
    def secret_key(self) -> Path:
        return self.root / "secret.key"


def open_layout(data_dir: Path) -> Layout:
    """Create `data_dir` and its `logs` if they are missing and return their layout."""
    root = Path(os.path.abspath(data_dir.expanduser()))  # noqa: PTH100  resolve() would undo symlinks
    try:
        # Execute-only for others: enough for the servers' account to walk through, not to look around.
        root.mkdir(mode=0o711, parents=True, exist_ok=True)
        layout = Layout(root, server_user(root))
        layout.logs.mkdir(mode=0o700, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise EmbeddedServerError(f"{root} is not a folder: choose another SIXTEEN_DATA_DIR.") from error
    except PermissionError as error:
        raise EmbeddedServerError(f"{root} cannot be written by this user: choose another SIXTEEN_DATA_DIR.") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise EmbeddedServerError(f"{root} cannot be made ({reason}): choose another SIXTEEN_DATA_DIR.") from error
    return layout


@contextlib.contextmanager
def exclusive(layout: Layout) -> Iterator[None]:
    """Hold the data directory for this process; a second holder gets an error that names the first."""
    descriptor = os.open(layout.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode().strip() or "unknown"
            raise EmbeddedServerError(
                f"{layout.root} is in use by a running installation (process {holder}): stop that one first, "
                "or set SIXTEEN_DATA_DIR and SIXTEEN_PORT to run a second one beside it."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        _finish_swap(layout)
        yield
    finally:
        os.close(descriptor)


def is_in_use(layout: Layout) -> bool:
    """Whether a running process holds the data directory."""
    try:
        with exclusive(layout):
            return False
    except EmbeddedServerError:
        return True


@contextlib.contextmanager
def socket_folder(layout: Layout) -> Iterator[Path]:
    """A private folder for unix sockets whose path is short and plain enough for every client."""
    record = layout.root / "sockets.path"
    if record.exists():
        # The run before this one was killed and could not clean up.
        _remove_socket_folder(Path(record.read_text().strip()))
        record.unlink()
    inside = layout.root / "run"
    if _suits(inside, layout.user):
        yield make_private(inside, layout.user)
        return
    folder = _temporary_folder(layout.user)
    record.write_text(f"{folder}\n")
    try:
        yield folder
    finally:
        _remove_socket_folder(folder)
        record.unlink(missing_ok=True)


def _suits(folder: Path, user: ServerUser | None) -> bool:
    path = str(folder)
    return (
        len(os.fsencode(path)) <= LONGEST_SOCKET_FOLDER
        and PLAIN_PATH.fullmatch(path) is not None
        and can_reach(folder, user)
    )


def _temporary_folder(user: ServerUser | None) -> Path:
    for parent in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")):  # noqa: S108
        if parent.is_dir() and os.access(parent, os.W_OK) and _suits(parent / "sixteen-xxxxxxxx", user):
            return make_private(Path(tempfile.mkdtemp(prefix="sixteen-", dir=parent)), user)
    raise EmbeddedServerError("No folder for unix sockets: set TMPDIR to a short path that can be written.")


def _remove_socket_folder(folder: Path) -> None:
    if folder.name.startswith("sixteen-") and folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)


def _finish_swap(layout: Layout) -> None:
    """Puts back the cluster of a restore that died between its two renames: it is the only copy."""
    if layout.before_restore.exists() and not layout.postgres.exists():
        layout.before_restore.rename(layout.postgres)
