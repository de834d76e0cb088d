"""The contract of events: documented, with examples that are valid, and growing only.

`tests/contract/events` holds a file for each type and version as it was published. SIXTEEN_WRITE_SNAPSHOTS=1 writes
the files of new types and versions, and takes additions to known ones over; it never writes a change that would break
a reader.
"""

from __future__ import annotations

import json
import os
import pkgutil
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

import services.api
from services.api.events.queries import COMMON
from services.api.opportunities.transitions import EVENTS
from services.api.resources import Resource
from shared.catalog.events import EVENT_TYPES as LABELS
from shared.catalog.people import SCOPES
from shared.event_data import Schema
from shared.events import ENVELOPE, EVENT_TYPES, EventType, matches, unknown
from tests.conftest import Servers
from tests.support.caller import Caller
from tests.support.event_contract import check_outbox, closed
from tests.support.flow import undoing, working_day
from tests.support.scoring import drain

GOLDEN = Path(__file__).parent / "events"
WRITE = os.environ.get("SIXTEEN_WRITE_SNAPSHOTS") == "1"
# What can't be changed through the resource functions leaves no events by them.
READ_ONLY = {"audit_entry", "transition", "pin", "move", "merge", "member_login", "member_session"}
# The greatest a webhook may be.
LARGEST = 20_000


def document(type_: EventType) -> Schema:
    return {"subject": list(type_.subject), "schema": type_.json_schema}


def breaks(old: Any, new: Any, place: str = "") -> list[str]:
    """Where a reader of the old schema would stumble over what the new one describes."""
    found: list[str] = []
    kinds_before, kinds_after = _kinds(old), _kinds(new)
    if not kinds_after <= kinds_before:
        found.append(f"{place or '/'}: may now be {sorted(kinds_after - kinds_before)}")
    if old.get("format") != new.get("format"):
        found.append(f"{place or '/'}: its format is another one")
    if "enum" in new and not set(map(str, new["enum"])) <= set(map(str, old.get("enum", new["enum"]))):
        found.append(f"{place or '/'}: has new values in a closed list")
    for name, schema in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            found.append(f"{place}/{name}: is gone")
        else:
            found += breaks(schema, new["properties"][name], f"{place}/{name}")
    found += [
        f"{place}/{name}: may now be missing" for name in old.get("required", ()) if name not in new.get("required", ())
    ]
    # What an old event lacks can't be promised under its version.
    promised = set(new.get("required", ())) - set(old.get("required", ()))
    found += [f"{place}/{name}: newly required" for name in sorted(promised)]
    if "items" in old:
        found += breaks(old["items"], new.get("items", {}), f"{place}/*")
    return found


def _kinds(schema: Schema) -> set[str]:
    kind = schema.get("type", [])
    return set(kind) if isinstance(kind, list) else {kind}


