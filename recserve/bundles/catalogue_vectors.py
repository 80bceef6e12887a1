"""Vectors of a bundle's catalogue: encoded once, and anew by an encoder that was trained."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from recserve.bundles.embedding_cache import (
    VectorCache,
    checked_item_vectors,
    checked_vectors,
    content_key,
    content_keys,
    encode_all,
)
from recserve.bundles.text_language import settle_encoder
from recserve.data.arrays import FloatArray
from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset
from recserve.data.entities import Item
from recserve.data.events.written import UnreadTexts
from recserve.errors import ConfigError, DataError
from recserve.plugin.executor import Executor
from recserve.plugin.protocols import Encoder, FitContext, ItemEncoder, Trainable, TransformsVectors
from recserve.plugin.resolved import Resolved, ResolvedConfig

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]

# Contents of one call of an item encoder.
_CONTENTS = 32
_SHOWN_PROBLEMS = 10


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
    catalogue = encode_items(resolved, declared_spaces(resolved, catalogue), home, progress)
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


def encode_items(resolved: ResolvedConfig, catalogue: Catalogue, home: Path, progress: Progress) -> Catalogue:
    """The catalogue with vectors of named spaces that item encoders compute, where none is given.

    Contents are read twice, once for their keys, so that no more than a few are in memory.

    Raises:
        ConfigError: A space has other dimensions than its encoder.
        PluginError: An encoder returned something that is not unit vectors or zeros of its dimension.
    """
    if not resolved.item_encoders:
        return catalogue
    spaces = dict(catalogue.spaces)
    for name, chosen in resolved.item_encoders.items():
        encoder = built_item_encoder(resolved, name, chosen)
        given = spaces.get(name, np.zeros((len(catalogue), encoder.dimension), dtype=np.float32))
        problems: Counter[str] = Counter()
        space = _with_computed(encoder, catalogue, given, home, problems, _shown(progress, name))
        _warn(name, problems)
        count = int(space.any(axis=1).sum())
        logger.info("%d of %d items have a vector in the space %s", count, len(catalogue), name)
        if count:
            spaces[name] = space
    return catalogue.with_spaces(spaces)


def _with_computed(
    encoder: ItemEncoder,
    catalogue: Catalogue,
    space: FloatArray,
    home: Path,
    problems: Counter[str],
    progress: Callable[[int, int], None],
) -> FloatArray:
    """A space, float32 (n_items, d), with computed vectors in its zero rows, as far as there is anything."""
    keys: dict[bytes, list[int]] = {}
    for row in np.flatnonzero(~space.any(axis=1)).tolist():
        content = _content(encoder, catalogue.item(row), problems)
        if content is not None:
            keys.setdefault(content_key(content), []).append(row)
    if not keys:
        return space
    space = space.copy()
    cache = VectorCache(home / "cache" / "vectors", encoder.fingerprint, encoder.dimension)
    found, vectors = cache.lookup(content_keys(keys))
    for place, rows in enumerate(keys.values()):
        space[rows] = vectors[place]
    missing = [key for key, known in zip(keys, found.tolist(), strict=True) if not known]
    for start in range(0, len(missing), _CONTENTS):
        progress(start, len(missing))
        part = missing[start : start + _CONTENTS]
        contents = [_content(encoder, catalogue.item(keys[key][0]), problems) or b"" for key in part]
        fresh = checked_item_vectors(encoder.encode(contents), len(part), encoder.dimension)
        usable = fresh.any(axis=1)
        for key, vector in zip(part, fresh, strict=True):
            space[keys[key]] = vector
            if not vector.any():
                problems[f"what item {catalogue.ids.ids[keys[key][0]]!r} names cannot be understood"] += 1
        if usable.any():
            cache.add(content_keys(part[row] for row in np.flatnonzero(usable).tolist()), fresh[usable])
    return space


def _warn(name: str, problems: Counter[str]) -> None:
    """Say why items have no vector in a space."""
    shown = problems.most_common(_SHOWN_PROBLEMS)
    for why, count in shown:
        logger.warning("%s: %s%s", name, why, f" ({count} items)" if count > 1 else "")
    rest = sum(problems.values()) - sum(count for _, count in shown)
    if rest:
        logger.warning("%s: %d further items have no vector for such reasons", name, rest)


def item_fingerprints(resolved: ResolvedConfig) -> dict[str, str]:
    """Fingerprint of the item encoder of each named space that has one."""
    return {
        name: built_item_encoder(resolved, name, chosen).fingerprint
        for name, chosen in resolved.item_encoders.items()
    }


def built_item_encoder(resolved: ResolvedConfig, name: str, chosen: Resolved) -> ItemEncoder:
    """The item encoder of a named space.

    Raises:
        ConfigError: It has other dimensions than the space.
    """
    encoder: ItemEncoder = chosen.build(Catalogue())
    declared = resolved.config.space_dimensions[name]
    if encoder.dimension != declared:
        raise ConfigError(
            f"vectors.{name}.dimensions is {declared}, but the item encoder {chosen.name!r} makes vectors of "
            f"{encoder.dimension} numbers; set it to that",
            field=f"vectors.{name}.dimensions",
        )
    return encoder


def _content(encoder: ItemEncoder, item: Item, problems: Counter[str]) -> bytes | None:
    """The content of an item; None where it has none, or none that can be read, which is counted."""
    try:
        return encoder.content(item)
    except DataError as error:
        problems[error.message] += 1
        return None


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
