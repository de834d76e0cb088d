"""Records that may be the same are found by what they have in common, and told of as far as the caller may see."""

from __future__ import annotations

from typing import Any

import pytest

from services.api.duplicates import candidates
from tests.contract.test_statements import cost
from tests.support.caller import Caller

PATH = "/v1/customers:search-duplicates"


async def search(caller: Caller, kind: str = "customers", **probe: Any) -> list[dict[str, Any]]:
    found = await caller.ok("POST", f"/v1/{kind}:search-duplicates", probe)
    rows: list[dict[str, Any]] = found["duplicates"]
    return rows


def codes(duplicate: dict[str, Any]) -> list[str]:
    return [each["code"] for each in duplicate["reasons"]]


@pytest.mark.parametrize(
    ("there", "asked", "reason"),
    [
        ("Acme Ltd.", "ACME  LTD", "same_name"),
        ("Acme GmbH & Co. KG", "Acme, Inc.", "same_name_without_legal_form"),
        ("Société Générale S.A.", "societe generale", "same_name_without_legal_form"),
        ("Northwind Trading", "Northwind Tradings Ltd", "similar_name"),
        ("北方重工有限公司", "北方重工（上海）股份有限公司", "same_name_without_legal_form"),
        ("ＡＢＣ科技有限公司", "ABC科技集团", "same_name_without_legal_form"),
        ("上海北方重工有限公司", "北方重工", "same_name_without_place"),
        ("東方電氣有限公司", "东方电气", "same_reading"),
        ("株式会社日立製作所", "日立製作所", "same_name_without_legal_form"),
    ],
)
async def test_names(admin: Caller, there: str, asked: str, reason: str) -> None:
    made = await admin.make_customer(there)
    await admin.make_customer("Somebody Else")
    found = await search(admin, name=asked)
    assert [(row["id"], codes(row)) for row in found] == [(made["id"], [reason])]


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        ("上海师范大学", "北京师范大学"),
        ("北方重工", "北方科技"),
        ("Acme", "Apex"),
        ("科技有限公司", "重工有限公司"),
    ],
)
async def test_names_of_two(admin: Caller, there: str, asked: str) -> None:
    await admin.make_customer(there)
    assert await search(admin, name=asked) == []


@pytest.mark.parametrize(
    ("there", "asked", "reasons"),
    [
        ({"phone": "+86 10 6555 1234"}, {"phone": "(010) 65551234 转 801"}, ["same_phone"]),
        ({"phone": "13800138000 / 010-65551234"}, {"phone": "+8613800138000"}, ["same_phone"]),
        ({"phone": "+1 650 555 1234"}, {"phone": "021-65551234"}, []),
        ({"website": "https://www.acme.com.cn/about"}, {"email": "wang@mail.acme.com.cn"}, ["same_domain"]),
        ({"email": "Sales@Acme.example"}, {"email": "sales@acme.example"}, ["same_email"]),
        ({"email": "acme@163.com"}, {"email": "other@163.com"}, []),
        ({"website": "acme.com.cn"}, {"website": "apex.com.cn"}, []),
        ({"website": "http://acme.co.uk:8080"}, {"website": "shop.acme.co.uk"}, ["same_domain"]),
    ],
)
async def test_numbers_and_addresses(
    admin: Caller, there: dict[str, str], asked: dict[str, str], reasons: list[str]
) -> None:
    """Of a workspace whose currency is CNY: numbers without a country code are Chinese."""
    made = await admin.make_customer("Northern Heavy Industries", **there)
    found = await search(admin, name="Zhongji", **asked)
    assert [(row["id"], codes(row)) for row in found] == ([(made["id"], reasons)] if reasons else [])


async def test_reasons_add_up_and_the_likeliest_comes_first(admin: Caller) -> None:
    name = await admin.make_customer("Acme Ltd")
    both = await admin.make_customer("Acme Inc", phone="13800138000")
    found = await search(admin, name="Acme", phone="138 0013 8000")
    assert [row["id"] for row in found] == [both["id"], name["id"]]
    assert (found[0]["score"], found[0]["likelihood"]) == (0.94, "almost_certain")
    assert (found[1]["score"], found[1]["likelihood"]) == (0.8, "likely")
    assert codes(found[0]) == ["same_name_without_legal_form", "same_phone"]
    assert found[0]["version"] == 1
    assert [row["id"] for row in await search(admin, name="Acme", phone="13800138000", min_score=0.9)] == [both["id"]]
    assert len(await search(admin, name="Acme", limit=1)) == 1


