"""Vectors of a bundle's catalogue: encoded once, and anew by an encoder that was trained."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa

from recserve.bundles.embedding_cache import VectorCache, checked_vectors, encode_all
from recserve.bundles.text_language import settle_encoder
from recserve.data.arrays import FloatArray
from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset
from recserve.data.events.written import UnreadTexts
from recserve.errors import ConfigError
from recserve.plugin.executor import Executor
from recserve.plugin.protocols import Encoder, FitContext, Trainable, TransformsVectors
from recserve.plugin.resolved import Resolved, ResolvedConfig

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]


def item_texts(resolved: ResolvedConfig, catalogue: Catalogue) -> list[str]:
    """The text of every item, in row order, as the encoder reads it."""
    item_text = resolved.item_text.build(catalogue)
    return [item_text.text(item) for item in catalogue.items()]


def encode_catalogue(
    resolved: ResolvedConfig,
    catalogue: Catalogue,
    home: Path,
    progress: Progress = lambda description, done, total: None,
    executor: Executor | None = None,
) -> tuple[Catalogue, str | None]:
    """Encode the text of every item; vectors are cached by content in ``<home>/cache``.

    Of the catalogue's named spaces those stay that are declared, each checked.

    Args:
        resolved: Its encoder and item text are used. One that is trained starts from these vectors.
        catalogue: The items.
        home: The home folder.
        progress: Called with (description, done, total).
        executor: Encodes the texts that the cache lacks; None for this process.

    Returns:
        The catalogue with vectors, and the encoder's fingerprint; without vectors of texts and None
        where there is no encoder.

    Raises:
        ConfigError: A space has other dimensions than its vectors.
    """
    catalogue = declared_spaces(resolved, catalogue)
    resolved = settle_encoder(resolved, catalogue)
    if resolved.encoder is None:
        return catalogue, None
    encoder: Encoder = resolved.encoder.build(Catalogue())
    texts = item_texts(resolved, catalogue)
    cache = VectorCache(home / "cache" / "vectors", encoder.fingerprint, encoder.dimension)
    vectors, encoded = encode_all(
        encoder, texts, cache, _shown(progress), _elsewhere(executor, resolved.encoder)
    )
    logger.info("%d of %d item texts were encoded, the others came from the cache", encoded, len(texts))
    return catalogue.with_vectors(vectors), encoder.fingerprint


def declared_spaces(resolved: ResolvedConfig, catalogue: Catalogue) -> Catalogue:
    """The catalogue with the named spaces that the configuration declares and that have any vector.

    Raises:
        ConfigError: A space has other dimensions than its vectors.
    """
    if not catalogue.spaces:
        return catalogue
    kept: dict[str, FloatArray] = {}
    for name, dimensions in resolved.config.space_dimensions.items():
        space = catalogue.spaces.get(name)
        if space is None:
            continue
        if space.shape[1] != dimensions:
            raise ConfigError(
                f"vectors.{name}.dimensions is {dimensions}, but the vectors of this space have "
                f"{space.shape[1]} numbers; set it to that, or write the vectors again",
                field=f"vectors.{name}.dimensions",
            )
        count = int(space.any(axis=1).sum())
        if count:
            kept[name] = space
        logger.info("%d of %d items have a vector in the space %s", count, len(catalogue), name)
    return catalogue.with_spaces(kept)


def read_written(
    resolved: ResolvedConfig,
    data: Dataset,
    texts: pa.Table | None,
    progress: Progress = lambda description, done, total: None,
    executor: Executor | None = None,
) -> Dataset:
    """The data with what its users wrote, as an encoder that is not trained reads it.

    Vectors are kept in no cache: they go with the person. What a trained encoder will say of a text is not
    known before it is trained; with one the data are as they were.

    Args:
        resolved: Its encoder and event types are used.
        data: The data; its catalogue has vectors.
        texts: See :attr:`recserve.Tables.texts`.
        progress: As for :func:`encode_catalogue`.
        executor: Likewise.
    """
    if texts is None or not texts.num_rows or data.catalogue.vectors is None:
        return data
    resolved = settle_encoder(resolved, data.catalogue)
    assert resolved.encoder is not None, "vectors come from an encoder"
    encoder: Encoder = resolved.encoder.build(Catalogue())
    unread = UnreadTexts.of(texts, data.user_ids, resolved.config.event_types)
    if isinstance(encoder, Trainable) or not unread.texts:
        return data
    elsewhere = _elsewhere(executor, resolved.encoder)
    vectors, _ = encode_all(encoder, unread.texts, None, _shown(progress, "texts"), elsewhere)
    found = data.with_catalogue(data.catalogue)
    found.written = unread.with_vectors(vectors)
    return found


def encode_again(
    resolved: ResolvedConfig, encoder: Encoder, catalogue: Catalogue, context: FitContext
) -> Catalogue:
    """The catalogue with the vectors of an encoder that was trained on the vectors that it has.

    Nothing is cached: these weights exist in one training run only.

    Raises:
        PluginError: The encoder returned something that is not unit vectors of its dimension.
    """
    if isinstance(encoder, TransformsVectors) and catalogue.vectors is not None:
        vectors = encoder.transform(catalogue.vectors)
        return catalogue.with_vectors(checked_vectors(vectors, len(catalogue), encoder.dimension))
    texts = item_texts(resolved, catalogue)
    vectors, _ = encode_all(
        encoder, texts, None, _shown(context.progress), _elsewhere(context.executor, encoder)
    )
    return catalogue.with_vectors(vectors)


def _shown(progress: Progress, what: str = "items") -> Callable[[int, int], None]:
    return lambda done, total: progress(f"Encoding {what}", done, total)


def _elsewhere(
    executor: Executor | None, chosen: Resolved | Encoder
) -> Callable[[Iterator[Sequence[str]]], Iterator[FloatArray]] | None:
    """What encodes chunks of texts on workers; None where there are none."""
    if executor is None or executor.workers < 2:
        return None
    return partial(_encoded_elsewhere, executor, chosen)


def _encoded_elsewhere(
    executor: Executor, chosen: Resolved | Encoder, chunks: Iterator[Sequence[str]]
) -> Iterator[FloatArray]:
    shared = executor.share(chosen)
    yield from executor.map(encode_chunk, chunks, shared)
    shared.release()


_encoders: list[tuple[Resolved | Encoder, Encoder]] = []


def encode_chunk(texts: Sequence[str], chosen: Resolved | Encoder) -> FloatArray:
    """Vectors of some texts, by a trained encoder, or by one that a worker builds once."""
    if not _encoders or _encoders[0][0] is not chosen:
        encoder: Encoder = chosen.build(Catalogue()) if isinstance(chosen, Resolved) else chosen
        _encoders[:] = [(chosen, encoder)]
    return _encoders[0][1].encode(texts)
