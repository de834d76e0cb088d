"""Each generator: how it is called, what it writes, and which of its warnings are about itself and not our document."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.toolchain import BUILD, Failed, Toolchain, run

GENERATED = BUILD / "typescript" / "generated"
PYTHON = BUILD / "python"
# Generated only: neither their compilers nor their libraries are a part of what a developer's machine has to have.
UNCOMPILED = ("java", "kotlin", "swift6", "dart-dio", "csharp", "go")
_WARNING = re.compile(r"\bWARN(?:ING)?\b|\bERROR\b|⚠|[Ww]arning\(s\)|deprecat", re.IGNORECASE)


@dataclass(frozen=True)
class Allowed:
    """A warning that no document could avoid, and why."""

    pattern: re.Pattern[str]
    why: str


ALLOWED = (
    Allowed(
        re.compile(r"INFO"),
        "information, even where a file or a schema it names is called Error",
    ),
    Allowed(
        re.compile(r"Failed to get the schema name: null"),
        "openapi-generator asks plain types of forms and parameters for the name of their schema, and they have none",
    ),
    Allowed(
        re.compile(r"Ignoring complex example on request body"),
        "its Java templates show examples of single values only",
    ),
)
# Said of names of parameters and fields too, which each language renames inside its own client only.
_RESERVED = re.compile(r"(\S+) (?:with suffix )?\(reserved word\) cannot be used as (?:model|parameter|file) ?name")


def complaints(said: str, document: dict[str, Any]) -> list[str]:
    """The warnings about our document in what a generator said."""
    schemas = {name.lower() for name in document["components"]["schemas"]}
    found = []
    for line in said.splitlines():
        if not _WARNING.search(line) or any(each.pattern.search(line) for each in ALLOWED):
            continue
        reserved = _RESERVED.search(line)
        if reserved and reserved[1].lower() not in schemas:
            continue
        found.append(line.strip())
    return list(dict.fromkeys(found))


def generate(chain: Toolchain, newer: Path, older: Path) -> dict[str, str]:
    """Runs every generator anew; what each said, by its name. Older generators get the 3.0 edition."""
    for folder in (GENERATED, PYTHON, BUILD / "uncompiled"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    said = {
        # A field that has a default may be left out of what is sent.
        "openapi-typescript": _run(
            chain, "openapi-typescript", str(newer), "-o", str(_openapi_typescript()), "--default-non-nullable=false"
        ),
        "hey-api": _run(chain, "openapi-ts", "-i", str(newer), "-o", str(GENERATED / "hey-api"), "--no-log-file"),
        "openapi-python-client": _run(
            chain, "openapi-python-client", "generate", "--meta", "none", "--path", str(newer),
            "--output-path", str(PYTHON / "sixteen_client"), "--overwrite",
        ),
        "typescript-fetch": _java(chain, "typescript-fetch", older, GENERATED / "typescript-fetch"),
        "python": _java(chain, "python", older, PYTHON, "packageName=sixteen_generated"),
    }  # fmt: skip
    for name in UNCOMPILED:
        said[name] = _java(chain, name, older, BUILD / "uncompiled" / name)
    return said


def _openapi_typescript() -> Path:
    folder = GENERATED / "openapi-typescript"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "schema.ts"


def _java(chain: Toolchain, generator: str, document: Path, output: Path, *properties: str) -> str:
    more = ["--additional-properties", ",".join(properties)] if properties else []
    made = ["generate", "-i", str(document), "-g", generator, "-o", str(output), *more]
    return _run(chain, "openapi-generator-cli", *made)


def _run(chain: Toolchain, *arguments: str) -> str:
    return run(list(arguments), cwd=BUILD, environment=chain.environment)


__all__ = ["GENERATED", "PYTHON", "UNCOMPILED", "Failed", "complaints", "generate"]
