"""`make run`: the whole product on this machine, until Ctrl-C.

Exit codes: 0 after a stop that was asked for, 1 when it cannot start (the reason is one sentence on stderr).
"""

import asyncio
import json
import sys
import traceback

from deploy.embedded.errors import StartupError
from deploy.embedded.installation import run_installation
from deploy.embedded.settings import local_settings
from deploy.embedded.terminal import Terminal


def main(*, as_json: bool = False) -> int:
    try:
        settings = local_settings()
        asyncio.run(run_installation(settings, Terminal(as_json=as_json)))
    except StartupError as error:
        _complain(str(error), as_json=as_json)
        return 1
    except Exception as error:  # noqa: BLE001  the details go where the person who needs them will look
        details = traceback.format_exc()
        log = settings.data_dir / "logs" / "run.log"
        try:
            log.write_text(details)
            where = f"(see {log})"
        except OSError:
            where = f"({log} cannot be written)\n{details}"
        _complain(f"Unexpected error: {type(error).__name__}: {error} {where}", as_json=as_json)
        return 1
    except KeyboardInterrupt:
        # Ctrl-C in the short time before the signal handlers stand: nothing has been started yet.
        return 130
    return 0


def _complain(message: str, *, as_json: bool) -> None:
    sys.stderr.write((json.dumps({"error": message}, ensure_ascii=False) if as_json else message) + "\n")


if __name__ == "__main__":
    sys.exit(main())
