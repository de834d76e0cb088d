"""Each process shows the metrics it feeds, and no zeros of what others count."""

import subprocess
import sys

import pytest

SHOWN = """
import sys
from prometheus_client import generate_latest
from shared import telemetry
telemetry.expose(sys.argv[1])
telemetry.expose(sys.argv[1])
print(generate_latest().decode())
"""


@pytest.mark.parametrize(
    ("service", "fed", "not_fed"),
    [
        ("api", {"http_server_active_requests", "sixteen_outbox_age_seconds"}, {"sixteen_judged", "sixteen_import_"}),
        ("api-worker", {"sixteen_import_rows", "sixteen_nudges_lost_total"}, {"http_server_", "sixteen_judged"}),
        ("scoring", {"sixteen_judged_total", "sixteen_dirty_depth"}, {"http_server_", "sixteen_import_"}),
    ],
)
def test_a_process_shows_what_it_feeds(service: str, fed: set[str], not_fed: set[str]) -> None:
    # In a process of its own: what is exposed stays so.
    shown = subprocess.run([sys.executable, "-c", SHOWN, service], capture_output=True, text=True, check=True).stdout
    assert all(f"# HELP {name}" in shown for name in fed)
    assert not any(f"# HELP {name}" in shown for name in not_fed)
    assert "process_cpu_seconds_total" in shown