@pytest.mark.parametrize("name", list(EVENT_TYPES))
def test_a_published_type_only_grows(name: str) -> None:
    type_ = EVENT_TYPES[name]
    file = GOLDEN / f"{name}.v{type_.version}.json"
    current = document(type_)
    if not file.exists():
        assert WRITE, f"{name} is new: run with SIXTEEN_WRITE_SNAPSHOTS=1 and commit {file.name}"
        file.write_text(json.dumps(current, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
        return
    published = json.loads(file.read_text())
    broken = breaks(published["schema"], current["schema"])
    broken += [f"no longer about a {each}" for each in published["subject"] if each not in current["subject"]]
    assert broken == [], f"{name} breaks its readers: give it the next version"
    if WRITE:
        file.write_text(json.dumps(current, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    assert json.loads(file.read_text()) == current, f"{name} has grown: take it over with SIXTEEN_WRITE_SNAPSHOTS=1"


def test_no_published_type_is_gone() -> None:
    published = {re.sub(r"\.v\d+$", "", file.stem) for file in GOLDEN.glob("*.json")}
    assert sorted(published - set(EVENT_TYPES)) == []


def test_a_change_that_breaks_readers_is_found() -> None:
    old = EVENT_TYPES["opportunity.won"].json_schema
    properties = old["properties"]
    assert breaks(old, old) == []
    assert breaks(old, {**old, "properties": {**properties, "new": {"type": "string"}}}) == []
    without = {**old, "properties": {name: each for name, each in properties.items() if name != "status"}}
    assert breaks(old, without) == ["/status: is gone"]
    retyped = {**old, "properties": {**properties, "version": {"type": "string"}}}
    assert breaks(old, retyped) == ["/version: may now be ['string']"]
    nullable = {**old, "properties": {**properties, "name": {"type": ["string", "null"]}}}
    assert breaks(old, nullable) == ["/name: may now be ['null']"]
    assert breaks(old, {**old, "required": [*old["required"], "close_reason"]}) == ["/close_reason: newly required"]
    assert breaks(old, {**old, "required": old["required"][1:]}) == [f"/{old['required'][0]}: may now be missing"]


@pytest.mark.parametrize("name", list(EVENT_TYPES))
def test_an_example_is_a_valid_event(name: str) -> None:
    type_ = EVENT_TYPES[name]
    checker = FormatChecker()
    Draft202012Validator.check_schema(type_.json_schema)
    Draft202012Validator(closed(type_.json_schema), format_checker=checker).validate(type_.example)
    Draft202012Validator(closed(ENVELOPE), format_checker=checker).validate(type_.sample)
    assert type_.label.en
    assert re.search(r"[\u4e00-\u9fff]", type_.label.zh_hans)
    assert type_.description
    assert type_.scope in SCOPES
    assert len(json.dumps(type_.sample).encode()) < LARGEST


def test_there_is_one_list() -> None:
    assert {name: type_.label for name, type_ in EVENT_TYPES.items()} == LABELS


def test_patterns() -> None:
    assert matches(["opportunity.*"], "opportunity.won")
    assert not matches(["opportunity.*", "task.created"], "opportunity_x.won")
    assert matches(["*"], "anything.new")
    assert unknown(["*", "focus.moved", "task.*", "task.exploded", "t*", "nothing.*"]) == [
        "task.exploded",
        "t*",
        "nothing.*",
    ]


def test_what_everybody_sees_is_a_subject_of_some_event() -> None:
    subjects = {subject for type_ in EVENT_TYPES.values() for subject in type_.subject}
    assert set(COMMON) - subjects <= {"endpoint"}


def resources() -> list[Resource]:
    found: dict[str, Resource] = {}
    for package in pkgutil.iter_modules(services.api.__path__):
        if not package.ispkg:
            continue
        for module in pkgutil.iter_modules(import_module(f"services.api.{package.name}").__path__):
            loaded = import_module(f"services.api.{package.name}.{module.name}")
            found |= {each.name: each for each in vars(loaded).values() if isinstance(each, Resource)}
    return [each for name, each in found.items() if name not in READ_ONLY]


def test_what_resources_leave_is_known() -> None:
    types = {f"{each.name}.created" for each in resources() if each.name not in {"policy", "import", "merge"}}
    types |= {f"{each.name}.{action}" for each in resources() if each.soft for action in ("deleted", "restored")}
    assert len(types) > 15
    assert sorted(types - set(EVENT_TYPES)) == []


def test_what_transitions_leave_is_known() -> None:
    assert {f"opportunity.{name}" for name in EVENTS.values()} <= set(EVENT_TYPES)


async def test_what_a_working_day_writes_keeps_the_contract(admin: Caller, servers: Servers) -> None:
    """And so does whatever any other test writes: the end of the session looks again."""
    await undoing(admin, await working_day(admin))
    await drain(servers, admin.workspace_id)
    types, broken = await check_outbox(servers.database_url)
    assert broken == []
    assert len(types) > 45, sorted(set(EVENT_TYPES) - types)
