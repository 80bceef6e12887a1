"""The dense table of id vectors: AdamW on all rows, a running average, and states to go on from."""

from __future__ import annotations

import torch
from recserve_sequence.training.dense_table import DenseIdTable

N_IDS, WIDTH, DECAY = 7, 3, 0.3


def table() -> DenseIdTable:
    return DenseIdTable(N_IDS, WIDTH, DECAY, torch.Generator().manual_seed(0), torch.device("cpu"))


def test_rows_move_as_those_of_an_embedding_under_adamw() -> None:
    learnt = table()
    weights = torch.nn.Parameter(learnt.average().clone())
    average = weights.detach().clone()
    optimiser = torch.optim.AdamW([weights], lr=0.1, weight_decay=DECAY)
    generator = torch.Generator().manual_seed(1)
    for step in range(6):
        slots = torch.tensor([step % N_IDS, (3 * step + 1) % N_IDS]).unique()
        aim = torch.randn((len(slots), WIDTH), generator=generator)
        optimiser.zero_grad()
        (weights[slots] * aim).square().sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        average.lerp_(weights.detach(), 0.1)
        rows = learnt.read(slots)
        torch.testing.assert_close(rows.detach(), learnt.read(slots).detach())
        (rows * aim).square().sum().backward()  # type: ignore[no-untyped-call]
        assert rows.grad is not None
        learnt.step(slots, rows.grad, 0.1, 0.9)
    torch.testing.assert_close(learnt.state()["rows"], weights.detach())
    torch.testing.assert_close(learnt.average(), average)


def test_a_restored_table_goes_on_alike() -> None:
    first, second = table(), table()
    for step in range(6):
        if step == 3:
            second.restore({name: tensor.clone() for name, tensor in first.state().items()})
        slots = torch.tensor([step % N_IDS, (3 * step + 1) % N_IDS]).unique()
        for each in (first, second) if step >= 3 else (first,):
            each.step(slots, torch.ones(len(slots), WIDTH), 0.01, 0.9)
    torch.testing.assert_close(first.average(), second.average(), rtol=0, atol=0)
