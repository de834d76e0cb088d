"""One server process: started through `launch.py`, watched, stopped, its log at hand when it fails."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from deploy.embedded.errors import EmbeddedServerError
from deploy.embedded.privileges import ServerUser

LAUNCHER = Path(__file__).with_name("launch.py")
LOCK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Command:
    """How to start one server; see `launch.py` for the meaning of the parts."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    log: Path
    user: ServerUser | None
    death_signal: signal.Signals
    lock: Path | None = None
    remove: tuple[Path, ...] = ()
    through: tuple[Path, ...] = ()

    def launch_argv(self) -> tuple[str, ...]:
        return launch_argv(
            self.argv,
            self.death_signal,
            cwd=self.cwd,
            user=[self.user.uid, self.user.gid] if self.user else None,
            lock=str(self.lock) if self.lock else None,
            remove=[str(path) for path in self.remove],
            through=[str(path) for path in self.through],
        )


def launch_argv(
    argv: Sequence[str],
    death_signal: signal.Signals,
    *,
    cwd: Path,
    user: list[int] | None = None,
    lock: str | None = None,
    remove: Sequence[str] = (),
    through: Sequence[str] = (),
) -> tuple[str, ...]:
    """The command line that runs `argv` through `launch.py`, as a child of this process."""
    spec = {
        "argv": list(argv),
        "user": user,
        "death_signal": int(death_signal),
        "parent": os.getpid(),
        "lock": lock,
        "lock_seconds": LOCK_SECONDS,
        "remove": list(remove),
        "cwd": str(cwd),
        "through": list(through),
    }
    return (sys.executable, "-I", "-S", str(LAUNCHER), json.dumps(spec))


class ServerProcess:
    """A started server. All times are seconds."""

    def __init__(self, command: Command, process: asyncio.subprocess.Process, log_start: int) -> None:
        self.command = command
        self.process = process
        self._log_start = log_start

    @classmethod
    async def start(cls, command: Command) -> "ServerProcess":
        """Start `command` in a session of its own (Ctrl-C in the terminal reaches the supervisor only)."""
        with _open_log(command.log) as log:
            log_start = log.tell()
            process = await asyncio.create_subprocess_exec(
                *command.launch_argv(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_clean_environment(),
                start_new_session=True,
            )
        return cls(command, process, log_start)

    @property
    def is_running(self) -> bool:
        return self.process.returncode is None

    async def wait(self) -> int:
        return await self.process.wait()

    async def wait_ready(self, probe: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Call `probe` until it is true.

        Raises `EmbeddedServerError` with the end of the log when the server dies or is not ready in time.
        """
        deadline = time.monotonic() + seconds
        while self.is_running:
            if await probe():
                return
            if time.monotonic() > deadline:
                await self.stop([signal.SIGKILL])
                raise EmbeddedServerError(f"{self.command.name} was not ready within {seconds:.0f} s.{self.tail()}")
            await asyncio.sleep(0.03)
        raise EmbeddedServerError(
            f"{self.command.name} stopped while starting (exit code {self.process.returncode}).{self.tail()}"
        )

    async def stop(self, signals: Sequence[signal.Signals], patience: float = 20.0) -> None:
        """Send `signals` one after the other, `patience` seconds apart, until the process has ended."""
        for number in (*signals, signal.SIGKILL):
            if not self.is_running:
                break
            self.send(number)
            try:
                await asyncio.wait_for(self.process.wait(), patience)
            except TimeoutError:
                continue
        await self.process.wait()

    def send(self, number: signal.Signals) -> None:
        if self.is_running:
            self.process.send_signal(number)

    def tail(self, lines: int = 8) -> str:
        """The last `lines` lines this process wrote, ready to be appended to a message."""
        with self.command.log.open("rb") as log:
            log.seek(self._log_start)
            written = log.read()[-4000:].decode(errors="replace").strip()
        if not written:
            return f" It wrote nothing to {self.command.log}."
        return f" Last lines of {self.command.log}:\n" + "\n".join(written.splitlines()[-lines:])


def _open_log(path: Path) -> BinaryIO:
    return path.open("ab")


def _clean_environment() -> dict[str, str]:
    # PG* variables of the caller (PGDATA, PGPORT …) would change what our own servers do.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}
