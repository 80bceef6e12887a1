"""Training loops: in several processes, after a loss, and what they report."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recserve_bert_lstm.network import LstmNetwork
from recserve_sequence import SequenceParams
from recserve_sequence.training.loop import Fitted, Task, fit, train
from recserve_sequence.windows import TrainingWindows
from recserve_torch import mixed_precision

from recserve import FitContext, TorchWorker
from recserve.testing import check_executor, example_dataset

PARAMS = SequenceParams(width=8, epochs=5, batch_events=300, negatives=8, in_batch=4)


def task(params: SequenceParams = PARAMS) -> Task:
    data = example_dataset()
    vectors = data.catalogue.vectors
    return Task(
        data.histories, data.item_counts, vectors, len(data.event_types), LstmNetwork, params, 3, None
    )


def weights(fitted: Fitted) -> dict[str, np.ndarray]:
    return {
        "items": fitted.matrix,
        **{name: tensor.numpy() for name, tensor in fitted.network.state_dict().items()},
    }


def test_a_loop_goes_on_from_its_last_state_as_if_nothing_had_happened() -> None:
    states: list[tuple[int, dict[str, Any]]] = []
    whole = fit(TorchWorker(report=lambda epoch, score, state: states.append((epoch, state or {}))), task())
    assert [epoch for epoch, _ in states] == [1, 2, 3, 4, 5]
    for kind in {type(value) for _, state in states for value in state.values()}:
        assert kind in (int, float, np.ndarray)
    again = fit(TorchWorker(checkpoint=states[2]), task())
    assert again.facts == whole.facts
    for name, values in weights(whole).items():
        np.testing.assert_array_equal(weights(again)[name], values)


def test_what_users_wrote_is_read_and_never_predicted() -> None:
    found, params = [], PARAMS.model_copy(update={"epochs": 12})
    for data in (example_dataset(), example_dataset(written=True)):
        context = FitContext(seed=3, event_types=data.event_types, threads=1, device="cpu")
        found.append(train("bert_lstm", LstmNetwork, data, params, context))
        assert len(found[-1].matrix) == data.n_items
    plain, read = (fitted.facts for fitted in found)
    assert read["validation_events"] == plain["validation_events"]
    assert max(read["validation_ndcg@10"]) > max(plain["validation_ndcg@10"]) + 0.05
    blind = params.model_copy(update={"text": False})
    without = [
        train(
            "bert_lstm",
            LstmNetwork,
            data,
            blind,
            FitContext(seed=3, event_types=data.event_types, threads=1, device="cpu"),
        )
        for data in (example_dataset(), example_dataset(written=True))
    ]
    assert without[0].facts == without[1].facts, "a model that reads no texts reads none of users either"


PROCESS = """
import pickle, sys
from pathlib import Path
from torch import distributed
from recserve import TorchWorker
from recserve_sequence.training.loop import fit

folder, rank, world = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
fitted = fit(TorchWorker(rank, world, threads=1), pickle.loads((folder / "task").read_bytes()))
(folder / f"fitted-{rank}").write_bytes(pickle.dumps(fitted))
distributed.destroy_process_group()
"""


@pytest.mark.parametrize("world", [2, pytest.param(3, marks=pytest.mark.long)])
def test_processes_together_make_the_steps_of_one(world: int, tmp_path: Path) -> None:
    """Without dropout, which is drawn by each process for itself."""
    plain = task(PARAMS.model_copy(update={"dropout": 0.0, "epochs": 2}))
    expected = fit(TorchWorker(threads=1), plain)
    (tmp_path / "task").write_bytes(pickle.dumps(plain))
    running = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(tmp_path), str(rank), str(world)])
        for rank in range(world)
    ]
    assert [process.wait(240) for process in running] == [0] * world
    fitted = [pickle.loads((tmp_path / f"fitted-{rank}").read_bytes()) for rank in range(world)]
    for name, values in weights(expected).items():
        np.testing.assert_array_equal(weights(fitted[1])[name], weights(fitted[0])[name])
        np.testing.assert_allclose(weights(fitted[0])[name], values, rtol=0.02, atol=2e-3, err_msg=name)
    np.testing.assert_allclose(fitted[0].facts["losses"], expected.facts["losses"], rtol=1e-3)


@pytest.mark.parametrize("loss", ["sampled_softmax", "bce"])
def test_mixed_precision_learns_the_same(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the CPU's bfloat16: what a GPU multiplies in."""
    plain = task(PARAMS.model_copy(update={"loss": loss}))
    expected = fit(TorchWorker(threads=1), plain)
    used: list[torch.device] = []

    def mixed(device: torch.device) -> torch.autocast:
        used.append(device)
        return torch.autocast("cpu", torch.bfloat16)

    assert not mixed_precision(torch.device("cpu"))._enabled
    monkeypatch.setattr("recserve_sequence.training.loop.mixed_precision", mixed)
    found = fit(TorchWorker(threads=1), plain)
    assert used
    assert found.matrix.dtype == np.float32
    assert found.facts["losses"] != expected.facts["losses"]
    np.testing.assert_allclose(found.facts["losses"], expected.facts["losses"], rtol=0.02)


def test_parts_of_a_batch_are_the_batch() -> None:
    data = example_dataset()
    batch = next(TrainingWindows(data.histories, 20, data.n_items).epoch(np.random.default_rng(0), 200))
    assert batch.part(0, 1) is batch
    parts = [batch.part(number, 3) for number in range(3)]
    assert sum(len(part.targets) for part in parts) == len(batch.targets)
    assert sum(int(part.learn.sum()) for part in parts) == int(batch.learn.sum())
    np.testing.assert_array_equal(parts[1].inputs.items[0], batch.inputs.items[1])


def test_epochs_are_reported_and_an_objection_ends_the_fit() -> None:
    seen: list[tuple[int, float]] = []

    def enough(step: int, score: float) -> None:
        seen.append((step, score))
        if step == 2:
            raise KeyboardInterrupt

    data = example_dataset()
    context = FitContext(seed=3, event_types=data.event_types, threads=1, device="cpu", validated=enough)
    with pytest.raises(KeyboardInterrupt):
        train("bert_lstm", LstmNetwork, data, PARAMS, context)
    assert [step for step, _ in seen] == [1, 2]
    assert all(0 <= score <= 1 for _, score in seen)


def test_keeps_the_contract_of_an_executor() -> None:
    check_executor("bert_lstm", kind="ranker", width=8, epochs=2, dropout=0.0)
