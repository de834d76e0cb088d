"""`sixteen focus` before an api that answers as ours does: whose seats are shown, and to whom."""

import sys
from collections.abc import Callable

import httpx
import pytest

from deploy.cli import focus, main, owners
from deploy.cli.errors import CommandError

LI, WANG, OTHER_LI = (f"01980000-0000-7000-8000-00000000000{number}" for number in (1, 2, 3))
MEMBERS = [
    {"id": LI, "name": "Li Na", "email": "li.na@example.com"},
    {"id": WANG, "name": "Wang [Wei]", "email": None},
    {"id": OTHER_LI, "name": "Li Nan", "email": "nan@example.com"},
]
REPS = [{"owner_id": member["id"], "name": member["name"], "counts": {"engage": 16, "track": 7}} for member in MEMBERS]
NO_SEATS = {"data": [], "counts": {"engage": 0, "track": 0, "backlog": 0}}


def paged(rows: list[dict[str, object]], cursor: str | None) -> httpx.Response:
    """One row a page, so that every reader has to follow the cursor."""
    place = int(cursor or 0)
    after = str(place + 1) if place + 1 < len(rows) else None
    return httpx.Response(
        200, json={"data": rows[place : place + 1], "next_cursor": after, "has_more": after is not None}
    )


def api(*, manager: bool = True, counts: dict[str, int] | None = None) -> httpx.Client:
    def answer(request: httpx.Request) -> httpx.Response:
        parameters = request.url.params
        if request.url.path == "/v1/members":
            return paged([dict(member) for member in MEMBERS], parameters.get("cursor"))
        if request.url.path == "/v1/focus/overview":
            forbidden = httpx.Response(403, json={"detail": "The overview is a manager's."})
            return paged([dict(rep) for rep in REPS], parameters.get("cursor")) if manager else forbidden
        if parameters.get("owner_id"):
            seat = {"subject": {"id": "1", "name": f"of {parameters['owner_id']}"}}
            return httpx.Response(200, json={"data": [seat], "counts": {"engage": 1}})
        return httpx.Response(200, json={**NO_SEATS, "counts": counts or NO_SEATS["counts"]})

    return httpx.Client(base_url="http://127.0.0.1", transport=httpx.MockTransport(answer))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    def run_focus(client: httpx.Client, *arguments: str) -> tuple[str, str]:
        monkeypatch.setattr(focus, "open_client", lambda: client)
        monkeypatch.setattr(sys, "argv", ["sixteen", "focus", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.main()
        assert ended.value.code == 0
        return capsys.readouterr()

    return run_focus


def test_who_has_no_seats_sees_the_reps_and_how_to_ask(run: Callable[..., tuple[str, str]]) -> None:
    output, remark = run(api())
    assert all(str(text) in output for rep in REPS for text in (rep["owner_id"], rep["name"]))
    assert "sixteen focus ID" in remark


def test_with_json_the_answer_is_the_apis(run: Callable[..., tuple[str, str]]) -> None:
    output, remark = run(api(), "--json")
    assert '"counts"' in output
    assert remark == ""


@pytest.mark.parametrize("client", [api(manager=False), api(counts={"engage": 0, "track": 3})])
def test_a_rep_with_an_empty_band_is_told_so(run: Callable[..., tuple[str, str]], client: httpx.Client) -> None:
    output, remark = run(client)
    assert "Reps" not in output
    assert remark == "No seats in this band yet.\n"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [(WANG, WANG), ("li na", LI), ("LI.NA@example.com", LI), ("wei", WANG), ("nan@", OTHER_LI)],
)
def test_a_rep_is_found_by_id_name_or_e_mail(wanted: str, found: str) -> None:
    assert owners.find_owner(api(), wanted) == found


def test_who_may_be_meant_is_listed() -> None:
    with pytest.raises(CommandError, match=f"{LI}.*{OTHER_LI}") as caught:
        owners.find_owner(api(), "li")
    assert caught.value.exit_code == 2
    with pytest.raises(CommandError, match="No member is called Zhao"):
        owners.find_owner(api(), "Zhao")


def test_the_seats_of_a_named_rep_are_shown(run: Callable[..., tuple[str, str]]) -> None:
    output, _ = run(api(), "wang [wei]")
    assert f"of {WANG}" in output.replace("\n", "")
