"""`sixteen init`: the first workspace of an installation, and a key of its administrator."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.database import find_addresses, outages_in_words
from deploy.cli.errors import CommandError
from deploy.cli.output import JsonSwitch, print_json, stdout

if TYPE_CHECKING:
    from deploy.demo.seed import First, Seeded


def register(app: typer.Typer) -> None:
    app.command("init")(init)


def init(
    name: Annotated[str, typer.Option(help="What the workspace is called.")] = "Sixteen",
    currency: Annotated[str, typer.Option(help="ISO 4217 code; it stays what it is.")] = "CNY",
    time_zone: Annotated[str, typer.Option(help="Where its days begin and end.")] = "Asia/Shanghai",
    email: Annotated[str | None, typer.Option(help="Of the administrator, who may then log in with it.")] = None,
    json: JsonSwitch = False,
) -> None:
    """Make the first workspace of an installation (once), and print a key of its administrator.

    Where it is there already nothing of it is changed, and another key is made: this is the way back in, too.
    """
    wanted = _first(name=name, currency=currency, time_zone=time_zone, admin_email=email)
    database_url, redis_url = find_addresses()
    with outages_in_words():
        seeded = asyncio.run(_make(database_url, redis_url, wanted))
    if json:
        print_json({"created": seeded.created, "api_key": seeded.api_key})
        return
    stdout.print("The workspace has been made." if seeded.created else "The workspace was there already.")
    stdout.print(f"Admin API key: {seeded.api_key}", soft_wrap=True)


def _first(**given: str | None) -> "First":
    from pydantic import ValidationError

    from deploy.demo.seed import First

    try:
        return First.model_validate(given)
    except ValidationError as error:
        wrong = error.errors()[0]
        option = str(wrong["loc"][0]).removeprefix("admin_").replace("_", "-")
        raise CommandError(f"--{option}: {wrong['msg'].removeprefix('Value error, ')}", 2) from error


async def _make(database_url: str, redis_url: str, wanted: "First") -> "Seeded":
    from deploy.demo.seed import make_empty, open_seeding
    from shared.clock import SystemClock

    database = await open_seeding(database_url, redis_url)
    try:
        return await make_empty(database, SystemClock().now(), wanted)
    finally:
        await database.close()
