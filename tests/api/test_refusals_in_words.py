"""What is refused names its place and says why in words of ours, never in those of the database or of a library."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.caller import Caller

CHANGED = ("customers", "products", "members", "contacts", "opportunities")


def places(answer: Any) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in answer.json()["errors"]]


async def body_of(admin: Caller, path: str) -> dict[str, Any]:
    """The least that makes one there."""
    if path in {"/v1/customers", "/v1/products"}:
        return {"name": "X"}
    if path == "/v1/members":
        return {"name": "X", "email": "half@example.com", "role": "rep"}
    customer_id = (await admin.make_customer())["id"]
    more: dict[str, dict[str, Any]] = {
        "/v1/contacts": {"name": "X"},
        "/v1/opportunities": {"name": "X"},
        "/v1/interactions": {"kind": "call"},
        "/v1/tasks": {"title": "X", "due_on": "2099-01-01"},
    }
    return {"customer_id": customer_id, **more[path]}


@pytest.mark.parametrize("kind", [*CHANGED, "interactions", "tasks"])
async def test_half_an_external_id_is_refused_at_the_missing_half(admin: Caller, kind: str) -> None:
    path = f"/v1/{kind}"
    body = await body_of(admin, path)
    for given, missing in (("external_id", "external_source"), ("external_source", "external_id")):
        answer = await admin.post(path, {**body, given: "erp"})
        assert answer.status_code == 422, answer.text
        assert places(answer) == [(f"/{missing}", "required")]
        assert "ck_" not in answer.text
        assert "constraint" not in answer.text


@pytest.mark.parametrize("kind", CHANGED)
async def test_half_an_external_id_can_t_be_left_by_a_change(admin: Caller, kind: str) -> None:
    path = f"/v1/{kind}"
    made = await admin.ok("POST", path, {**await body_of(admin, path), "external_source": "erp", "external_id": "7"})
    answer = await admin.patch(f"{path}/{made['id']}", {"external_source": None})
    assert (answer.status_code, places(answer)) == (422, [("/external_source", "required")])
    changed = await admin.ok("PATCH", f"{path}/{made['id']}", {"external_source": None, "external_id": None})
    assert (changed["external_source"], changed["external_id"]) == (None, None)


@pytest.mark.parametrize("value", ["1e400", "99999999999999999", "nan", "inf", "1.00001", "much"])
@pytest.mark.parametrize("name", ["amount_gte", "amount_lte"])
async def test_an_amount_no_money_can_have_is_a_wrong_filter(admin: Caller, name: str, value: str) -> None:
    answer = await admin.get(f"/v1/opportunities?{name}={value}")
    assert answer.status_code == 400, answer.text
    assert [pointer for pointer, _ in places(answer)] == [f"?{name}"]


@pytest.mark.parametrize("value", ["nan", "inf", "1e400", "1_0"])
async def test_an_attribute_is_compared_with_finite_numbers_only(admin: Caller, value: str) -> None:
    body = {"subject": "customer", "key": "size", "label": {"en": "Size"}, "kind": "number"}
    await admin.ok("POST", "/v1/attributes", body)
    answer = await admin.get("/v1/customers", params={"attribute": f"size>={value}"})
    assert (answer.status_code, places(answer)) == (400, [("?attribute", "invalid_value")])


@pytest.mark.parametrize(
    ("path", "name", "known"),
    [
        ("/v1/customers", "kind", "household"),
        ("/v1/customers", "tier", "key"),
        ("/v1/contacts", "function", ""),
        ("/v1/contacts", "level", ""),
        ("/v1/opportunities", "status", "open"),
        ("/v1/opportunities", "line", "short"),
        ("/v1/interactions", "kind", "call"),
        ("/v1/interactions", "direction", ""),
        ("/v1/tasks", "status", "open"),
        ("/v1/tasks", "kind", "promise"),
        ("/v1/members", "role", "rep"),
        ("/v1/attributes", "kind", "number"),
        ("/v1/attributes", "subject", "customer"),
        ("/v1/processes", "template", ""),
        ("/v1/merges", "kind", "customer"),
        ("/v1/exports", "kind", "customers"),
        ("/v1/focus", "band", "track"),
    ],
)
async def test_a_code_that_is_none_is_a_wrong_filter_and_the_known_ones_are_named(
    admin: Caller, path: str, name: str, known: str
) -> None:
    answer = await admin.get(path, params={name: "zzz"})
    assert answer.status_code == 400, answer.text
    (error,) = answer.json()["errors"]
    assert error["pointer"] == f"?{name}"
    assert known in error["message"]
    assert not error["message"].startswith("Value error")
    if known:
        assert (await admin.get(path, params={name: known})).status_code == 200


async def test_words_are_ours_and_not_those_of_a_library(admin: Caller) -> None:
    answer = await admin.post("/v1/customers", {"name": "X", "kind": "alien"})
    assert answer.json()["errors"][0]["message"].startswith("must be one of organisation")
    answer = await admin.post("/v1/exports", {"kind": "opportunities", "format": "csv", "filters": {"status": "foo"}})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == "/filters/status"
    assert answer.json()["errors"][0]["message"].startswith("must be one of open")


async def test_two_filters_that_exclude_each_other_are_named(admin: Caller) -> None:
    for query in ("band=track&within=track", "within=track&band=track"):
        answer = await admin.get(f"/v1/focus?{query}")
        assert (answer.status_code, places(answer)) == (400, [("?within", "value_error")])
        assert answer.json()["errors"][0]["message"] == "give band or within, not both"


async def test_a_body_in_another_encoding_is_said_to_be_so(admin: Caller) -> None:
    headers = {"content-type": "application/json"}
    for content in ('{"name": "Müller"}'.encode("latin-1"), b'\xff\xfe{"name": "X"}', b'{"name": "\xed\xa0\x80"}'):
        answer = await admin.post("/v1/customers", content=content, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
        assert answer.json()["detail"] == "The body is not UTF-8."
    answer = await admin.post("/v1/customers", content=b'{"name": "\\ud800"}', headers=headers)
    assert answer.status_code in {400, 422}
    assert "surrogates" not in answer.text


async def test_an_external_id_in_a_path_that_is_too_long_is_named(admin: Caller) -> None:
    for path, name in ((f"{'s' * 400}/1", "source"), (f"erp/{'1' * 400}", "external_id")):
        answer = await admin.put(f"/v1/customers/by-external-id/{path}", {"name": "X"})
        assert answer.status_code == 400, answer.text
        assert places(answer) == [(f"path:{name}", "string_too_long")]
    for path, name in (("%20/1", "source"), ("erp/%20", "external_id"), ("erp/%00", "external_id")):
        answer = await admin.put(f"/v1/customers/by-external-id/{path}", {"name": "X"})
        assert answer.status_code == 400, answer.text
        assert [place for place, _ in places(answer)] == [f"path:{name}"]
    assert (await admin.get("/v1/customers/none-of-ours")).status_code == 404


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("limit=5&limit=6", ["limit"]),
        ("sort=name&sort=-name", ["sort"]),
        ("name_prefix=a&name_prefix=a&limit=1&limit=1", ["limit", "name_prefix"]),
    ],
)
async def test_a_single_parameter_given_twice_is_refused(admin: Caller, query: str, names: list[str]) -> None:
    answer = await admin.get(f"/v1/customers?{query}")
    assert answer.status_code == 400, answer.text
    assert places(answer) == [(f"?{name}", "repeated") for name in names]


async def test_what_is_a_list_may_be_given_more_than_once(admin: Caller) -> None:
    await admin.make_opportunity()
    page = await admin.ok("GET", "/v1/opportunities?fields=name&fields=status&expand=owner&expand=customer&status=open")
    assert [row["status"] for row in page["data"]] == ["open"]
    answer = await admin.get("/v1/opportunities?nothing=1&nothing=2")
    assert (answer.status_code, places(answer)) == (400, [("?nothing", "unknown_field")])


@pytest.mark.parametrize("fields", ["", ",", "name,"])
async def test_a_field_without_a_name_is_told_what_there_is(admin: Caller, fields: str) -> None:
    answer = await admin.get(f"/v1/customers?fields={fields}")
    assert (answer.status_code, places(answer)) == (400, [("?fields", "unknown_field")])
    assert "  " not in answer.json()["detail"]
    assert answer.json()["detail"].startswith("Name the fields to be shown, commas between; there are ")


async def test_evidence_of_a_passage_has_a_size(admin: Caller) -> None:
    made = await admin.make_opportunity()
    answer = await admin.transition(made["id"], "pass", evidence={"text": "x" * 21_000})
    assert (answer.status_code, places(answer)) == (422, [("/evidence", "value_error")])
    answer = await admin.transition(made["id"], "pass", evidence={"text": "x" * 15_000})
    assert answer.status_code in {200, 201}, answer.text
