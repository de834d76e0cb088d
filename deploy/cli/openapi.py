"""`sixteen openapi`: the OpenAPI document, made from the code, no server needed."""

import json as json_format
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from deploy.cli.errors import CommandError
from deploy.cli.output import JsonSwitch, print_json, stderr

Edition = Literal["3.1", "3.0"]
EDITIONS: tuple[Edition, ...] = get_args(Edition)


def register(app: typer.Typer) -> None:
    app.command("openapi")(openapi)


def openapi(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file instead.")] = None,
    edition: Annotated[Edition, typer.Option(help="3.0 is for older generators; it has no webhooks.")] = "3.1",
    json: JsonSwitch = False,
) -> None:
    """Print the OpenAPI document of this version. It is JSON with or without --json."""
    document = make_document(edition)
    if output is None:
        print_json(document)
        return
    try:
        output.write_text(json_format.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {error.strerror}.") from error
    if json:
        print_json({"file": str(output)})
    else:
        stderr.print(f"Written to {output}.", soft_wrap=True)


def make_document(edition: Edition = "3.1") -> dict[str, Any]:
    """The document as the api serves it at /openapi.json (3.1) and /openapi-3.0.json."""
    from services.api.main import create_app
    from services.api.openapi import document_3_0
    from services.api.settings import ApiSettings

    # Nothing is connected to: the addresses only have to be well-formed.
    settings = ApiSettings(
        database_url="postgresql://nobody@localhost/none", redis_url="redis://localhost", embedded=True
    )
    app = create_app(settings)
    return app.openapi() if edition == "3.1" else document_3_0(app)
