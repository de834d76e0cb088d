"""`python -m tests.bench [NAME …]`: measures, prints the table, writes $SIXTEEN_DATA_DIR/bench.json."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.bench import cases_api, cases_events, cases_import, cases_paging, cases_scoring, cases_webhooks
from tests.bench.harness import Results
from tests.bench.stack import running_stack

CASES = {
    "core": cases_scoring.core_alone,
    "rescore": cases_scoring.full_rescore,
    "read": cases_api.read_one,
    "list": cases_api.list_by_priority,
    "create": cases_api.create_opportunity,
    "pass": cases_api.pass_milestone,
    "visible": cases_scoring.change_to_rank,
    "stream": cases_events.commit_to_stream,
    "moves": cases_events.change_to_stream,
    "paging": cases_paging.page_to_the_end,
    "import": cases_import.import_against_copy,
    "webhooks": cases_webhooks.commit_to_receiver,
}
OPPORTUNITIES = 100_000


async def run(names: list[str]) -> int:
    unknown = [name for name in names if name not in CASES]
    if unknown:
        sys.stderr.write(f"No such case: {', '.join(unknown)}. There are: {', '.join(CASES)}.\n")
        return 2
    results = Results()
    data_dir = Path(os.environ.get("SIXTEEN_DATA_DIR", ".data")).absolute()
    with tempfile.TemporaryDirectory(prefix="sixteen-bench-") as folder:
        Path(folder).chmod(0o755)
        async with running_stack(Path(folder), int(os.environ.get("BENCH_OPPORTUNITIES", OPPORTUNITIES))) as stack:
            try:
                for name, case in CASES.items():
                    if not names or name in names:
                        await case(stack, results)
            finally:
                # What was measured before a case failed is not lost with it.
                results.show()
                results.write(data_dir / "bench.json")
    return 0 if results.all_hold else 1


if __name__ == "__main__":
    # On the event loop that the services run on.
    sys.exit(uvloop.run(run(sys.argv[1:])))