async def test_of_a_record_that_is_there(admin: Caller) -> None:
    a, b = await admin.make_customer("Acme Ltd", phone="13800138000"), await admin.make_customer("Acme Inc")
    found = await admin.ok("GET", f"/v1/customers/{a['id']}/duplicates")
    assert [row["id"] for row in found["duplicates"]] == [b["id"]]
    assert (await admin.ok("GET", f"/v1/customers/{a['id']}/duplicates?min_score=0.9"))["duplicates"] == []


async def test_contacts(admin: Caller) -> None:
    here, there = await admin.make_customer("Here"), await admin.make_customer("There")
    made = [
        await admin.ok("POST", "/v1/contacts", body)
        for body in (
            {"customer_id": here["id"], "name": "Wang Fang", "phone": "13800138000"},
            {"customer_id": there["id"], "name": "Wang Fang"},
            {"customer_id": there["id"], "name": "Li", "email": "wf@example.com"},
        )
    ]
    found = await search(admin, "contacts", name="Fang Wang", customer_id=here["id"])
    assert [(row["id"], codes(row)) for row in found] == [(made[0]["id"], ["same_name_at_customer"])]
    found = await search(admin, "contacts", name="F. Wang", phone="+86 138 0013 8000", email="WF@example.com")
    assert [(row["id"], codes(row)) for row in found] == [
        (made[2]["id"], ["same_email"]),
        (made[0]["id"], ["same_phone"]),
    ]
    assert found[1]["customer_id"] == here["id"]
    again = await admin.ok("POST", "/v1/contacts", {"customer_id": here["id"], "name": "wang fang"})
    shown = await admin.ok("GET", f"/v1/contacts/{again['id']}/duplicates")
    assert [row["id"] for row in shown["duplicates"]] == [made[0]["id"]]


class TestReach:
    """A rep learns that somebody has the customer already, and who; nothing else of it."""

    async def test_what_is_somebody_elses(self, admin: Caller) -> None:
        rep, mate = await admin.member("rep", "Li Na"), await admin.member("rep", "Wang Wu")
        await mate.make_customer("Acme Ltd", phone="13800138000", email="a@acme.example", website="acme.example")
        found = await search(rep, name="Acme", phone="13800138000")
        assert len(found) == 1
        hidden = found[0]
        assert (hidden["within_reach"], hidden["owner_id"], hidden["owner_name"]) == (
            False, str(mate.member_id), "Wang Wu",
        )  # fmt: skip
        assert {name for name, value in hidden.items() if value is None} == {
            "id", "name", "phone", "email", "website", "customer_id", "version",
        }  # fmt: skip
        seen = await search(mate, name="Acme", phone="13800138000")
        assert (seen[0]["within_reach"], seen[0]["name"]) == (True, "Acme Ltd")

    async def test_what_is_merely_possible_stays_somebody_elses(self, admin: Caller) -> None:
        rep, mate = await admin.member("rep"), await admin.member("rep")
        await mate.make_customer("Acme Ltd", website="acme.example")
        assert await search(rep, name="Apex", website="acme.example") == []
        assert len(await search(mate, name="Apex", website="acme.example")) == 1

    async def test_no_other_workspace(self, admin: Caller, other: Caller) -> None:
        await other.make_customer("Acme", phone="13800138000")
        assert await search(admin, name="Acme", phone="13800138000") == []

    async def test_a_record_out_of_reach_is_not_there(self, admin: Caller, other: Caller) -> None:
        rep = await admin.member("rep")
        theirs, foreign = await admin.make_customer(), await other.make_customer()
        for made in (theirs, foreign):
            assert (await rep.get(f"/v1/customers/{made['id']}/duplicates")).status_code == 404

    async def test_contacts_have_the_owner_of_their_customer(self, admin: Caller) -> None:
        rep, mate = await admin.member("rep"), await admin.member("rep", "Wang Wu")
        customer = await mate.make_customer()
        body = {"customer_id": customer["id"], "name": "Li", "email": "li@acme.example"}
        await mate.ok("POST", "/v1/contacts", body)
        found = await search(rep, "contacts", name="Li Na", email="li@acme.example")
        assert [(row["within_reach"], row["owner_name"]) for row in found] == [(False, "Wang Wu")]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "x", "limit": 0}, "/limit"),
        ({"name": "x", "limit": 51}, "/limit"),
        ({"name": "x", "min_score": 2}, "/min_score"),
        ({"name": "x", "nmae": "y"}, "/nmae"),
    ],
)
async def test_wrong_questions(admin: Caller, body: dict[str, Any], pointer: str) -> None:
    response = await admin.post(PATH, body)
    assert response.status_code == 422
    assert [each["pointer"] for each in response.json()["errors"]] == [pointer]


async def test_scopes(admin: Caller) -> None:
    viewer = await admin.member("viewer")
    made = await admin.make_customer("Acme")
    assert [row["id"] for row in await search(viewer, name="Acme")] == [made["id"]]
    for query in ("?colour=red", "?limit=0", "?kind=opportunity"):
        assert (await admin.get(f"/v1/duplicates{query}")).status_code == 400


