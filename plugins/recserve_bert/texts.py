"""Making any Python string safe and cheap to tokenise, and vectors safe to use."""

from __future__ import annotations

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
