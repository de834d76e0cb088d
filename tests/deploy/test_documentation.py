"""What the pages name is there: files, make targets, commands, settings, paths of the api."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from deploy.cli.main import create_app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = ("services", "shared", "deploy", "migrations", "tests")
OPERATIONS = (ROOT / "tests" / "contract" / "operations.txt").read_text().splitlines()
# A place for any resource, and a value that Python puts in.
NOT_PATHS = ("/v1/{resource}", "{created.")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.fixture(scope="module")
def code() -> str:
    return "\n".join(path.read_text() for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))


def absent_files(page: Path, text: str) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in link and not (page.parent / link).exists():
            yield link
    for name in re.findall(rf"`((?:{'|'.join(FOLDERS)}|docs)/[\w./-]+)", text):
        if not (ROOT / name).exists():
            yield name


@pages
def test_files_are_there(page: Path) -> None:
    assert list(absent_files(page, page.read_text())) == []


@pages
def test_commands_are_there(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    command = typer.main.get_command(create_app())
    assert set(re.findall(r"(?:`|^)sixteen ([a-z]+)", text, re.MULTILINE)) <= set(getattr(command, "commands", ()))


@pages
def test_settings_are_read_by_something(page: Path, code: str) -> None:
    named = {name.rstrip("_") for name in re.findall(r"SIXTEEN_[A-Z_0-9]+", page.read_text())}
    unknown = {name for name in named if name not in code and name.removeprefix("SIXTEEN_").lower() not in code}
    assert unknown == set()


@pages
def test_paths_of_the_api_are_there(page: Path) -> None:
    known = [re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(line.split()[2]))) for line in OPERATIONS]
    named = set(re.findall(r"/v1/[\w/{}:.-]+", page.read_text()))
    plain = {name.rstrip(".:,/") for name in named if not any(each in name for each in NOT_PATHS)}
    begun = [line.split()[2] for line in OPERATIONS]
    lost = {name for name in plain if not any(each.fullmatch(name) for each in known)}
    assert {name for name in lost if not any(path.startswith(name) for path in begun)} == set()
