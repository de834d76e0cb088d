"""Become a server program: take its lock, drop root, ask to die with the parent, then exec.

Run as a script (`python -I -S launch.py SPEC`), never imported by the services. It stands in a process of its
own rather than in a `preexec_fn`, which is not safe in a process that has threads. Standard library only.

SPEC is a JSON object:

- `argv`: the program and its arguments; the program is opened before root is dropped.
- `user`: `[uid, gid]` to become, or null to stay as is.
- `death_signal`: the signal number the kernel sends us when the parent dies.
- `parent`: the parent's pid; if it is already gone, nothing is started.
- `lock`, `lock_seconds`: a file locked while this program *or any process it forks* lives; how long to wait.
- `remove`: files deleted once the lock is held, so that they can only be leftovers.
- `cwd`: the working directory, entered before root is dropped.
- `through`: directories the user cannot walk to; they are opened here and arguments naming one are rewritten
  to `/proc/self/fd/N`, so no parent folder has to be opened to that user.
"""

import ctypes
import fcntl
import json
import os
import signal
import sys
import time
from typing import Any

PR_SET_PDEATHSIG = 1
EXIT_LOCKED = 75  # EX_TEMPFAIL of sysexits.h


def hold_lock(path: str, seconds: float) -> None:
    """Lock `path` for the life of this process and its children; exit with `EXIT_LOCKED` after `seconds`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                sys.stderr.write(f"{path} is still held by a server of an earlier run\n")
                sys.exit(EXIT_LOCKED)
            time.sleep(0.05)
        else:
            os.set_inheritable(descriptor, True)
            return


def open_directories(argv: list[str], directories: list[str]) -> list[str]:
    """Return `argv` with each argument that names one of `directories` replaced by a descriptor's path."""
    rewritten = {}
    for directory in directories:
        descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY)
        os.set_inheritable(descriptor, True)
        rewritten[directory] = f"/proc/self/fd/{descriptor}"
    return [rewritten.get(argument, argument) for argument in argv]


def become(user: list[int] | None) -> None:
    """Give up root for good: groups, then gid, then uid."""
    if user is not None:
        uid, gid = user
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def die_with_parent(death_signal: int, parent: int) -> None:
    # Changing the uid clears this setting, so it has to come after `become`.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)


def main() -> None:
    spec: dict[str, Any] = json.loads(sys.argv[1])
    if spec["lock"]:
        hold_lock(spec["lock"], spec["lock_seconds"])
    for leftover in spec["remove"]:
        if os.path.lexists(leftover):
            os.unlink(leftover)  # noqa: PTH108  pathlib would double the start-up time of this script
    argv = open_directories(spec["argv"], spec["through"])
    # Opened while still root: the user may be unable to walk to it.
    program: int | str = os.open(argv[0], os.O_RDONLY | os.O_CLOEXEC) if spec["user"] else argv[0]
    os.chdir(spec["cwd"])
    os.umask(0o077)
    become(spec["user"])
    die_with_parent(spec["death_signal"], spec["parent"])
    # Python ignores these two, and what is ignored stays ignored in the program we become.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execve(program, argv, os.environ)  # noqa: S606  no shell is the point


if __name__ == "__main__":
    main()
