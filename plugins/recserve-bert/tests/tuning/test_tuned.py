"""Encoders trained on behaviour, end to end on a tiny BERT."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from recserve_bert import BertParams, bert_encoder
from recserve_bert.engines.probes import Verdict
from recserve_bert.tuning.loop import FEWEST_EXAMPLES

from recserve import BundleError, Catalogue, ConfigError, Dataset, Encoder, FitContext, Item, Vocabulary
from recserve.testing import example_dataset

KINDS = ("head", "last_n", "lora", "full")
ANIMALS = ("猫", "狗", "书", "雨")
STEPS = {"epochs": 2, "epoch_steps": 15, "batch_examples": 16, "negatives": 16, "learning_rate": 0.01}


def build(model: Path | str, tune: str, **params) -> Encoder:
    return bert_encoder(BertParams(model=str(model), tune=tune, **{**STEPS, **params}), Catalogue())


def texts(count: int = 40) -> list[str]:
    """Texts of which one character, among others that say nothing, names the item's group."""
    random = np.random.default_rng(3)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    return [f"{''.join(random.choice(letters, 6))} {ANIMALS[row % 4]}" for row in range(count)]


@pytest.fixture(scope="module")
def behaviour(tiny) -> Dataset:
    """Users who stay within one group, over the frozen encoder's vectors."""
    random = np.random.default_rng(5)
    n_users, length, described = 60, 12, texts()
    users = np.tile(np.arange(n_users, dtype=np.int32), length)
    items = (random.integers(0, 10, len(users)) * 4 + users % 4).astype(np.int32)
    catalogue = Catalogue.of(
        [Item(f"i{row:02d}", {"title": text}) for row, text in enumerate(described)],
        bert_encoder(BertParams(model=str(tiny)), Catalogue()).encode(described),
    )
    return Dataset(
        catalogue,
        Vocabulary(f"user-{row}" for row in range(n_users)),
        users,
        items,
        np.zeros(len(users), dtype=np.int16),
        np.ones(len(users), dtype=np.float32),
        1_600_000_000_000 + np.arange(len(users), dtype=np.int64) * 1000,
        ("view",),
    )


def context(**changes) -> FitContext:
    return FitContext(**{"seed": 1, "threads": 1, "device": "cpu", "item_texts": texts, **changes})


def within_groups(vectors: np.ndarray) -> float:
    """How much nearer texts of one group are than texts of two."""
    cosines = vectors @ vectors.T
    rows = np.arange(len(vectors))
    same = (rows[:, None] - rows) % 4 == 0
    return float(cosines[same].mean() - cosines[~same].mean())


@pytest.fixture(scope="module")
def trained(tiny, behaviour) -> dict[str, Encoder]:
    found = {}
    for kind in KINDS:
        found[kind] = build(tiny, kind)
        found[kind].fit(behaviour, context())
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_training_brings_together_what_people_like_together(kind, tiny, trained):
    frozen = build(tiny, "none").encode(texts())
    assert within_groups(trained[kind].encode(texts())) > within_groups(frozen) + 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_new_texts_are_read_by_what_was_learnt(kind, tiny, trained):
    new = [f"{word} {animal}" for word in ("quail", "frost") for animal in ANIMALS]
    assert within_groups(trained[kind].encode(new)) > within_groups(build(tiny, "none").encode(new))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_what_serves(kind, tiny, trained, tmp_path):
    trained[kind].save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json"}
    loaded = build(tiny, kind)
    before = loaded.fingerprint
    assert before == build(tiny, "none").fingerprint, "untrained it shares the frozen encoder's vectors"
    loaded.load(tmp_path)
    assert loaded.fingerprint == trained[kind].fingerprint != before
    np.testing.assert_array_equal(loaded.encode(texts()), trained[kind].encode(texts()))


