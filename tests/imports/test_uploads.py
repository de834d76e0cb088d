"""What the api accepts as an upload, who may send one, and what it says of it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from services.api.main import create_app
from services.api.settings import ApiSettings
from tests.imports.support import SIMPLE, errors_of, finish, imported, table, upload
from tests.support.caller import Caller, make_workspace

ROW = "1,First,Acme,Ann Lee,100,Talk,,"


def without(mapping: dict[str, Any], *path: str) -> dict[str, Any]:
    """A copy of a mapping that lacks one place."""
    copy: dict[str, Any] = json.loads(json.dumps(mapping))
    place = copy
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return copy


def changed(mapping: dict[str, Any], value: Any, *path: str) -> dict[str, Any]:
    """A copy of a mapping with another value in one place."""
    copy: dict[str, Any] = json.loads(json.dumps(mapping))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return copy


async def test_an_upload_is_accepted_and_can_be_followed(admin: Caller) -> None:
    response = await upload(admin, table(ROW), name="deals.csv")
    assert response.status_code == 202, response.text
    body = response.json()
    assert response.headers["location"] == f"/v1/imports/{body['id']}"
    assert (body["status"], body["kind"], body["format"], body["source"]) == ("queued", "opportunities", "csv", "test")
    done = await finish(admin, body["id"])
    assert (done["status"], done["rows_total"], done["rows_imported"], done["rows_failed"]) == ("succeeded", 1, 1, 0)
    listed = await admin.ok("GET", "/v1/imports", params={"status": "succeeded"})
    assert [each["id"] for each in listed["data"]] == [body["id"]]


async def test_a_key_is_required_and_the_same_upload_is_imported_once(admin: Caller) -> None:
    files = {"file": ("deals.csv", table(ROW))}
    refused = await admin.request("POST", "/v1/imports", files=files, data={"mapping": json.dumps(SIMPLE)})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "header:Idempotency-Key")
    first = await upload(admin, table(ROW), key="again")
    second = await upload(admin, table(ROW), key="again")
    assert (second.status_code, second.json()["id"]) == (202, first.json()["id"])
    assert second.headers["idempotency-replayed"] == "true"
    other = await upload(admin, table(ROW, "2,Second,Acme,Ann Lee,1,Talk,,"), key="again")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("mapping", "pointer", "code"),
    [
        (changed(SIMPLE, "leads", "kind"), "/mapping/kind", "literal_error"),
        (changed(SIMPLE, {"column": "a", "constant": 1}, "fields", "name"), "/mapping/fields/name", "value_error"),
        (changed(SIMPLE, "a", "fields", "colour"), "/mapping/fields/colour", "unknown_field"),
        (without(SIMPLE, "fields", "external_id"), "/mapping/fields/external_id", "required"),
        (without(SIMPLE, "customer"), "/mapping/customer", "required"),
        (changed(SIMPLE, "x", "surprise"), "/mapping/surprise", "unknown_field"),
        (changed(SIMPLE, {"stage": "nowhere"}, "stage", "values", "Talk"), "/mapping/stage/values/Talk/stage", None),
        (changed(SIMPLE, {"stage": "talk", "lost": "whim"}, "stage", "values", "Lost"), None, "value_error"),
        ("kind: [", "/mapping", "malformed"),
        ("a: &x [1]\nb: *x", "/mapping", "malformed"),
        ('{"kind": ', "/mapping", "malformed"),
        ("just words", "/mapping", "invalid_mapping"),
    ],
)
async def test_a_wrong_mapping_is_refused_with_its_place(
    admin: Caller, mapping: dict[str, Any] | str, pointer: str | None, code: str | None
) -> None:
    response = await upload(admin, table(ROW), mapping)
    assert response.status_code == 422, response.text
    error = response.json()["errors"][0]
    assert pointer is None or error["pointer"] == pointer, error
    assert code is None or error["code"] == code, error


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"name": "file.bin"}, "/format"),
        ({"surprise": "1"}, "/surprise"),
        ({"dry_run": "perhaps"}, "/dry_run"),
        ({"shift_dates_to": "soon"}, "/mapping/shift_dates_to"),
    ],
)
async def test_a_wrong_form_is_refused_with_its_part(admin: Caller, given: dict[str, str], pointer: str) -> None:
    response = await upload(admin, table(ROW), **given)
    assert response.status_code == 422, response.text
    assert response.json()["errors"][0]["pointer"].startswith(pointer), response.text


async def test_without_a_file_or_in_json_it_is_refused(admin: Caller) -> None:
    headers = {"Idempotency-Key": "none"}
    empty = await upload(admin, b"")
    assert (empty.status_code, empty.json()["errors"][0]["pointer"]) == (422, "/file")
    as_json = await admin.request("POST", "/v1/imports", json={}, headers=headers)
    assert as_json.status_code == 415


async def test_a_manager_imports_but_makes_no_members_and_a_rep_does_not_import(admin: Caller) -> None:
    rep = await admin.member("rep", "Ann Lee")
    manager = await admin.manager_of(rep)
    assert (await upload(rep, table(ROW))).status_code == 403
    refused = await upload(manager, table(ROW))
    assert (refused.status_code, "members:write" in refused.json()["detail"]) == (403, True)
    mapping = changed(SIMPLE, {"name": "agent"}, "owner")
    await imported(admin, table(ROW))
    await admin.member("rep", "Bob Far")
    done = await imported(manager, table(ROW, "2,Second,Acme,Bob Far,1,Talk,,"), without(mapping, "process", "stages"))
    assert await errors_of(manager, done) == [(2, "/agent", "out_of_reach")]
    assert (await rep.get(f"/v1/imports/{done['id']}")).status_code == 403
    mine = await manager.ok("GET", "/v1/imports")
    assert [each["id"] for each in mine["data"]] == [done["id"]]


async def test_another_workspace_sees_nothing_of_an_import(admin: Caller, other: Caller) -> None:
    done = await imported(admin, table(ROW))
    for method, path in (("GET", ""), ("GET", "/errors"), ("POST", ":cancel")):
        response = await other.request(method, f"/v1/imports/{done['id']}{path}")
        assert response.status_code == 404, (method, path)
    assert (await other.ok("GET", "/v1/imports"))["data"] == []
    assert (await other.ok("GET", "/v1/opportunities"))["data"] == []


async def test_an_upload_beyond_the_limit_is_413_and_leaves_nothing(api_settings: ApiSettings) -> None:
    app = create_app(api_settings.model_copy(update={"upload_limit": 50_000}))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://sixteen.test") as http:
            caller = await make_workspace(http, app.state.sixteen)
            response = await upload(caller, table(*[ROW] * 5_000))
            assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")
            assert (await caller.ok("GET", "/v1/imports"))["data"] == []


async def test_a_queued_import_is_cancelled_at_once_and_an_ended_one_is_not(admin: Caller) -> None:
    queued = (await upload(admin, table(ROW))).json()
    cancelled = await admin.ok("POST", f"/v1/imports/{queued['id']}:cancel")
    assert (cancelled["status"], cancelled["finished_at"] is not None) == ("cancelled", True)
    done = await imported(admin, table(ROW))
    assert (await admin.post(f"/v1/imports/{done['id']}:cancel")).status_code == 409


async def test_the_mapping_schema_is_served(admin: Caller) -> None:
    schema = await admin.ok("GET", "/v1/imports/mapping-schema")
    assert {"kind", "source", "fields", "stage"} <= schema["properties"].keys()
    assert (await admin.get("/v1/imports", params={"surprise": "1"})).status_code == 400
