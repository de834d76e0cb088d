"""Who answers for an endpoint: it is told what they may be told, and nothing once they may not have one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from services.api.delivery.relay import Page, Relay
from services.api.jobs.webhook_jobs import WebhookJobs
from services.api.workspaces.service import issue_key
from shared.catalog.people import ROLE_SCOPES
from shared.clock import SystemClock
from shared.db import sql
from tests.support.caller import Caller
from tests.support.statements import statements
from tests.support.traces import traces
from tests.support.webhooks import ENDPOINTS, URL, make_attempt, make_endpoint
from tests.webhooks.test_deliveries import rows

HANDED_OUT = sql("SELECT endpoint_id, type FROM events.webhook_deliveries WHERE workspace_id = :workspace_id")


async def relay(admin: Caller) -> None:
    """What the api-worker's relay does for this workspace."""
    made = Relay(admin.state.database, SystemClock(), lambda *_: None)
    while await made._relay(admin.workspace_id) is not Page.THROUGH:
        pass


async def told(admin: Caller, endpoint: dict[str, Any]) -> set[str]:
    """The types of event that were handed to an endpoint."""
    found = await rows(admin, HANDED_OUT)
    return {row["type"] for row in found if str(row["endpoint_id"]) == endpoint["id"]}


async def narrowed(caller: Caller, *scopes: str) -> Caller:
    """The same member with a key that may do only so much."""
    async with caller.state.database.transaction(caller.workspace_id) as tx:
        key, _ = await issue_key(tx, caller.member_id, "narrow", scopes)
    return Caller(caller.http, caller.state, caller.workspace_id, caller.member_id, key)


class TestLeaving:
    """A maker who is demoted or shut out takes their endpoints' hearing along, and it is seen."""

    @pytest.mark.parametrize("change", [{"role": "rep"}, {"role": "viewer"}, {"active": False}])
    async def test_nothing_more_goes_there(self, admin: Caller, change: dict[str, Any]) -> None:
        leaver = await admin.member("admin", "Leaver")
        orphan, other = await make_endpoint(leaver), await make_endpoint(admin)
        await admin.make_customer("Known")
        await relay(admin)
        assert "customer.created" in await told(admin, orphan)
        before = len(await rows(admin, HANDED_OUT))
        await admin.ok("PATCH", f"/v1/members/{leaver.member_id}", change)
        await admin.make_customer("Secret")
        await relay(admin)
        handed = [str(row["endpoint_id"]) for row in (await rows(admin, HANDED_OUT))[before:]]
        assert set(handed) == {other["id"]}
        now = await admin.ok("GET", f"{ENDPOINTS}/{orphan['id']}")
        assert (now["disabled"], now["disabled_reason"]) == (True, "orphaned")
        assert now["disabled_at"] is not None
        assert not (await admin.ok("GET", f"{ENDPOINTS}/{other['id']}"))["disabled"]
        # What waited there is kept, and taken up by nobody.
        due = await admin.state.database.fetch("SELECT * FROM events.due_endpoints(now(), '{}', 100000)")
        assert orphan["id"] not in {str(row["endpoint_id"]) for row in due}
        assert "endpoint.disabled" in await told(admin, other)

    async def test_it_is_told_of_and_audited_once(self, admin: Caller) -> None:
        leaver = await admin.member("integration")
        orphan = await make_endpoint(leaver)
        await admin.ok("PATCH", f"/v1/members/{leaver.member_id}", {"active": False})
        await relay(admin)
        await relay(admin)
        left = await traces(admin)
        events = [row for row in left.events.values() if row["type"] == "endpoint.disabled"]
        assert [(str(row["subject_id"]), row["data"]["reason"]) for row in events] == [(orphan["id"], "orphaned")]
        entries = [row for row in left.audit.values() if row["action"] == "endpoint.disabled"]
        assert [row["changes"]["disabled_reason"] for row in entries] == [[None, "orphaned"]]

    async def test_whoever_lets_it_go_answers_for_it(self, admin: Caller) -> None:
        leaver = await admin.member("admin", "Leaver")
        orphan = await make_endpoint(leaver, event_types=["customer.*"])
        await admin.ok("PATCH", f"/v1/members/{leaver.member_id}", {"active": False})
        await relay(admin)
        missed = await admin.make_customer()
        with statements() as seen:
            taken = await admin.ok("POST", f"{ENDPOINTS}/{orphan['id']}:enable")
        assert len(seen) <= 8
        assert (taken["disabled"], taken["created_by"]) == (False, str(admin.member_id))
        await admin.make_customer()
        await relay(admin)
        assert await told(admin, orphan) == {"customer.created"}
        await admin.ok("POST", f"{ENDPOINTS}/{orphan['id']}:replay-missing", {"since": missed["recorded_at"]})
        await work(admin)
        assert len(await rows(admin, HANDED_OUT)) == 2

    async def test_one_that_was_held_by_hand_is_taken_over_too(self, admin: Caller) -> None:
        leaver = await admin.member("admin", "Leaver")
        held = await make_endpoint(leaver, disabled=True)
        await admin.ok("PATCH", f"/v1/members/{leaver.member_id}", {"role": "manager"})
        freed = await admin.ok("PATCH", f"{ENDPOINTS}/{held['id']}", {"disabled": False})
        await relay(admin)
        now = await admin.ok("GET", f"{ENDPOINTS}/{held['id']}")
        assert (freed["created_by"], now["disabled"]) == (str(admin.member_id), False)

    async def test_a_maker_who_stays_keeps_it_whoever_lets_it_go(self, admin: Caller) -> None:
        maker = await admin.member("integration")
        made = await make_endpoint(maker, disabled=True)
        freed = await admin.ok("POST", f"{ENDPOINTS}/{made['id']}:enable")
        assert freed["created_by"] == str(maker.member_id)


