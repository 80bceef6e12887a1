"""Checkpoints of cross-encoders: a text encoder to be trained, or a model with an output of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from recserve_bert.engines.torch_engine import Output, load
from recserve_bert.parameters import BertParams
from recserve_bert.sources import BUNDLED_E5, BUNDLED_MINILM, Source, locate

from recserve import ConfigError
from recserve_cross_encoder.parameters import CrossEncoderParams

_CLASSIFIER = "ForSequenceClassification"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model directory, checked.

    Attributes:
        source: Where it is, its tokenizer's limit and its fingerprint.
        trained: Whether it is to be trained here.
        output: Where its output comes from: its own weights, or drawn anew.
    """

    source: Source
    trained: bool
    output: Output

    def open(self, source: Source | None = None, **options: Any) -> tuple[Any, Any]:
        """Tokenizer and model in float32.

        Args:
            source: The same with what training made of it; None for the checkpoint as it is.
            options: Passed on to ``from_pretrained``.

        Raises:
            ConfigError: They cannot be loaded, or the tokenizer is none that can be used.
        """
        name = self.source.name
        try:
            tokenizer, model = load(self.source if source is None else source, output=self.output, **options)
        except ConfigError as error:
            raise _own(error) from None
        if not getattr(tokenizer, "is_fast", False):
            raise ConfigError(f"cross_encoder: model = {name!r} has no fast tokenizer (tokenizer.json)")
        return tokenizer, model


def find(params: CrossEncoderParams) -> Checkpoint:
    """Find the checkpoint that parameters name and check it; neither torch nor transformers is used.

    Raises:
        ConfigError: It does not exist, is damaged, has a wrong number of outputs, or has none and may not be
            trained.
    """
    name = params.model
    if name == BUNDLED_E5:
        raise ConfigError(
            f"cross_encoder: model = {name!r} has fixed weights; use {BUNDLED_MINILM}, a directory or a "
            "Hugging Face id"
        )
    try:
        source = locate(BertParams(model=name, revision=params.revision))
    except ConfigError as error:
        raise _own(error) from None
    config = json.loads((source.directory / "config.json").read_text(encoding="utf-8"))
    own = any(str(kind).endswith(_CLASSIFIER) for kind in config.get("architectures") or ())
    if own and (outputs := _outputs(config)) != 1:
        raise ConfigError(
            f"cross_encoder: model = {name!r} is a classifier with {outputs} outputs; a cross-encoder has "
            "one (num_labels 1), such as those that rank passages"
        )
    if not own and params.train == "never":
        raise ConfigError(
            f"cross_encoder: model = {name!r} is a text encoder without an output of its own; set train to "
            "auto, or name a cross-encoder with one output"
        )
    return Checkpoint(source, params.train == "always" or not own, "own" if own else "new")


def _outputs(config: dict[str, Any]) -> int:
    """Outputs of a classifier; transformers takes two where nothing is said."""
    labels = config.get("id2label")
    if isinstance(labels, dict):
        return len(labels)
    outputs = config.get("num_labels", 2)
    return outputs if isinstance(outputs, int) else 2


def _own(error: ConfigError) -> ConfigError:
    """An error of the text encoder's model in the words of this component's parameters."""
    return ConfigError("cross_encoder: " + error.message.replace("encoder.", ""))
