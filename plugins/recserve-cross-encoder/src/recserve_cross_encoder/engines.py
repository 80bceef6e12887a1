"""Engines that score pairs: torch in full precision, ONNX Runtime with 8-bit weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from recserve_bert.engines.quantise import quiet_options
from recserve_bert.texts import batches

from recserve import BundleError, FloatArray, Int64Array, usable_threads
from recserve_cross_encoder.pairs import Pair, PairTexts

Feed = Mapping[str, Int64Array]


class PairEngine(Protocol):
    """A loaded model.

    Attributes:
        workers: Batches that it is fastest with at a time.
    """

    workers: int

    def scores(self, feed: Feed) -> FloatArray:
        """Scores of a batch of pairs, float32, shape (b,)."""
        ...


class TorchPairs:
    """A sequence classifier with one output in torch; torch splits a batch among its own threads.

    Args:
        model: Of transformers.
        device: Where it computes.
    """

    def __init__(self, model: Any, device: str) -> None:
        self.workers = 1
        self._model = model.to(device).eval()
        self._device = device

    def scores(self, feed: Feed) -> FloatArray:
        """See :class:`PairEngine`."""
        import torch

        with torch.inference_mode():
            inputs = {name: torch.from_numpy(value).to(self._device) for name, value in feed.items()}
            found: FloatArray = self._model(**inputs).logits[:, 0].float().cpu().numpy()
        return found


class OnnxPairs:
    """An 8-bit graph in ONNX Runtime; each batch is computed by one thread, several beside each other.

    Args:
        graph: What :func:`recserve_bert.engines.quantise.quantise` made.

    Raises:
        BundleError: ONNX Runtime is not installed, or refuses the graph.
    """

    def __init__(self, graph: bytes) -> None:
        try:
            import onnxruntime

            self._session = onnxruntime.InferenceSession(
                graph, quiet_options(), providers=["CPUExecutionProvider"]
            )
        except ImportError:
            raise BundleError(
                "the bundle's cross-encoder runs in ONNX Runtime, which is not installed here; "
                "pip install 'recserve[onnx]', or train with engine: torch"
            ) from None
        except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
            why = " ".join(str(error).split())[:300]
            raise BundleError(f"the cross-encoder is not run by ONNX Runtime: {why}") from None
        self.workers = usable_threads()

    def scores(self, feed: Feed) -> FloatArray:
        """See :class:`PairEngine`."""
        found: FloatArray = self._session.run(None, dict(feed))[0][:, 0]
        return found


def score_pairs(engine: PairEngine, texts: PairTexts, pairs: Sequence[Pair], budget: int) -> FloatArray:
    """Scores of pairs in batches of similar length.

    Args:
        engine: Computes them.
        texts: Pads them.
        pairs: P pairs.
        budget: Tokens of a batch, padding included.

    Returns:
        float32, shape (P,).
    """
    out = np.empty(len(pairs), dtype=np.float32)
    todo = list(batches([len(pair.tokens) for pair in pairs], budget))

    def work(rows: Int64Array) -> FloatArray:
        return engine.scores(texts.feed([pairs[row] for row in rows]))

    workers = min(engine.workers, len(todo))
    if workers <= 1:
        for rows in todo:
            out[rows] = work(rows)
        return out
    with ThreadPoolExecutor(workers, thread_name_prefix="cross-encoder") as pool:
        for rows, scores in zip(todo, pool.map(work, todo), strict=True):
            out[rows] = scores
    return out
