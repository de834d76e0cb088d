"""The TypeScript of the guide for integrators: compiled as it stands on the page, and run."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from tests.clients import toolchain
from tests.clients.toolchain import BUILD, ROOT, Failed, Toolchain
from tests.faults.installation import Installation, eventually, free_port
from tests.support.snippets import missing, read_guide

FOLDER = "smoke/guide"
# The page's own imports are those of a module.
_MODULE = '{"type": "module"}\n'
_SAID = ["Northwind Glass", "412 precondition_failed"]
_RECEIVED = ["received opportunity.won"]


def write_sources(chain: Toolchain) -> None:
    """Puts the page's files where the compiler finds them, with the types that the page generates."""
    folder = chain.typescript / FOLDER
    folder.mkdir()
    guide = read_guide((ROOT / "docs" / "integrating.md").read_text(encoding="utf-8"))
    sources = {name: body for name, body in guide.files.items() if name.endswith(".ts")}
    if sources.keys() != {"quickstart.ts", "receiver.ts"}:
        raise Failed(f"the guide has other files than this knows to run: {sorted(sources)}")
    for name, body in sources.items():
        (folder / name).write_text(body, encoding="utf-8")
    shutil.copy(chain.typescript / "generated" / "openapi-typescript" / "schema.ts", folder / "sixteen.ts")
    for place in (folder, chain.typescript / "dist" / FOLDER):
        place.mkdir(parents=True, exist_ok=True)
        (place / "package.json").write_text(_MODULE, encoding="utf-8")


async def run_files(chain: Toolchain, installation: Installation) -> None:
    """The quick start, then the receiver with a sample sent to it; raises Failed."""
    caller = await installation.workspace("guide")
    dist = Path("dist") / FOLDER
    given = {**chain.environment, "SIXTEEN_BASE_URL": installation.base_url, "SIXTEEN_API_KEY": caller.key}
    quickstart = ["node", str(dist / "quickstart.js")]
    said = await asyncio.to_thread(toolchain.run, quickstart, cwd=BUILD / "typescript", environment=given, seconds=60)
    _expect(_SAID, said)
    port = free_port()
    hook = {"url": f"http://127.0.0.1:{port}/", "event_types": ["opportunity.*"]}
    endpoint = (await caller.ok("POST", "/v1/webhook-endpoints", hook))["id"]
    key = (await caller.ok("GET", f"/v1/webhook-endpoints/{endpoint}/secret"))["key"]
    receiver = await asyncio.create_subprocess_exec(
        "node", str(dist / "receiver.js"), cwd=BUILD / "typescript", stdout=asyncio.subprocess.PIPE,
        env={**given, "WEBHOOK_KEY": key, "RECEIVER_PORT": str(port)},
    )  # fmt: skip
    try:
        await eventually(lambda: _listens(port))
        await caller.ok("POST", f"/v1/webhook-endpoints/{endpoint}:test", {"event_type": "opportunity.won"})
        assert receiver.stdout is not None
        _expect(_RECEIVED, (await asyncio.wait_for(receiver.stdout.readline(), 30)).decode())
    finally:
        receiver.kill()
        await receiver.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def _expect(shown: list[str], said: str) -> None:
    absent = list(missing(shown, said))
    if absent:
        raise Failed(f"not said: {absent}\n{said}")
