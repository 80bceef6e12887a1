"""Encoding stage: vectors of texts that have none yet, cached by content."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from recserve.bundles.bundle import Bundle
from recserve.bundles.embedding_cache import TextVectorCache
from recserve.data.arrays import FloatArray
from recserve.data.catalogue import Catalogue
from recserve.errors import BundleError, ConfigError
from recserve.plugin.protocols import Encoder
from recserve.plugin.resolved import ResolvedConfig

LIVE_VECTORS = 50_000


class LiveEncoder:
    """Encoder of a process, cached by content; the model is loaded on first use.

    Args:
        resolved: The configuration; its encoder is used.
    """

    def __init__(self, resolved: ResolvedConfig) -> None:
        self._resolved = resolved
        self._lock = threading.Lock()
        self._cache: TextVectorCache | None = None
        self._fingerprint = ""

    @property
    def hits(self) -> int:
        """Texts so far whose vectors were in the cache."""
        return 0 if self._cache is None else self._cache.hits

    @property
    def misses(self) -> int:
        """Texts so far that the model encoded."""
        return 0 if self._cache is None else self._cache.misses

    def warm(self) -> None:
        """Load the model now.

        Raises:
            ConfigError: No encoder is configured, or its model cannot be loaded.
        """
        with self._lock:
            if self._cache is not None:
                return
            if self._resolved.encoder is None:
                raise ConfigError("no text encoder is configured ('encoder' is null)", field="encoder")
            encoder: Encoder = self._resolved.encoder.build(Catalogue())
            self._fingerprint = encoder.fingerprint
            self._cache = TextVectorCache(encoder, LIVE_VECTORS)

    def encode(self, bundle: Bundle, texts: Sequence[str]) -> FloatArray:
        """Vectors comparable with the bundle's, float32 (n, d).

        Raises:
            BundleError: The bundle was made with another encoder.
        """
        self.warm()
        assert self._cache is not None
        if bundle.manifest.encoder_fingerprint != self._fingerprint:
            raise BundleError(
                f"bundle {bundle.id} was made with another text encoder; train again or restore 'encoder'"
            )
        return self._cache.encode(texts)
