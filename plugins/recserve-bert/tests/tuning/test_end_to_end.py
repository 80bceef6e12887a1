"""BERT that is trained with the network of another component: tokens, LSTM and layer by one gradient."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from recserve_bert import BertParams, bert_encoder
from recserve_bert_sequence.parameters import BertSequenceParams
from recserve_bert_sequence.training.loop import Task
from recserve_bert_sequence.training.loop import fit as fit_loop
from recserve_torch import OffersTower

from recserve import Catalogue, ConfigError, Dataset, Item, Queries, Tables, TorchWorker, Vocabulary
from recserve.bundles.catalogue_vectors import encode_catalogue, item_texts
from recserve.bundles.repository import BundleRepository
from recserve.config import parse_config
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import ResolvedConfig
from recserve.serving.stages.encoding import LiveEncoder
from recserve.training.fitting import Fitted, fit_all, fit_context, fit_single
from recserve.training.trainer import Trainer
from recserve.training.tuning.targets import choose_target

ANIMALS = ("猫", "狗", "书", "雨")
N_ITEMS, N_USERS, LENGTH = 40, 60, 12
ENCODER, RANKER = "encoder.bert", "ranker.bert_sequence"
SMALL = {
    "width": 8,
    "epochs": 12,
    "patience": 12,
    "window": 8,
    "batch_events": 60,
    "negatives": 16,
    "learning_rate": 0.01,
    "dropout": 0.0,
}
KINDS = ("head", "last_n", "lora")


def resolve(model: Path, tune: str, *, together: bool = True, **changed: Any) -> ResolvedConfig:
    ranker = {"use": "bert_sequence", "params": {**SMALL, "end_to_end": together, **changed}}
    plain = {
        "encoder": {"model": str(model), "params": {"tune": tune, "learning_rate": 0.01} if tune else {}},
        "scenarios": {"home": {"retrievers": [{"use": "content"}, {"use": "popular"}], "ranker": ranker}},
        "train": {"seed": 1, "threads": 1, "device": "cpu"},
    }
    return Registry.discover().resolve(parse_config(plain))


@pytest.fixture(scope="module")
def data(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Users who stay within one group, which one character of an item's text names, over frozen vectors."""
    random = np.random.default_rng(3)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    items = [
        Item(f"i{row:02d}", {"title": f"{''.join(random.choice(letters, 6))} {ANIMALS[row % 4]}"})
        for row in range(N_ITEMS)
    ]
    users = np.tile(np.arange(N_USERS, dtype=np.int32), LENGTH)
    catalogue, _ = encode_catalogue(resolve(tiny, ""), Catalogue.of(items), tmp_path_factory.mktemp("home"))
    return Dataset(
        catalogue,
        Vocabulary(f"user-{row}" for row in range(N_USERS)),
        users,
        (random.integers(0, N_ITEMS // 4, len(users)) * 4 + users % 4).astype(np.int32),
        np.zeros(len(users), dtype=np.int16),
        np.ones(len(users), dtype=np.float32),
        1_600_000_000_000 + np.arange(len(users), dtype=np.int64) * 1000,
        ("view",),
    )


def fit(resolved: ResolvedConfig, data: Dataset, **context: Any) -> Fitted:
    return fit_all(resolved, data, fit_context(resolved.config, **context))


@pytest.fixture(scope="module")
def fitted(tiny: Path, data: Dataset) -> dict[str, Fitted]:
    return {kind: fit(resolve(tiny, kind), data) for kind in KINDS}


def within_groups(vectors: np.ndarray) -> float:
    """How much nearer texts of one group are than texts of two."""
    cosines, rows = vectors @ vectors.T, np.arange(len(vectors))
    same = (rows[:, None] - rows) % 4 == 0
    return float(cosines[same].mean() - cosines[~same].mean())


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_the_networks_loss_reach_bert(
    kind: str, data: Dataset, fitted: dict[str, Fitted]
) -> None:
    facts, learnt = fitted[kind].facts, fitted[kind].catalogue.vectors
    assert data.catalogue.vectors is not None
    assert learnt is not None
    assert within_groups(learnt) > within_groups(data.catalogue.vectors) + 0.1
    assert facts[RANKER]["losses"][-1] < facts[RANKER]["losses"][0] - 0.3
    assert facts[ENCODER] == {"trained_by": RANKER}


def test_it_finds_what_frozen_vectors_hide(tiny: Path, data: Dataset, fitted: dict[str, Fitted]) -> None:
    frozen = fit(resolve(tiny, "", together=False), data).facts[RANKER]
    best = {kind: max(fitted[kind].facts[RANKER]["validation_ndcg@10"]) for kind in KINDS}
    before = max(frozen["validation_ndcg@10"])
    assert min(best["last_n"], best["lora"]) > before + 0.1
    assert best["head"] > before + 0.02, "all that a head can do is to tell apart what vectors tell apart"


@pytest.mark.parametrize("kind", KINDS)
def test_the_encoder_gives_the_very_vectors_that_all_parts_read(
    kind: str, tiny: Path, data: Dataset, fitted: dict[str, Fitted], tmp_path: Path
) -> None:
    found, resolved = fitted[kind], resolve(tiny, kind)
    encoder, texts = found.objects[ENCODER], item_texts(resolved, data.catalogue)
    assert found.catalogue.vectors is not None
    np.testing.assert_allclose(found.catalogue.vectors, encoder.encode(texts), atol=1e-5)
    assert found.fingerprint == encoder.fingerprint
    # What the bundle restores is the same, and scores by the same vectors.
    restored = {}
    for key in (ENCODER, RANKER):
        folder = tmp_path / key
        folder.mkdir()
        found.objects[key].save(folder)
        part = resolved.encoder if key == ENCODER else resolved.components()[key]
        assert part is not None
        restored[key] = part.build(found.catalogue)
        restored[key].load(folder)
    assert restored[ENCODER].fingerprint == encoder.fingerprint
    queries = Queries.of(
        data.histories.select(np.arange(4, dtype=np.int64)), np.full(4, 2 * 10**12, dtype=np.int64)
    )
    before, after = found.objects[RANKER].retrieve(queries, 10), restored[RANKER].retrieve(queries, 10)
    np.testing.assert_array_equal(before.items, after.items)
    assert (before.items % 4 == np.arange(4)[:, None]).mean() > 0.7


def test_a_bundle_serves_the_very_weights_that_the_sequence_model_was_trained_with(
    tiny: Path, data: Dataset, tmp_path: Path
) -> None:
    events = {
        "event_id": [str(row) for row in range(len(data))],
        "user_id": [data.user_ids.ids[row] for row in data.users],
        "item_id": [data.catalogue.ids.ids[row] for row in data.items],
        "event": ["view"] * len(data),
        "value": pa.nulls(len(data), pa.float64()),
        "timestamp": data.timestamps,
    }
    items = {"item_id": list(data.catalogue.ids.ids), "attributes": list(data.catalogue.attributes_json)}
    resolved = resolve(tiny, "last_n")
    trainer = Trainer(tmp_path, resolved, Registry.discover(), BundleRepository(tmp_path / "bundles"))
    bundle = trainer.run(Tables(pa.table(items), pa.table(events)), evaluated=False).bundle
    manifest, texts = bundle.manifest, item_texts(resolved, bundle.catalogue)
    assert manifest.components[ENCODER].facts["trained_by"] == RANKER
    assert manifest.components[RANKER].facts["validation_ndcg@10"]
    served = LiveEncoder(resolved).encode(bundle, texts)
    np.testing.assert_allclose(served, bundle.catalogue.vectors, atol=1e-5)
    assert within_groups(served) > within_groups(np.asarray(data.catalogue.vectors)) + 0.1


@pytest.mark.parametrize("kind", ["head", "lora"])
def test_a_seed_decides_every_byte(
    kind: str, tiny: Path, data: Dataset, fitted: dict[str, Fitted], tmp_path: Path
) -> None:
    runs = {"one": fitted[kind], "two": fit(resolve(tiny, kind), data)}
    for name, found in runs.items():
        for key in (ENCODER, RANKER):
            folder = tmp_path / name / key
            folder.mkdir(parents=True)
            found.objects[key].save(folder)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*") if path.is_file()]
    assert len(files) == 6
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes(), path


def test_a_final_fit_takes_over_the_epochs(tiny: Path, data: Dataset, fitted: dict[str, Fitted]) -> None:
    resolved = resolve(tiny, "head")
    context = fit_context(resolved.config)
    final = fit_all(resolved, data, context, previous=fitted["head"])
    assert final.facts[RANKER]["epochs"] == fitted["head"].facts[RANKER]["epochs"]
    assert "validation_ndcg@10" not in final.facts[RANKER]
    assert final.fingerprint != fitted["head"].fingerprint


def test_what_else_reads_texts_is_fitted_on_these_vectors(
    tiny: Path, data: Dataset, fitted: dict[str, Fitted]
) -> None:
    content = fitted["head"].objects["retriever.content"].model
    expected = content.space.project_all(fitted["head"].catalogue)
    np.testing.assert_allclose(content.items[:, :-1], expected, atol=1e-6)


def test_evaluation_and_tuning_fit_it_alone(tiny: Path, data: Dataset, fitted: dict[str, Fitted]) -> None:
    resolved = resolve(tiny, "head")
    _, facts = fit_single(resolved, resolved.components()[RANKER], data, fit_context(resolved.config))
    assert facts == fitted["head"].facts[RANKER]
    target = choose_target(
        Registry.discover(), resolved, "bert_sequence", only=["width", "encoder.learning_rate"]
    )
    assert {dimension.name for dimension in target.space.dimensions} == {"width", "encoder.learning_rate"}


PROCESS = """
import pickle, sys
from pathlib import Path
from torch import distributed
from recserve import TorchWorker
from recserve_bert_sequence.training.loop import fit

folder, rank, world = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
fitted = fit(TorchWorker(rank, world, threads=1), pickle.loads((folder / "task").read_bytes()))
(folder / f"fitted-{rank}").write_bytes(pickle.dumps(fitted.encoder))
distributed.destroy_process_group()
"""


@pytest.mark.long
def test_processes_together_make_the_steps_of_one(tiny: Path, data: Dataset, tmp_path: Path) -> None:
    """With a head, which has no dropout: that is drawn by each process for itself."""
    encoder = bert_encoder(BertParams(model=str(tiny), tune="head", learning_rate=0.01), Catalogue())
    params = BertSequenceParams(**{**SMALL, "epochs": 2}, end_to_end=True)
    vectors, world = data.catalogue.vectors, 2
    assert vectors is not None
    assert isinstance(encoder, OffersTower)
    task = Task(data.histories, data.item_counts, vectors, 1, params, 3, None, encoder, ["x"] * N_ITEMS)
    expected = fit_loop(TorchWorker(threads=1), task).encoder
    (tmp_path / "task").write_bytes(pickle.dumps(task))
    running = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(tmp_path), str(rank), str(world)])
        for rank in range(world)
    ]
    assert [process.wait(240) for process in running] == [0] * world
    found = [pickle.loads((tmp_path / f"fitted-{rank}").read_bytes()) for rank in range(world)]
    assert expected is not None
    for name, values in expected.items():
        np.testing.assert_array_equal(found[0][name], found[1][name])
        np.testing.assert_allclose(found[0][name], values, rtol=0.02, atol=2e-3, err_msg=name)


def test_an_encoder_that_is_not_to_be_trained_is_named(tiny: Path, data: Dataset) -> None:
    with pytest.raises(
        ConfigError, match=r"bert_sequence is to train the text encoder.*set encoder\.params\.tune"
    ):
        fit(resolve(tiny, ""), data)


def test_two_components_cannot_train_one_encoder(tiny: Path, data: Dataset) -> None:
    resolved = resolve(tiny, "head")
    plain = resolved.config.model_dump(mode="json")
    plain["scenarios"]["home"]["retrievers"][0] = plain["scenarios"]["home"]["ranker"]
    both = Registry.discover().resolve(parse_config(plain))
    with pytest.raises(
        ConfigError, match=r"retriever\.bert_sequence and ranker\.bert_sequence would each train"
    ):
        fit(both, data)
