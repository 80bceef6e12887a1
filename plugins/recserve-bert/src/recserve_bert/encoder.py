"""The encoder ``bert``: length-sorted batches through the configured engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recserve import FitContext, FloatArray
from recserve_bert.engines.choice import EngineName, choose_engine
from recserve_bert.language import Vocabulary
from recserve_bert.parameters import BertParams
from recserve_bert.sources import Source, locate
from recserve_bert.texts import batches, clean, unit_rows

# Texts that are tokenised and sorted by length together: memory stays bounded for any number.
_WINDOW = 16_384


class Engine(Protocol):
    """A loaded model with its tokenizer.

    Attributes:
        batch_tokens: Tokens of a batch, padding included, that it is fastest with.
        workers: Batches that it is fastest with at a time.
    """

    batch_tokens: int
    workers: int

    def tokenise(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included, at least one each."""
        ...

    def forward(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        """Pooled vectors, float32, shape (b, d), of texts given by token ids."""
        ...


class BertEncoder:
    """Text vectors from a BERT-like model.

    The model is located and checked at once, and loaded with the first text. Safe to call from
    several threads.

    Args:
        params: See :class:`recserve_bert.parameters.BertParams`.

    Raises:
        ConfigError: The model is missing, damaged or of a kind that cannot be used.
    """

    def __init__(self, params: BertParams) -> None:
        self._params = params
        self._source = locate(params)
        self._choice: EngineName = choose_engine(params, self._source)
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes as parameters."""
        return type(self), (self._params,)

    @property
    def source(self) -> Source:
        """The model directory and the settings decided for it."""
        return self._source

    @property
    def engine(self) -> str:
        """What runs the model: ``torch`` or ``onnx``."""
        return self._choice

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._source.dimension

    @property
    def fingerprint(self) -> str:
        """sha256 over weights, tokenizer, pooling, length and prefix, and over how weights are rounded."""
        if self._choice == "torch":
            return self._source.fingerprint
        from recserve_bert.engines.onnx_cache import fingerprint

        return fingerprint(self._source)

    def encode(
        self, texts: Sequence[str], progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Encode texts.

        Args:
            texts: n texts of any length; only ``max_length`` tokens are read.
            progress: Called with the number of texts just finished.

        Returns:
            float32, shape (n, dimension), unit rows in the order of the texts. A vector does not
            depend on the other texts beyond floating-point noise: about 1e-7, and where that tips the
            rounding of an 8-bit activation, about 1e-3.

        Raises:
            ConfigError: The model cannot be loaded.
        """
        out = np.empty((len(texts), self.dimension), dtype=np.float32)
        if len(texts) == 0:
            return out
        engine = self._load()
        prefix, length = self._source.prefix, self._source.max_length
        budget = self._params.batch_tokens or engine.batch_tokens
        for start in range(0, len(texts), _WINDOW):
            window = texts[start : start + _WINDOW]
            tokens = engine.tokenise([prefix + clean(text, length) for text in window])
            for rows, vectors in _forward(engine, tokens, budget):
                out[start + rows] = unit_rows(vectors)
                if progress is not None:
                    progress(len(rows))
        return out

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Share of the tokens of each text that the model does not know, float32, shape (n,)."""
        return self._vocabulary.unknown_share(texts)

    def distill(
        self,
        texts: Sequence[str],
        vectors: FloatArray,
        layers: int,
        epochs: int,
        directory: Path,
        context: FitContext,
    ) -> Mapping[str, Any]:
        """See :meth:`recserve.Distills.distill`."""
        from recserve_bert.distillation import distill

        return distill(self._source, texts, vectors, layers, epochs, directory, context)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self._source)

    def _load(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = self._open()
            return self._engine

    def _open(self) -> Engine:
        if self._choice == "torch":
            from recserve_bert.engines.shared import SharedTorchEngine

            return SharedTorchEngine(self._source, self._params.device, self._params.precision)
        from recserve_bert.engines.onnx_engine import OnnxEngine

        return OnnxEngine(self._source, self._params.cache)


def _forward(
    engine: Engine, tokens: Sequence[list[int]], budget: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Rows and vectors of one batch after the other; batches are computed on the engine's workers."""
    todo = list(batches([len(ids) for ids in tokens], budget))

    def work(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return engine.forward([tokens[row] for row in rows])

    workers = min(engine.workers, len(todo))
    if workers == 1:
        yield from ((rows, work(rows)) for rows in todo)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="encode") as pool:
        yield from zip(todo, pool.map(work, todo), strict=True)
