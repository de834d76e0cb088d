"""Cells at the edge of what can be read, quotes that are not closed, and mappings refused in plain words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import structlog
from structlog.testing import LogCapture

from services.api.errors import Invalid
from services.api.imports import attempt, conversions, execution
from services.api.imports.documents import check_document
from tests.imports.support import HEADER, SIMPLE, errors_of, imported, table, upload, worker_of
from tests.imports.test_uploads import ROW, changed
from tests.support.caller import Caller


def talked(key: int, at: str) -> str:
    return f"{key},Deal {key},Acme,Ann Lee,1,Talk,{at},"


async def test_times_beyond_the_calendar_are_errors_of_their_rows(admin: Caller) -> None:
    file = table(
        talked(1, "2026-01-10"),
        talked(2, "9999-12-31T23:59:59-14:00"),
        talked(3, "0001-01-01T00:00:00+14:00"),
        talked(4, "1899-12-31"),
        talked(5, "2200-01-01"),
        talked(6, "1900-01-01"),
    )
    done = await imported(admin, file)
    assert await errors_of(admin, done) == [(row, "/talked", "out_of_range") for row in (2, 3, 4, 5)]
    assert (done["status"], done["rows_imported"]) == ("partially_failed", 2)


async def test_whatever_a_conversion_raises_is_an_error_of_its_row(
    admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def brittle(value: Any) -> Any:
        if value == "2":
            raise ArithmeticError(value)
        return Decimal(value)

    monkeypatch.setattr(conversions, "_amount", lambda _: brittle)
    done = await imported(admin, table(ROW, "2,Second,Acme,Ann Lee,2,Talk,,", "3,Third,Acme,Ann Lee,3,Talk,,"))
    assert await errors_of(admin, done) == [(2, "/amount", "invalid_value")]
    assert done["rows_imported"] == 2


@pytest.mark.parametrize("shift", [None, "2026-06-01"])
async def test_a_value_of_the_mapping_that_can_not_be_one_fails_the_import_at_once(
    admin: Caller, shift: str | None
) -> None:
    wrong = {"column": "talked", "default": "9999-12-31T23:59:59-14:00"}
    mapping = changed(changed(SIMPLE, wrong, "fields", "occurred_at"), shift, "shift_dates_to")
    done = await imported(admin, table(ROW), mapping)
    assert (done["status"], done["problem"]["code"]) == ("failed", "out_of_range")
    assert done["problem"]["pointer"] == "/mapping/fields/occurred_at/default"


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (('2,"Second,Acme,Ann Lee,1,Talk,,', "3,Third,Acme,Ann Lee,1,Talk,,"), 3),
        (('2,"Sec\nond","Acme,Ann Lee,1,Talk,,', "3,Third,Acme,Ann Lee,1,Talk,,"), 4),
        (('2,"Second,Acme,Ann Lee,1,Talk,,', "3,Third,Acme,Ann Lee,1,Talk,,", '4,"Fourth",Acme,Ann Lee,1,Talk,,'), 3),
        (("2,Second,Acme,Ann Lee,1,Talk,,", '3,"Third ""quoted"" one,Acme,Ann Lee,1,Talk,,'), 4),
        (('2,"Second,Acme,Ann Lee,1,Talk,,', *(talked(n, "2026-01-10") for n in range(3, 30_000))), 3),
    ],
)
async def test_a_quote_that_swallows_rows_fails_the_file_and_names_its_line(
    admin: Caller, rows: tuple[str, ...], line: int
) -> None:
    done = await imported(admin, table(ROW, *rows))
    assert (done["status"], done["rows_read"], done["rows_imported"]) == ("failed", 0, 0)
    assert (done["problem"]["pointer"], done["problem"]["code"]) == ("/file", "unclosed_quote")
    assert f"opens on line {line} " in done["problem"]["message"]
    assert "was not read" in done["problem"]["message"]


async def test_an_unclosed_quote_in_the_header_is_named(admin: Caller) -> None:
    done = await imported(admin, table(ROW, header=HEADER.replace("name", '"name')))
    assert (done["status"], done["problem"]["code"]) == ("failed", "unclosed_quote")
    assert "opens on line 1 " in done["problem"]["message"]


async def test_a_quote_wrong_within_its_line_spoils_that_row_alone(admin: Caller) -> None:
    file = table(ROW, '2,"Se\ncond",Acme,Ann Lee,1,Talk,,', '3,"Th"ird,Acme,Ann Lee,1,Talk,,', '4,"too\nfew"')
    done = await imported(admin, file)
    assert (done["status"], done["rows_read"], done["rows_imported"]) == ("partially_failed", 4, 2)
    page = await admin.ok("GET", f"/v1/imports/{done['id']}/errors")
    starts = [(error["row"], error["message"].split(" can't")[0].split(":")[0]) for error in page["data"]]
    assert starts == [(3, "Line 5"), (4, "Lines 6 to 7")]


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        (
            changed(SIMPLE, "soon", "shift_dates_to"),
            [("/mapping/shift_dates_to", "This must be 'today' or a date such as 2026-01-31.")],
        ),
        (changed(SIMPLE, "Acme", "owner"), [("/mapping/owner", "This must be an object: names with their values.")]),
        (
            changed(SIMPLE, {"constant": [1]}, "fields", "name"),
            [("/mapping/fields/name/constant", "This must be a text, a whole number, a number or true or false.")],
        ),
        (changed(SIMPLE, "", "fields", "name"), [("/mapping/fields/name", "This must have at least 1 character.")]),
        (changed(SIMPLE, {"name": {}}, "process"), [
            ("/mapping/process/key", "This is missing."), ("/mapping/process/name/en", "This is missing."),
        ]),
        (
            changed(SIMPLE, {"column": "a", "constant": 1}, "fields", "name"),
            [("/mapping/fields/name", "This must give exactly one of column, constant and template.")],
        ),
        (
            changed(SIMPLE, {"column": "a", "date_format": "x"}, "fields", "name"),
            [("/mapping/fields/name/date_format", "This must be a format of dates such as %d.%m.%Y.")],
        ),
    ],
)  # fmt: skip
def test_a_wrong_mapping_is_told_in_plain_words(mapping: dict[str, Any], told: list[tuple[str, str]]) -> None:
    with pytest.raises(Invalid) as refused:
        check_document(mapping)
    assert [(error.pointer, error.message) for error in refused.value.errors] == told


async def test_what_is_logged_of_an_import_carries_its_request(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise ArithmeticError("not foreseen")

    told = LogCapture()
    logger = structlog.wrap_logger(
        structlog.PrintLogger(),
        processors=[structlog.contextvars.merge_contextvars, told],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )
    monkeypatch.setattr(attempt, "log", logger)
    queued = (await upload(admin, table(ROW))).json()
    with monkeypatch.context() as patched:
        patched.setattr(execution.Execution, "_fetch", broken)
        async with worker_of(admin) as worker:
            await attempt.run(worker, admin.workspace_id, UUID(queued["id"]))
    await imported(admin, table(ROW), key="another")
    assert [line["event"] for line in told.entries] == ["import_attempt_failed", "import_completed"]
    assert {line["workspace_id"] for line in told.entries} == {str(admin.workspace_id)}
    first, second = (line["request_id"] for line in told.entries)
    assert first
    assert second
    assert first != second
