"""`make fuzz`: longer, and another seed each time; ARGS="--seconds 1800 --seed 7 --include-tag customers" go on."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from tests.fuzz.campaign import Budget, campaign


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=900)
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    given, more = parser.parse_known_args()
    print(f"Seed {given.seed}", flush=True)
    budget = Budget(given.examples, given.seconds, given.seed, deterministic=False, arguments=tuple(more))
    with tempfile.TemporaryDirectory(prefix="sixteen-fuzz-") as folder:
        code, said = asyncio.run(campaign(Path(folder), budget))
    print(said)
    return code


if __name__ == "__main__":
    sys.exit(main())
