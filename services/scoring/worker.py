"""The scoring worker: `python -m services.scoring.worker`. It drains dirty marks; a nudge wakes it."""

from __future__ import annotations

import asyncio
import sys

from services.scoring.jobs.drain import Context
from services.scoring.jobs.loop import Drainer
from services.scoring.settings import ScoringSettings
from shared import worker
from shared.clock import SystemClock
from shared.duty import LATE_SECONDS, Duty
from shared.listener import Listener
from shared.probes import Heartbeat
from shared.queue import DRAIN, SCORING_QUEUE
from shared.worker import Tools, Work

NAME = "scoring"


def assemble(settings: ScoringSettings, tools: Tools) -> Work:
    """One duty, and the listener that wakes it."""
    heartbeat = Heartbeat(LATE_SECONDS)
    drainer = Drainer(Context(tools.database, settings, SystemClock()), heartbeat, tools.nudger.tell)
    draining = Duty("drain", drainer.work, settings.sweep_seconds, heartbeat, stop=drainer.stop)
    return Work([draining], [Listener(settings.redis_url, SCORING_QUEUE, {DRAIN: draining.wake})])


async def serve(settings: ScoringSettings, stop: asyncio.Event) -> None:
    """Scores until `stop` is set. Raises NotReady when it can't begin, with what to do."""
    await worker.serve(NAME, settings, assemble, stop)


if __name__ == "__main__":
    sys.exit(worker.run(NAME, ScoringSettings, serve))
