"""What the deploy tests share: processes that are watched from outside, as an operator would."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

HOLD_SERVERS = """
import asyncio, sys
from pathlib import Path
from deploy.embedded import embedded_servers
async def main():
    async with embedded_servers(Path(sys.argv[1]), durable=False) as servers:
        print(servers.postgres.pid, servers.redis.pid, flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


def is_alive(pid: int) -> bool:
    """Whether process `pid` exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Wait until `condition` holds; return whether it did within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        await asyncio.sleep(0.02)
    return condition()


async def hold_servers(data_dir: Path) -> tuple[asyncio.subprocess.Process, list[int]]:
    """Another process that runs the embedded servers on `data_dir`; returns it and the servers' pids."""
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD_SERVERS, str(data_dir), stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    line = await asyncio.wait_for(holder.stdout.readline(), 60)
    return holder, [int(pid) for pid in line.split()]


async def run_sixteen(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run the `sixteen` command; return exit code, standard output, standard error."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SIXTEEN_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.cli.main",
        *arguments,
        env={**kept, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()
