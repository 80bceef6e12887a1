"""The sequence model on small data with planted structure."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recserve_bert_lstm import register_rankers, register_retrievers
from recserve_bert_lstm.model import BertLstm
from recserve_bert_lstm.network import RECENT
from recserve_bert_lstm.parameters import BertLstmParams
from recserve_sequence.network import DECAYS, Taste
from recserve_sequence.training.settings import Settings, schedule
from recserve_sequence.windows import TrainingWindows, last_events
from recserve_torch import NO_DROPOUT
from safetensors.torch import load_file, save_file

from recserve import (
    BundleError,
    Candidates,
    Catalogue,
    ConfigError,
    Dataset,
    FitContext,
    Histories,
    LearnsFromCandidates,
    Queries,
    Ragged,
    Ranker,
    Retriever,
    Trainable,
    Vocabulary,
)
from recserve.testing import check_ranker, check_retriever

N_ITEMS = 24
TYPES = ("view", "dislike")
DAY = 86_400_000


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def catalogue(n_items: int = N_ITEMS, dimension: int = 16) -> Catalogue:
    random = np.random.default_rng(1)
    vectors = unit(random.standard_normal((n_items, dimension)))
    return Catalogue([f"i{row}" for row in range(n_items)], vectors=vectors)


def dataset(items: Catalogue, lists: list[list[int]], weights: list[list[float]] | None = None):
    users = np.repeat(np.arange(len(lists)), [len(rows) for rows in lists]).astype(np.int32)
    rows = np.array([row for one in lists for row in one], dtype=np.int32)
    steps = np.array([step for one in lists for step in range(len(one))], dtype=np.int64)
    signed = np.ones(len(rows), np.float32)
    if weights is not None:
        signed = np.array([weight for one in weights for weight in one], dtype=np.float32)
    order = np.argsort(steps, kind="stable")
    return Dataset(
        items,
        Vocabulary(f"u{user}" for user in range(len(lists))),
        users[order],
        rows[order],
        (signed[order] < 0).astype(np.int16),
        signed[order],
        steps[order] * DAY,
        TYPES,
    )


def cycles(n_items: int = N_ITEMS, users: int = 120, length: int = 12, seed: int = 0):
    """Item i is always followed by item i + 1 (modulo n_items)."""
    starts = np.random.default_rng(seed).integers(0, n_items, users)
    return [[int((start + step) % n_items) for step in range(length)] for start in starts]


def histories(lists: list[list[int]], weights: list[list[float]] | None = None) -> Histories:
    ragged = Ragged.of(lists)
    n = len(ragged.values)
    signed = np.ones(n, np.float32)
    if weights is not None:
        signed = np.array([weight for one in weights for weight in one], dtype=np.float32)
    steps = np.array([step for one in lists for step in range(len(one))], dtype=np.int64)
    return Histories(ragged.offsets, ragged.values, (signed < 0).astype(np.int16), signed, steps * DAY)


def queries(lists: list[list[int]], **more) -> Queries:
    return Queries.of(histories(lists), np.full(len(lists), 99 * DAY, np.int64), **more)


def candidates(items: np.ndarray, sources: dict[str, np.ndarray] | None = None) -> Candidates:
    items = np.asarray(items, np.int32)
    sources = sources or {}
    stacked = (
        np.stack([np.asarray(one, np.float32) for one in sources.values()], axis=-1)
        if sources
        else np.empty((*items.shape, 0), np.float32)
    )
    fused = np.broadcast_to(-np.arange(items.shape[1], dtype=np.float32), items.shape).copy()
    return Candidates(items, fused, tuple(sources), stacked, np.full(items.shape, -1, np.int32))


def params(**more) -> BertLstmParams:
    chosen = {"width": 16, "dropout": 0.0, "epochs": 50, "batch_events": 150, "patience": 8}
    return BertLstmParams.model_validate({**chosen, "learning_rate": 0.02, **more})


def context(**more) -> FitContext:
    return FitContext(**{"seed": 3, "event_types": TYPES, "threads": 1, "device": "cpu", **more})


def fitted(chosen: BertLstmParams, data: Dataset, **more) -> BertLstm:
    model = BertLstm(chosen, data.catalogue)
    model.facts = model.fit(data, context(**more))
    return model


@pytest.fixture(scope="module")
def cycle_model() -> BertLstm:
    return fitted(params(), dataset(catalogue(), cycles()), previous={"epochs": 15})


def next_item_accuracy(model: BertLstm, n_items: int = N_ITEMS) -> float:
    asked = [[(start + step) % n_items for step in range(5)] for start in range(n_items)]
    found = model.retrieve(queries(asked), 1)
    return float(np.mean(found.items[:, 0] == (np.arange(n_items) + 5) % n_items))


def test_import_is_light():
    code = "import sys, recserve_bert_lstm; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_registers_one_component_for_both_stages(cycle_model):
    assert [one.name for one in register_rankers()] == ["bert_lstm"]
    assert [one.name for one in register_retrievers()] == ["bert_lstm"]
    for protocol in (Retriever, Ranker, Trainable, LearnsFromCandidates):
        assert isinstance(cycle_model, protocol)


def test_contract_of_a_ranker():
    check_ranker("bert_lstm", width=8, epochs=2)


def test_contract_of_a_retriever():
    check_retriever("bert_lstm", width=8, epochs=2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_absent_cuda_is_a_clear_error():
    with pytest.raises(ConfigError, match="no CUDA device"):
        fitted(params(epochs=1), dataset(catalogue(), cycles(users=5)), device="cuda")


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"text": False},
        {"loss": "full_softmax"},
        {"negatives": 6, "in_batch": 4},
        {"negatives": 6, "in_batch": 4, "loss": "bce"},
    ],
    ids=["default", "ids only", "full", "sampled", "bce"],
)
def test_learns_a_deterministic_cycle(chosen):
    # A fixed number of epochs: validation is perfect, and stops, before short histories are learnt.
    model = fitted(params(**chosen), dataset(catalogue(), cycles()), previous={"epochs": 15})
    assert next_item_accuracy(model) > 0.9  # popularity would reach 1 / 24


def test_facts_say_which_loss_was_used():
    data = dataset(catalogue(), cycles(users=20))
    assert fitted(params(epochs=1), data).facts["loss"] == "full_softmax"  # tiny catalogue
    assert fitted(params(epochs=1, negatives=4, in_batch=0), data).facts["loss"] == ("sampled_softmax")


@pytest.mark.long
def test_learns_from_long_histories_cut_into_windows():
    model = fitted(params(window=6), dataset(catalogue(), cycles(users=20, length=60)))
    assert next_item_accuracy(model) > 0.9
    assert model.facts["targets"] == 20 * (60 - 3 - 1)  # three events a user are held out


def test_new_item_is_ranked_by_its_text_alone():
    items = catalogue()
    vectors = items.vectors.copy()
    # The last item has no event at all; its text is that of item 5.
    vectors = np.concatenate([vectors, vectors[5:6]])
    items = Catalogue([f"i{row}" for row in range(N_ITEMS + 1)], vectors=vectors)
    model = fitted(params(id_dropout=0.3), dataset(items, cycles()), previous={"epochs": 15})
    found = model.retrieve(queries([[1, 2, 3, 4]]), 3).items[0]
    assert N_ITEMS in found

    live = Queries.of(histories([[1, 2, 3, 4]]), np.array([99 * DAY]))
    live = type(live)(
        **{name: getattr(live, name) for name in live.__slots__ if name != "extra_vectors"},
        extra_vectors=vectors[5:6],
    )
    offered = candidates(np.array([[9, 14, N_ITEMS + 1, 20]]))
    assert model.score(live, offered)[0].argmax() == 2


def test_live_encoded_history_is_read_by_text(cycle_model):
    vectors = cycle_model._catalogue.vectors
    plain = queries([[N_ITEMS, N_ITEMS + 1]])
    live = type(plain)(
        **{name: getattr(plain, name) for name in plain.__slots__ if name != "extra_vectors"},
        extra_vectors=np.ascontiguousarray(vectors[7:9]),
    )
    assert (cycle_model.retrieve(plain, 3).items == -1).all()  # rows without a vector are no history
    assert cycle_model.retrieve(live, 3).items[0, 0] >= 0


def test_equal_fits_give_equal_bytes(tmp_path):
    data = dataset(catalogue(), cycles(users=40))
    facts = []
    for name in ("a", "b"):
        torch.rand(int(name, 16))  # the global generator must not matter
        model = fitted(params(dropout=0.2, negatives=8, in_batch=4, epochs=3), data)
        (tmp_path / name).mkdir()
        model.save(tmp_path / name)
        facts.append(model.facts)
    first, second = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab")
    assert facts[0] == facts[1]
    assert first == second
    assert set(first) == {"network.safetensors", "items.npy", "popularity.npy", "model.json"}


def test_fit_leaves_global_torch_state_alone():
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fitted(params(epochs=1, dropout=0.2), dataset(catalogue(), cycles(users=10)))
    assert torch.equal(torch.rand(3), expected)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


@pytest.mark.parametrize(("batches", "epochs"), [(0, 40), (5, 40), (40, 30), (68, 18), (10_000, 12)])
def test_the_schedule_is_longer_where_an_epoch_has_few_steps(batches: int, epochs: int) -> None:
    assert schedule(BertLstmParams(), batches, None) == epochs
    assert schedule(BertLstmParams(), batches, {"schedule": 21}) == 21
    assert schedule(BertLstmParams(epochs=5), batches, {"schedule": 21}) == 5


@given(st.lists(st.integers(0, 60), max_size=30), st.integers(1, 200), st.integers(1, 100))
def test_batches_are_as_many_as_are_counted(lengths: list[int], window: int, budget: int) -> None:
    items = np.zeros(sum(lengths), dtype=np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    histories = Histories(
        offsets, items, items.astype(np.int16), np.ones(len(items), np.float32), items.astype(np.int64)
    )
    windows = TrainingWindows(histories, window, 1)
    assert windows.n_batches(budget) == len(list(windows.epoch(np.random.default_rng(0), budget)))


def test_prior_trains_its_epochs_on_everything():
    data = dataset(catalogue(), cycles(users=30))
    first = fitted(params(epochs=4), data)
    assert first.facts["targets"] == 30 * (12 - 3 - 1)
    previous = {**first.facts, "epochs": 2}
    final = fitted(params(), data, previous=previous)
    assert final.facts["epochs"] == 2
    assert first.facts["schedule"] == 4
    assert len(final.facts["losses"]) == 2
    assert final.facts["targets"] == 30 * (12 - 1)
    assert "validation_ndcg@10" not in final.facts


@settings(max_examples=25, deadline=None)
@given(
    asked=st.lists(st.lists(st.integers(0, N_ITEMS - 1), max_size=15), min_size=1, max_size=6),
    alone=st.integers(0, 5),
)
def test_score_does_not_depend_on_the_rest_of_the_batch(cycle_model, asked, alone):
    alone %= len(asked)
    everything = np.arange(N_ITEMS, dtype=np.int32)[None, :]
    together = cycle_model.score(queries(asked), candidates(everything.repeat(len(asked), 0)))
    single = cycle_model.score(queries([asked[alone]]), candidates(everything))
    np.testing.assert_allclose(together[alone], single[0], atol=1e-4)


def test_few_candidates_score_as_they_do_among_many(cycle_model):
    everything = np.arange(N_ITEMS, dtype=np.int32)[None, :]
    few = np.array([[7, 2, -1]], dtype=np.int32)
    server, asked = cycle_model._server, queries([[3, 4, 5]])
    states, _ = server.states(asked)
    whole, part = (server.score(states, items.astype(np.int64), asked) for items in (everything, few))
    np.testing.assert_allclose(part[0], [whole[0, 7], whole[0, 2], 0.0], atol=1e-5)


def test_state_can_be_advanced_one_event_at_a_time(cycle_model):
    network, matrix = cycle_model._stored.network, torch.from_numpy(cycle_model._stored.matrix)
    rows = torch.tensor([[3, 4, 5, 6]])
    codes, weights, gaps = torch.zeros_like(rows), torch.ones(1, 4), torch.tensor([[0, 17, 17, 17]])
    with torch.inference_mode():
        whole, _ = network.encode(matrix[rows], codes, weights, gaps)
        state = None
        for step in range(4):
            at = slice(step, step + 1)
            one, state = network.encode(
                matrix[rows[:, at]], codes[:, at], weights[:, at], gaps[:, at], state=state
            )
    torch.testing.assert_close(one[:, 0], whole[:, -1], atol=1e-5, rtol=1e-5)


def test_last_states_are_the_last_of_all_states(cycle_model):
    network, matrix = cycle_model._stored.network, torch.from_numpy(cycle_model._stored.matrix)
    past = histories(
        [[3, 4, 5, 6, 7], [9], [1, 2, 3]], [[1.0, -1.0, 1.0, 1.0, -0.5], [-1.0], [1.0, 1.0, 1.0]]
    )
    sequences = last_events(past, 4)
    with torch.inference_mode():
        vectors = torch.nn.functional.embedding(torch.from_numpy(np.maximum(sequences.items, 0)), matrix)
        every = network.encode_padded(vectors, sequences)
        last = network.last_states(vectors, sequences)
    expected = every[torch.arange(3), torch.from_numpy(sequences.lengths - 1)]
    torch.testing.assert_close(last, expected, atol=1e-5, rtol=1e-5)


def test_long_histories_are_read_by_taste_and_their_end_by_the_lstm(cycle_model):
    network, matrix = cycle_model._stored.network, torch.from_numpy(cycle_model._stored.matrix)
    long = [step % N_ITEMS for step in range(RECENT + 20)]

    def state(lists: list[list[int]]) -> torch.Tensor:
        sequences = last_events(histories(lists), 200)
        rows = torch.from_numpy(np.maximum(sequences.items, 0))
        with torch.inference_mode():
            return network.last_states(torch.nn.functional.embedding(rows, matrix), sequences)

    beside = state([[1, 2], long])
    torch.testing.assert_close(beside[1:], state([long]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(beside[:1], state([[1, 2]]), atol=1e-5, rtol=1e-5)
    # What is further away than the LSTM reads still counts.
    other = [(item + 5) % N_ITEMS for item in long[:20]] + long[20:]
    assert not torch.allclose(state([other]), beside[1:], atol=1e-3)


def test_taste_is_a_decayed_mean_of_what_was_liked():
    taste = Taste(2)
    with torch.no_grad():
        taste.scale.fill_(1.0)
    vectors = torch.tensor([[[1.0, 0.0], [0.0, 5.0], [0.0, 1.0]]])
    liked = torch.tensor([[[1.0], [0.0], [1.0]]])
    with torch.inference_mode():
        states, _ = taste(vectors, liked, NO_DROPOUT)
    assert DECAYS[-1] == 1.0
    expected = sum(torch.tensor([decay**2, 1.0]) / (1.0 + decay**2) for decay in DECAYS)
    torch.testing.assert_close(states[0, 0], torch.tensor([float(len(DECAYS)), 0.0]))
    torch.testing.assert_close(states[0, 2], expected)


@pytest.mark.parametrize(("lengths", "window"), [([3, 8, 5], 50), ([400, 90, 700], 200), ([120] * 10, 120)])
def test_window_follows_the_length_of_histories(lengths, window):
    chosen = Settings.choose(BertLstmParams(), 1000, np.array(lengths), 100, None)
    assert chosen.window == window
    assert Settings.choose(BertLstmParams(window=7), 1000, np.array(lengths), 100, None).window == 7
    assert Settings.choose(BertLstmParams(), 1000, np.array(lengths), 100, {"window": 64}).window == 64


def test_load_restores_scores(cycle_model, tmp_path):
    cycle_model.save(tmp_path)
    loaded = BertLstm(params(), catalogue())
    loaded.load(tmp_path)
    asked = queries([[1, 2, 3], [9], []])
    offered = candidates(np.arange(N_ITEMS)[None, :].repeat(3, 0))
    np.testing.assert_array_equal(loaded.score(asked, offered), cycle_model.score(asked, offered))
    for name in ("items", "scores", "evidence"):
        np.testing.assert_array_equal(
            getattr(loaded.retrieve(asked, 5), name), getattr(cycle_model.retrieve(asked, 5), name)
        )


@pytest.mark.parametrize("name", ["network.safetensors", "items.npy", "popularity.npy", "model.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_damaged_bundle_is_one_clear_error(cycle_model, tmp_path, name, damage):
    cycle_model.save(tmp_path)
    path = tmp_path / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if damage == "truncated" else 0])
    with pytest.raises(BundleError) as caught:
        BertLstm(params(), catalogue()).load(tmp_path)
    assert "train again" in caught.value.message
    assert "\n" not in caught.value.message


def test_bundle_without_taste_is_still_read(cycle_model, tmp_path):
    cycle_model.save(tmp_path)
    weights = load_file(tmp_path / "network.safetensors")
    del weights["taste.scale"]
    save_file(weights, tmp_path / "network.safetensors")
    description = json.loads((tmp_path / "model.json").read_text())
    del description["window"]
    (tmp_path / "model.json").write_text(json.dumps({**description, "format": 1}))
    old = BertLstm(params(), catalogue())
    old.load(tmp_path)
    assert torch.count_nonzero(old._stored.network.taste.scale) == 0
    assert old._stored.window == 50
    assert np.isfinite(old.score(queries([[1, 2]]), candidates(np.arange(4, dtype=np.int32)[None, :]))).all()


def test_bundle_of_another_catalogue_is_refused(cycle_model, tmp_path):
    cycle_model.save(tmp_path)
    with pytest.raises(BundleError, match="items"):
        BertLstm(params(), catalogue(N_ITEMS + 1)).load(tmp_path)
    with pytest.raises(BundleError, match="length 16"):
        BertLstm(params(), catalogue(dimension=8)).load(tmp_path)


def test_text_without_vectors_is_refused():
    with pytest.raises(ConfigError, match="text: false"):
        BertLstm(params(), Catalogue(["a", "b"]))


def test_works_without_vectors_by_ids_alone():
    items = Catalogue([f"i{row}" for row in range(N_ITEMS)])
    model = fitted(params(text=False), dataset(items, cycles()), previous={"epochs": 15})
    assert next_item_accuracy(model) > 0.9


def test_users_with_one_event_teach_nothing_but_do_no_harm():
    data = dataset(catalogue(), [[row] for row in range(5)])
    model = fitted(params(), data)
    assert model.facts["targets"] == 0
    assert model.facts["epochs"] == 0
    assert (model.retrieve(queries([[1]]), 3).items == -1).all()
    offered = candidates(np.array([[4, 2, 9]]))
    assert model.score(queries([[1]]), offered)[0].argsort().tolist() == [2, 1, 0]


def test_users_with_one_event_among_others():
    lists = [*cycles(), *([row] for row in range(N_ITEMS))]
    assert next_item_accuracy(fitted(params(), dataset(catalogue(), lists))) > 0.9


def test_catalogue_of_one_item():
    data = dataset(catalogue(1), [[0, 0, 0, 0], [0, 0]])
    model = fitted(params(epochs=2), data)
    found = model.retrieve(queries([[0], []]), 5)
    assert found.items.tolist() == [[0], [-1]]
    assert np.isfinite(found.scores[0, 0])


def test_disliked_events_are_read_but_never_targets():
    lists = cycles(users=40)
    # Item 7 is always disliked.
    weights = [[-1.0 if row == 7 else 1.0 for row in rows] for rows in lists]
    data = dataset(catalogue(), lists, weights)
    model = fitted(params(), data, previous={"epochs": 20})
    assert model.facts["targets"] == sum(weight > 0 for one in weights for weight in one[1:])
    after_six = model.retrieve(queries([[3, 4, 5, 6]]), N_ITEMS).items[0].tolist()
    assert after_six.index(7) > 3


def test_retriever_honours_allowed_excluded_and_anchor(cycle_model):
    excluded = Ragged.of([[5], [5, 6], []])
    asked = queries(
        [[2, 3, 4], [2, 3, 4], []],
        excluded=excluded,
        anchors=np.array([-1, -1, 4], dtype=np.int32),
    )
    allowed = np.zeros(N_ITEMS, dtype=np.bool_)
    allowed[[5, 6, 9]] = True
    found = cycle_model.retrieve(asked.with_allowed((allowed, None, None)), N_ITEMS)
    assert set(found.items[0]) == {6, 9, -1}
    assert not {5, 6} & set(found.items[1].tolist())
    assert found.items[2, 0] == 5  # the anchor is a session of one item
    assert 4 not in found.items[2]
    assert found.evidence[2, 0] == 4


def test_retriever_is_a_full_ranking_and_pads_unknown_users(cycle_model):
    found = cycle_model.retrieve(queries([[1, 2], []]), 10 * N_ITEMS)
    assert sorted(found.items[0].tolist()) == list(range(N_ITEMS))
    assert (np.diff(found.scores[0]) <= 0).all()
    assert (found.items[1] == -1).all()
    assert np.isneginf(found.scores[1]).all()


def test_seeds_come_from_the_liked_history(cycle_model):
    signed = [[1.0, -1.0, 1.0]]
    asked = Queries.of(histories([[3, 8, 12]], signed), np.array([99 * DAY]))
    found = cycle_model.retrieve(asked, 5)
    assert set(found.evidence[0].tolist()) <= {3, 12}
    own = cycle_model.retrieve(asked, N_ITEMS)
    assert own.evidence[0, own.items[0].tolist().index(12)] == 12


def test_ranker_keeps_retrieval_order_without_history(cycle_model):
    offered = candidates(np.array([[9, 2, 17, -1]]))
    scores = cycle_model.score(queries([[]]), offered)[0]
    assert scores[0] > scores[1] > scores[2]
    assert np.isneginf(scores[3])


def test_free_text_moves_matching_candidates_up(cycle_model):
    text = cycle_model._catalogue.vectors[17:18]
    offered = candidates(np.arange(N_ITEMS)[None, :])
    plain = cycle_model.score(queries([[1, 2, 3]]), offered)[0]
    asked = cycle_model.score(queries([[1, 2, 3]], text_vectors=text), offered)[0]
    assert asked[17] - plain[17] > 3
    assert cycle_model.score(queries([[]], text_vectors=text), offered)[0].argmax() == 17
