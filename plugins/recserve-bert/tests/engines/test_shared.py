"""Encoders that begin with one model hold its tensors once, and give the vectors of models of their own."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recserve_bert.engines.shared import SharedTorchEngine
from recserve_bert.engines.torch_engine import TorchEngine
from recserve_bert.parameters import BertParams
from recserve_bert.sources import Source, locate
from recserve_bert.tuning.storage import LearntState
from recserve_bert.tuning.weights import TrainedPart, learnt_weights, make_trainable

from recserve import ConfigError

TEXTS = ["cat", "我喜欢看电影", "a detective follows a thief"]
Train = Callable[[TrainedPart, int], Source]


@pytest.fixture
def source(tiny: Path) -> Source:
    """A model that no other file's engines share the base of, whichever ran before in this process."""
    return replace(locate(BertParams(model=str(tiny))), fingerprint="of these tests alone")


@pytest.fixture
def trained(source: Source) -> Train:
    """Makes models a few steps away from the one that they begin with."""

    def train(part: TrainedPart, seed: int = 0) -> Source:
        torch.manual_seed(seed)
        engine = TorchEngine(source, "cpu")
        optimiser = torch.optim.AdamW(make_trainable(engine.model, part), lr=0.05)
        for _ in range(3):
            optimiser.zero_grad()
            engine.pooled(engine.tokenise(TEXTS)).square().sum().backward()
            optimiser.step()
        return source.trained(LearntState(source.fingerprint, part.kind, learnt_weights(engine.model)))

    return train


def vectors(engine: TorchEngine) -> np.ndarray:
    return engine.forward(engine.tokenise(TEXTS))


def held(*engines: TorchEngine) -> int:
    """Numbers in the memory of some models, each tensor counted once."""
    tensors = {one.data_ptr(): one.numel() for engine in engines for one in engine.model.parameters()}
    return sum(tensors.values())


PARTS = [TrainedPart("lora", rank=2), TrainedPart("last_n", 1), TrainedPart("full")]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.kind)
def test_vectors_are_those_of_a_model_of_its_own(part: TrainedPart, source: Source, trained: Train) -> None:
    untrained, tuned = SharedTorchEngine(source, "cpu"), trained(part, 0)
    shared = SharedTorchEngine(tuned, "cpu")
    expected = vectors(TorchEngine(tuned, "cpu"))
    np.testing.assert_allclose(vectors(shared), expected, atol=1e-5)
    assert np.abs(vectors(untrained) - expected).max() > 0.01
    np.testing.assert_allclose(vectors(untrained), vectors(TorchEngine(source, "cpu")), atol=1e-6)


def test_adapters_are_all_that_another_encoder_adds(source: Source, trained: Train) -> None:
    models = [trained(TrainedPart("lora", rank=2), seed) for seed in (1, 2)]
    one, two = (SharedTorchEngine(model, "cpu") for model in models)
    assert np.abs(vectors(one) - vectors(two)).max() > 0.001
    adapters = sum(
        value.size for value in (two._source.learnt.weights if two._source.learnt else {}).values()
    )
    assert held(one, two) == held(one) + adapters
    assert held(one) == held(SharedTorchEngine(source, "cpu")) + adapters


def test_a_base_that_nobody_holds_is_let_go(source: Source, trained: Train) -> None:
    from recserve_bert.engines import shared

    tuned = trained(TrainedPart("lora", rank=2), 0)
    engine = SharedTorchEngine(tuned, "cpu")
    key = source.fingerprint, torch.device("cpu")
    assert key in shared._BASES
    del engine
    gc.collect()
    assert key not in shared._BASES


def test_weights_that_do_not_fit_are_named(source: Source) -> None:
    wrong = {"encoder.layer.9.output.dense.bias": np.zeros(3, dtype=np.float32)}
    with pytest.raises(ConfigError, match=r"has no encoder\.layer\.9\.output\.dense\.bias of shape \(3,\)"):
        SharedTorchEngine(source.trained(LearntState(source.fingerprint, "last_n", wrong)), "cpu")
    adapter = {
        "encoder.layer.1.output.dense.lora_A": np.zeros((2, 5), dtype=np.float32),
        "encoder.layer.1.output.dense.lora_B": np.zeros((16, 2), dtype=np.float32),
    }
    learnt = LearntState(source.fingerprint, "lora", adapter)
    with pytest.raises(ConfigError, match=r"has no encoder\.layer\.1\.output\.dense of shape \(16, 5\)"):
        SharedTorchEngine(source.trained(learnt), "cpu")
