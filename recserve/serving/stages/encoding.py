"""Encoding stage: vectors of texts that have none yet, by the encoder of a bundle, cached by content."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from recserve.bundles.bundle import Bundle
from recserve.bundles.embedding_cache import TextVectorCache
from recserve.data.arrays import FloatArray
from recserve.errors import BundleError, ConfigError
from recserve.plugin.protocols import KnowsItsWords
from recserve.plugin.resolved import ResolvedConfig
from recserve.serving.loader import Loader

LIVE_VECTORS = 50_000
_KEPT = 2
"""Encoders in memory: of the current bundle and of the one before it, where training changes them."""

UNREAD = 0.4
"""Share of unknown tokens from which on a query says nothing to the encoder."""


class LiveEncoder:
    """Encoders of a process, cached by content; a model is loaded on first use.

    Bundles with the same encoder share it. One that was trained with its bundle is loaded from there.

    Args:
        resolved: The configuration; its encoder is used.
    """

    def __init__(self, resolved: ResolvedConfig) -> None:
        self._resolved = resolved
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._caches: dict[str, TextVectorCache] = {}
        self._refused: set[str] = set()
        self._counted = (0, 0)

    @property
    def hits(self) -> int:
        """Texts so far whose vectors were in the cache."""
        return self._counted[0] + sum(cache.hits for cache in list(self._caches.values()))

    @property
    def misses(self) -> int:
        """Texts so far that a model encoded."""
        return self._counted[1] + sum(cache.misses for cache in list(self._caches.values()))

    def encode(self, bundle: Bundle, texts: Sequence[str], *, queries: int = 0) -> FloatArray:
        """Vectors comparable with the bundle's, float32 (n, d).

        Args:
            bundle: The bundle.
            texts: The texts.
            queries: How many of the first texts are queries; of these, one most of whose tokens the encoder
                does not know gets zeros.

        Raises:
            BundleError: The bundle was made with another encoder.
            ConfigError: No encoder is configured, or its model cannot be loaded.
        """
        cache = self._cache(bundle)
        vectors = cache.encode(texts)
        if queries and isinstance(cache.encoder, KnowsItsWords):
            vectors[:queries][cache.encoder.unknown_share(texts[:queries]) >= UNREAD] = 0
        return vectors

    def _cache(self, bundle: Bundle) -> TextVectorCache:
        wanted = str(bundle.manifest.encoder_fingerprint)
        with self._lock:
            known = self._caches.get(wanted)
        if known is not None:
            return known
        # Loading takes seconds: texts of another bundle must not wait for it.
        with self._loading:
            if wanted in self._caches:
                return self._caches[wanted]
            cache = self._load(bundle)
            with self._lock:
                self._keep(wanted, cache)
            return cache

    def _load(self, bundle: Bundle) -> TextVectorCache:
        if bundle.id not in self._refused:
            encoder = Loader(bundle, self._resolved).encoder()
            if encoder is None:
                raise ConfigError("no text encoder is configured ('encoder' is null)", field="encoder")
            if bundle.manifest.encoder_fingerprint == encoder.fingerprint:
                return TextVectorCache(encoder, LIVE_VECTORS)
            # Requests go on asking; the model need not be read for each of them.
            self._refused.add(bundle.id)
        raise BundleError(
            f"bundle {bundle.id} was made with another text encoder; train again or restore 'encoder'"
        )

    def _keep(self, fingerprint: str, cache: TextVectorCache) -> None:
        """Put an encoder in the place of the oldest."""
        if len(self._caches) >= _KEPT:
            oldest = self._caches.pop(next(iter(self._caches)))
            self._counted = (self._counted[0] + oldest.hits, self._counted[1] + oldest.misses)
        self._caches[fingerprint] = cache
