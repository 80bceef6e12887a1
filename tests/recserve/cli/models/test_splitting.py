"""Which events an evaluation looks at, and how the options go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recserve import Dataset
from recserve.cli.common import State
from recserve.cli.models.splitting import Build, Source, SplitName
from recserve.errors import ConfigError, DataError

TRAIN, TEST, ITEMS = Path("train.csv"), Path("test.csv"), Path("items.jsonl")


def source(**options: Any) -> Source:
    given = {"name": None, "train": None, "test": None, "items": None, "queries_per_user": None}
    return Source(**{**given, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": TEST}, "--test needs --train"),
        ({"items": ITEMS}, "--items needs --train"),
        ({"train": TRAIN}, "--train needs either --test FILE, or --split"),
        ({"train": TRAIN, "test": TEST, "name": SplitName.TEMPORAL}, "--train needs either"),
        ({"train": TRAIN, "test": TEST, "queries_per_user": 3}, "--queries-per-user is for the temporal"),
        ({"name": SplitName.LEAVE_ONE_OUT, "queries_per_user": 3}, "--queries-per-user is for the temporal"),
    ],
)
def test_options_that_contradict_each_other_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        source(**options).check()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"name": SplitName.TEMPORAL, "queries_per_user": 3},
        {"train": TRAIN, "test": TEST, "items": ITEMS},
        {"train": TRAIN, "name": SplitName.LEAVE_ONE_OUT},
    ],
)
def test_options_that_go_together_pass(options: dict[str, Any]) -> None:
    source(**options).check()


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A home without a store."""
    (tmp_path / "home").mkdir()
    return State(tmp_path / "home")


@pytest.fixture
def build(state: State) -> Build:
    return lambda catalogue, events, texts: Dataset.from_tables(catalogue, events, state.config.event_types)


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(["user_id,item_id,timestamp", *lines]) + "\n")
    return path


# Users u0..u5 have the items i0..i4 one after the other, user by user a second later.
EVENTS = [f"u{user},i{item},{1_700_000_000 + 60 * item + user}" for item in range(5) for user in range(6)]


def test_a_file_is_split_at_a_moment(tmp_path: Path, state: State, build: Build) -> None:
    events = write(tmp_path / "events.csv", EVENTS)
    split, checks = source(train=events, name=SplitName.TEMPORAL).split(state, build)
    assert split.name == "temporal"
    assert len(split.training) + sum(len(relevant) for relevant in split.relevant) <= len(EVENTS)
    assert split.training.timestamps.max() < 1_700_000_000_000 + 60_000 * 5
    assert all(check.passed for check in checks)


def test_the_last_event_of_each_user_is_held_out(tmp_path: Path, state: State, build: Build) -> None:
    events = write(tmp_path / "events.csv", EVENTS)
    split, _ = source(train=events, name=SplitName.LEAVE_ONE_OUT).split(state, build)
    assert len(split.training) == len(EVENTS) - 6
    held_out = {split.training.catalogue.ids.ids[row] for row in split.relevant.values}
    assert held_out == {"i4"}


def test_the_catalogue_has_items_of_the_file_and_of_events_by_id(
    tmp_path: Path, state: State, build: Build
) -> None:
    train = write(tmp_path / "train.csv", EVENTS)
    test = write(tmp_path / "test.csv", ["u1,i7,1750000000"])
    items = tmp_path / "items.csv"
    items.write_text("item_id,title\ni7,Seven\ni0,Zero\n")
    split, _ = source(train=train, test=test, items=items).split(state, build)
    catalogue = split.training.catalogue
    assert list(catalogue.ids) == ["i0", "i1", "i2", "i3", "i4", "i7"]
    assert list(catalogue.column("title")) == ["Zero", None, None, None, None, "Seven"]
    assert split.name == "given"


def test_nothing_to_evaluate_is_said(tmp_path: Path, state: State, build: Build) -> None:
    empty = write(tmp_path / "events.csv", [])
    with pytest.raises(DataError, match="holds no rows"):
        source(train=empty, name=SplitName.TEMPORAL).split(state, build)
    with pytest.raises(DataError, match="run 'recserve import' first"):
        source().split(state, build)
