"""What every subcommand shares: the `--json` switch and where output goes."""

import json
from typing import Annotated, Any

import typer

from deploy.embedded.terminal import make_console

JsonSwitch = Annotated[bool, typer.Option("--json", help="Print JSON instead of text; errors too.")]

# Results go to standard output; progress and remarks to standard error, so that both can be used at once.
stdout = make_console()
stderr = make_console(stderr=True)


def print_json(document: Any) -> None:
    """Print `document` as indented JSON; values JSON does not know are written as text."""
    print(json.dumps(document, indent=2, ensure_ascii=False, default=str))
