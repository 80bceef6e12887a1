"""The table of id vectors against one that touches all rows in every step."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recserve_sequence.training.id_table import BETA, IdTable

N_IDS, WIDTH, DECAY = 7, 3, 0.3


def table(steps: int) -> IdTable:
    start = torch.Generator().manual_seed(0)
    return IdTable(N_IDS, WIDTH, steps, DECAY, start, torch.device("cpu"))


def everywhere(start: np.ndarray, steps: list[tuple[list[int], np.ndarray, float, float]]) -> np.ndarray:
    """Rows, averages and squares by the formulas, in float64, all rows in every step."""
    rows, average, squares = start.astype(np.float64), start.astype(np.float64), np.zeros(N_IDS)
    for number, (slots, gradient, rate, keep) in enumerate(steps, 1):
        whole = np.zeros((N_IDS, WIDTH))
        whole[slots] = gradient
        squares = BETA * squares + (1 - BETA) * (whole**2).mean(axis=1)
        pace = rate / (np.sqrt(squares / (1 - BETA**number)) + 1e-8)
        rows = (1 - rate * DECAY) * rows - pace[:, None] * whole
        average = keep * average + (1 - keep) * rows
    return np.concatenate([rows, average, squares[:, None] * np.ones(WIDTH)])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, N_IDS - 1), unique=True),
            st.floats(1e-4, 0.1),
            st.floats(0.1, 0.99),
        ),
        max_size=12,
    ),
    st.integers(0, 99),
)
def test_rows_are_where_dense_steps_take_them(steps: list[tuple[list[int], float, float]], seed: int) -> None:
    random = np.random.default_rng(seed)
    learnt = table(len(steps))
    start = learnt.average().numpy().copy()
    done = []
    for slots, rate, keep in steps:
        rows = torch.tensor(slots, dtype=torch.int64)
        gradient = random.standard_normal((len(slots), WIDTH)).astype(np.float32)
        learnt.read(rows)
        learnt.step(rows, torch.from_numpy(gradient), rate, keep)
        done.append((slots, gradient, rate, keep))
    state = learnt.state()
    squares = state["squares"][:, None].expand(-1, WIDTH)
    found = torch.cat([state["rows"], state["average"], squares]).numpy()
    np.testing.assert_allclose(found, everywhere(start, done), rtol=1e-3, atol=1e-4)


def test_what_is_read_gathers_a_gradient_and_is_a_copy() -> None:
    learnt = table(1)
    before = learnt.average().clone()
    rows = learnt.read(torch.tensor([2, 5]))
    rows.square().sum().backward()
    torch.testing.assert_close(rows.grad, 2 * before[[2, 5]])
    with torch.no_grad():
        rows.zero_()
    torch.testing.assert_close(learnt.average(), before)


def test_a_restored_table_goes_on_alike() -> None:
    first, second = table(6), table(6)
    for step in range(6):
        if step == 3:
            second.restore({name: tensor.clone() for name, tensor in first.state().items()})
        slots = torch.tensor([step % N_IDS, (3 * step + 1) % N_IDS]).unique()
        for each in (first, second) if step >= 3 else (first,):
            each.step(slots, torch.ones(len(slots), WIDTH), 0.01, 0.9)
    torch.testing.assert_close(first.average(), second.average(), rtol=0, atol=0)
