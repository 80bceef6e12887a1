"""Distillation: fewer layers that give nearly the same vectors, as a checkpoint like any other."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from recserve_bert import BertParams, bert_encoder
from recserve_bert.tuning.storage import LearntState

from recserve import Catalogue, ConfigError, Distills, Encoder, FitContext


def build(model: Path | str, **params) -> Encoder:
    return bert_encoder(BertParams(model=str(model), **params), Catalogue())


@pytest.fixture(scope="module")
def texts() -> list[str]:
    random = np.random.default_rng(3)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    return ["".join(random.choice(letters, random.integers(4, 16))) for _ in range(150)]


def distilled(encoder: Encoder, texts: list[str], folder: Path, **changes):
    assert isinstance(encoder, Distills)
    folder.mkdir()
    given = {"layers": 1, "epochs": 8, "context": FitContext(seed=1, threads=1, device="cpu"), **changes}
    return encoder.distill(texts, encoder.encode(texts), directory=folder, **given)


@pytest.fixture(scope="module")
def teacher(tiny, tmp_path_factory) -> Path:
    """A small BERT each of whose layers says something."""
    import torch
    from transformers import AutoModel

    folder = shutil.copytree(tiny, tmp_path_factory.mktemp("teacher") / "model")
    model = AutoModel.from_pretrained(str(tiny))
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter += 0.15 * torch.randn_like(parameter)
    model.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def small(teacher, texts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distilled") / "small"
    facts = distilled(build(teacher), texts, folder)
    return folder, facts


def test_a_student_gives_nearly_the_vectors_of_its_teacher(teacher, small):
    folder, facts = small
    before, after = facts["cosine"]
    assert after > before
    assert after > 0.9
    unseen = ["quick brown fox", "lazy dog", "jumps over"]
    cosines = (build(teacher).encode(unseen) * build(folder).encode(unseen)).sum(axis=1)
    assert cosines.min() > 0.8


def test_it_has_fewer_layers_and_the_settings_of_its_teacher(tiny, small):
    from transformers import AutoModel

    folder, facts = small
    assert facts["layers"] == [0]
    assert AutoModel.from_pretrained(str(folder)).config.num_hidden_layers == 1
    teacher, student = build(tiny).source, build(folder).source
    for name in ("dimension", "pooling", "max_length", "prefix"):
        assert getattr(student, name) == getattr(teacher, name)
    assert student.fingerprint != teacher.fingerprint


def test_settings_that_a_configuration_gave_the_teacher_are_kept(tiny, texts, tmp_path):
    teacher = build(tiny, pooling="cls", max_length=32, prefix="film ")
    distilled(teacher, texts, tmp_path / "small", epochs=1)
    student = build(tmp_path / "small").source
    assert (student.pooling, student.max_length, student.prefix) == ("cls", 32, "film ")


def test_equal_seeds_write_equal_weights(tiny, texts, tmp_path):
    for name in ("one", "other"):
        distilled(build(tiny), texts, tmp_path / name, epochs=1)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "other")]
    assert weights[0] == weights[1]


def test_a_trained_teacher_passes_on_what_it_learnt(tiny, texts, tmp_path):
    """Training turned the first layer round: the student is near to that, and not to the model before."""
    teacher = build(tiny, tune="full")
    name = "encoder.layer.0.output.LayerNorm.weight"
    turned = -np.ones(16, dtype=np.float32)
    teacher._take(LearntState(teacher.source.fingerprint, "full", {name: turned}))
    facts = distilled(teacher, texts, tmp_path / "small", epochs=2)
    assert facts["cosine"][1] > 0.9
    student = build(tmp_path / "small").encode(texts)
    assert (student * build(tiny).encode(texts)).sum(axis=1).mean() < 0


def test_a_head_is_within_the_student(tiny, texts, tmp_path):
    teacher = build(tiny, tune="head")
    random = np.random.default_rng(0)
    shapes = {"inner": (16, 32), "shift": (32,), "outer": (32, 16)}
    weights = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    teacher.learn(weights, {})
    facts = distilled(teacher, texts, tmp_path / "small")
    assert facts["cosine"][1] > facts["cosine"][0] + 0.1


@pytest.mark.parametrize("layers", [2, 5])
def test_no_student_has_as_many_layers_as_its_teacher(tiny, texts, tmp_path, layers):
    with pytest.raises(ConfigError, match=f"layers = {layers}: the model has 2; name from 1 to 1"):
        distilled(build(tiny), texts, tmp_path / "small", layers=layers)


def test_a_few_texts_teach_nothing(tiny, texts, tmp_path):
    with pytest.raises(ConfigError, match="10 different texts of items are too few"):
        distilled(build(tiny), [*texts[:10] * 10, ""], tmp_path / "small")


def test_a_head_over_fixed_weights_cannot_be_distilled(tiny, texts, tmp_path):
    from recserve_bert.tuning.head import HeadEncoder

    class Fixed:
        dimension, fingerprint = 16, "fixed"

        def encode(self, texts, progress=None):
            return np.ones((len(texts), 16), dtype=np.float32) / 4

    head = HeadEncoder(Fixed(), BertParams(model=str(tiny), tune="head"))
    with pytest.raises(ConfigError, match="cannot teach a smaller one"):
        distilled(head, texts, tmp_path / "small")


def test_the_student_runs_with_8_bits_like_any_other(small, tmp_path):
    pytest.importorskip("onnxruntime")
    folder, _ = small
    copy = shutil.copytree(folder, tmp_path / "copy")
    encoder = build(copy, engine="onnx", cache=tmp_path / "cache")
    unseen = ["quick brown fox", "lazy dog"]
    assert (encoder.encode(unseen) * build(folder).encode(unseen)).sum(axis=1).min() > 0.98