async def work(admin: Caller) -> None:
    duty = WebhookJobs(admin.state.database, SystemClock(), lambda: None)
    while await duty.work():
        pass


class TestReading:
    """Nobody hears through an endpoint what they may not read."""

    async def test_making_one_needs_the_right_to_read_events(self, admin: Caller) -> None:
        caller = await narrowed(admin, *(ROLE_SCOPES["admin"] - {"events:read"}))
        body = {"url": URL, "event_types": ["customer.*"]}
        refused = await caller.post(ENDPOINTS, body)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "events:read" in refused.json()["detail"]
        assert (await admin.ok("GET", ENDPOINTS))["data"] == []

    @pytest.mark.parametrize("types", [["customer.created"], ["*"], ["opportunity.won", "customer.*"]])
    async def test_a_narrow_key_makes_none_that_hears_more(self, admin: Caller, types: Sequence[str]) -> None:
        caller = await narrowed(admin, "webhooks:read", "webhooks:write", "events:read", "opportunities:read")
        refused = await caller.post(ENDPOINTS, {"url": URL, "event_types": types})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "customers:read" in refused.json()["detail"]
        made = await make_endpoint(caller, event_types=["opportunity.*"])
        widened = await caller.patch(f"{ENDPOINTS}/{made['id']}", {"event_types": types})
        assert widened.status_code == 403
        assert (await caller.ok("PATCH", f"{ENDPOINTS}/{made['id']}", {"url": f"{URL}/2"}))["version"] == 2

    async def test_an_endpoint_of_somebody_who_hears_more_is_not_turned_to_oneself(self, admin: Caller) -> None:
        made = await make_endpoint(admin)
        integration = await admin.member("integration")
        path = f"{ENDPOINTS}/{made['id']}"
        turned = await integration.patch(path, {"url": "https://elsewhere.example.com/"})
        assert (turned.status_code, turned.json()["code"]) == (403, "forbidden")
        assert "api_keys:read" in turned.json()["detail"]
        assert (await integration.ok("PATCH", path, {"description": "seen", "disabled": True}))["disabled"]
        assert (await integration.post(f"{path}:enable")).status_code == 403

    async def test_nor_after_its_types_are_cut_down(self, admin: Caller) -> None:
        """What waits there, or failed, is of any type that its maker may be told."""
        made = await make_endpoint(admin, event_types=["customer.*"])
        integration = await admin.member("integration")
        path = f"{ENDPOINTS}/{made['id']}"
        for change in ({}, {"event_types": ["opportunity.*"]}):
            turned = await integration.patch(path, {"url": "https://elsewhere.example.com/", **change})
            assert (turned.status_code, turned.json()["code"]) == (403, "forbidden")
        same = {"url": made["url"], "event_types": ["opportunity.*"]}
        assert (await integration.ok("PATCH", path, same))["event_types"] == ["opportunity.*"]

    async def test_a_narrow_key_takes_over_only_what_it_may_read_all_of(self, admin: Caller) -> None:
        leaver = await admin.member("admin", "Leaver")
        orphan = await make_endpoint(leaver, event_types=["customer.*"])
        await admin.ok("PATCH", f"/v1/members/{leaver.member_id}", {"active": False})
        await relay(admin)
        narrow = await narrowed(admin, "webhooks:read", "webhooks:write", "events:read", "customers:read")
        refused = await narrow.post(f"{ENDPOINTS}/{orphan['id']}:enable")
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "api_keys:read" in refused.json()["detail"]
        assert not (await admin.ok("POST", f"{ENDPOINTS}/{orphan['id']}:enable"))["disabled"]

    async def test_an_integration_hears_what_it_may_read(self, admin: Caller) -> None:
        integration = await admin.member("integration")
        theirs, ours = await make_endpoint(integration), await make_endpoint(admin)
        await admin.ok("POST", "/v1/api-keys", {"name": "new"})
        await admin.make_opportunity()
        await relay(admin)
        heard = await told(admin, theirs)
        assert {"opportunity.created", "customer.created", "endpoint.created"} <= heard
        assert not {each for each in heard if each.startswith("api_key.")}
        assert await told(admin, ours) - heard == {"api_key.created"}

    async def test_a_replay_is_told_no_more_than_the_relay(self, admin: Caller) -> None:
        integration = await admin.member("integration")
        await admin.ok("POST", "/v1/api-keys", {"name": "old"})
        await admin.make_customer()
        theirs = await make_endpoint(integration)
        await integration.ok("POST", f"{ENDPOINTS}/{theirs['id']}:replay-missing", {})
        await work(admin)
        heard = await told(admin, theirs)
        assert "customer.created" in heard
        assert "api_key.created" not in heard

    async def test_a_replay_for_a_maker_who_left_hands_out_nothing(self, admin: Caller) -> None:
        leaver = await admin.member("admin")
        await admin.make_customer()
        theirs = await make_endpoint(leaver)
        await leaver.ok("POST", f"{ENDPOINTS}/{theirs['id']}:replay-missing", {})
        await admin.ok("PATCH", f"/v1/members/{leaver.member_id}", {"active": False})
        await work(admin)
        assert await told(admin, theirs) == set()

    async def test_what_was_sent_is_shown_to_whoever_may_read_it(self, admin: Caller) -> None:
        made = await make_endpoint(admin)
        sample = await admin.ok("POST", f"{ENDPOINTS}/{made['id']}:test", {"event_type": "customer.created"})
        attempt = f"/v1/webhook-attempts/{await make_attempt(admin, sample['id'])}"
        assert "customer.created" in (await admin.ok("GET", attempt))["request"]["body"]
        for scopes in (("webhooks:read",), ("webhooks:read", "events:read")):
            shown = await (await narrowed(admin, *scopes)).ok("GET", attempt)
            assert shown["request"]["body"] is None
        may = await narrowed(admin, "webhooks:read", "events:read", "customers:read")
        assert (await may.ok("GET", attempt))["request"]["body"] is not None
