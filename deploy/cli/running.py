"""`sixteen run`: the same as `make run`."""

import typer

from deploy.cli.output import JsonSwitch


def register(app: typer.Typer) -> None:
    app.command("run")(run)


def run(json: JsonSwitch = False) -> None:
    """Start everything on this machine until Ctrl-C (servers that no variable names are embedded)."""
    from deploy.embedded.run import main

    raise typer.Exit(main(as_json=json))
