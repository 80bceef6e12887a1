"""Whether the text encoder reads the language of a catalogue, looked at before anything is encoded."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from recserve.data.catalogue import Catalogue
from recserve.plugin.protocols import ChoosesModel, Encoder, EncoderChoice, KnowsItsWords
from recserve.plugin.resolved import ResolvedConfig

logger = logging.getLogger(__name__)

_SAMPLE = 2_000
_UNREAD = 0.2
"""Mean share of unknown tokens from which on an encoder is taken not to read texts."""


def sample_texts(resolved: ResolvedConfig, catalogue: Catalogue) -> list[str]:
    """Texts of items, evenly spread, as the encoder will read them."""
    item_text = resolved.item_text.build(catalogue)
    step = max(1, -(-len(catalogue) // _SAMPLE))
    return [item_text.text(catalogue.item(row)) for row in range(0, len(catalogue), step)]


def look_at_texts(encoder: Encoder | ChoosesModel, texts: Sequence[str]) -> EncoderChoice | None:
    """The model that suits some texts, or what is wrong with the configured one; None if nothing is.

    Args:
        encoder: As configuration built it.
        texts: Some of the texts that it will read.
    """
    if isinstance(encoder, ChoosesModel):
        return encoder.choose(texts)
    if not isinstance(encoder, KnowsItsWords) or not texts:
        return None
    unknown = float(encoder.unknown_share(texts).mean())
    if unknown < _UNREAD:
        return None
    return EncoderChoice(
        {},
        f"{unknown:.0%} of the tokens in the items' texts are unknown to the text encoder",
        "`encoder: {model: auto}` in recserve.yaml takes one that reads them",
    )


def settle_encoder(resolved: ResolvedConfig, catalogue: Catalogue) -> ResolvedConfig:
    """The configuration with the encoder's model chosen by a catalogue's texts, as it is if it names one."""
    if resolved.encoder is None:
        return resolved
    encoder = resolved.encoder.build(Catalogue())
    if not isinstance(encoder, ChoosesModel):
        return resolved
    return resolved.with_encoder(encoder.choose(sample_texts(resolved, catalogue)).params)


def warn_of_unread_texts(resolved: ResolvedConfig, catalogue: Catalogue) -> None:
    """Log one line that says which model was chosen and why, or what to set for one that reads the texts."""
    if resolved.encoder is None:
        return
    found = look_at_texts(resolved.encoder.build(Catalogue()), sample_texts(resolved, catalogue))
    if found is not None and found.advice:
        logger.warning("%s; %s", found.reason, found.advice)
    elif found is not None:
        model = ", ".join(str(value) for value in found.params.values())
        logger.info("text encoder %s: %s", model, found.reason)
