"""Schemathesis against a real installation: every operation, every check, with and without sense."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults.installation import open_installation
from tests.support.flow import working_day

CONFIG = Path(__file__).with_name("schemathesis.toml")
# So many calls from one address, and so many wrong keys, would else be answered with 429 and with nothing more.
LIMITS = ("WORKSPACE", "KEY", "TICKETS", "FAILURES", "LOGINS")
WITHOUT_LIMITS = {f"SIXTEEN_RATE_LIMIT_{name}": "0" for name in LIMITS}
KINDS = ("api", "api-worker", "scoring")
# Python 3.11 counts the depth of what it parses for all threads together: two that parse at once fail for nothing.
WORKERS = "1"
# Phases that are run together, and their parts of the time; what one leaves is for those after it.
SHARES = {"examples,coverage": 3, "fuzzing": 1, "stateful": 2}


@dataclass(frozen=True)
class Budget:
    """`seconds` bounds the whole run, `examples` the cases an operation gets in a phase.

    Arguments with `--phases` say themselves what is run.
    """

    examples: int
    seconds: int
    seed: int = 1
    deterministic: bool = True
    arguments: tuple[str, ...] = ()

    @property
    def shares(self) -> dict[str, int]:
        """What is run one after the other."""
        return {"": 1} if any(each.startswith("--phases") for each in self.arguments) else SHARES

    def part(self, phases: str, left: float) -> Budget:
        """What phases get of the seconds that are left."""
        following = list(self.shares.values())[list(self.shares).index(phases) :]
        only = ("--phases", phases) if phases else ()
        seconds = max(1, int(left * following[0] / sum(following)))
        return replace(self, seconds=seconds, arguments=(*self.arguments, *only))


async def campaign(folder: Path, budget: Budget) -> tuple[int, str]:
    """Starts everything, fills a workspace with a working day, and tries it; the exit code and what was said."""
    async with open_installation(folder, SIXTEEN_LOG_LEVEL="WARNING", **WITHOUT_LIMITS) as installation:
        await installation.start(*KINDS)
        caller = await installation.workspace("Fuzz")
        await working_day(caller)
        environment = {
            **os.environ,
            "FUZZ_BASE_URL": installation.base_url,
            "FUZZ_API_KEY": caller.key,
            "PYTHONPATH": str(CONFIG.parents[2]),
            "PYTHONWARNINGS": "ignore",
            "SCHEMATHESIS_HOOKS": "tests.fuzz.checks",
            "NO_PROXY": "*",
        }
        ran, end = [], time.monotonic() + budget.seconds
        for phases in budget.shares:
            part = budget.part(phases, end - time.monotonic())
            ran.append(await _schemathesis(installation.base_url, environment, part, folder))
        said = "\n".join(words for _, words in ran)
        return max(code for code, _ in ran), f"{said}\n{_surprises(installation.log_of('api'))}"


async def _schemathesis(base_url: str, environment: dict[str, str], budget: Budget, folder: Path) -> tuple[int, str]:
    chance = ("--generation-deterministic",) if budget.deterministic else ("--generation-database", "none")
    arguments = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", f"{base_url}/openapi.json",
        "--max-examples", str(budget.examples), "--max-time", str(budget.seconds), "--workers", WORKERS,
        "--seed", str(budget.seed), "--no-color", "--warnings", "off", *chance, *budget.arguments,
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *arguments, env=environment, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, said.decode(errors="replace")


def _surprises(log: str) -> str:
    """What the service itself did not expect, which is never the caller's fault."""
    return "\n".join(line for line in log.splitlines() if "unexpected_error" in line or "database_error" in line)
