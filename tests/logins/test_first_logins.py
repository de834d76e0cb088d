"""The first login of a person whom nobody has linked yet: with a verified e-mail alone, and no workspace named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest

from shared.db import sql
from shared.ids import new_id
from tests.logins.conftest import SET_EMAIL, Office, set_member
from tests.support.caller import Caller, make_workspace

LEFT_OPEN = {"workspace_id": None}
LINKS = sql("SELECT count(*) FROM sales.member_identities WHERE workspace_id = :workspace_id")


@pytest.fixture
async def elsewhere(office: Office) -> Caller:
    """A member of another workspace of the same installation, without an e-mail so far."""
    admin = await make_workspace(office.http, office.admin.state, "Elsewhere")
    return await admin.member("viewer")


async def give_email(caller: Caller, email: str | None, *, active: bool = True) -> None:
    async with caller.state.database.transaction(caller.workspace_id) as tx:
        await tx.run(SET_EMAIL, id=caller.member_id, email=email, active=active)


async def links(office: Office) -> int:
    async with office.admin.state.database.transaction(office.admin.workspace_id) as tx:
        return int(await tx.value(LINKS))


@contextmanager
def set_provider(office: Office, **changes: Any) -> Iterator[None]:
    issuer = office.admin.state.identities.tokens.issuers[office.provider.issuer]
    before = issuer.provider
    issuer.provider = before.model_copy(update=changes)
    try:
        yield
    finally:
        issuer.provider = before


async def test_a_member_of_one_workspace_names_none(office: Office, elsewhere: Caller) -> None:
    tokens = await office.log_in(begun=LEFT_OPEN)
    assert tokens["workspace_id"] == str(office.admin.workspace_id)
    assert tokens["member_id"] == str(office.rep.member_id)
    assert (await office.call(tokens["access_token"], workspace=None)).status_code == 200
    assert elsewhere.workspace_id != office.admin.workspace_id


async def test_a_token_of_the_provider_names_none_either(office: Office) -> None:
    response = await office.call(office.token(email=office.email.upper()), workspace=None)
    assert response.json()["member"]["id"] == str(office.rep.member_id)


async def test_a_member_of_several_says_which_and_is_told_none(office: Office, elsewhere: Caller) -> None:
    await give_email(elsewhere, office.email)
    for response in (
        await office.try_to_log_in(begun=LEFT_OPEN),
        await office.call(office.token(), workspace=None),
    ):
        assert (response.status_code, response.json()["code"]) == (400, "bad_request")
        assert "workspace_id" in response.json()["detail"]
        for told in (str(office.admin.workspace_id), str(elsewhere.workspace_id), "2", "two"):
            assert told not in response.json()["detail"]
    assert await links(office) == 0
    assert (await office.log_in())["workspace_id"] == str(office.admin.workspace_id)
    # Linked in one of them, that is the one.
    assert (await office.log_in(begun=LEFT_OPEN))["workspace_id"] == str(office.admin.workspace_id)


async def test_a_member_who_has_left_one_of_two_is_of_the_other(office: Office, elsewhere: Caller) -> None:
    await give_email(elsewhere, office.email, active=False)
    assert (await office.log_in(begun=LEFT_OPEN))["workspace_id"] == str(office.admin.workspace_id)


@pytest.mark.parametrize(
    "claims",
    [
        {"email_verified": False},
        {"email_verified": None},
        {"email": None},
        {"email": "stranger@example.com"},
        {"email": "%"},
        {"email": ""},
        {"email": "a\0@example.com"},
    ],
)
async def test_who_proves_nothing_is_nobody(office: Office, claims: dict[str, Any]) -> None:
    for response in (
        await office.try_to_log_in(begun=LEFT_OPEN, **claims),
        await office.call(office.token(**claims), workspace=None),
    ):
        assert (response.status_code, response.json()["code"]) == (403, "not_a_member")
    assert await links(office) == 0


async def test_a_provider_links_nobody_where_it_is_not_trusted(office: Office, elsewhere: Caller) -> None:
    with set_provider(office, workspaces=(elsewhere.workspace_id, new_id())):
        assert (await office.try_to_log_in(begun=LEFT_OPEN)).status_code == 403
        await give_email(elsewhere, office.email)
        tokens = await office.log_in(begun=LEFT_OPEN)
    assert tokens["workspace_id"] == str(elsewhere.workspace_id)
    assert await links(office) == 0


async def test_a_provider_that_links_nobody_does_not_begin_here(office: Office) -> None:
    with set_provider(office, link_by_email=False):
        assert (await office.try_to_log_in(begun=LEFT_OPEN)).status_code == 403
    assert await links(office) == 0


async def test_a_member_who_is_somebody_else_there_is_passed_over(office: Office, elsewhere: Caller) -> None:
    """Where the address is that of a member whom another subject has become, nobody can log in by it."""
    await office.log_in()
    assert (await office.try_to_log_in(begun=LEFT_OPEN, sub="another")).status_code == 403
    await give_email(elsewhere, office.email)
    tokens = await office.log_in(begun=LEFT_OPEN, sub=f"another of {elsewhere.workspace_id}")
    assert tokens["member_id"] == str(elsewhere.member_id)


async def test_the_api_learns_no_more_than_ids(office: Office, as_api: asyncpg.Connection) -> None:
    """What stands behind it: the role of the api sees no member of a workspace that it has not entered."""
    row = await as_api.fetchrow("SELECT * FROM sales.workspaces_of_email($1, 'x', 'y', NULL, 2)", office.email.upper())
    assert dict(row or {}) == {"workspace_id": office.admin.workspace_id}
    assert await as_api.fetch("SELECT FROM sales.members WHERE email = $1", office.email) == []
    none = await as_api.fetch("SELECT * FROM sales.workspaces_of_email(NULL, 'x', 'y', NULL, 2)")
    assert none == []


async def test_a_change_of_address_is_followed_before_the_first_login(office: Office) -> None:
    await set_member(office, "elsewhere@example.com")
    assert (await office.try_to_log_in(begun=LEFT_OPEN)).status_code == 403
    await set_member(office, office.email)
    assert (await office.try_to_log_in(begun=LEFT_OPEN)).status_code == 200
