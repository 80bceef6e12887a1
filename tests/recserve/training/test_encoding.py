"""A text encoder that behaviour trains: when it is fitted, on what, and that its bundle serves exactly it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from recserve import Catalogue, Encoder, FloatArray
from recserve.bundles.bundle import Bundle
from recserve.bundles.catalogue_vectors import encode_again, encode_catalogue, item_texts, read_written
from recserve.bundles.repository import BundleRepository
from recserve.bundles.text_language import settle_encoder
from recserve.cli import app, main
from recserve.config import parse_config
from recserve.data.dataset import Dataset, Tables
from recserve.errors import BundleError
from recserve.evaluation.splits import temporal
from recserve.plugin.protocols import FitContext
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import ResolvedConfig
from recserve.serving.stages.encoding import LiveEncoder
from recserve.testing import example_dataset
from recserve.training.fitting import fit_all, fit_context, fit_single
from recserve.training.trainer import Trainer
from recserve.training.tuning.targets import choose_target
from tests.support.travelling import Travelling

if TYPE_CHECKING:
    from tests.conftest import Domain

HEAD = {"tune": "head", "epochs": 3, "epoch_steps": 20, "batch_examples": 32, "learning_rate": 0.01}
SCENARIOS = {"home": {"retrievers": [{"use": "content"}, {"use": "popular"}]}}
KEY = "encoder.bert"


def resolve(**encoder: Any) -> ResolvedConfig:
    return Registry.discover().resolve(parse_config({"encoder": {"params": encoder}, "scenarios": SCENARIOS}))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def data(home: Path) -> Dataset:
    """Behaviour over encoded items whose titles do not tell what is liked together."""
    found = example_dataset()
    catalogue, _ = encode_catalogue(resolve(), found.catalogue, home)
    shuffled = np.random.default_rng(1).permutation(found.n_items).astype(np.int32)
    return Dataset(
        catalogue,
        found.user_ids,
        found.users,
        shuffled[found.items],
        found.events,
        found.weights,
        found.timestamps,
        found.event_types,
    )


class Whole:
    """A trained encoder that has to read every text again."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.dimension, self.fingerprint = encoder.dimension, encoder.fingerprint

    def encode(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> FloatArray:
        return self.encoder.encode(texts, progress)


class Watched:
    """Notes what the encoder is fitted on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from recserve_bert.tuning.head import HeadEncoder

        self.fits: list[tuple[Dataset, FitContext]] = []
        original = HeadEncoder.fit

        def fit(encoder: HeadEncoder, data: Dataset, context: FitContext) -> Mapping[str, Any]:
            self.fits.append((data, context))
            return original(encoder, data, context)

        monkeypatch.setattr(HeadEncoder, "fit", fit)


def test_the_encoder_is_fitted_first_and_the_others_read_its_vectors(data: Dataset) -> None:
    resolved = resolve(**HEAD)
    fitted = fit_all(resolved, data, fit_context(resolved.config))
    encoder = fitted.objects[KEY]
    texts = item_texts(resolved, data.catalogue)
    assert fitted.catalogue.vectors is not None
    np.testing.assert_allclose(fitted.catalogue.vectors, encoder.encode(texts), atol=1e-5)
    assert np.abs(fitted.catalogue.vectors - data.catalogue.vectors).max() > 1e-3
    content = fitted.objects["retriever.content"].model
    expected = content.space.project_all(fitted.catalogue)
    np.testing.assert_allclose(content.items[:, :-1], expected, atol=1e-6)
    assert fitted.fingerprint == encoder.fingerprint
    assert fitted.facts[KEY]["epochs"] >= 0


def test_without_training_nothing_changes(data: Dataset) -> None:
    resolved = resolve()
    fitted = fit_all(resolved, data, fit_context(resolved.config))
    assert KEY not in fitted.objects
    assert fitted.fingerprint is None
    assert fitted.catalogue is data.catalogue


def test_an_evaluation_trains_the_encoder_on_the_training_window_alone(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved, watched = resolve(**HEAD), Watched(monkeypatch)
    split = temporal(data)
    content = resolved.components()["retriever.content"]
    fit_single(resolved, content, split.training, fit_context(resolved.config))
    ((seen, context),) = watched.fits
    assert int(seen.timestamps[-1]) < int(split.times.min())
    assert len(seen) == len(split.training)
    assert list(context.item_texts()) == item_texts(resolved, data.catalogue)
    popular = resolved.components()["retriever.popular"]
    fit_single(resolved, popular, split.training, fit_context(resolved.config))
    assert len(watched.fits) == 1, "what reads no vectors needs no encoder"


def test_workers_encode_with_the_trained_weights(data: Dataset) -> None:
    resolved = resolve(**HEAD)
    resolved = settle_encoder(resolved, data.catalogue)
    assert resolved.encoder is not None
    encoder = resolved.encoder.build(Catalogue())
    encoder.fit(data, FitContext(threads=1))

    executor = Travelling()
    short = encode_again(resolved, encoder, data.catalogue, FitContext(executor=executor))
    assert executor.parts == 0, "a head follows from the vectors that there are"
    there = encode_again(resolved, Whole(encoder), data.catalogue, FitContext(executor=executor))
    assert executor.parts == 1
    np.testing.assert_allclose(short.vectors, there.vectors, atol=1e-5)


def test_what_users_wrote_is_read_by_a_frozen_encoder_and_kept_nowhere(home: Path, data: Dataset) -> None:
    texts = ["a story of space", "of love"]
    wrote = {
        "user_id": [data.user_ids.ids[3], "a stranger", data.user_ids.ids[3]],
        "event": [data.event_types[0]] * 3,
        "value": pa.nulls(3, pa.float64()),
        "timestamp": pa.array([2, 3, 1], pa.int64()),
        "text": [texts[0], "unheard of", texts[1]],
    }
    resolved = resolve()
    assert data.event_types[0] in resolved.config.event_types
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    found = read_written(resolved, data, pa.table(wrote)).written
    assert found is not None
    assert np.flatnonzero(np.diff(found.offsets)).tolist() == [3]
    frozen = settle_encoder(resolved, data.catalogue).encoder
    assert frozen is not None
    np.testing.assert_allclose(found.vectors, frozen.build(Catalogue()).encode(texts[::-1]), atol=1e-5)
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
    assert read_written(resolve(**HEAD), data, pa.table(wrote)) is data, "its vectors are not known yet"
    assert read_written(resolved, data, None) is data


def tables(data: Dataset) -> Tables:
    names = np.array(data.event_types)[data.events]
    events = {
        "event_id": [str(row) for row in range(len(data))],
        "user_id": [data.user_ids.ids[row] for row in data.users],
        "item_id": [data.catalogue.ids.ids[row] for row in data.items],
        "event": names.tolist(),
        "value": pa.nulls(len(data), pa.float64()),
        "timestamp": data.timestamps,
    }
    items = {"item_id": list(data.catalogue.ids.ids), "attributes": list(data.catalogue.attributes_json)}
    return Tables(pa.table(items), pa.table(events))


def train(home: Path, data: Dataset, **encoder: Any) -> tuple[Bundle, ResolvedConfig]:
    registry, resolved = Registry.discover(), resolve(**encoder)
    trainer = Trainer(home, resolved, registry, BundleRepository(home / "bundles"))
    return trainer.run(tables(data)).bundle, resolved


@pytest.fixture(scope="module")
def trained(home: Path, data: Dataset) -> tuple[Bundle, ResolvedConfig]:
    return train(home, data, **HEAD)


def test_a_bundle_serves_the_very_weights_that_made_its_vectors(
    trained: tuple[Bundle, ResolvedConfig],
) -> None:
    bundle, resolved = trained
    entry = bundle.manifest.components[KEY]
    assert entry.saved
    assert entry.params["tune"] == "head"
    live, texts = LiveEncoder(resolved), item_texts(resolved, bundle.catalogue)
    np.testing.assert_allclose(live.encode(bundle, texts), bundle.catalogue.vectors, atol=1e-5)
    live.encode(bundle, texts[:3])
    assert (live.hits, live.misses) == (3, len(set(texts)))


def test_bundles_with_and_without_a_trained_encoder_are_served_by_one_process(
    home: Path, data: Dataset, trained: tuple[Bundle, ResolvedConfig]
) -> None:
    bundle, resolved = trained
    plain, unchanged = train(home, data)
    assert KEY not in plain.manifest.components
    assert plain.manifest.encoder_fingerprint != bundle.manifest.encoder_fingerprint
    for configuration in (resolved, unchanged):
        live = LiveEncoder(configuration)
        for one in (bundle, plain, bundle):
            text = item_texts(resolved, one.catalogue)[:1]
            np.testing.assert_allclose(live.encode(one, text)[0], one.catalogue.vectors[0], atol=1e-5)


def test_another_model_than_the_one_that_was_trained_is_refused(
    trained: tuple[Bundle, ResolvedConfig], tmp_path: Path
) -> None:
    bundle, resolved = trained
    path = bundle.component_directory(KEY) / "encoder.json"
    known = json.loads(path.read_text())
    copied = tmp_path / bundle.id
    shutil.copytree(bundle.directory, copied)
    (copied / "components" / KEY / "encoder.json").write_text(json.dumps({**known, "base": "another"}))
    changed = Bundle(copied, bundle.manifest)
    with pytest.raises(BundleError, match="another model"):
        LiveEncoder(resolved).encode(changed, ["text"])


def test_tuning_searches_the_training_of_the_encoder() -> None:
    registry, resolved = Registry.discover(), resolve(**HEAD)
    target = choose_target(registry, resolved, "content", only=["encoder.temperature", "recent"])
    config = target.configure(resolved.config, {"encoder.temperature": 0.1, "recent": 20})
    assert config.encoder is not None
    assert config.encoder.params == {**HEAD, "temperature": 0.1}
    assert config.scenarios["home"].retrievers[0].params == {"recent": 20}
    assert "encoder.learning_rate" in {
        dimension.name for dimension in choose_target(registry, resolved, "pipeline").space.dimensions
    }
    frozen = choose_target(registry, resolve(), "content")
    assert not any(dimension.name.startswith("encoder.") for dimension in frozen.space.dimensions)


@pytest.fixture(scope="module")
def imported(domain: Domain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("imported") / "home"
    command = ["import", "--events", str(domain.events), "--items", str(domain.items), "--home", str(home)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return home


BERT = {"model_type": "bert", "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 5}


@pytest.mark.parametrize(
    ("config", "vocabulary", "words"),
    [
        ({**BERT, "model_type": "gpt2"}, True, "no BERT-like text encoder"),
        ({**BERT, "model_type": "mine", "auto_map": {"AutoModel": "mine.Mine"}}, True, "code of its own"),
        (BERT, False, "has no tokenizer"),
        (BERT, True, "cannot be loaded"),
    ],
)
@pytest.mark.parametrize("tune", ["none", "last_n"])
def test_a_bad_checkpoint_ends_training_with_one_line(
    config: dict[str, Any],
    vocabulary: bool,
    words: str,
    tune: str,
    imported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text(json.dumps(config))
    (checkpoint / "model.safetensors").write_bytes(b"damaged")
    if vocabulary:
        (checkpoint / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    settings = {"encoder": {"model": str(checkpoint), "params": {"tune": tune}}, "scenarios": SCENARIOS}
    (tmp_path / "recserve.yaml").write_text(json.dumps(settings))
    typed = ["recserve", "train", "--home", str(imported), "--config", str(tmp_path / "recserve.yaml")]
    monkeypatch.setattr(sys, "argv", typed)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert str(checkpoint) in lines[0]
    assert words in lines[0]


def test_a_bundle_of_another_encoder_is_refused_at_once(
    trained: tuple[Bundle, ResolvedConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, _ = trained
    manifest = bundle.manifest.model_copy(update={"components": {}})
    foreign = Bundle(bundle.directory, manifest)
    live = LiveEncoder(resolve())
    with pytest.raises(BundleError, match="another text encoder"):
        live.encode(foreign, ["text"])
    monkeypatch.setattr("recserve.serving.loader.Loader.encoder", None)
    with pytest.raises(BundleError, match="another text encoder"):
        live.encode(foreign, ["text"])
