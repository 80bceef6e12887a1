"""Calls about experiments.

Generated from the OpenAPI document by ``python -m tools.clients``; do not edit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from recserve_client.answers import Experiment, ExperimentReport, Experiments
from recserve_client.core.sending import AsyncSender, Call
from recserve_client.params import ArmParam, GuardrailsParam


class ExperimentsCalls(AsyncSender):
    """Calls about experiments."""

    async def list_experiments(self) -> Experiments:
        """List experiments.

        All of them, oldest first.
        """
        return await self._send(Call("GET", "/v1/experiments", Experiments, repeatable=True))

    async def create_experiment(
        self,
        *,
        name: str,
        scenario: str,
        arms: Sequence[ArmParam],
        description: str | None = None,
        kind: Literal["split", "interleaving"] | None = None,
        layer: str | None = None,
        share: float | None = None,
        holdout: float | None = None,
        guardrails: GuardrailsParam | None = None,
    ) -> Experiment:
        """Create an experiment.

        It does not run before it is started, and its definition never changes. Needs the scope
        `admin`, as starting and stopping do.

        Args:
            name: Its name for good.
            scenario: Whose requests it takes in.
            arms: The first one is what the others are compared with.
            description: What it is about, for people. Default: .
            kind: split: each user or session gets one arm; interleaving: a page has items of two
                arms. Default: split.
            layer: Experiments of one layer share no user; default: the scenario's own.
            share: Share of the layer's users and sessions to take in. Default: 1.0.
            holdout: Share of the layer that none of its experiments may take in. Default: 0.0.
            guardrails: When an arm is stopped by itself.
        """
        return await self._send(
            Call(
                "POST",
                "/v1/experiments",
                Experiment,
                repeatable=False,
                body={
                    "name": name,
                    "description": description,
                    "scenario": scenario,
                    "kind": kind,
                    "layer": layer,
                    "share": share,
                    "holdout": holdout,
                    "arms": arms,
                    "guardrails": guardrails,
                },
            )
        )

    async def experiment(self, name: str) -> Experiment:
        """One experiment.

        Its definition, and what has become of it.

        Args:
            name: The experiment's name.
        """
        return await self._send(
            Call("GET", Call.path("/v1/experiments/{name}", name), Experiment, repeatable=True)
        )

    async def report_experiment(self, name: str) -> ExperimentReport:
        """Report an experiment.

        What each arm did, differences with intervals that hold at every look at once, so that it
        may be read and stopped on any day, and whether the arms got their shares of users.

        Args:
            name: The experiment's name.
        """
        return await self._send(
            Call("GET", Call.path("/v1/experiments/{name}/report", name), ExperimentReport, repeatable=True)
        )

    async def start_experiment(self, name: str, *, share: float | None = None) -> Experiment:
        """Start an experiment.

        Every server of the store follows within about a second. One that runs can be started again
        with a larger share: who is in it stays in the same arm.

        Args:
            name: The experiment's name.
            share: Share of the layer's users and sessions to take in; it only grows. Default: the
                experiment's, or as it is.
        """
        return await self._send(
            Call(
                "POST",
                Call.path("/v1/experiments/{name}/start", name),
                Experiment,
                repeatable=False,
                body={"share": share},
            )
        )

    async def stop_experiment(
        self, name: str, *, arm: str | None = None, reason: str | None = None
    ) -> Experiment:
        """Stop an experiment.

        For good, or one of its arms: whom that had are served as if there were no experiment.

        Args:
            name: The experiment's name.
            arm: Only this arm; default: the experiment.
            reason: Why, for people. Default: .
        """
        return await self._send(
            Call(
                "POST",
                Call.path("/v1/experiments/{name}/stop", name),
                Experiment,
                repeatable=False,
                body={"arm": arm, "reason": reason},
            )
        )
