"""`sixteen doctor`: what is wrong with this installation, in words, and what to do about each."""

import asyncio

import typer
from rich.markup import escape

from deploy.cli.doctor_checks import Finding, State, examine
from deploy.cli.output import JsonSwitch, print_json, stdout

MARKS = {State.OK: "[green]ok  [/green]", State.WARN: "[yellow]warn[/yellow]", State.FAIL: "[red]FAIL[/red]"}


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(json: JsonSwitch = False) -> None:
    """Examine Python, packages, disk, PostgreSQL, Redis, the api and the workers. Exit code 1 if anything fails."""
    findings = asyncio.run(examine())
    healthy = all(finding.state is not State.FAIL for finding in findings)
    if json:
        print_json({"healthy": healthy, "checks": [finding.as_dict() for finding in findings]})
    else:
        _show(findings, healthy=healthy)
    raise typer.Exit(0 if healthy else 1)


def _show(findings: list[Finding], *, healthy: bool) -> None:
    for finding in findings:
        stdout.print(f"{MARKS[finding.state]} {finding.name:<16} {escape(finding.detail)}", soft_wrap=True)
        if finding.advice:
            stdout.print(f"     {'':<16} [dim]→[/dim] {escape(finding.advice)}", soft_wrap=True)
    stdout.print("\nNothing is wrong." if healthy else "\nSomething is wrong; see the lines marked FAIL.")
