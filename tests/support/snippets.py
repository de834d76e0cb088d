"""The snippets of a guide: files it shows, commands it runs, and what it says they print.

A fence ```python file=name``` is a file; a ```bash``` fence is run, in the order of the page and in one shell; a
```text``` fence right behind it shows lines of its output, where `…` stands for anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_FENCE = re.compile(r"^```(?P<kind>\w+)(?: file=(?P<file>\S+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Command:
    """A piece of shell, and the lines it is said to print."""

    script: str
    shown: list[str] = field(default_factory=list)


@dataclass
class Guide:
    """All snippets of a page."""

    files: dict[str, str] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)
    consoles: list[str] = field(default_factory=list)


def read_guide(markdown: str) -> Guide:
    """Takes a page apart; a fence of another kind without a file is an error, so that none is passed over."""
    guide = Guide()
    for fence in _FENCE.finditer(markdown):
        kind, file, body = fence["kind"], fence["file"], fence["body"]
        if file:
            guide.files[file] = body
        elif kind == "bash":
            guide.commands.append(Command(body))
        elif kind in {"console", "sql"}:
            guide.consoles.append(body)
        elif kind == "text":
            guide.commands[-1].shown += body.splitlines()
        else:
            raise ValueError(f"what is to be done with this {kind} snippet?\n{body}")
    return guide


def missing(shown: list[str], output: str) -> Iterator[str]:
    """The lines said to be printed that were not, each looked for behind the one before."""
    lines = iter(output.splitlines())
    for expected in shown:
        pattern = ".*".join(re.escape(part) for part in expected.split("…"))
        if not any(re.fullmatch(pattern, line) for line in lines):
            yield expected
