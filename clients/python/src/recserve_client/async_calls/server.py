"""Calls about server.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from recserve_client.answers import About, Live, Plugins, Ready
from recserve_client.core.sending import AsyncSender, Call


class ServerCalls(AsyncSender):
    """Calls about server."""

    async def plugins(self) -> Plugins:
        """Installed plugins.

        Where each comes from, what it contributes, and the JSON schema of every component's
        parameters.
        """
        return await self._send(Call("GET", "/v1/plugins", Plugins, repeatable=True))

    async def about(self) -> About:
        """What this server can be asked.

        Scenarios, event types with their scales, and a few users to try.
        """
        return await self._send(Call("GET", "/v1/about", About, repeatable=True))

    async def metrics(self) -> str:
        """Metrics.

        For Prometheus, in its text format: every replica of every stage, by `stage`, `replica` and
        `node`.
        """
        return await self._send(Call("GET", "/v1/metrics", str, repeatable=True))

    async def live(self) -> Live:
        """Liveness.

        Whether the process works; if not, restart it.
        """
        return await self._send(Call("GET", "/v1/health/live", Live, repeatable=True))

    async def ready(self) -> Ready:
        """Readiness.

        Whether requests should be sent here.
        """
        return await self._send(Call("GET", "/v1/health/ready", Ready, repeatable=True))
