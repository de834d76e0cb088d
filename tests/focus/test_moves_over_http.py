"""The history of the seats as a list: from a time on, page by page."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.conftest import Servers
from tests.focus.seller import make_seller
from tests.support.caller import Caller


async def test_moves_can_be_read_from_a_time_on_and_page_by_page(admin: Caller, servers: Servers) -> None:
    seller = await make_seller(admin, servers, 5)
    everything = (await seller.rep.ok("GET", "/v1/focus/moves"))["data"]
    assert [move["cause"]["code"] for move in everything] == ["arrived"] * 5
    assert everything[0]["cause"]["text"] == "New among the seats: a milestone was passed"
    before = datetime.now(UTC).isoformat()
    await seller.rep.transition(seller.made["02"], "abandon", reason="not_worth_it")
    await seller.drain()
    later = await seller.rep.ok("GET", "/v1/focus/moves", params={"since": before})
    # The opportunity goes, and its customer, who has no other, is monitored from now on.
    told = {move["subject"]["name"]: (move["to"], move["cause"]["text"]) for move in later["data"]}
    assert told["02"] == (None, "Closed: it was abandoned")
    assert told["Customer of 02"][0] == "monitor"
    assert len(told) == 2
    seen: list[str] = []
    params: dict[str, str] = {"limit": "4"}
    while True:
        page = await seller.rep.ok("GET", "/v1/focus/moves", params=params)
        seen += [move["id"] for move in page["data"]]
        if not page["has_more"]:
            break
        params["cursor"] = page["next_cursor"]
    assert seen == [move["id"] for move in (*later["data"], *everything)]
    mixed = {"since": before, "cursor": params["cursor"]}
    assert (await seller.rep.get("/v1/focus/moves", params=mixed)).json()["code"] == "invalid_cursor"
    assert (await seller.rep.get("/v1/focus/moves", params={"since": "yesterday"})).status_code == 400