@pytest.mark.parametrize("kind", ["head", "lora"])
def test_a_seed_decides_every_byte(kind, tiny, behaviour, trained, tmp_path):
    again, other = build(tiny, kind), build(tiny, kind)
    again.fit(behaviour, context())
    other.fit(behaviour, context(seed=2))
    for name, encoder in (("one", trained[kind]), ("two", again)):
        (tmp_path / name).mkdir()
        encoder.save(tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
    assert other.fingerprint != again.fingerprint


@pytest.mark.parametrize("kind", ["head", "last_n"])
def test_a_trained_encoder_travels(kind, trained):
    travelled = pickle.loads(pickle.dumps(trained[kind]))
    assert travelled.fingerprint == trained[kind].fingerprint
    np.testing.assert_array_equal(travelled.encode(["猫"]), trained[kind].encode(["猫"]))


def test_a_head_follows_from_frozen_vectors(tiny, behaviour, trained):
    np.testing.assert_allclose(
        trained["head"].transform(behaviour.catalogue.vectors), trained["head"].encode(texts()), atol=1e-5
    )


def test_the_final_fit_takes_over_the_epochs(tiny, behaviour):
    encoder = build(tiny, "head", epochs=4, patience=4)
    scores: list[tuple[int, float]] = []
    facts = dict(encoder.fit(behaviour, context(validated=lambda step, score: scores.append((step, score)))))
    assert [step for step, _ in scores] == [1, 2, 3, 4]
    assert facts["epochs"] == int(np.argmax(facts["validation"]))
    steps: list[int] = []
    final = build(tiny, "head", epochs=4, patience=4)
    known = final.fit(
        behaviour, context(previous={"epochs": 2}, progress=lambda what, done, total: steps.append(done))
    )
    assert known["epochs"] == 2
    assert "validation" not in known
    assert steps == list(range(2 * STEPS["epoch_steps"]))


def test_training_that_helps_nothing_leaves_the_encoder_as_it_was(tiny, behaviour):
    encoder = build(tiny, "last_n", learning_rate=1e-12, epochs=1)
    facts = encoder.fit(behaviour, context())
    frozen = build(tiny, "none").encode(texts())
    np.testing.assert_allclose(encoder.encode(texts()), frozen, atol=1e-5)
    assert facts["validation"][0] == pytest.approx(facts["validation"][-1])


def test_too_little_behaviour_teaches_nothing(tiny, behaviour):
    encoder = build(tiny, "head")
    few = behaviour.where(np.arange(len(behaviour)) < FEWEST_EXAMPLES)
    assert encoder.fit(few, context())["epochs"] == 0
    np.testing.assert_allclose(encoder.encode(["猫"]), build(tiny, "none").encode(["猫"]), atol=1e-6)


def test_a_small_budget_and_checkpointing_still_learn(tiny, behaviour):
    encoder = build(tiny, "lora", step_tokens=200, checkpointing=True)
    encoder.fit(behaviour, context())
    assert within_groups(encoder.encode(texts())) > within_groups(build(tiny, "none").encode(texts())) + 0.1


@pytest.mark.parametrize("kind", ["head", "last_n"])
@pytest.mark.parametrize("name", ["weights.safetensors", "encoder.json"])
def test_damaged_weights_are_one_clear_line(kind, name, tiny, trained, tmp_path):
    trained[kind].save(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:20])
    with pytest.raises(BundleError, match="cannot be read") as error:
        build(tiny, kind).load(tmp_path)
    assert str(tmp_path) in error.value.message
    assert "\n" not in error.value.message


@pytest.mark.parametrize("kind", ["head", "lora"])
def test_weights_learnt_on_another_model_are_refused(kind, tiny, trained, tmp_path):
    trained[kind].save(tmp_path)
    with pytest.raises(BundleError, match="another model"):
        build(tiny, kind, prefix="query: ").load(tmp_path)


def test_a_head_suits_the_multilingual_model_and_other_training_does_not():
    with pytest.raises(ConfigError, match="fixed weights"):
        build("bundled:e5-multilingual", "lora")
    assert build("bundled:e5-multilingual", "head").dimension == 384


def test_a_trained_model_with_8_bits_keeps_its_meaning(tiny, behaviour, tmp_path):
    encoder = build(tiny, "last_n", engine="onnx", cache=tmp_path / "cache")
    encoder.fit(behaviour, context())
    assert encoder.engine == "onnx"
    (tmp_path / "bundle").mkdir()
    encoder.save(tmp_path / "bundle")
    loaded = build(tiny, "last_n", engine="onnx", cache=tmp_path / "cache")
    loaded.load(tmp_path / "bundle")
    assert loaded.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(loaded.encode(texts()), encoder.encode(texts()))
    full = build(tiny, "last_n")
    full.load(tmp_path / "bundle")
    assert (full.encode(texts()) * loaded.encode(texts())).sum(axis=1).min() > 0.98


def test_8_bits_that_lose_too_much_leave_a_trained_model_with_torch(
    tiny, behaviour, tmp_path, monkeypatch, caplog
):
    encoder = build(tiny, "last_n", engine="onnx", cache=tmp_path / "cache")
    monkeypatch.setattr(
        "recserve_bert.engines.onnx_engine.judge", lambda vectors, full: Verdict(0.5, 0.9, 0.5)
    )
    encoder.fit(behaviour, context())
    assert encoder.engine == "torch"
    assert "stays with torch" in caplog.text
    monkeypatch.undo()
    (tmp_path / "bundle").mkdir()
    encoder.save(tmp_path / "bundle")
    loaded = build(tiny, "last_n", engine="onnx", cache=tmp_path / "cache")
    loaded.load(tmp_path / "bundle")
    assert loaded.engine == "torch", "what was decided in training holds when serving"
    assert loaded.fingerprint == encoder.fingerprint


def test_an_encoder_is_trained_on_vectors_and_says_so(tiny):
    data = example_dataset()
    bare = data.with_catalogue(Catalogue(data.catalogue.ids, data.catalogue.attributes_json))
    with pytest.raises(ConfigError, match="that it has encoded"):
        build(tiny, "head").fit(bare, context())
