"""Checkpoints that can and cannot be a cross-encoder; each refusal is one line."""

from __future__ import annotations

import json
import shutil

import pytest
from recserve_cross_encoder.checkpoints import find
from recserve_cross_encoder.parameters import CrossEncoderParams

from recserve import ConfigError


def refused(**params) -> str:
    with pytest.raises(ConfigError) as error:
        find(CrossEncoderParams(**params))
    assert "\n" not in error.value.message
    return error.value.message


def test_a_text_encoder_is_trained_and_a_cross_encoder_is_used(tiny, classifier):
    encoder = find(CrossEncoderParams(model=str(tiny)))
    assert (encoder.trained, encoder.output) == (True, "new")
    ready = find(CrossEncoderParams(model=str(classifier(1))))
    assert (ready.trained, ready.output) == (False, "own")
    assert find(CrossEncoderParams(model=str(classifier(1)), train="always")).trained


@pytest.mark.parametrize("outputs", [2, 3])
def test_a_wrong_number_of_outputs_is_refused(classifier, outputs):
    message = refused(model=str(classifier(outputs)))
    assert f"a classifier with {outputs} outputs" in message
    assert "num_labels 1" in message


def test_an_encoder_that_may_not_be_trained_is_refused(tiny):
    assert "set train to auto" in refused(model=str(tiny), train="never")


def test_models_that_cannot_be_used_are_named(tiny, tmp_path):
    assert "fixed weights" in refused(model="bundled:e5-multilingual")
    assert refused(model="/no/such/folder").startswith("cross_encoder: model = '/no/such/folder'")
    assert "no such bundled model" in refused(model="bundled:nothing")
    copy = shutil.copytree(tiny, tmp_path / "copy")
    (copy / "model.safetensors").unlink()
    assert "has no model.safetensors" in refused(model=str(copy))


def test_a_cross_encoder_whose_output_is_missing_is_refused(tiny, tmp_path):
    """It says that it has one, and its weights do not: nothing is made up for it."""
    copy = shutil.copytree(tiny, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    labels = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    (copy / "config.json").write_text(json.dumps({**config, **labels}))
    checkpoint = find(CrossEncoderParams(model=str(copy)))
    with pytest.raises(ConfigError, match=r"its weights lack 2 tensors, such as classifier\.bias") as error:
        checkpoint.open()
    assert "\n" not in error.value.message


def test_more_layers_than_there_are_cannot_be_trained(tiny, behaviour, context):
    from recserve_cross_encoder.reranker import CrossEncoderReranker

    params = CrossEncoderParams(model=str(tiny), tune_layers=3)
    with pytest.raises(ConfigError, match="tune_layers = 3: the model has 2 layers"):
        CrossEncoderReranker(params, behaviour.catalogue).fit(behaviour, context())
