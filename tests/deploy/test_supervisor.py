"""The supervisor on small real processes: restart, back-off, output, order of stopping."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from deploy_cases import eventually, is_alive

from deploy.embedded import supervisor as supervising
from deploy.embedded.programs import Program, is_loud, readable
from deploy.embedded.supervisor import Supervisor

FOREVER = "import time\nwhile True: time.sleep(1)"

Said = list[tuple[str, str]]


def program(tmp_path: Path, name: str, code: str, say: Callable[[str], None] = lambda _: None) -> Program:
    return Program(name, (sys.executable, "-c", code), {}, tmp_path / f"{name}.log", say)


async def test_a_dead_child_is_restarted_with_growing_delays_and_a_line_each(tmp_path: Path) -> None:
    said: Said = []
    supervisor = Supervisor(lambda name, line: said.append((name, line)))
    await supervisor.add("frail", program(tmp_path, "frail", "import sys; print('no room', flush=True); sys.exit(3)"))
    assert await eventually(lambda: supervisor.deaths("frail") >= 3)
    await supervisor.stop([["frail"]])
    deaths = [line for _, line in said if line.startswith("died")]
    assert deaths[:3] == [f"died (exit code 3): no room; restarting in {delay} s" for delay in ("0.2", "0.4", "0.8")]
    assert supervisor.pids() == {}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ('print(\'{"level": "info", "event": "drained"}\'); sys.exit(1)', ""),
        ('print(\'{"level": "error", "event": "broken"}\'); sys.exit(1)', ": broken"),
        ("raise ValueError('no room')", ": ValueError: no room"),
        ("print('busy', flush=True); os.kill(os.getpid(), 9)", ""),
    ],
)
async def test_a_death_is_explained_by_complaints_alone(tmp_path: Path, code: str, reason: str) -> None:
    said: Said = []
    supervisor = Supervisor(lambda name, line: said.append((name, line)))
    await supervisor.add("frail", program(tmp_path, "frail", f"import os, sys; {code}"))
    assert await eventually(lambda: supervisor.deaths("frail") >= 1)
    await supervisor.stop([["frail"]])
    assert said[0][1].partition(")")[2] == f"{reason}; restarting in 0.2 s"


async def test_the_environment_is_asked_for_at_each_start(tmp_path: Path) -> None:
    ports = iter(["1", "2"])
    child = Program(
        "child",
        (sys.executable, "-c", "import os; print(os.environ['PORT'])"),
        lambda: {"PORT": next(ports)},
        tmp_path / "child.log",
        lambda _: None,
    )
    for port in ("1", "2"):
        await child.start()
        await child.wait()
        assert child.last_line == port


async def test_the_delay_never_grows_beyond_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(supervising, "LONGEST_DELAY", 0.03)
    said: Said = []
    supervisor = Supervisor(lambda name, line: said.append((name, line)))
    await supervisor.add("frail", program(tmp_path, "frail", "raise SystemExit(1)"))
    assert await eventually(lambda: supervisor.deaths("frail") >= 5)
    await supervisor.stop([["frail"]])
    assert supervisor.deaths("frail") >= 5
    assert max(float(line.rsplit(" ", 2)[-2]) for _, line in said if line.startswith("died")) <= 0.03


async def test_a_child_that_lived_long_enough_starts_over_with_the_first_delay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "HEALTHY_AFTER", 0.0)
    said: Said = []
    supervisor = Supervisor(lambda name, line: said.append((name, line)))
    await supervisor.add("steady", program(tmp_path, "steady", "raise SystemExit(1)"))
    assert await eventually(lambda: supervisor.deaths("steady") >= 3)
    await supervisor.stop([["steady"]])
    assert all("restarting in 0.2 s" in line for _, line in said if line.startswith("died"))


async def test_a_killed_child_comes_back_as_another_process(tmp_path: Path) -> None:
    said: Said = []
    supervisor = Supervisor(lambda name, line: said.append((name, line)))
    child = program(tmp_path, "child", FOREVER)
    await supervisor.add("child", child)
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert await eventually(lambda: child.pid not in (None, first))
    assert said[0] == ("child", "died (signal 9); restarting in 0.2 s")
    await supervisor.stop([["child"]])
    assert child.pid is None


async def test_children_stop_group_by_group_and_are_not_restarted(tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    note = (
        "import signal, sys, time\n"
        f"def end(*_):\n  open({str(stopped)!r}, 'a').write(sys.argv[1] + ' '); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('standing', flush=True)\n" + FOREVER
    )
    supervisor = Supervisor(lambda *_: None)
    children = {}
    for name in ("database", "worker", "api"):
        children[name] = Program(name, (sys.executable, "-c", note, name), {}, tmp_path / f"{name}.log", lambda _: None)
        await supervisor.add(name, children[name])
    assert await eventually(lambda: all(child.last_line == "standing" for child in children.values()))
    await supervisor.stop([["api"], ["worker"], ["database"]])
    assert stopped.read_text().split() == ["api", "worker", "database"]
    assert all(child.pid is None for child in children.values())


async def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    said: list[str] = []
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)\n" + FOREVER
    child = program(tmp_path, "deaf", deaf, said.append)
    await child.start()
    assert await eventually(lambda: child.last_line == "deaf")
    started = time.monotonic()
    await child.stop(patience=0.3)
    assert child.pid is None
    assert time.monotonic() - started < 5
    assert said == ["did not stop within 0 s and is killed"]


async def test_all_output_is_kept_and_only_warnings_are_shown(tmp_path: Path) -> None:
    said: list[str] = []
    lines = ['{"level": "info", "event": "served"}', '{"level": "error", "event": "broken", "error": "why"}', "plain"]
    child = program(tmp_path, "talker", f"print({chr(10).join(lines)!r}); print('x' * 300_000)", said.append)
    await child.start()
    assert await child.wait() == 0
    assert said == ["broken error=why"]
    kept = (tmp_path / "talker.log").read_text()
    assert kept.splitlines()[:3] == lines
    assert kept.count("x") == 300_000


async def test_a_log_that_grew_too_long_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.embedded.programs.LONGEST_LOG", 10)
    (tmp_path / "talker.log").write_text("of an earlier run\n")
    child = program(tmp_path, "talker", "print('new')")
    await child.start()
    await child.wait()
    assert (tmp_path / "talker.log").read_text() == "new\n"
    assert (tmp_path / "talker.log.1").read_text() == "of an earlier run\n"


@pytest.mark.faults
async def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    code = f"""
import asyncio, sys
from pathlib import Path
from deploy.embedded.programs import Program
from deploy.embedded.supervisor import Supervisor
async def main():
    supervisor = Supervisor(lambda *_: None)
    await supervisor.add("child", Program("child", (sys.executable, "-c", {FOREVER!r}), {{}}, Path("child.log"), print))
    print(supervisor.pids()["child"], flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await asyncio.wait_for(parent.stdout.readline(), 30))
    assert is_alive(child)
    parent.kill()
    await parent.wait()
    assert await eventually(lambda: not is_alive(child))


@pytest.mark.parametrize(
    ("line", "loud"),
    [
        ('{"level": "info", "event": "an ERROR was handled"}', False),
        ('{"level": "WARNING", "event": "x"}', True),
        ("2026-01-01 [1] WARNING: disk", True),
        ("Traceback (most recent call last):", True),
        ("all is well", False),
        ("{broken json", False),
    ],
)
def test_what_counts_as_a_warning(line: str, loud: bool) -> None:
    assert is_loud(line) is loud


def test_a_json_line_is_shortened_to_what_happened() -> None:
    assert readable('{"event": "job_failed", "job": "drain", "error": "no", "other": 1}') == (
        "job_failed error=no job=drain"
    )
    assert readable("[1, 2]") == "[1, 2]"
