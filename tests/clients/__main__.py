"""`make clients`: clients generated from our document are compiled and used against a real installation.

Every generator's warnings about the document fail it. What is installed and generated lies under `build/clients`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from deploy.cli.openapi import make_document
from tests.clients import generators, guide, toolchain
from tests.clients.receiver import receiver
from tests.clients.toolchain import BUILD, HERE, Failed, Toolchain
from tests.faults.installation import Installation, open_installation

TYPESCRIPT = ("openapi-typescript", "hey-api", "typescript-fetch")
PYTHON = ("openapi_python_client_flow", "openapi_generator_flow")


def main() -> int:
    absent = toolchain.missing()
    if absent:
        print(f"Needed on this machine: {', '.join(absent)}.")
        return 2
    started = time.monotonic()
    chain = _step("toolchain installed", toolchain.install)
    newer, older = _documents()
    failures = _generate(chain, json.loads(newer.read_text(encoding="utf-8")), newer, older)
    failures += _attempt("compiled: typescript", lambda: _compile_typescript(chain))
    failures += _attempt("compiled: python", lambda: _compile_python(chain))
    if not failures:
        with tempfile.TemporaryDirectory(prefix="sixteen-clients-") as folder:
            failures += asyncio.run(_flows(chain, Path(folder)))
    print(f"{'FAILED' if failures else 'All clients work'} after {time.monotonic() - started:.0f} s")
    return 1 if failures else 0


def _step(words: str, work: Any) -> Any:
    started = time.monotonic()
    made = work()
    print(f"  ok    {words} ({time.monotonic() - started:.0f} s)", flush=True)
    return made


def _attempt(words: str, work: Any) -> int:
    try:
        _step(words, work)
    except Failed as error:
        print(f"  FAIL  {words}\n{error}", flush=True)
        return 1
    return 0


def _documents() -> tuple[Path, Path]:
    paths = BUILD / "sixteen-3.1.json", BUILD / "sixteen-3.0.json"
    paths[0].write_text(json.dumps(make_document("3.1")), encoding="utf-8")
    paths[1].write_text(json.dumps(make_document("3.0")), encoding="utf-8")
    return paths


def _generate(chain: Toolchain, document: dict[str, Any], newer: Path, older: Path) -> int:
    failures = 0
    for name, said in _step("generated", lambda: generators.generate(chain, newer, older)).items():
        wrong = generators.complaints(said, document)
        print(f"  {'FAIL' if wrong else 'ok  '}  {name}: {len(wrong)} warnings about the document", flush=True)
        for line in wrong[:20]:
            print(f"          {line}")
        failures += bool(wrong)
    return failures


def _compile_typescript(chain: Toolchain) -> None:
    smoke = chain.typescript / "smoke"
    shutil.rmtree(smoke, ignore_errors=True)
    smoke.mkdir()
    shutil.copy(HERE / "typescript" / "tsconfig.json", chain.typescript)
    for source in (HERE / "typescript").glob("*.ts"):
        shutil.copy(source, smoke)
    guide.write_sources(chain)
    toolchain.run(["tsc", "--project", "tsconfig.json"], cwd=chain.typescript, environment=chain.environment)


def _compile_python(chain: Toolchain) -> None:
    every = (
        "import importlib, pkgutil, sixteen_client, sixteen_generated\n"
        "for package in (sixteen_client, sixteen_generated):\n"
        "    for each in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(each.name)\n"
    )
    arguments = [str(chain.python), "-W", "error::SyntaxWarning", "-c", every]
    toolchain.run(arguments, cwd=generators.PYTHON, environment=_python_environment(chain))


def _python_environment(chain: Toolchain) -> dict[str, str]:
    return {**chain.environment, "PYTHONPATH": f"{generators.PYTHON}:{HERE / 'python'}"}


async def _flows(chain: Toolchain, folder: Path) -> int:
    """The smoke flow through each compiled client; each has a workspace of its own."""
    failures = 0
    async with open_installation(folder, SIXTEEN_LOG_LEVEL="WARNING") as installation:
        await installation.start("api", "api-worker", "scoring")
        with receiver() as address:
            for name, command, base in _commands(chain):
                caller = await installation.workspace(name)
                given = {"SMOKE_BASE_URL": installation.base_url, "SMOKE_API_KEY": caller.key}
                environment = {**base, **given, "SMOKE_RECEIVER": address}
                failures += await asyncio.to_thread(_attempt, f"flow: {name}", _flow(command, environment))
        failures += await _guide(chain, installation)
    return failures


async def _guide(chain: Toolchain, installation: Installation) -> int:
    try:
        await guide.run_files(chain, installation)
    except Failed as error:
        print(f"  FAIL  the guide's TypeScript\n{error}", flush=True)
        return 1
    print("  ok    the guide's TypeScript", flush=True)
    return 0


def _commands(chain: Toolchain) -> list[tuple[str, list[str], dict[str, str]]]:
    """Name, command line and environment of each flow."""
    made = [(name, ["node", f"dist/smoke/{name}.js"], chain.environment) for name in TYPESCRIPT]
    environment = _python_environment(chain)
    return made + [(name, [str(chain.python), str(HERE / "python" / f"{name}.py")], environment) for name in PYTHON]


def _flow(command: list[str], environment: dict[str, str]) -> Any:
    return lambda: toolchain.run(command, cwd=BUILD / "typescript", environment=environment, seconds=120)


if __name__ == "__main__":
    sys.exit(main())
