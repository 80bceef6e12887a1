"""A model in torch: the reference in full precision, and the way to a GPU."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from recserve import ConfigError
from recserve_bert.sources import Source
from recserve_bert.texts import padded

if TYPE_CHECKING:
    import torch

# Measured: what a core's cache holds is fastest there, what keeps it busy is fastest on a GPU.
_CPU_TOKENS = 512
_GPU_TOKENS = 16_384


class TorchEngine:
    """Engine over torch: model and tokenizer in memory.

    Args:
        source: The model.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: What is multiplied in; ``auto`` is bfloat16 on a GPU. Weights stay in float32.

    Raises:
        ConfigError: It cannot be loaded, or there is no such device.
    """

    def __init__(
        self, source: Source, device: str, precision: Literal["auto", "float32", "bfloat16"] = "auto"
    ) -> None:
        import torch

        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                "encoder.params.device = 'cuda': torch sees no GPU here", field="encoder.params.device"
            )
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self._halved = precision == "bfloat16" or (precision == "auto" and device == "cuda")
        self._source = source
        self.tokenizer, self.model, self._lock = self._opened(source)
        padding = self.tokenizer.pad_token_id
        self.padding = 0 if padding is None else int(padding)
        self.batch_tokens = _CPU_TOKENS if device == "cpu" else _GPU_TOKENS
        # torch splits one batch among its threads; several at once would only get into each other's way.
        self.workers = 1

    def _opened(self, source: Source) -> tuple[Any, Any, threading.Lock]:
        """Tokenizer, model, and a lock: fast tokenizers keep truncation as state and refuse two callers."""
        tokenizer, model = load(source)
        return tokenizer, model.to(self.device).eval(), threading.Lock()

    def tokenise(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included, at least one each."""
        with self._lock:
            ids: list[list[int]] = self.tokenizer(
                texts,
                truncation=True,
                max_length=self._source.max_length,
                padding=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )["input_ids"]
        return [text_ids if text_ids else [self.padding] for text_ids in ids]

    def forward(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        """Pooled vectors, float32, shape (b, d), of texts given by token ids."""
        import torch

        with torch.inference_mode():
            vectors: NDArray[np.float32] = self.pooled(tokens).cpu().numpy()
        return vectors

    def pooled(self, tokens: list[list[int]]) -> torch.Tensor:
        """The same on the engine's device, with gradients where the caller wants them."""
        import torch

        ids, mask = padded(tokens, self.padding)
        attention = torch.from_numpy(mask).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._halved):
            hidden = self.model(
                input_ids=torch.from_numpy(ids).to(self.device), attention_mask=attention
            ).last_hidden_state
            return pool(hidden.float(), attention, self._source.pooling)


Output = Literal["none", "own", "new"]
"""Output of a model above its layers: none, one of its own, or one to be trained."""


def load(source: Source, *, output: Output = "none", **options: Any) -> tuple[Any, Any]:
    """Tokenizer and float32 model of a directory, trained weights included; nothing of it is executed.

    Args:
        source: The model.
        output: ``none`` loads the encoder alone; ``own`` a sequence classifier with one output, all of whose
            weights are in the directory; ``new`` one whose output may be missing there, and is then drawn
            from torch's generator.
        options: Passed on to the model's ``from_pretrained``.

    Raises:
        ConfigError: They cannot be loaded.
    """
    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

    from recserve_bert.tuning.weights import apply_weights, in_output

    kind = AutoModel if output == "none" else AutoModelForSequenceClassification
    if output != "none":
        options = {"num_labels": 1, **options}
    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    directory = str(source.directory)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(directory, **safe)
            model, found = kind.from_pretrained(
                directory,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **safe,
                **options,
            )
        # transformers would make up what is missing; sentence vectors do not pass BERT's own pooling.
        optional = output != "own"
        missing = sorted(name for name in found["missing_keys"] if not (optional and in_output(name, model)))
        if missing:
            raise ValueError(f"its weights lack {len(missing)} tensors, such as {missing[0]}")
        if source.learnt is not None:
            apply_weights(model, source.learnt.weights)
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ConfigError(
            f"encoder.model = {source.name!r}: {source.directory} cannot be loaded: {cause}",
            field="encoder.model",
        ) from None
    return tokenizer, model


def pool(hidden: torch.Tensor, attention: torch.Tensor, pooling: str) -> torch.Tensor:
    """One vector a text: the first token's, or the mean over the real tokens.

    Args:
        hidden: Token vectors, shape (b, t, d).
        attention: 1 for real tokens, 0 for padding, shape (b, t).
        pooling: ``cls`` or ``mean``.
    """
    if pooling == "cls":
        return hidden[:, 0]
    weights = attention.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


class quiet:  # noqa: N801 - reads as a statement: with quiet():
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
