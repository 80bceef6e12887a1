"""The deployment that turns text into vectors while requests wait."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ray import serve

from recserve.bundles.bundle import Bundle
from recserve.data.arrays import FloatArray
from recserve.serving.live_encoder import LiveEncoder
from recserve_deployments.replica_spec import ReplicaSpec
from recserve_deployments.stages import StageReplica
from recserve_deployments.warmup import WARM_TEXT


@serve.deployment
class Encoding(StageReplica[Bundle]):
    """The configured text encoder; one model serves all bundles.

    Args:
        spec: What to load.
    """

    # Serve awaits asynchronous constructors.
    async def __init__(self, spec: ReplicaSpec) -> None:  # type: ignore[misc]
        await self.start(spec)
        self._encoder = LiveEncoder(self.opened.resolved)
        # Models are loaded with the first text. This also finds out now if the bundle needs another one.
        current = self.bundles.current.bundle
        await asyncio.to_thread(self._encoder.encode, current, [WARM_TEXT])

    def load(self, bundle: Bundle) -> Bundle:
        """The bundle itself: only its encoder's fingerprint matters here."""
        return bundle

    async def encode(self, bundle: str, texts: Sequence[str]) -> FloatArray:
        """See :meth:`recserve.serving.live_encoder.LiveEncoder.encode`."""
        opened = await self.bundles.get(bundle)
        return await self.call(self._encoder.encode, opened, texts)
