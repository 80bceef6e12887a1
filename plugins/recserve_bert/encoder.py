"""The encoder proper: transformers, length-sorted batches, masked pooling."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recserve import ConfigError
from recserve_bert import BertParams
from recserve_bert.sources import Source, locate
from recserve_bert.texts import clean, unit_rows

if TYPE_CHECKING:
    import torch

# Texts that are tokenised and sorted by length together: memory stays bounded for any number.
_WINDOW = 16_384


class BertEncoder:
    """Text vectors from a BERT-like model.

    The model is located and checked at once, and loaded with the first text. Safe to call from
    several threads.

    Args:
        params: See :class:`recserve_bert.BertParams`.

    Raises:
        ConfigError: The model is missing, damaged or of a kind that cannot be used.
    """

    def __init__(self, params: BertParams) -> None:
        self._params = params
        self._source = locate(params)
        self._loaded: _Loaded | None = None
        self._lock = threading.Lock()

    @property
    def source(self) -> Source:
        """The model directory and the settings decided for it."""
        return self._source

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._source.dimension

    @property
    def fingerprint(self) -> str:
        """sha256 over weights, tokenizer, pooling, length and prefix."""
        return self._source.fingerprint

    def encode(
        self, texts: Sequence[str], progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """Encode texts.

        Args:
            texts: n texts of any length; only ``max_length`` tokens are read.
            progress: Called with the number of texts just finished.

        Returns:
            float32, shape (n, dimension), unit rows in the order of the texts. A vector does not
            depend on the other texts beyond floating-point noise (about 1e-7).

        Raises:
            ConfigError: The model cannot be loaded.
        """
        out = np.empty((len(texts), self.dimension), dtype=np.float32)
        if len(texts) == 0:
            return out
        model = self._load()
        for start in range(0, len(texts), _WINDOW):
            window = texts[start : start + _WINDOW]
            prefix, length = self._source.prefix, self._source.max_length
            tokens = model.tokenise([prefix + clean(text, length) for text in window])
            for rows in _batches([len(one) for one in tokens], self._params.batch_tokens):
                pooled = model.forward([tokens[row] for row in rows], self._source.pooling)
                out[start + rows] = unit_rows(pooled)
                if progress is not None:
                    progress(len(rows))
        return out

    def _load(self) -> _Loaded:
        with self._lock:
            if self._loaded is None:
                self._loaded = _Loaded(self._source, self._params.device)
            return self._loaded


class _Loaded:
    """Model and tokenizer in memory."""

    def __init__(self, source: Source, device: str) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                "encoder.params.device = 'cuda': torch sees no GPU here", field="encoder.params.device"
            )
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._device = torch.device(device)
        self._max_length = source.max_length
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            with _quiet():
                self._tokenizer = AutoTokenizer.from_pretrained(str(source.directory), **options)
                self._model = AutoModel.from_pretrained(
                    str(source.directory), use_safetensors=True, dtype=torch.float32, **options
                )
        except Exception as error:
            cause = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise ConfigError(
                f"encoder.model = {source.name!r}: {source.directory} cannot be loaded: {cause}",
                field="encoder.model",
            ) from None
        self._model.to(self._device).eval()
        padding = self._tokenizer.pad_token_id
        self._padding = 0 if padding is None else int(padding)
        # Fast tokenizers keep truncation as state and refuse two callers at once.
        self._lock = threading.Lock()

    def tokenise(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included, at least one each."""
        with self._lock:
            ids: list[list[int]] = self._tokenizer(
                texts,
                truncation=True,
                max_length=self._max_length,
                padding=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )["input_ids"]
        return [one if one else [self._padding] for one in ids]

    def forward(self, tokens: list[list[int]], pooling: str) -> NDArray[np.float32]:
        """Pooled vectors, float32, shape (b, d), of texts given by token ids."""
        import torch

        longest = max(len(one) for one in tokens)
        ids = np.full((len(tokens), longest), self._padding, dtype=np.int64)
        mask = np.zeros((len(tokens), longest), dtype=np.int64)
        for row, one in enumerate(tokens):
            ids[row, : len(one)] = one
            mask[row, : len(one)] = 1
        with torch.inference_mode():
            attention = torch.from_numpy(mask).to(self._device)
            hidden = self._model(
                input_ids=torch.from_numpy(ids).to(self._device), attention_mask=attention
            ).last_hidden_state
            pooled = hidden[:, 0] if pooling == "cls" else _masked_mean(hidden, attention)
            vectors: NDArray[np.float32] = pooled.float().cpu().numpy()
        return vectors


def _masked_mean(hidden: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
    """Mean over the real tokens: hidden (b, t, d), attention (b, t) -> (b, d)."""
    weights = attention.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def _batches(lengths: Sequence[int], budget: int) -> Iterator[NDArray[np.int64]]:
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


class _quiet:  # noqa: N801 - reads as a statement: with _quiet():
    """Keep transformers from drawing progress bars and load reports while a model loads."""

    def __enter__(self) -> None:
        from transformers.utils import logging

        self._verbosity = logging.get_verbosity()
        self._bars = logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    def __exit__(self, *exception: object) -> None:
        from transformers.utils import logging

        logging.set_verbosity(self._verbosity)
        if self._bars:
            logging.enable_progress_bar()
