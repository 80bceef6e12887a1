"""`recserve report` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recserve import Item
from recserve.data.entities import now_ms
from recserve.errors import ConfigError, InvalidRequestError
from recserve.store import open_store
from tests.conftest import run
from tests.support.outcomes import DAY, HOUR, done, fill, shown

HOME = "--home"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home in which something was shown yesterday, and long ago."""
    with open_store(None, tmp_path) as store:
        store.upsert_items([Item(item) for item in "abcd"])
        now = now_ms()
        pages = [shown("r", at=now - DAY), shown("s", "v", now - DAY + 1), shown("old", at=now - 50 * DAY)]
        fill(store, pages, [done("v", "b", now - DAY + HOUR, "purchase", value=12.5)])
    return tmp_path


def answer(home: Path, *arguments: str) -> dict[str, Any]:
    """The report as JSON; what is said of the progress comes before it."""
    printed = run("report", *arguments, "--json", HOME, home)
    found: dict[str, Any] = json.loads(printed[printed.index("{") :])
    return found


def test_a_table_says_what_became_of_what_was_shown(home: Path) -> None:
    printed = run("report", "--by", "scenario", HOME, home)
    assert "newest event 23 h ago" in printed or "newest event 22 h ago" in printed
    assert "no bundle" in printed
    assert "home" in printed
    assert "16.67% (" in printed
    assert "12.50" in printed
    assert "3 (75.0%)" in printed
    assert "places looked at, relative to the first: 1.00" in printed


def test_json_is_for_programs(home: Path) -> None:
    found = answer(home, "--by", "item", "--limit", "2")
    assert (found["total"]["impressions"], found["total"]["clicks"], found["groups"]) == (6, 1, 3)
    assert len(found["rows"]) == 2
    assert found["rows"][0]["impressions"] == 2


def test_more_rows_than_are_shown_are_said(home: Path) -> None:
    assert "... and 2 more; --limit shows them" in run("report", "--by", "item", "--limit", "1", HOME, home)


def test_days_are_chosen(home: Path) -> None:
    assert answer(home, "--since", "2020-01-01")["total"]["impressions"] == 9
    assert "nothing was shown in this time" in run("report", "--until", "2020-01-01", HOME, home)


def test_what_expired_is_still_in_the_report(home: Path) -> None:
    assert "0 events, 1 exposures" in run("store", "expire", "--older-than", "30", HOME, home)
    with open_store(None, home) as store:
        assert store.exposures("old") is None
    assert answer(home, "--since", "2020-01-01")["total"]["impressions"] == 9


def test_days_that_were_counted_by_other_settings_are_said(home: Path) -> None:
    run("store", "expire", "--older-than", "30", HOME, home)
    (home / "recserve.yaml").write_text("outcomes: {window_hours: 3}\n")
    found = answer(home, "--since", "2020-01-01")
    assert found["days_by_other_settings"] == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--by", "colour"), "cannot be broken down by 'colour'"),
        (("--since", "31.1.2026"), "is no day such as 2026-01-31"),
        (("--by", "item", "--experiment", "e"), "leave scenario and experiment out"),
    ],
)
def test_bad_arguments_are_refused(home: Path, arguments: tuple[str, ...], reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        run("report", *arguments, HOME, home)


def test_outcomes_of_events_that_there_are_not_are_refused(home: Path) -> None:
    (home / "recserve.yaml").write_text("outcomes: {conversions: [purchse]}\n")
    with pytest.raises(ConfigError, match="did you mean 'purchase'"):
        run("report", HOME, home)
