"""The `sixteen` command. Each subcommand is a module of this package with a `register(app)` function."""

import sys
from importlib import import_module

import typer

from deploy.cli.errors import CommandError
from deploy.cli.output import stderr
from deploy.embedded.errors import StartupError

COMMANDS = ("running", "focus", "doctor", "backup", "openapi", "importing", "demo")


def create_app() -> typer.Typer:
    """The application with all subcommands."""
    app = typer.Typer(
        name="sixteen",
        help="Which 16 of your 400 customers deserve attention now, why, and what to do next.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for name in COMMANDS:
        import_module(f"deploy.cli.{name}").register(app)
    return app


def main() -> None:
    """Run the command line: exit code 0, 1 (failed) or 2 (used wrongly), with one sentence on stderr."""
    try:
        create_app()()
    except CommandError as error:
        _fail(str(error), error.exit_code)
    except StartupError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("Interrupted.", 130)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; closing prevents a second complaint at exit.
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:  # noqa: BLE001  a person at a terminal has no use for a traceback
        _fail(f"Unexpected error: {type(error).__name__}: {error}", 1)


def _fail(message: str, exit_code: int) -> None:
    stderr.print(message, style="red", markup=False, soft_wrap=True)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
