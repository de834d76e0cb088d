"""What a person at the terminal sees of a run: lifecycle lines, warnings, and the summary when it is ready."""

import json
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.embedded.settings import LocalSettings

WIDTH_WITHOUT_TERMINAL = 160
COLOURS = {"api": "cyan", "api-worker": "magenta", "scoring": "blue", "postgres": "green", "redis": "yellow"}


def make_console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal; into a file or a pipe, wide enough that tables stay readable."""
    console = Console(highlight=False, stderr=stderr)
    return console if console.is_terminal else Console(highlight=False, stderr=stderr, width=WIDTH_WITHOUT_TERMINAL)


class Terminal:
    """Lines prefixed with the time and the name of the process they are about.

    With `as_json` the summary is one JSON object on standard output and all else goes to standard error.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.console = make_console(stderr=as_json)

    def status(self, what: str) -> AbstractContextManager[object]:
        """A spinner while something takes its time; nothing where the output is not a terminal."""
        return self.console.status(what) if self.console.is_terminal else nullcontext()

    def say(self, name: str, line: str) -> None:
        time = datetime.now().astimezone().strftime("%H:%M:%S")
        colour = COLOURS.get(name, "bold")
        # A terminal that was closed is no reason to stop in the middle of stopping.
        with suppress(OSError):
            self.console.print(f"[dim]{time}[/dim] [{colour}]{name:<10}[/{colour}] {escape(line)}", soft_wrap=True)

    def summary(self, settings: LocalSettings, api_key: str, table: Table | None) -> None:
        """The base URL, the key and the page to look at, then the ranked seats."""
        if self.as_json:
            print(json.dumps({"base_url": settings.base_url, "api_key": api_key}), flush=True)
            return
        grid = Table.grid(padding=(0, 2))
        grid.add_row("API", settings.base_url)
        grid.add_row("Documentation", f"{settings.base_url}/docs")
        grid.add_row("Admin API key", api_key)
        grid.add_row("Written to", str(settings.data_dir / "local.json"))
        grid.add_row("Logs", str(settings.data_dir / "logs"))
        self.console.print()
        self.console.print(grid)
        if table is not None:
            self.console.print()
            self.console.print(table)
        self.console.print("\nCtrl-C stops everything.")
