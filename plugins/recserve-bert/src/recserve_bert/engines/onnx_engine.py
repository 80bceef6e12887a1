"""An 8-bit model in ONNX Runtime: made once, kept on disk, judged whenever it is loaded.

Making one needs torch and some seconds; loading one needs neither torch nor transformers.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recserve import ConfigError, usable_threads
from recserve_bert.engines.onnx_cache import Folder, Kept
from recserve_bert.engines.probes import CALIBRATION, PROBES, Verdict, judge
from recserve_bert.sources import Source
from recserve_bert.texts import padded, unit_rows

logger = logging.getLogger(__name__)

# Measured on the bundled model: 4096 is about half as fast, because its activations leave a core's cache.
_BATCH_TOKENS = 512
_PROBE_BATCHES = 8


class OnnxEngine:
    """Engine over ONNX Runtime: model and tokenizer in memory.

    Args:
        source: The full model.
        cache: Folder where 8-bit models are kept; None for the platform's.

    Attributes:
        verdict: How close its vectors are to the full model's, measured here and now.

    Raises:
        ConfigError: The model cannot be made 8-bit, or its vectors are too far from the full model's.
    """

    def __init__(self, source: Source, cache: Path | None = None) -> None:
        self.batch_tokens = _BATCH_TOKENS
        self.workers = usable_threads()
        folder = Folder(source, cache)
        kept = folder.read()
        made = _make(source) if kept is None else kept
        self._padding = made.padding
        self._tokenizer = _tokenizer(made.tokenizer, source)
        self._session = _session(made.model, source)
        self.verdict = self._judge(source, made.full)
        if kept is None:
            folder.write(made, self.verdict)
        logger.info("8-bit form of %s: %s", source.name, self.verdict)
        if not self.verdict.good:
            raise _refused(source, f"loses too much with 8 bits: {self.verdict}")

    def tokenise(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included, at least one each."""
        return [encoding.ids or [self._padding] for encoding in self._tokenizer.encode_batch(texts)]

    def forward(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        """Pooled vectors, float32, shape (b, d), of texts given by token ids."""
        ids, mask = padded(tokens, self._padding)
        vectors: NDArray[np.float32] = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return vectors

    def _judge(self, source: Source, full: NDArray[np.float32]) -> Verdict:
        """Compare with the full model.

        On this machine, as processors differ in how they add up bytes, and with short and long texts padded
        to one length, which an exported graph may have got wrong.
        """
        tokens = self.tokenise(_with_prefix(PROBES, source))
        vectors = np.empty_like(full)
        for start in range(_PROBE_BATCHES):
            vectors[start::_PROBE_BATCHES] = unit_rows(self.forward(tokens[start::_PROBE_BATCHES]))
        return judge(vectors, full)


def _make(source: Source) -> Kept:
    """Export and round the full model, and have it encode the probes.

    Raises:
        ConfigError: The model cannot be loaded or made 8-bit.
    """
    from recserve_bert.engines.quantise import export, quantise, unpadded
    from recserve_bert.engines.torch_engine import TorchEngine

    logger.info("making an 8-bit form of %s, once", source.name)
    full = TorchEngine(source, "cpu")
    vectors = [full.forward([tokens]) for tokens in full.tokenise(_with_prefix(PROBES, source))]
    backend = getattr(full.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise _refused(source, "has no fast tokenizer (tokenizer.json)")
    try:
        calibration = full.tokenise(_with_prefix(CALIBRATION, source))
        model = quantise(export(source), [unpadded(tokens) for tokens in calibration])
    except Exception as error:  # exporters raise whatever they come across
        raise _refused(source, f"cannot be made 8-bit: {type(error).__name__}: {error}") from None
    return Kept(model, backend.to_str(), full.padding, unit_rows(np.concatenate(vectors)))


def _with_prefix(texts: tuple[str, ...], source: Source) -> list[str]:
    return [source.prefix + text for text in texts]


def _tokenizer(content: str, source: Source) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(content)
    tokenizer.no_padding()
    tokenizer.enable_truncation(source.max_length)
    return tokenizer


def _session(model: bytes, source: Source) -> Any:
    """One that computes on the thread that calls it; batches run beside each other."""
    import onnxruntime

    from recserve_bert.engines.quantise import quiet_options

    try:
        return onnxruntime.InferenceSession(model, quiet_options(), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
        raise _refused(source, f"is not run by ONNX Runtime: {error}") from None


def _refused(source: Source, why: str) -> ConfigError:
    line = " ".join(f"encoder.params.engine = 'onnx': {source.name!r} {why}".split())
    line = line if len(line) <= 400 else line[:397] + "..."
    return ConfigError(f"{line}; use engine 'torch'", field="encoder.params.engine")
