from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from recserve_bert.engines.torch_engine import TorchEngine
from recserve_bert.parameters import BertParams
from recserve_bert.sources import locate
from recserve_bert.tuning.lower_states import LowerStates
from recserve_bert.tuning.weights import (
    TrainedPart,
    apply_weights,
    first_trained,
    learnt_weights,
    make_trainable,
)

from recserve import ConfigError

TEXTS = ["cat", "我喜欢看电影", "a detective follows a thief"]


def engine(directory: Path) -> TorchEngine:
    return TorchEngine(locate(BertParams(model=str(directory))), "cpu")


def vectors(engine: TorchEngine) -> np.ndarray:
    return engine.forward(engine.tokenise(TEXTS))


def train(engine: TorchEngine, part: TrainedPart, **options) -> list[torch.nn.Parameter]:
    """Some steps away from where the model was."""
    parameters = make_trainable(engine.model, part, **options)
    optimiser = torch.optim.AdamW(parameters, lr=0.05)
    for _ in range(3):
        optimiser.zero_grad()
        engine.pooled(engine.tokenise(TEXTS)).square().sum().backward()
        optimiser.step()
    return parameters


@pytest.mark.parametrize(
    "part",
    [
        TrainedPart("last_n", 1),
        TrainedPart("lora", rank=4),
        TrainedPart("lora", 1, rank=2, dropout=0.1),
        TrainedPart("full"),
    ],
)
def test_learnt_weights_make_a_fresh_model_the_trained_one(tiny, part):
    trained, fresh = engine(tiny), engine(tiny)
    before = vectors(trained)
    train(trained, part)
    trained.model.eval()
    after = vectors(trained)
    assert np.abs(after - before).max() > 0.01
    apply_weights(fresh.model, learnt_weights(trained.model))
    np.testing.assert_allclose(vectors(fresh), after, atol=1e-5)


def test_new_adapters_change_nothing(tiny):
    adapted = engine(tiny)
    before = vectors(adapted)
    make_trainable(adapted.model, TrainedPart("lora"))
    np.testing.assert_allclose(vectors(adapted), before, atol=1e-6)


def test_only_the_part_is_trained(tiny):
    last, lora = engine(tiny), engine(tiny)
    make_trainable(last.model, TrainedPart("last_n", 1))
    names = set(learnt_weights(last.model))
    assert names
    assert all(name.startswith("encoder.layer.1.") for name in names)
    make_trainable(lora.model, TrainedPart("lora", 1, rank=3))
    adapters = learnt_weights(lora.model)
    assert all(name.startswith("encoder.layer.1.") for name in adapters)
    assert adapters["encoder.layer.1.attention.self.query.lora_A"].shape == (3, 16)
    assert adapters["encoder.layer.1.attention.self.query.lora_B"].shape == (16, 3)


def test_checkpointing_gives_the_same_gradients(tiny):
    plain, saving = engine(tiny), engine(tiny)
    for parameter, other in zip(
        train(plain, TrainedPart("last_n", 1)),
        train(saving, TrainedPart("last_n", 1), checkpointing=True),
        strict=True,
    ):
        torch.testing.assert_close(parameter, other)


def test_more_layers_than_there_are(tiny):
    with pytest.raises(ConfigError, match="the model has 2 layers"):
        make_trainable(engine(tiny).model, TrainedPart("last_n", 3))


def test_a_model_whose_layers_are_one_is_refused():
    from transformers import AlbertConfig, AlbertModel

    config = AlbertConfig(
        vocab_size=50, embedding_size=8, hidden_size=16, num_attention_heads=2, intermediate_size=16
    )
    with pytest.raises(ConfigError, match="use 'full'"):
        make_trainable(AlbertModel(config), TrainedPart("lora"))


def test_adapters_need_peft_and_say_so(tiny, monkeypatch):
    monkeypatch.setattr("recserve_bert.tuning.weights.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"recserve\[lora\]"):
        make_trainable(engine(tiny).model, TrainedPart("lora"))


def test_weights_of_another_model_are_refused(tiny):
    with pytest.raises(ValueError, match=r"has no encoder\.layer\.9"):
        apply_weights(engine(tiny).model, {"encoder.layer.9.bias": np.zeros(3, dtype=np.float32)})


def test_serving_trained_weights_needs_no_peft(tiny, monkeypatch):
    trained, fresh = engine(tiny), engine(tiny)
    make_trainable(trained.model, TrainedPart("lora"))
    weights = learnt_weights(trained.model)
    monkeypatch.setitem(sys.modules, "peft", None)
    apply_weights(fresh.model, weights)


@pytest.mark.parametrize("part", [TrainedPart("last_n", 1), TrainedPart("lora", 1)])
def test_lower_layers_need_not_run_again(tiny, part):
    plain, quick = engine(tiny), engine(tiny)
    tokens = quick.tokenise(TEXTS)
    for one in (plain, quick):
        torch.manual_seed(4)
        make_trainable(one.model, part)
    states = LowerStates(quick, first_trained(quick.model, part), tokens)
    assert set(learnt_weights(quick.model)) == set(learnt_weights(plain.model))
    rows = np.array([2, 0])
    for _ in range(2):
        states.feed(rows)
        found = quick.forward([tokens[row] for row in rows])
        np.testing.assert_allclose(found, plain.forward([tokens[row] for row in rows]), atol=5e-3)
        for one in (plain, quick):
            states.feed(rows)
            one.pooled([tokens[row] for row in rows]).square().sum().backward()
    for name, parameter in quick.model.named_parameters():
        if parameter.requires_grad:
            expected = plain.model.get_parameter(name).grad
            torch.testing.assert_close(parameter.grad, expected, atol=0.02, rtol=0.02)
