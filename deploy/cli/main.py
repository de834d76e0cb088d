"""The `sixteen` command. Each subcommand is a module of this package with a `register(app)` function."""

import json
import sys
from importlib import import_module
from typing import NoReturn

import typer

from deploy.cli.errors import CommandError
from deploy.cli.output import stderr
from deploy.embedded.errors import StartupError

COMMANDS = ("running", "focus", "doctor", "backup", "openapi", "importing", "exporting", "init", "demo")


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
    """Run the command line: exit code 0, 1 (failed) or 2 (used wrongly), with one sentence on stderr.

    With `--json` the sentence is in one JSON object: `{"error": "…"}`.
    """
    try:
        if not wants_json():
            create_app()()
        code = create_app()(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
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
    except OSError as error:
        if error.filename is None:
            _fail(f"Unexpected error: {type(error).__name__}: {error}", 1)
        _fail(f"{error.filename}: {error.strerror}. Is it there, may it be written, and is there room?", 1)
    except Exception as error:  # noqa: BLE001  a person at a terminal has no use for a traceback
        if (describe := getattr(error, "format_message", None)) is not None:
            # Wrong use, as the parser of the arguments tells it.
            _fail(describe(), getattr(error, "exit_code", 2))
        _fail(f"Unexpected error: {type(error).__name__}: {error}", 1)


def wants_json() -> bool:
    """Whether this command line has the switch `--json`."""
    arguments = sys.argv[1:]
    return "--json" in (arguments[: arguments.index("--")] if "--" in arguments else arguments)


def _fail(message: str, exit_code: int) -> NoReturn:
    if wants_json():
        sys.stderr.write(json.dumps({"error": message}, ensure_ascii=False) + "\n")
    else:
        stderr.print(message, style="red", markup=False, soft_wrap=True)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
