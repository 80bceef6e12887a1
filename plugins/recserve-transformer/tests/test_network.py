"""The network: it looks back only, its last state is the last of all, and NumPy says what torch says."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recserve_sequence.network import Shape, blank
from recserve_sequence.windows import Padded, last_events
from recserve_transformer.network import TransformerNetwork
from recserve_transformer.relative import RECENT

from recserve import Histories

N_ITEMS, WIDTH, TYPES = 30, 8, 2
MINUTE = 60_000


def network(blocks: int = 2, heads: int = 2, seed: int = 0) -> TransformerNetwork:
    """With weights that are not near zero, biases and gates included."""
    built = blank(partial(TransformerNetwork, blocks=blocks, heads=heads), Shape(5, TYPES, WIDTH))
    generator = torch.Generator().manual_seed(seed)
    built.initialise(None, generator)
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    assert isinstance(built, TransformerNetwork)
    return built.eval()


def histories(lengths: list[int], seed: int = 0) -> Histories:
    random = np.random.default_rng(seed)
    total = sum(lengths)
    return Histories(
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        random.integers(0, N_ITEMS, total).astype(np.int32),
        random.integers(0, TYPES + 2, total).astype(np.int16),
        random.choice([-1.0, 0.5, 9.0], total).astype(np.float32),
        np.concatenate([np.cumsum(random.integers(0, 5000 * MINUTE, count)) for count in lengths] or [[]])
        .astype(np.int64),
    )  # fmt: skip


def matrix(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((N_ITEMS, WIDTH)).astype(np.float32)


def vectors(sequences: Padded) -> torch.Tensor:
    rows = torch.from_numpy(np.maximum(sequences.items, 0))
    return torch.nn.functional.embedding(rows, torch.from_numpy(matrix()))


def every_state(built: TransformerNetwork, sequences: Padded) -> np.ndarray:
    with torch.inference_mode():
        return built.encode_padded(vectors(sequences), sequences).numpy()


def last_states(built: TransformerNetwork, sequences: Padded) -> np.ndarray:
    with torch.inference_mode():
        return built.last_states(vectors(sequences), sequences).numpy()


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 20), st.integers(0, 18), st.integers(0, 99))
def test_what_comes_later_changes_no_earlier_state(length: int, at: int, seed: int) -> None:
    at %= length - 1
    whole = histories([length], seed)
    other = histories([length], seed + 1)
    changed = Histories(
        whole.offsets,
        np.concatenate([whole.items[: at + 1], other.items[at + 1 :]]),
        np.concatenate([whole.events[: at + 1], other.events[at + 1 :]]),
        np.concatenate([whole.weights[: at + 1], other.weights[at + 1 :]]),
        np.concatenate([whole.timestamps[: at + 1], whole.timestamps[at + 1 :] + MINUTE]),
    )
    built = network()
    before, after = (every_state(built, last_events(past, 50)) for past in (whole, changed))
    np.testing.assert_allclose(after[0, : at + 1], before[0, : at + 1], atol=1e-5)


@settings(max_examples=8, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    blocks=st.integers(1, 3),
    heads=st.sampled_from([1, 2, 4]),
)
def test_last_states_are_the_last_of_all_and_numpy_says_the_same(
    lengths: list[int], blocks: int, heads: int
) -> None:
    built, sequences = network(blocks, heads), last_events(histories(lengths), 40)
    expected = every_state(built, sequences)[np.arange(len(lengths)), sequences.lengths - 1]
    np.testing.assert_allclose(last_states(built, sequences), expected, atol=1e-4)
    reader = built.plain_reader()
    assert reader is not None
    assert reader.suits(len(lengths))
    np.testing.assert_allclose(reader(matrix(), sequences), expected, atol=1e-4)


@settings(max_examples=6, deadline=None)
@given(lengths=st.lists(st.integers(0, 30), min_size=1, max_size=40), alone=st.integers(0, 39))
def test_a_state_does_not_depend_on_the_rest_of_the_batch(lengths: list[int], alone: int) -> None:
    alone %= len(lengths)
    built, past = network(), histories(lengths)
    reader = built.plain_reader()
    assert reader is not None
    together = reader(matrix(), last_events(past, 25))
    single = reader(matrix(), last_events(past.select(np.array([alone])), 25))
    np.testing.assert_allclose(together[alone], single[0], atol=1e-4)
    assert not together[np.array(lengths) == 0].any()


def test_attention_reads_the_newest_events_and_taste_all_of_them() -> None:
    built = network()
    reader = built.plain_reader()
    assert reader is not None
    sequences = last_events(histories([RECENT + 30, 4]), RECENT + 30)
    states = last_states(built, sequences)
    np.testing.assert_allclose(reader(matrix(), sequences), states, atol=1e-4)
    sequences.items[0, :20] = (sequences.items[0, :20] + 1) % N_ITEMS
    assert np.abs(last_states(built, sequences)[0] - states[0]).max() > 1e-3
    with torch.no_grad():
        built.taste.scale.zero_()
    before = last_states(built, sequences)
    sequences.items[0, :20] = (sequences.items[0, :20] + 1) % N_ITEMS
    np.testing.assert_array_equal(last_states(built, sequences), before)


@pytest.mark.parametrize("name", ["bias.time", "bias.distance"])
def test_how_far_events_are_apart_matters_and_when_they_were_does_not(name: str) -> None:
    built, past = network(), histories([12])
    later = Histories(past.offsets, past.items, past.events, past.weights, past.timestamps + 1000 * MINUTE)
    states = every_state(built, last_events(past, 12))
    np.testing.assert_allclose(every_state(built, last_events(later, 12)), states, atol=1e-5)
    with torch.no_grad():
        built.get_parameter(name).zero_()
    assert np.abs(every_state(built, last_events(past, 12)) - states).max() > 1e-3


def test_a_start_depends_on_its_generator_alone() -> None:
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(found))
        built = blank(partial(TransformerNetwork, blocks=2, heads=2), Shape(0, TYPES, WIDTH))
        built.initialise(None, torch.Generator().manual_seed(seed))
        assert all(torch.isfinite(tensor).all() for tensor in built.state_dict().values())
        found.append(torch.cat([tensor.flatten() for tensor in built.state_dict().values()]))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
