"""A loop on the executor of a fit: it reports, ends when told to, and goes on from its arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from recserve_torch import (
    NO_DROPOUT,
    Dropout,
    Exchange,
    named_arrays,
    restore_moments,
    run_loop,
    seeded,
    tensors_below,
)

from recserve import FitContext, TorchWorker
from recserve.testing.processes import ProcessExecutor


def descend(worker: TorchWorker, start: float) -> tuple[float, int]:
    """Three epochs, the second of which has no score."""
    for epoch in range(1, 4):
        worker.report(epoch, math.nan if epoch == 2 else start / epoch, None)
    return start, worker.threads


@pytest.fixture
def told() -> list[Any]:
    return []


def context(told: list[Any], **changed: Any) -> FitContext:
    return FitContext(
        device="cpu",
        threads=2,
        progress=lambda *reported: told.append(reported),
        validated=lambda *reported: told.append(reported),
        **changed,
    )


def test_epochs_are_shown_and_scores_are_told(told: list[Any]) -> None:
    assert run_loop(descend, 6.0, context(told), "mine", 9) == (6.0, 2)
    shown = [("mine: epochs", epoch, 9) for epoch in (1, 2, 3)]
    assert told == [shown[0], (1, 6.0), shown[1], shown[2], (3, 2.0)]


def test_a_loop_runs_where_the_executor_says(told: list[Any]) -> None:
    with ProcessExecutor(1) as executor:
        assert run_loop(descend, 6.0, context(told, executor=executor), "mine", 9) == (6.0, 1)
    assert told[-1] == (3, 2.0)


def test_states_survive_as_arrays() -> None:
    def stepped(module: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad()
        module(torch.ones(1, 3)).sum().backward()
        optimiser.step()

    with seeded(1):
        module = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(module.parameters(), lr=0.1)
    stepped(module, optimiser)
    arrays = named_arrays(module=module.state_dict(), optimiser=optimiser)
    assert all(isinstance(value, np.ndarray) for value in arrays.values())
    stepped(module, optimiser)
    again = torch.nn.Linear(3, 2)
    again.load_state_dict(tensors_below("module", arrays))
    followed = torch.optim.AdamW(again.parameters(), lr=0.1)
    restore_moments("optimiser", arrays, followed)
    stepped(again, followed)
    assert torch.equal(again.weight, module.weight)


def test_one_process_sums_and_agrees_alone() -> None:
    alone, values = Exchange(1), torch.ones(2)
    alone.sum([values])
    slots, rows = alone.sum_rows(torch.tensor([4, 2]), torch.ones(2, 3))
    assert values.tolist() == [1, 1]
    assert (slots.tolist(), rows.shape) == ([4, 2], (2, 3))
    assert alone.agreed(0.5, torch.device("cpu")) == 0.5


def test_dropout_draws_from_its_own_generator_and_keeps_the_mean() -> None:
    values = torch.ones(20_000)
    dropout = Dropout(0.25, torch.Generator().manual_seed(3))
    before = torch.random.get_rng_state()
    dropped = dropout(values)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert sorted(set(dropped.tolist())) == pytest.approx([0, 1 / 0.75])
    assert float(dropped.mean()) == pytest.approx(1, abs=0.02)
    assert NO_DROPOUT(values) is values
