"""Calls about server.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from recserve_client.answers import About, Configuration, ConfigurationCheck, Live, LiveNow, Plugins, Ready
from recserve_client.core.sending import Call, Sender


class ServerCalls(Sender):
    """Calls about server."""

    def configuration(self) -> Configuration:
        """The configuration.

        What the server runs with, secrets shown as `***`. Needs the scope `admin`.
        """
        return self._send(Call("GET", "/v1/config", Configuration, repeatable=True))

    def check_configuration(self, text: str) -> ConfigurationCheck:
        """Check a changed configuration.

        Names every mistake, and says what the text would change and what that needs. Nothing is
        applied or written: a server gets its configuration from whoever deploys it. Needs the scope
        `admin`.

        Args:
            text: YAML, as a configuration file has it. What `GET /v1/config` masked stands for
                itself.
        """
        return self._send(
            Call("POST", "/v1/config/validate", ConfigurationCheck, repeatable=False, body={"text": text})
        )

    def plugins(self) -> Plugins:
        """Installed plugins.

        Where each comes from, what it contributes, and the JSON schema of every component's
        parameters.
        """
        return self._send(Call("GET", "/v1/plugins", Plugins, repeatable=True))

    def about(self) -> About:
        """What this server can be asked.

        Scenarios, event types with their scales, and a few users to try.
        """
        return self._send(Call("GET", "/v1/about", About, repeatable=True))

    def metrics(self) -> str:
        """Metrics.

        For Prometheus, in its text format: every replica of every stage, by `stage`, `replica` and
        `node`.
        """
        return self._send(Call("GET", "/v1/metrics", str, repeatable=True))

    def live(self) -> Live:
        """Liveness.

        Whether the process works; if not, restart it.
        """
        return self._send(Call("GET", "/v1/health/live", Live, repeatable=True))

    def ready(self) -> Ready:
        """Readiness.

        Whether requests should be sent here.
        """
        return self._send(Call("GET", "/v1/health/ready", Ready, repeatable=True))

    def live_now(self) -> LiveNow:
        """What the server does now.

        Requests, events, latencies, caches, what was degraded, the bundle, and every replica of
        every stage. All counts are totals: ask twice and take the difference. It is gathered at
        most every two seconds, however many ask.
        """
        return self._send(Call("GET", "/v1/live", LiveNow, repeatable=True))