class TestPairs:
    """The list of all pairs, to tidy up by."""

    async def test_each_pair_once_page_by_page(self, admin: Caller) -> None:
        made = [await admin.make_customer(f"Firm {n // 3} Ltd", website=f"firm{n // 3}.example") for n in range(9)]
        await admin.make_customer("Alone")
        seen: list[tuple[str, str]] = []
        cursor, pages = "", 0
        while cursor is not None:
            page = await admin.ok("GET", f"/v1/duplicates?limit=4{f'&cursor={cursor}' if cursor else ''}")
            seen += [(pair["first"]["id"], pair["second"]["id"]) for pair in page["data"]]
            cursor, pages = page["next_cursor"], pages + 1
            assert page["has_more"] is (cursor is not None)
        ids = [row["id"] for row in made]
        assert seen == [(ids[a], ids[b]) for a in range(9) for b in range(a + 1, 9) if a // 3 == b // 3]
        assert pages == 3
        first = (await admin.ok("GET", "/v1/duplicates?limit=1"))["data"][0]
        assert (first["kind"], first["likelihood"]) == ("customer", "almost_certain")
        assert codes(first) == ["same_name", "same_domain"]

    @pytest.mark.parametrize(("window", "limit"), [(1, 50), (2, 1), (5, 4), (10, 2)])
    async def test_a_page_looks_at_so_many_records(
        self, admin: Caller, monkeypatch: pytest.MonkeyPatch, window: int, limit: int
    ) -> None:
        """Whatever it looks at, each pair is told once, in the order of the records, and the list comes to an end."""
        monkeypatch.setattr(candidates, "WINDOW", window)
        names = ("Alpha", "Same", "Beta", "Same", "Gamma", "Twin", "Twin", "Delta", "Same", "Omega")
        made = [(await admin.make_customer(name))["id"] for name in names]
        seen: list[tuple[int, int]] = []
        cursor, pages = "", 0
        while cursor is not None:
            page = await admin.ok("GET", f"/v1/duplicates?limit={limit}{f'&cursor={cursor}' if cursor else ''}")
            seen += [(made.index(pair["first"]["id"]), made.index(pair["second"]["id"])) for pair in page["data"]]
            assert len(page["data"]) <= limit
            cursor, pages = page["next_cursor"], pages + 1
        assert seen == [(1, 3), (1, 8), (3, 8), (5, 6)]
        assert pages <= len(names) // window + len(seen) + 1

    async def test_what_a_closer_look_parts(self, admin: Caller) -> None:
        """Two numbers that end alike are two numbers."""
        await admin.make_customer("Acme", phone="+1 650 555 1234")
        await admin.make_customer("Zhongji", phone="021-65551234")
        assert (await admin.ok("GET", "/v1/duplicates"))["data"] == []

    async def test_within_reach_alone(self, admin: Caller) -> None:
        rep, mate = await admin.member("rep"), await admin.member("rep")
        for caller in (rep, mate, mate):
            await caller.make_customer("Acme")
        counts = [len((await each.ok("GET", "/v1/duplicates"))["data"]) for each in (admin, mate, rep)]
        assert counts == [3, 1, 0]

    async def test_contacts_of_one_customer(self, admin: Caller) -> None:
        for _ in range(2):
            customer = await admin.make_customer()
            for name in ("Wang Fang", "Fang Wang"):
                await admin.ok("POST", "/v1/contacts", {"customer_id": customer["id"], "name": name})
        pairs = (await admin.ok("GET", "/v1/duplicates?kind=contact"))["data"]
        assert len(pairs) == 2
        assert all(pair["first"]["customer_id"] == pair["second"]["customer_id"] for pair in pairs)

    async def test_a_cursor_is_of_its_list(self, admin: Caller) -> None:
        for _ in range(3):
            await admin.make_customer("Acme")
        cursor = (await admin.ok("GET", "/v1/duplicates?limit=1"))["next_cursor"]
        answer = await admin.get(f"/v1/duplicates?kind=contact&cursor={cursor}")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


async def test_the_cost_is_known_and_the_same(admin: Caller) -> None:
    counts = []
    for more in (1, 30):
        for _ in range(more):
            made = await admin.make_customer("Acme", phone="13800138000")
        counts.append(
            [
                await cost(admin.post(PATH, {"name": "Acme", "phone": "13800138000"})),
                await cost(admin.get(f"/v1/customers/{made['id']}/duplicates")),
                await cost(admin.get("/v1/duplicates?limit=50")),
            ]
        )
    assert counts[1] == [2, 3, 3]
    assert all(few <= many for few, many in zip(*counts, strict=True))
