"""What ships beside the code: lock files, the Makefile, the image and the compose file."""

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LOCKS = sorted(path.name for path in ROOT.glob("requirements*.lock"))
TARGETS = ("help", "venv", "run", "test", "check", "format", "bench", "lock", "clean")


def locked(name: str) -> set[str]:
    return set(re.findall(r"^([\w.-]+==[^ ;\\]+)", (ROOT / name).read_text(), re.MULTILINE))


def make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    return document


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_host_and_hashes_everything(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "--index-url" not in text
    assert len(locked(name)) <= text.count("--hash=sha256:")


def test_development_runs_on_exactly_what_is_shipped() -> None:
    assert locked("requirements.lock") <= locked("requirements-dev.lock")
    assert locked("requirements-services.lock") <= locked("requirements.lock")
    assert locked("requirements-build.lock") <= locked("requirements-dev.lock")


def test_make_explains_itself() -> None:
    shown = make().stdout
    assert all(f"make {target} " in shown for target in TARGETS)


def test_an_old_python_is_refused_with_a_way_out(tmp_path: Path) -> None:
    refused = make("venv", "PYTHON=false", f"VENV={tmp_path / 'venv'}")
    assert refused.returncode != 0
    assert "Python 3.11 or newer is needed: make venv PYTHON=" in refused.stderr
    assert not (tmp_path / "venv").exists()


def test_an_environment_of_somebody_else_is_left_alone(public_folder: Path) -> None:
    for name in ("Makefile", "pyproject.toml", *LOCKS):
        shutil.copy(ROOT / name, public_folder)
    environment = public_folder / ".venv"
    (environment / "bin").mkdir(parents=True)
    environment.chmod(0o500)
    # Root may write everywhere: then somebody else tries.
    user: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    refused = subprocess.run(
        ["make", "run"],
        cwd=public_folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.defpath},
        **user,
    )
    environment.chmod(0o700)
    assert refused.returncode != 0
    assert "run make as its owner, or with an environment of your own (VENV=" in refused.stderr
    assert "rm:" not in refused.stderr
    assert (environment / "bin").is_dir()


def test_every_command_of_the_compose_file_is_a_module_of_ours(compose: dict[str, Any]) -> None:
    ours = {name: service for name, service in compose["services"].items() if service.get("image") == "sixteen"}
    assert set(ours) == {"migrate", "api", "api-worker", "scoring"}
    for service in ours.values():
        assert service["command"][:2] == ["python", "-m"]
        assert find_spec(service["command"][2]) is not None


def test_the_services_wait_for_the_migration_and_run_without_privileges(compose: dict[str, Any]) -> None:
    for name in ("api", "api-worker", "scoring"):
        service = compose["services"][name]
        assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True


def test_the_image_runs_as_an_ordinary_user() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER sixteen"]
    assert sum(line.startswith("FROM ") for line in lines) == 2


def test_everything_the_image_copies_is_let_through() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    assert {name for names in copied for name in names.split()} <= allowed


def test_secrets_beside_the_compose_file_stay_out_of_the_image(compose: dict[str, Any]) -> None:
    """Compose reads deploy/.env, and all of deploy/ is otherwise copied, into the wheel too."""
    hidden = (ROOT / ".dockerignore").read_text().splitlines()
    assert hidden.index("**/.env*") > hidden.index("!deploy")
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    assert compose["services"]["api"]["env_file"] == [{"path": ".env", "required": False}]
