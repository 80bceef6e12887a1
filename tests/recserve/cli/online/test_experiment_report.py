"""``recserve experiment report`` as a person types it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recserve.cli import app
from recserve.config import Config
from recserve.data.entities import Event, now_ms
from recserve.errors import RecserveError
from recserve.experiments.administration import ExperimentAdmin
from recserve.experiments.definition import parse_definition
from recserve.store import ExposedItem, Exposure, Store, open_store

USERS = 260


def definition(name: str, kind: str) -> dict[str, object]:
    return {"name": name, "scenario": "home", "kind": kind, "arms": [{"name": "old"}, {"name": "new"}]}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a split experiment, an interleaved one, and one that never ran."""
    with open_store(None, tmp_path) as store:
        admin = ExperimentAdmin(store, "test")
        for name, kind in (("split", "split"), ("drafted", "interleaving"), ("idle", "split")):
            record = parse_definition({**definition(name, kind), "layer": name})
            admin.create(record, Config().scenarios, lambda scenario, rules: None)
            if name == "split":
                admin.start(name)
                show(store, name, [None, None])
                admin.stop(name, "seen enough")
            elif name == "drafted":
                admin.start(name)
                show(store, name, ["old", "new"])
    return tmp_path


def show(store: Store, experiment: str, teams: Sequence[str | None]) -> None:
    """Show each user a page of two items, of which two users of three click the second."""
    moment = now_ms()
    exposures, events = [], []
    for user in range(USERS):
        ident = f"{experiment}-{user}"
        arm = None if teams[0] else ("old", "new")[user % 2]
        items = tuple(ExposedItem(f"i{place}", 0.5, (), team) for place, team in enumerate(teams))
        exposures.append(
            Exposure(ident, f"u{user}", "b", "home", moment, items, experiment=experiment, arm=arm)
        )
        if user % 3:
            events.append(Event(f"u{user}", "i1", "click", moment + 5, recommendation_id=ident))
    store.add_exposures(exposures)
    store.add_events(events)


def recserve(home: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["experiment", "report", *arguments, "--home", str(home)])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_a_split_experiment(home: Path) -> None:
    said = recserve(home, "split")
    assert "experiment split, stopped: seen enough" in said
    assert "users as planned (p 1): old 130 of 130 expected, new 130 of 130 expected" in said
    (row,) = [line for line in said.splitlines() if "new" in line and "click-through" in line]
    assert "undecided" in row
    (arm,) = [line for line in said.splitlines() if line.split()[:1] == ["old"] and "260" in line]
    assert "33." in arm  # two clicks of three users who were shown two items


def test_an_interleaved_experiment(home: Path) -> None:
    said = recserve(home, "drafted")
    assert f"{USERS} users, {USERS} pages, {2 * USERS} items shown; clicks: old 0, new 173, both 0" in said
    assert "preference for new (-1 to 1): 1.000" in said


def test_json_is_what_http_answers(home: Path) -> None:
    report = json.loads(recserve(home, "split", "--json"))
    assert (report["experiment"], report["state"]) == ("split", "stopped")
    assert [arm["users"] for arm in report["arms"]] == [130, 130]


@pytest.mark.parametrize(("name", "said"), [("idle", "never started"), ("gone", "no experiment 'gone'")])
def test_what_has_no_report_is_said(home: Path, name: str, said: str) -> None:
    with pytest.raises(RecserveError, match=said):
        recserve(home, name)
