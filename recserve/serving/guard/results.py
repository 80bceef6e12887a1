"""Checks of what plugins return, where it enters the graph: a few vectorised operations a batch.

Each check raises :class:`recserve.errors.StageError` with one line that says what is wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recserve.data.arrays import BoolArray, FloatArray
from recserve.data.batches import RECENT_TEXTS, Retrieved
from recserve.errors import StageError


def check_retrieved(found: Any, batch: int, k: int, rows: int | None = None) -> Retrieved:
    """What a retriever found.

    Args:
        found: What it returned.
        batch: Queries.
        k: Items asked for.
        rows: Rows that items may have; None where that is not known.
    """
    if not isinstance(found, Retrieved):
        raise StageError(f"returned {_kind(found)}, not Retrieved")
    for name, array, kind in (
        ("items", found.items, np.integer),
        ("scores", found.scores, np.floating),
        ("evidence", found.evidence, np.integer),
    ):
        if not isinstance(array, np.ndarray) or array.ndim != 2 or array.shape[0] != batch:
            raise StageError(f"returned {name} as {_kind(array)} for {batch} queries, not as ({batch}, K)")
        if not np.issubdtype(array.dtype, kind):
            raise StageError(f"returned {name} of dtype {array.dtype}")
    if not found.items.shape == found.scores.shape == found.evidence.shape:
        raise StageError(
            f"returned items, scores and evidence of shapes {found.items.shape}, {found.scores.shape} and "
            f"{found.evidence.shape}"
        )
    if found.items.shape[1] > k:
        raise StageError(f"returned {found.items.shape[1]} items for each query, {k} were asked for")
    if not found.items.size:
        return found
    _check_range("items", found.items, rows)
    _check_range("evidence", found.evidence, None, lowest=-1 - RECENT_TEXTS)
    real = found.items >= 0
    if not np.isfinite(found.scores[real]).all():
        raise StageError("returned a score that is not finite")
    if _repeats(found.items):
        raise StageError("returned an item twice for one query")
    return found


def check_affinity(affinity: Any, batch: int) -> FloatArray:
    """What a ranker says of users: one number each, -inf where nothing is known."""
    if not isinstance(affinity, np.ndarray) or affinity.shape != (batch,):
        raise StageError(f"returned affinities as {_kind(affinity)} for {batch} users")
    if not np.issubdtype(affinity.dtype, np.floating):
        raise StageError(f"returned affinities of dtype {affinity.dtype}")
    if np.isnan(affinity).any() or np.isposinf(affinity).any():
        raise StageError("returned an affinity that is not a number")
    return affinity


def check_scores(scores: Any, real: BoolArray) -> FloatArray:
    """Scores of a ranker.

    Args:
        scores: What it returned.
        real: bool, shape (B, K); which candidates are not pads.
    """
    if not isinstance(scores, np.ndarray) or scores.shape != real.shape:
        raise StageError(f"returned scores as {_kind(scores)} for candidates of shape {real.shape}")
    if not np.issubdtype(scores.dtype, np.floating):
        raise StageError(f"returned scores of dtype {scores.dtype}")
    if not np.isfinite(scores[real]).all():
        raise StageError("returned a score that is not finite")
    return scores


def check_positions(positions: Any, batch: int, width: int) -> Any:
    """Positions that a reranker chose.

    Args:
        positions: What it returned.
        batch: Queries.
        width: Candidates of each query.
    """
    if not isinstance(positions, np.ndarray) or positions.ndim != 2 or positions.shape[0] != batch:
        raise StageError(f"returned positions as {_kind(positions)} for {batch} queries, not as ({batch}, n)")
    if not np.issubdtype(positions.dtype, np.integer):
        raise StageError(f"returned positions of dtype {positions.dtype}")
    if positions.size:
        _check_range("positions", positions, width)
        if _repeats(positions):
            raise StageError("returned a position twice for one query")
    return positions.astype(np.int32, copy=False)


def check_mask(mask: Any, sizes: tuple[int, ...]) -> BoolArray | None:
    """Mask of a filter; ``sizes`` are the lengths that it may have."""
    if mask is None:
        return None
    if not isinstance(mask, np.ndarray) or mask.ndim != 1 or mask.dtype != np.bool_:
        raise StageError(f"returned a mask as {_kind(mask)}, not as a 1-D array of bool")
    if sizes and len(mask) not in sizes:
        raise StageError(f"returned a mask of {len(mask)} items, the catalogue has {max(sizes)}")
    return mask


def check_sentences(sentences: Any, count: int) -> list[str]:
    """Sentences of an explainer, one a reason."""
    if not isinstance(sentences, (list, tuple)):
        raise StageError(f"returned {_kind(sentences)}, not a list of sentences")
    if len(sentences) != count:
        raise StageError(f"returned {len(sentences)} sentences for {count} reasons")
    for sentence in sentences:
        if not isinstance(sentence, str):
            raise StageError(f"returned {_kind(sentence)} as a sentence")
    return list(sentences)


def _check_range(name: str, values: Any, end: int | None, lowest: int = -1) -> None:
    if values.min() < lowest or (end is not None and values.max() >= end):
        raise StageError(f"returned {name} outside of {lowest}..{'' if end is None else end - 1}")


def _repeats(rows: Any) -> bool:
    """Whether a row holds a number that is not a pad twice."""
    ordered = np.sort(rows, axis=1)
    return bool(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any())


def _kind(value: Any) -> str:
    """A value in a few words, never its content."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    return f"a {type(value).__name__}"
