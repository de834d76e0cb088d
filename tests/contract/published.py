"""The published documents: where they are, and writing them anew (`make openapi`).

`python -m tests.contract.published` writes them, unless that would break clients and the version does not say so.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from deploy.cli.openapi import EDITIONS, make_document
from tests.contract.breaking import breaks, version_allows

FOLDER = Path(__file__).parents[2] / "docs" / "openapi"


def path_of(edition: str) -> Path:
    return FOLDER / f"sixteen-{edition}.json"


def read(edition: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path_of(edition).read_text(encoding="utf-8"))
    return document


def text_of(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    new = make_document("3.1")
    found = breaks(read("3.1"), new) if path_of("3.1").exists() else []
    if found and not version_allows(read("3.1"), new):
        print("\n".join(found))
        sys.exit(
            "These break clients of the published document. Undo them, or say so in the version"
            " (services/api/openapi/texts.py): the major one, or before 1.0 the minor one."
        )
    FOLDER.mkdir(parents=True, exist_ok=True)
    for edition in EDITIONS:
        path_of(edition).write_text(text_of(make_document(edition)), encoding="utf-8")
        print(f"Written: {path_of(edition)}")


if __name__ == "__main__":
    main()
