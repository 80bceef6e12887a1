"""Preparation of texts for the tokenizer, and of vectors for use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

# No tokenizer in use needs anything near 32 characters a token for running text, so cutting here
# changes no vector, and ten megabytes of text cost as little as a page.
_CHARACTERS_A_TOKEN = 32
_LEAST_CHARACTERS = 2_000


def clean(text: str, max_length: int) -> str:
    """A text that tokenizers accept, cut long before tokenising.

    Lone surrogates and NUL become spaces or question marks; leading white space goes first, so that
    the cut falls behind what there is to read.

    Args:
        text: Anything.
        max_length: Tokens the model reads.
    """
    limit = max(max_length * _CHARACTERS_A_TOKEN, _LEAST_CHARACTERS)
    # Only as much as can matter is stripped and copied.
    start = 0 if not text[:1].isspace() else len(text) - len(text.lstrip())
    short = text[start : start + limit].replace("\x00", " ")
    try:
        short.encode("utf-8")
    except UnicodeEncodeError:
        short = short.encode("utf-8", "replace").decode("utf-8")
    return short


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to unit length; a row without direction becomes the first basis vector.

    Args:
        vectors: float32, shape (n, d).
    """
    vectors = np.nan_to_num(np.asarray(vectors, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    void = length[:, 0] < 1e-12
    unit = (vectors / np.where(void[:, None], 1, length)).astype(np.float32)
    unit[void] = 0
    unit[void, 0] = 1
    return unit


def padded(tokens: Sequence[Sequence[int]], padding: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token ids and attention mask, both int64 of shape (b, longest).

    Args:
        tokens: Token ids of each text.
        padding: Id of the padding token.
    """
    longest = max(len(text_ids) for text_ids in tokens)
    ids = np.full((len(tokens), longest), padding, dtype=np.int64)
    mask = np.zeros((len(tokens), longest), dtype=np.int64)
    for row, text_ids in enumerate(tokens):
        ids[row, : len(text_ids)] = text_ids
        mask[row, : len(text_ids)] = 1
    return ids, mask


def batches(lengths: Sequence[int], budget: int) -> Iterator[NDArray[np.int64]]:
    """Rows of each batch, longest texts first, so that a batch holds little padding.

    A function of the lengths alone (ties keep their order): equal texts make equal batches. The
    longest come first so that memory peaks, if it does, at once.

    Args:
        lengths: Tokens of each text.
        budget: Rows times longest text of a batch stays within it, unless one text exceeds it.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        count = max(1, budget // max(lengths[order[start]], 1))
        yield order[start : start + count]
        start += count
