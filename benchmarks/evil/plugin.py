"""A plugin of every stage that misbehaves as a file tells it to; harmless while the file names nothing.

The file ``$RECSERVE_EVIL`` holds JSON: component -> misbehaviour, such as ``{"ranker": "hang"}``.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recserve import (
    Candidates,
    Catalogue,
    Component,
    NoParams,
    Queries,
    Reason,
    Retrieved,
    hookimpl,
    mask_scores,
    top_k,
)
from recserve.data.arrays import FloatArray, Int32Array

HANGS = 600.0
RAISES = ("raise", "exit", "interrupt", "panic", "recursion")
WRONG = ("none", "shape", "batch", "dtype", "nan", "duplicates", "range")

_leaked: list[bytes] = []


class PanicException(BaseException):
    """What a Rust extension raises when it panics: not an Exception."""


def told(component: str) -> str | None:
    """What a component is told to do now."""
    try:
        return str(json.loads(Path(os.environ["RECSERVE_EVIL"]).read_text()).get(component) or "") or None
    except (OSError, ValueError, KeyError):
        return None


def act(component: str) -> str | None:
    """Misbehave; returns what is wrong with the result, None if nothing is."""
    what = told(component)
    if what == "hang":
        end = time.monotonic() + HANGS
        while told(component) == "hang" and time.monotonic() < end:
            time.sleep(0.05)
        return None
    if what in RAISES:
        raise_(what)
    if what == "print":
        print("x" * 100_000)
    if what == "leak":
        _leaked.append(bytes(1_000_000))
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return what if what in WRONG else None


def raise_(what: str) -> None:
    """Raise an error of some class."""
    if what == "recursion":
        raise_(what)
    if what == "exit":
        raise SystemExit(1)
    if what == "interrupt":
        raise KeyboardInterrupt
    if what == "panic":
        raise PanicException("called `Option::unwrap()` on a `None` value")
    raise ValueError(f"an error with a long message: {list(range(100_000))}")


def spoiled(array: Any, what: str | None) -> Any:
    """An array with something wrong."""
    if what == "none":
        return None
    if what == "shape":
        return array[0]
    if what == "batch":
        return np.concatenate([array, array])
    if what == "dtype":
        return array.astype(str)
    if what == "nan" and np.issubdtype(array.dtype, np.floating):
        return np.full_like(array, np.nan)
    if what == "duplicates" and np.issubdtype(array.dtype, np.integer):
        return np.where(array >= 0, np.zeros_like(array), array)
    if what == "range" and np.issubdtype(array.dtype, np.integer):
        return array + 1_000_000
    return array


class Evil:
    """Every kind of component in one object."""

    def __init__(self, params: NoParams, catalogue: Catalogue) -> None:
        self._n_items = len(catalogue)

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """The first items."""
        what = act("retriever")
        scores = np.tile(-np.arange(self._n_items, dtype=np.float32), (len(queries), 1))
        items, best = top_k(mask_scores(scores, queries), k)
        found = Retrieved(spoiled(items, what), spoiled(best, what), np.full_like(items, -1))
        return None if what == "none" else found  # type: ignore[return-value]  # that is the point

    def score(self, queries: Queries, candidates: Candidates) -> FloatArray:
        """The order of the candidates."""
        what = act("ranker")
        scores = np.tile(-np.arange(candidates.items.shape[1], dtype=np.float32), (len(queries), 1))
        return spoiled(scores, what)  # type: ignore[no-any-return]

    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array:
        """The same order."""
        what = act("reranker")
        positions = np.tile(np.arange(ranked.items.shape[1], dtype=np.int32), (len(queries), 1))
        return spoiled(positions, what)  # type: ignore[no-any-return]

    def allowed(self, argument: Any) -> Any:
        """Everything, as an array that is never cached."""
        what = act("filter")
        return [True] if what == "none" else spoiled(np.ones(self._n_items, dtype=np.bool_), what)

    ttl_seconds = 0.0

    def explain(self, reasons: Sequence[Reason]) -> list[str]:
        """The same words for all."""
        what = act("explainer")
        return None if what in WRONG else ["because"] * len(reasons)  # type: ignore[return-value]


@hookimpl
def register_retrievers() -> Sequence[Component]:
    """An evil retriever."""
    return [Component("evil", Evil, summary="Misbehaves.")]


@hookimpl
def register_rankers() -> Sequence[Component]:
    """An evil ranker."""
    return [Component("evil", Evil, summary="Misbehaves.")]


@hookimpl
def register_rerankers() -> Sequence[Component]:
    """An evil reranker."""
    return [Component("evil", Evil, summary="Misbehaves.", stateless=True)]


@hookimpl
def register_filters() -> Sequence[Component]:
    """An evil filter."""
    return [Component("evil", Evil, summary="Misbehaves.")]


@hookimpl
def register_explainers() -> Sequence[Component]:
    """An evil explainer."""
    return [Component("evil", Evil, summary="Misbehaves.")]
