"""Vocabularies: the two ways of keeping one agree, whatever the ids are and however badly they hash."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recserve import Vocabulary
from recserve.data import vocabulary
from recserve.data.columns.strings import Texts
from recserve.data.vocabulary import DictIndex, ExtendedVocabulary, HashIndex

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
# Few letters, so that what is asked for is often known and pieces of ids are ids.
ids = st.lists(st.one_of(texts, st.text("ab", max_size=3)), unique=True, max_size=40)
asked = st.lists(st.one_of(texts, st.text("ab", max_size=3)), max_size=40)


def same(external: str) -> int:
    """A hash that tells nothing."""
    return 7


def by_length(external: str) -> int:
    """A hash that tells little, the largest and the smallest one there can be included."""
    return (-(2**63), 0, 2**63 - 1)[len(external) % 3]


@given(ids, asked, st.slices(40))
@settings(max_examples=300, deadline=None)
def test_both_ways_of_keeping_a_vocabulary_agree(known: list[str], wanted: list[str], part: slice) -> None:
    plain, compact = Vocabulary(known, compact=False), Vocabulary(known, compact=True)
    assert isinstance(plain.ids, tuple)
    assert isinstance(compact.ids, Texts)
    assert len(compact) == len(plain) == len(known)
    assert list(compact) == list(plain) == known
    assert list(compact.ids[part]) == list(plain.ids[part]) == known[part]
    for external in [*wanted, *known, ""]:
        assert (external in compact) == (external in plain) == (external in known)
        assert compact.row(external) == plain.row(external)
    for some in (wanted, known, [*known, *wanted]):
        np.testing.assert_array_equal(compact.rows(some), plain.rows(some))
        assert compact.rows(iter(some)).dtype == plain.rows(iter(some)).dtype == np.int32
    for row in range(-len(known), len(known)):
        assert compact.ids[row] == plain.ids[row] == known[row]
        assert type(compact.ids[row]) is str


@pytest.mark.parametrize("hashed", [same, by_length])
@given(known=ids, wanted=asked)
@settings(deadline=None)
def test_ids_of_one_hash_are_told_apart(hashed: object, known: list[str], wanted: list[str]) -> None:
    plain, compact = DictIndex(known), HashIndex(Texts.of(known), hashed)  # type: ignore[arg-type]
    for external in [*known, *wanted]:
        assert compact.row(external) == plain.row(external)
    for some in (wanted, known, [*known, *wanted]):
        np.testing.assert_array_equal(compact.rows(some), plain.rows(some))


@pytest.mark.parametrize("hashed", [hash, same, by_length])
@given(known=ids.filter(bool), data=st.data())
@settings(deadline=None)
def test_an_id_cannot_occur_twice(hashed: object, known: list[str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(known)))
    twice = [*known[:place], data.draw(st.sampled_from(known)), *known[place:]]
    with pytest.raises(ValueError, match="cannot hold the same id twice"):
        HashIndex(Texts.of(twice), hashed)  # type: ignore[arg-type]
    for compact in (False, True, None):
        with pytest.raises(ValueError, match="cannot hold the same id twice"):
            Vocabulary(twice, compact=compact)


@pytest.mark.parametrize("compact", [False, True])
def test_what_is_no_text_or_no_valid_one_is_unknown(compact: bool) -> None:
    known = Vocabulary(["a", "7", "None"], compact=compact)
    for other in (7, None, b"a", ["a"], ("a",)):
        assert other not in known
    assert "\ud800" not in known
    assert known.row("\ud800") == -1
    assert known.rows(["\ud800", "a"] * 10).tolist() == [-1, 0] * 10
    for row in (3, -4):
        with pytest.raises(IndexError):
            known.ids[row]


def test_compact_ids_must_be_valid_text() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        Vocabulary(["a", "\ud800"], compact=True)


def test_large_vocabularies_are_compact() -> None:
    many = [f"i{row}" for row in range(vocabulary.COMPACT_FROM)]
    small, large = Vocabulary(iter(many[:-1])), Vocabulary(iter(many))
    assert isinstance(small.ids, tuple)
    assert isinstance(large.ids, Texts)
    assert list(large) == many
    np.testing.assert_array_equal(large.rows(reversed(many)), np.arange(len(many))[::-1])
    assert [large.row(many[row]) for row in range(0, len(many), 997)] == list(range(0, len(many), 997))
    # What an id takes: its own bytes, where it starts, its hash and its row.
    index = large._index
    assert isinstance(index, HashIndex)
    held = index._hashes.nbytes + index._rows.nbytes + pa.array(large.ids).nbytes
    assert held < sum(map(len, many)) + 16 * len(many) + 1000


def test_it_finds_ids_in_another_process_and_in_a_copy(tmp_path: Path) -> None:
    known = [f"é{row}" for row in range(50)]
    for compact in (False, True):
        made = Vocabulary(known, compact=compact)
        assert copy.deepcopy(made).rows(known).tolist() == list(range(50))
        (tmp_path / "made").write_bytes(pickle.dumps(made))
        # Strings hash differently there.
        script = (
            "import pickle, sys\n"
            "made = pickle.load(open(sys.argv[1], 'rb'))\n"
            "assert [made.row(one) for one in made] == list(range(50)), 'not found'\n"
            "print(hash('é1'), ascii(made.ids[7]), type(made.ids).__name__)"
        )
        hashes = set()
        for seed in ("1", "2"):
            done = subprocess.run(
                [sys.executable, "-c", script, str(tmp_path / "made")],
                env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
                capture_output=True,
                text=True,
                check=True,
            )
            hashed, text, kind = done.stdout.split()
            hashes.add(hashed)
            assert text == ascii("é7")
            assert kind == ("Texts" if compact else "tuple")
        assert len(hashes) == 2


@given(ids, asked, st.integers(0, 40), st.booleans())
@settings(deadline=None)
def test_an_extended_vocabulary_is_one_of_all_ids(
    known: list[str], wanted: list[str], place: int, compact: bool
) -> None:
    base, new = known[:place], known[place:]
    extended = ExtendedVocabulary(Vocabulary(base, compact=compact), new)
    plain = Vocabulary(known)
    assert list(extended) == known
    assert list(extended.ids[place:]) == new
    assert len(extended) == len(known)
    np.testing.assert_array_equal(extended.rows([*known, *wanted]), plain.rows([*known, *wanted]))
    for external in [*known, *wanted]:
        assert extended.row(external) == plain.row(external)
        assert (external in extended) == (external in plain)
