"""The product's own processes as supervised children: started, their output kept and filtered, stopped."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from deploy.embedded.process import launch_argv

LONGEST_LOG = 20_000_000  # bytes; the file before it is kept once
LONGEST_LINE = 100_000  # bytes
LOUD_LEVELS = frozenset({"warning", "error", "critical"})
Environment = Mapping[str, str] | Callable[[], Mapping[str, str]]
LOUD_LINE = re.compile(r"\b(WARNING|ERROR|CRITICAL|Traceback)\b")


class Program:
    """One `python -m …` of ours. Its output goes to `log`; `say` gets only the lines that warn.

    `last_line` is the last line of the process that runs or ran last; `complaint` is the same line if it can be the
    reason why that process ended, else empty. `environment` may be a function: it is asked at each start.
    """

    def __init__(
        self,
        name: str,
        argv: tuple[str, ...],
        environment: Environment,
        log: Path,
        say: Callable[[str], None],
    ) -> None:
        self.name = name
        self.argv = argv
        self.environment = environment
        self.log = log
        self.last_line = ""
        self.complaint = ""
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    def module(
        cls, name: str, module: str, environment: Environment, logs: Path, say: Callable[[str], None]
    ) -> "Program":
        return cls(name, (sys.executable, "-m", module), environment, logs / f"{name}.log", say)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        self.last_line = self.complaint = ""
        environment = self.environment() if callable(self.environment) else self.environment
        self._process = await asyncio.create_subprocess_exec(
            *launch_argv(self.argv, signal.SIGTERM, cwd=Path.cwd()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        self._reading = asyncio.create_task(self._keep_output(self._process), name=f"{self.name} output")

    async def wait(self) -> int:
        """Wait until the process has ended and all it wrote is kept; return its exit code."""
        assert self._process is not None  # noqa: S101  start() comes first
        code = await self._process.wait()
        if self._reading is not None:
            # A grandchild may hold the pipe open: what matters has been written by now.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reading, 2)
        return code

    async def stop(self, patience: float = 15.0) -> None:
        """Ask with SIGTERM; after `patience` seconds insist with SIGKILL."""
        if self._process is None:
            return
        if self.pid:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), patience)
            except TimeoutError:
                self._say(f"did not stop within {patience:.0f} s and is killed")
                self.kill()
        await self.wait()

    def kill(self) -> None:
        if self._process and self.pid:
            self._process.kill()

    async def _keep_output(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101  it was asked for above
        with open_log(self.log) as log:
            rest = b""
            while chunk := await process.stdout.read(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > LONGEST_LINE:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    log.write(line + b"\n")
                    self._notice(line)
                log.flush()
            if rest:
                log.write(rest + b"\n")
                self._notice(rest)

    def _notice(self, raw: bytes) -> None:
        line = raw.decode(errors="replace").rstrip()
        if not line.strip():
            return
        self.last_line = readable(line)
        self.complaint = self.last_line if may_be_reason(line) else ""
        if is_loud(line):
            self._say(self.last_line)


def open_log(path: Path) -> BinaryIO:
    """Open `path` for appending; a file grown too long is set aside first."""
    if path.exists() and path.stat().st_size > LONGEST_LOG:
        path.replace(path.with_name(f"{path.name}.1"))
    return path.open("ab")


def is_loud(line: str) -> bool:
    """Whether a log line (JSON or plain) is a warning or worse."""
    fields = _fields(line)
    if fields is not None:
        return str(fields.get("level", "")).lower() in LOUD_LEVELS
    return LOUD_LINE.search(line) is not None


def may_be_reason(line: str) -> bool:
    """Whether a last line can say why a process ended: a log line only if it warns, and any plain text.

    Our logs are JSON, so plain text is a traceback or a sentence written to standard error.
    """
    return _fields(line) is None or is_loud(line)


def readable(line: str) -> str:
    """A log line as a sentence: JSON lines are shortened to their event and error."""
    fields = _fields(line)
    if fields is None:
        return line[:500]
    parts = [str(fields.get("event") or fields.get("message") or "")]
    parts += [f"{key}={fields[key]}" for key in ("error", "detail", "path", "job", "request_id") if fields.get(key)]
    return " ".join(part for part in parts if part)[:500]


def _fields(line: str) -> dict[str, object] | None:
    if not line.startswith("{"):
        return None
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None
