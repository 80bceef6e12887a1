"""What streams read off a store by its numbers, and how far each has come."""

from __future__ import annotations

from recserve.store.streams.protocol import StreamKind, StreamPosition, StreamStore

__all__ = ["StreamKind", "StreamPosition", "StreamStore"]
