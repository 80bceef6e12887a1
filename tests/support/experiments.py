"""Experiments for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recserve.experiments.definition import Definition, parse_definition
from recserve.experiments.lifecycle import Experiment, Status

TWO_ARMS: Sequence[Mapping[str, Any]] = (
    {"name": "control"},
    {"name": "fewer", "parameters": {"budget": 3}},
)


def defined(name: str = "trial", **fields: Any) -> Definition:
    """A definition over scenario ``home`` with two arms, some of its fields replaced."""
    return parse_definition({"name": name, "scenario": "home", "arms": list(TWO_ARMS), **fields})


def created(name: str = "trial", **fields: Any) -> Experiment:
    """An experiment that does not run yet."""
    return Experiment(defined(name, **fields), Status(), 5)


def running(name: str = "trial", beside: Sequence[Experiment] = (), **fields: Any) -> Experiment:
    """An experiment that was started beside others."""
    experiment = created(name, **fields)
    return experiment.with_status(experiment.started([*beside, experiment], None, 7))
