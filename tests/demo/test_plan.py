"""The story of the demo's year, before anything is recorded."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path
from statistics import mean

import pytest

from deploy.demo import plan
from deploy.demo.actions import AddContact, AddCustomer, FinishTask, Move, OpenOpportunity, Revise, Story, Touch
from deploy.demo.cases import CASES
from deploy.demo.plan import digest, plan_year
from deploy.demo.world import COURSES, FOCUS_REP, SMALL_BOOK_REP, first_day, local_date, works_on

TODAY = date(2026, 11, 20)
README = Path(plan.__file__).with_name("README.md")
RULES = {f"D9.{number}" for number in range(1, 9)}


@pytest.fixture(scope="module")
def story() -> Story:
    return plan_year(TODAY)


def test_the_same_day_and_seed_tell_the_same_story(story: Story) -> None:
    assert digest(plan_year(TODAY)) == digest(story)
    assert digest(plan_year(TODAY, seed=17)) != digest(story)
    assert digest(plan_year(date(2026, 11, 19))) != digest(story)


@pytest.mark.parametrize("today", [TODAY, date(2024, 2, 29), date(2027, 1, 1), date(2026, 10, 5), date(2030, 6, 16)])
def test_every_year_is_believable_and_ends_before_today(today: date) -> None:
    told = plan_year(today)
    days = {local_date(action.at) for action in told.actions}
    assert first_day(today) <= min(days)
    assert max(days) < today
    assert all(works_on(day) for day in days)
    counts = told.counts()
    assert counts["AddCustomer"] >= 1_800
    assert counts["Touch"] >= 3_500
    assert counts["OpenOpportunity"] >= 550
    assert len(told.actions) < 20_000
    assert 0.22 <= won_share(told) <= 0.38


def won_share(told: Story) -> float:
    """The share of won among closed opportunities, by replaying their moves."""
    process = {a.key: a.process for a in told.actions if isinstance(a, OpenOpportunity)}
    stage: Counter[str] = Counter()
    closed: set[str] = set()
    for action in told.actions:
        if isinstance(action, Move):
            stage[action.opportunity] += {"pass": 1, "back": -1}.get(action.action, 0)
            if action.action in {"lose", "abandon"}:
                closed.add(action.opportunity)
            elif action.action == "reopen":
                closed.discard(action.opportunity)
    won = {key for key, passed in stage.items() if passed > COURSES[process[key]].winning}
    assert not won & closed
    return len(won) / len(won | closed)


def test_books_have_the_sizes_that_the_rules_need(story: Story) -> None:
    book = Counter(action.owner for action in story.actions if isinstance(action, AddCustomer))
    assert book[FOCUS_REP] >= 700
    assert book[SMALL_BOOK_REP] <= 150
    assert len([owner for owner in book if owner is not None]) == 6
    assert book[None] >= 20


def test_nothing_is_named_before_it_is_there(story: Story) -> None:
    known: set[str] = set()
    tasks: set[str] = set()
    for action in story.actions:
        if isinstance(action, AddCustomer | AddContact):
            known.add(action.key)
        elif isinstance(action, Touch):
            assert {action.customer, *action.contacts} <= known
            tasks |= {due.key for due in (*action.promises, *([action.next_step] if action.next_step else []))}
        elif isinstance(action, FinishTask):
            assert action.task in tasks
            tasks.remove(action.task)
    assert tasks, "some steps are still to be done"


def test_nobody_can_be_called_or_written_to(story: Story) -> None:
    reachable = re.compile(r"\+86 100 \d{4} \d{4}|\+44 1632 960\d{3}")
    seen: dict[str, int] = defaultdict(int)
    for action in story.actions:
        if isinstance(action, AddCustomer | AddContact):
            phone, email = action.values.get("phone"), action.values.get("email")
            assert phone is None or reachable.fullmatch(phone)
            assert email is None or email.endswith(".example.com")
            seen["phone"] += phone is not None
            seen["email"] += email is not None
    assert min(seen["phone"], seen["email"]) > 500


def test_names_are_unique_and_in_both_languages(story: Story) -> None:
    names = [action.values["name"] for action in story.actions if isinstance(action, AddCustomer)]
    assert len(set(names)) == len(names)
    chinese = sum(bool(re.search("[一-鿿]", name)) for name in names)
    assert 0.2 * len(names) < chinese < 0.95 * len(names)


def test_every_rule_of_the_triage_has_a_case_and_the_readme_lists_it() -> None:
    assert {case.rule for case in CASES} >= RULES
    text = README.read_text(encoding="utf-8")
    for case in CASES:
        assert f"| {case.rule} | `{case.record}` | {case.shows} |" in text


def test_facts_foretell_outcomes_without_deciding_them(story: Story) -> None:
    fit: dict[str, float] = {}
    stage: Counter[str] = Counter()
    lost: set[str] = set()
    process = {a.key: a.process for a in story.actions if isinstance(a, OpenOpportunity)}
    for action in story.actions:
        if isinstance(action, Revise) and "fit_score" in action.values:
            fit[action.opportunity] = action.values["fit_score"]
        elif isinstance(action, Move):
            stage[action.opportunity] += {"pass": 1, "back": -1}.get(action.action, 0)
            if action.action == "lose":
                lost.add(action.opportunity)
    won = {key for key, passed in stage.items() if passed > COURSES[process[key]].winning}
    of_won, of_lost = [[fit[key] for key in group if key in fit] for group in (won, lost)]
    assert min(len(of_won), len(of_lost)) >= 30
    assert mean(of_won) > mean(of_lost) + 0.03
    assert min(of_won) < max(of_lost), "some good ones are lost, and some poor ones won"
