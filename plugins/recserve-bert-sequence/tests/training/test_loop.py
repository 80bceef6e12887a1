"""Training loops: in several processes, after a loss, and in mixed precision."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recserve_bert_sequence.parameters import BertSequenceParams
from recserve_bert_sequence.training.loop import Fitted, Task, fit, train

from recserve import FitContext, TorchWorker
from recserve.testing import example_dataset

PARAMS = BertSequenceParams(width=8, epochs=4, window=8, batch_events=300, negatives=16)


def task(**changed: Any) -> Task:
    data = example_dataset()
    vectors = data.catalogue.vectors
    assert vectors is not None
    params = PARAMS.model_copy(update=changed)
    return Task(data.histories, data.item_counts, vectors, len(data.event_types), params, 3, None)


def test_what_users_wrote_is_read_and_never_predicted() -> None:
    facts, params = [], PARAMS.model_copy(update={"epochs": 8, "window": 16})
    for data in (example_dataset(), example_dataset(written=True)):
        vectors = data.catalogue.vectors
        assert vectors is not None
        context = FitContext(seed=3, event_types=data.event_types, threads=1, device="cpu")
        fitted = train(data, vectors, params, context)
        assert len(fitted.popularity.values) == data.n_items
        facts.append(fitted.facts)
    assert facts[1]["validation_events"] == facts[0]["validation_events"]
    assert max(facts[1]["validation_ndcg@10"]) > max(facts[0]["validation_ndcg@10"]) + 0.05


def weights(fitted: Fitted) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in fitted.network.state_dict().items()}


def test_a_loop_goes_on_from_its_last_state_as_if_nothing_had_happened() -> None:
    states: list[tuple[int, dict[str, Any]]] = []
    whole = fit(TorchWorker(report=lambda epoch, score, state: states.append((epoch, state or {}))), task())
    assert [epoch for epoch, _ in states] == [1, 2, 3, 4]
    again = fit(TorchWorker(checkpoint=states[1]), task())
    assert again.facts == whole.facts
    for name, values in weights(whole).items():
        np.testing.assert_array_equal(weights(again)[name], values)


PROCESS = """
import pickle, sys
from pathlib import Path
from torch import distributed
from recserve import TorchWorker
from recserve_bert_sequence.training.loop import fit

folder, rank, world = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
fitted = fit(TorchWorker(rank, world, threads=1), pickle.loads((folder / "task").read_bytes()))
(folder / f"fitted-{rank}").write_bytes(pickle.dumps(fitted))
distributed.destroy_process_group()
"""


@pytest.mark.long
def test_processes_together_make_the_steps_of_one(tmp_path: Path) -> None:
    """Without dropout, which is drawn by each process for itself."""
    plain, world = task(dropout=0.0, epochs=2), 2
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


@pytest.mark.parametrize("loss", ["softmax", "bce"])
def test_mixed_precision_learns_the_same(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the CPU's bfloat16: what a GPU multiplies in."""
    plain = task(loss=loss)
    expected = fit(TorchWorker(threads=1), plain)

    def mixed(device: torch.device) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16)

    monkeypatch.setattr("recserve_bert_sequence.training.loop.mixed_precision", mixed)
    found = fit(TorchWorker(threads=1), plain)
    assert {tensor.dtype for tensor in found.network.state_dict().values()} == {torch.float32}
    assert found.facts["losses"] != expected.facts["losses"]
    np.testing.assert_allclose(found.facts["losses"], expected.facts["losses"], rtol=0.02)
