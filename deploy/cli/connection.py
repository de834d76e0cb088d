"""How the command line finds and speaks to an installation."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deploy.cli.errors import CommandError


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the api is and who we are."""

    base_url: str
    api_key: str


def data_dir() -> Path:
    return Path(os.environ.get("SIXTEEN_DATA_DIR") or ".data")


def local_facts(folder: Path | None = None) -> dict[str, Any] | None:
    """The contents of `local.json` of an installation on this machine, or None if it is not running."""
    path = (folder or data_dir()) / "local.json"
    try:
        facts = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise CommandError(f"{path} belongs to another user: run this as the user who runs Sixteen.") from error
    except ValueError as error:
        raise CommandError(f"{path} is not valid JSON: remove it and start `make run` again.") from error
    if not isinstance(facts, dict):
        raise CommandError(f"{path} is not a JSON object: remove it and start `make run` again.")
    return facts


def find_connection(environment: Mapping[str, str] = os.environ) -> Connection:
    """From SIXTEEN_BASE_URL and SIXTEEN_API_KEY, else from `local.json` in SIXTEEN_DATA_DIR."""
    base_url, api_key = environment.get("SIXTEEN_BASE_URL"), environment.get("SIXTEEN_API_KEY")
    if not (base_url and api_key):
        facts = local_facts() or {}
        # A key is only good where it was made: the local one is never sent to another address.
        if not base_url or base_url.rstrip("/") == facts.get("base_url"):
            base_url, api_key = base_url or facts.get("base_url"), api_key or facts.get("api_key")
    if not base_url:
        raise CommandError(
            "No installation found: start one with `make run`, or set SIXTEEN_BASE_URL and SIXTEEN_API_KEY."
        )
    if not api_key:
        raise CommandError(f"No API key for {base_url}: set SIXTEEN_API_KEY.")
    return Connection(base_url.rstrip("/"), api_key)


def open_client(connection: Connection | None = None, *, timeout: float = 30.0) -> httpx.Client:
    """An HTTP client of the api that sends the key. `timeout` is in seconds."""
    found = connection or find_connection()
    return httpx.Client(
        base_url=found.base_url,
        headers={"Authorization": f"Bearer {found.api_key}"},
        timeout=timeout,
        # A proxy meant for the internet has nothing to do with the machine itself.
        trust_env="//127.0.0.1" not in found.base_url and "//localhost" not in found.base_url,
    )


def request(client: httpx.Client, method: str, path: str, **arguments: Any) -> httpx.Response:
    """Send a request; raises `CommandError` with the problem's own words for anything but success."""
    try:
        response = client.request(method, path, **arguments)
    except httpx.InvalidURL as error:
        raise CommandError(f"{client.base_url} is not a URL: check SIXTEEN_BASE_URL.", 2) from error
    except httpx.TimeoutException as error:
        raise CommandError(f"{client.base_url} did not answer in time: try again, see `sixteen doctor`.") from error
    except httpx.HTTPError as error:
        raise CommandError(f"{client.base_url} cannot be reached ({error}): is it running? (`make run`)") from error
    if not response.is_success:
        raise CommandError(describe_problem(response), status=response.status_code)
    return response


def get_json(client: httpx.Client, path: str, **arguments: Any) -> Any:
    """GET `path` and return the decoded body."""
    response = request(client, "GET", path, **arguments)
    try:
        return response.json()
    except ValueError as error:
        raise CommandError(f"{client.base_url} did not answer in JSON: is that address Sixteen's?") from error


def describe_problem(response: httpx.Response) -> str:
    """A problem document (RFC 9457) as a sentence."""
    if response.status_code == 401:
        return f"The API key is not accepted by {response.request.url.host}: set SIXTEEN_API_KEY."
    try:
        problem = response.json()
        text = problem.get("detail") or problem.get("title") or response.reason_phrase
        details = [
            f"{error.get('pointer', '')} {error.get('message', '')}".strip() for error in problem.get("errors", [])
        ]
    except (ValueError, AttributeError):
        text, details = response.text[:200] or response.reason_phrase, []
    return f"{response.status_code} {text}" + (f" ({'; '.join(details[:5])})" if details else "")
