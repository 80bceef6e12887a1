"""Learnt state of a cross-encoder, kept in a bundle as safetensors, npy and JSON, never as a pickle."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from recserve_bert.tuning.storage import LearntState
from recserve_torch import choose_device, seeded

from recserve import BundleError, ConfigError, Dataset, FitContext, read_array
from recserve_cross_encoder.checkpoints import Checkpoint, find
from recserve_cross_encoder.engines import OnnxPairs, PairEngine, TorchPairs, score_pairs
from recserve_cross_encoder.pairs import Pair, PairTexts
from recserve_cross_encoder.parameters import CrossEncoderParams

logger = logging.getLogger(__name__)

LEAST_CORRELATION = 0.98
"""8-bit scores that go less with those in full precision are not used."""
_GRAPH = "graph.npy"
_COMPARED = 64
_OUTPUT = "scores"


@dataclass(frozen=True)
class LearntPairs:
    """A cross-encoder with the catalogue's texts as it reads them.

    Attributes:
        state: What training changed of the checkpoint's weights, and what runs the model.
        texts: Token ids of the items.
        graph: The 8-bit graph where ONNX Runtime runs it, uint8; None for torch.
    """

    state: LearntState
    texts: PairTexts
    graph: NDArray[np.uint8] | None

    def engine(self, params: CrossEncoderParams) -> PairEngine:
        """Load the model.

        Raises:
            BundleError: It was trained on another checkpoint, or what runs it is not installed.
            ConfigError: The checkpoint is gone.
        """
        if self.graph is not None:
            return OnnxPairs(self.graph.tobytes())
        checkpoint = find(params)
        if checkpoint.source.fingerprint != self.state.base:
            raise BundleError(
                f"the cross-encoder was trained on another model than {params.model!r} is here; restore it, "
                "or train again"
            )
        _, model = checkpoint.open(checkpoint.source.trained(self.state))
        return TorchPairs(model, str(choose_device(params.device)))

    def save(self, directory: Path) -> None:
        """Write the state; equal states give equal bytes."""
        self.state.save(directory)
        self.texts.save(directory)
        if self.graph is not None:
            np.save(directory / _GRAPH, self.graph, allow_pickle=False)

    @classmethod
    def load(cls, directory: Path, base: str, n_items: int) -> LearntPairs:
        """Read what :meth:`save` wrote.

        Args:
            directory: Where it is.
            base: Fingerprint of the checkpoint that it was trained on.
            n_items: Items of the catalogue.

        Raises:
            BundleError: A file is missing or damaged, or made for another catalogue or checkpoint.
        """
        state = LearntState.load(directory, base)
        graph = read_array(directory / _GRAPH, np.uint8, (None,)) if state.engine == "onnx" else None
        return cls(state, PairTexts.load(directory, n_items), graph)


def learn(
    data: Dataset, params: CrossEncoderParams, context: FitContext
) -> tuple[LearntPairs, Mapping[str, Any]] | str:
    """Find the checkpoint, train it where it is to be trained, and make its 8-bit form.

    Returns:
        The state and facts, or why nothing can be learnt.

    Raises:
        ConfigError: The checkpoint cannot be used.
    """
    from recserve_bert.tuning.weights import learnt_weights

    from recserve_cross_encoder.training import FEWEST_EXAMPLES, PairExamples, train

    checkpoint = find(params)
    described = context.item_texts()
    if len(described) != data.n_items or not any(described):
        return "no item has a text"
    device = choose_device(context.device if params.device == "auto" else params.device)
    with seeded(context.seed, context.threads):
        tokenizer, model = checkpoint.open()
        limit = checkpoint.source.max_length
        texts = PairTexts.tokenised(described, tokenizer, limit, params.history_tokens, params.item_tokens)
        examples = PairExamples(data, texts, params, context.seed)
        if len(examples) < FEWEST_EXAMPLES:
            return f"{len(examples)} liked items with an earlier one are too few to learn from"
        sample = examples.sample(_COMPARED)
        weights, facts = {}, dict[str, Any]()
        if checkpoint.trained:
            facts = train(model, examples, texts, params, context, device, fresh=checkpoint.output == "new")
            weights = learnt_weights(model)
        state = LearntState(checkpoint.source.fingerprint, _kind(checkpoint), weights, facts)
        full = TorchPairs(model, str(device))
        graph = _eight_bit(checkpoint, state, texts, params, sample, full)
    engine: Literal["torch", "onnx"] = "torch" if graph is None else "onnx"
    facts = {**facts, "engine": engine}
    return LearntPairs(LearntState(state.base, state.kind, weights, facts, engine), texts, graph), facts


def _kind(checkpoint: Checkpoint) -> str:
    return "cross_encoder" if checkpoint.trained else "none"


def _eight_bit(
    checkpoint: Checkpoint,
    state: LearntState,
    texts: PairTexts,
    params: CrossEncoderParams,
    sample: list[Pair],
    full: PairEngine,
) -> NDArray[np.uint8] | None:
    """The 8-bit graph, None where torch is to run the model.

    Raises:
        ConfigError: ONNX Runtime is asked for, and is not installed, or 8 bits lose too much.
    """
    from recserve_cross_encoder.training import correlation

    missing = [name for name in ("onnxruntime", "onnx") if find_spec(name) is None]
    if params.engine == "torch" or (params.engine == "auto" and (missing or params.device == "cuda")):
        return None
    if missing:
        raise ConfigError(
            f"cross_encoder: engine = 'onnx': {' and '.join(missing)} not installed; "
            "pip install 'recserve[onnx]', or use 'torch'"
        )
    graph = eight_bit_graph(checkpoint, state, texts, sample[::2])
    judged = sample[1::2]
    ours = score_pairs(OnnxPairs(graph), texts, judged, params.batch_tokens)
    agreement = correlation(ours, score_pairs(full, texts, judged, params.batch_tokens))
    logger.info("8-bit scores of the cross-encoder correlate by %.4f with full precision", agreement)
    if agreement >= LEAST_CORRELATION:
        return np.frombuffer(graph, dtype=np.uint8)
    why = f"8-bit scores correlate by {agreement:.3f} with full precision (needed {LEAST_CORRELATION})"
    if params.engine == "onnx":
        raise ConfigError(f"cross_encoder: engine = 'onnx': {why}; use 'torch'")
    logger.warning("the cross-encoder stays with torch: %s", why)
    return None


def eight_bit_graph(
    checkpoint: Checkpoint, state: LearntState, texts: PairTexts, calibration: list[Pair]
) -> bytes:
    """The trained model as an ONNX graph whose products are computed on 8-bit integers."""
    import torch
    from recserve_bert.engines.quantise import export_module, quantise

    # Plain matrix products are what can be found and replaced; fused attention is not.
    _, model = checkpoint.open(checkpoint.source.trained(state), attn_implementation="eager")
    names = texts.inputs

    class Scores(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model.eval()

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            scores: torch.Tensor = self.model(**dict(zip(names, inputs, strict=True))).logits
            return scores

    return quantise(export_module(Scores(), names, _OUTPUT), [texts.feed([pair]) for pair in calibration])
