"""Who the servers run as. PostgreSQL refuses root, so under root they become an ordinary user."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.errors import EmbeddedServerError

CANDIDATES = ("sixteen", "postgres", "nobody")


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The account the servers run under when we are root."""

    uid: int
    gid: int


def server_user(data_dir: Path) -> ServerUser | None:
    """Return the account to drop to, or None when we are not root and simply stay who we are.

    An existing cluster keeps its owner, so that a run under `sudo` does not lock out the user it belongs to.
    """
    if os.geteuid() != 0:
        return None
    for owned in (data_dir / "postgres", data_dir):
        if owned.exists() and (owner := owned.stat()).st_uid != 0 and _is_known(owner.st_uid):
            return ServerUser(owner.st_uid, owner.st_gid)
    for name in CANDIDATES:
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        if account.pw_uid != 0:
            return ServerUser(account.pw_uid, account.pw_gid)
    raise EmbeddedServerError(
        "PostgreSQL does not run as root and there is no ordinary account to run it as: "
        f"create one ({', '.join(CANDIDATES)}), run as an ordinary user, or set SIXTEEN_DATABASE_URL."
    )


def _is_known(uid: int) -> bool:
    # initdb looks its own user up by name and refuses a number without one.
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def can_reach(path: Path, user: ServerUser | None) -> bool:
    """Whether `user` may walk through every folder above `path`, going by mode bits only."""
    if user is None:
        return True
    return all(_may_enter(folder, user) for folder in path.resolve().parents)


def _may_enter(folder: Path, user: ServerUser) -> bool:
    facts = folder.stat()
    if facts.st_uid == user.uid:
        return bool(facts.st_mode & stat.S_IXUSR)
    if facts.st_gid == user.gid:
        return bool(facts.st_mode & stat.S_IXGRP)
    return bool(facts.st_mode & stat.S_IXOTH)


def make_private(path: Path, user: ServerUser | None) -> Path:
    """Create folder `path` if needed, for the servers alone (mode 700, owned by `user`); return it."""
    path.mkdir(parents=True, exist_ok=True)
    try:
        if user is not None:
            give(path, user)
        path.chmod(0o700)
    except PermissionError as error:
        raise EmbeddedServerError(
            f"{path} belongs to another user (uid {path.stat().st_uid}): run as that user or as root, "
            "or choose another SIXTEEN_DATA_DIR."
        ) from error
    return path


def give(path: Path, user: ServerUser) -> None:
    """Make `user` the owner of `path` and of all below it."""
    if path.stat().st_uid == user.uid:
        return
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(Path(folder) / name, user.uid, user.gid, follow_symlinks=False)
    # The top goes last: its owner is the mark that everything below is done.
    os.chown(path, user.uid, user.gid)
