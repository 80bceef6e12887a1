"""Buckets of numbers and vocabularies of categories."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from recserve_features.deepfm.encoding import Bounds, Encoding, Vocabulary

NAN = float("nan")
ANY = arrays(
    np.float32,
    st.tuples(st.integers(1, 40), st.just(3)),
    elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
)


def test_few_values_have_a_bucket_each_and_what_is_missing_its_own() -> None:
    values = np.array([3, 1, 1, 2, NAN], np.float32)
    bounds = Bounds.learnt(values, np.ones(5), 16)
    assert bounds.entries(values).tolist() == [3, 1, 1, 2, 0]
    assert bounds.size == 4
    assert bounds.entries(np.array([-np.inf, 1.6, 99], np.float32)).tolist() == [1, 2, 3]


def test_a_value_that_most_examples_have_takes_one_bucket() -> None:
    values = np.concatenate([np.zeros(9000), np.arange(1, 1001)]).astype(np.float32)
    bounds = Bounds.learnt(values, np.ones(len(values)), 8)
    assert bounds.size <= 9
    entries = bounds.entries(values)
    assert set(entries[:9000]) == {1}
    counts = np.bincount(entries[9000:])
    assert (counts > 0).sum() >= 4, "the others are told apart"


def test_buckets_are_narrow_where_choices_are() -> None:
    values = np.linspace(0, 1, 10_000).astype(np.float32)
    hits = (values < 0.05) & (np.arange(10_000) % 5 == 0)
    field = Encoding.learnt(values[:, None], hits, [], 8, 10).fields[0]
    assert isinstance(field, Bounds)
    assert (field.edges < 0.05).sum() >= 3


def test_rare_values_teach_what_is_unknown() -> None:
    values = np.array([7] * 20 + [5] * 10 + [9] * 5 + [2], np.float32)
    field = Vocabulary.learnt(values, 2)
    assert field.known.tolist() == [5, 7]
    assert field.entries(np.array([5, 7, 9, 2, 1e9, NAN], np.float32)).tolist() == [2, 3, 1, 1, 1, 0]
    assert Vocabulary.learnt(values[-1:], 2).entries(values[-1:]).tolist() == [1]


@settings(max_examples=60, deadline=None)
@given(learnt=ANY, asked=ANY)
def test_every_value_has_an_entry_of_its_field(learnt: np.ndarray, asked: np.ndarray) -> None:
    hits = np.arange(len(learnt)) % 3 == 0
    encoding = Encoding.learnt(learnt, hits, [1], 4, 3)
    entries = encoding.entries(asked)
    starts = encoding.starts()
    sizes = np.array([field.size for field in encoding.fields])
    assert ((entries >= starts) & (entries < starts + sizes)).all()
    assert ((entries == starts) == np.isnan(asked)).all(), "what is missing has an entry of its own"
    restored = Encoding.from_json(json.loads(json.dumps(encoding.to_json())))
    np.testing.assert_array_equal(restored.entries(asked), entries)


def test_bounds_that_do_not_increase_are_refused() -> None:
    with pytest.raises(ValueError, match="no increasing numbers"):
        Encoding.from_json([{"edges": [2.0, 1.0]}])
