"""The generators and compilers, pinned by lock files, installed under `build/clients` and nowhere else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
BUILD = ROOT / "build" / "clients"
NEEDED = {"node": "Node.js 20", "npm": "npm", "java": "Java 11 or newer"}


class Failed(Exception):
    """A step that did not succeed, with all it said."""


@dataclass(frozen=True)
class Toolchain:
    """Where things are: the python of the generators, and the folder of the TypeScript clients."""

    python: Path
    typescript: Path

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join((str(self.python.parent), str(self.typescript / "node_modules" / ".bin")))
        return {**os.environ, "PATH": f"{path}{os.pathsep}{os.environ.get('PATH', '')}", "NO_PROXY": "127.0.0.1"}


def run(arguments: list[str], *, cwd: Path, environment: dict[str, str], seconds: float = 300) -> str:
    """What a command said; raises Failed where it did not succeed."""
    done = subprocess.run(
        arguments, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=seconds, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Failed(f"{' '.join(arguments[:4])} …: exit code {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


def missing() -> list[str]:
    """What has to be on this machine and is not."""
    return [words for name, words in NEEDED.items() if shutil.which(name) is None]


def install() -> Toolchain:
    """Installs what the lock files name, where it is not there yet."""
    chain = Toolchain(BUILD / "venv" / "bin" / "python", BUILD / "typescript")
    lock = HERE / "python" / "requirements.lock"
    if _stale(BUILD / ".python-installed", lock):
        run([sys.executable, "-m", "venv", str(BUILD / "venv")], cwd=ROOT, environment=dict(os.environ))
        pip = [str(chain.python), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "install"]
        run([*pip, "--require-hashes", "-r", str(lock)], cwd=ROOT, environment=dict(os.environ))
        (BUILD / ".python-installed").write_bytes(lock.read_bytes())
    chain.typescript.mkdir(parents=True, exist_ok=True)
    npm_lock = HERE / "typescript" / "package-lock.json"
    if _stale(BUILD / ".npm-installed", npm_lock):
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / "typescript" / name, chain.typescript / name)
        run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=chain.typescript,
            environment=dict(os.environ),
        )
        (BUILD / ".npm-installed").write_bytes(npm_lock.read_bytes())
    return chain


def _stale(mark: Path, lock: Path) -> bool:
    return not mark.exists() or mark.read_bytes() != lock.read_bytes()
