"""Life of an experiment: created, running with a share that may grow, stopped for good.

The users and sessions of a layer fall into :data:`BUCKETS` buckets by a hash. A running experiment has some
of them to itself; its share grows by further ones, so nobody who is in it ever leaves. The last buckets of a
layer are its holdout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from pydantic import Field

from recserve.config.strict import Strict
from recserve.errors import ExperimentConflictError, InvalidRequestError, NotFoundError
from recserve.experiments.definition import Arm, Definition
from recserve.store import ExperimentRecord

BUCKETS = 10_000
"""Buckets of a layer: a share is a multiple of 0.01%."""

MOST_BUNDLES = 2
"""Bundles that replicas hold beside the current one: each takes as much memory as that."""


class Status(Strict):
    """What has become of an experiment.

    Attributes:
        state: Nothing is served before it runs, nor after it was stopped.
        share: Share of the layer that it has taken in.
        segments: Its buckets: the first of each segment, and the one after its last.
        started: Milliseconds since the epoch, likewise ``stopped``.
        reason: Why it was stopped.
        stopped_arms: Arms that are served no more while the others are, and why.
    """

    state: Literal["created", "running", "stopped"] = "created"
    share: float = 0.0
    segments: tuple[tuple[int, int], ...] = ()
    started: int | None = None
    stopped: int | None = None
    reason: str | None = None
    stopped_arms: dict[str, str] = Field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """The status as plain data."""
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class Experiment:
    """An experiment with what has become of it.

    Attributes:
        definition: As it was asked for.
        status: What has become of it.
        created: Milliseconds since the epoch.
    """

    definition: Definition
    status: Status
    created: int

    @classmethod
    def of(cls, record: ExperimentRecord) -> Self:
        """The experiment that a store remembers."""
        status = Status.model_validate(record.status)
        return cls(Definition.model_validate(record.definition), status, record.created_ms)

    def with_status(self, status: Status) -> Experiment:
        """The experiment with another status."""
        return replace(self, status=status)

    @property
    def running(self) -> bool:
        """Whether it is served."""
        return self.status.state == "running"

    @property
    def served(self) -> tuple[Arm, ...]:
        """The arms that were not stopped."""
        stopped = self.status.stopped_arms
        return tuple(arm for arm in self.definition.arms if arm.name not in stopped)

    def started(self, others: Sequence[Experiment], share: float | None, now: int) -> Status:
        """Its status once it runs, or runs with a larger share.

        Args:
            others: All experiments, itself included.
            share: Of the layer; None for the definition's, or as it is.
            now: Milliseconds since the epoch.

        Raises:
            ExperimentConflictError: Another one is in the way, or it was stopped.
            InvalidRequestError: The share is less than it has.
        """
        name, status = self.definition.name, self.status
        if status.state == "stopped":
            raise ExperimentConflictError(
                f"experiment {name!r} was stopped, and who was in it has seen its arms; create another one",
                field="experiment",
            )
        running = [other.definition for other in others if other.running and other.definition.name != name]
        for other in running:
            self._check_beside(other)
        self._check_bundles(running)
        wanted = share or (status.share if self.running else self.definition.share)
        if wanted < status.share:
            raise InvalidRequestError(
                f"share: experiment {name!r} has {status.share:g} already; it only grows: who is in it stays",
                field="share",
            )
        taken = {
            bucket
            for other in others
            if other.running and other.definition.space == self.definition.space
            for bucket in _buckets(other.status.segments)
        }
        segments = self._grown(taken, wanted, running)
        return status.model_copy(
            update={
                "state": "running",
                "share": wanted,
                "segments": segments,
                "started": status.started or now,
            }
        )

    def _check_beside(self, other: Definition) -> None:
        """Refuse to run beside another experiment that asks the same requests, or another holdout."""
        mine = self.definition
        if other.scenario == mine.scenario and other.space != mine.space:
            raise ExperimentConflictError(
                f"experiment {other.name!r} runs over scenario {mine.scenario!r} in layer {other.space!r}, "
                "and a request belongs to one experiment; create this one in that layer, or stop that one",
                field="layer",
            )
        if other.space == mine.space and other.holdout != mine.holdout:
            raise ExperimentConflictError(
                f"experiment {other.name!r} holds out {other.holdout:g} of layer {mine.space!r}, this one "
                f"{mine.holdout:g}; a layer has one holdout",
                field="holdout",
            )

    def _check_bundles(self, running: Sequence[Definition]) -> None:
        """Refuse what would have every replica hold more bundles than it has memory for."""
        bundles = {
            arm.bundle
            for known in (*running, self.definition)
            for arm in known.arms
            if arm.bundle is not None
        }
        if len(bundles) > MOST_BUNDLES:
            raise ExperimentConflictError(
                f"running experiments would need {len(bundles)} bundles beside the current one, and replicas "
                f"hold {MOST_BUNDLES}; stop one that has a bundle",
                field="arms",
            )

    def _grown(
        self, taken: set[int], wanted: float, running: Sequence[Definition]
    ) -> tuple[tuple[int, int], ...]:
        """Its segments with free buckets of the layer up to a share."""
        mine = self.definition
        more = round(wanted * BUCKETS) - sum(1 for _ in _buckets(self.status.segments))
        room = BUCKETS - held_out(mine.holdout)
        free = [bucket for bucket in range(room) if bucket not in taken]
        if more > len(free):
            others = [other.name for other in running if other.space == mine.space]
            beside = f" beside {', '.join(others)}" if others else ""
            held = f" and a holdout of {mine.holdout:g}" if mine.holdout else ""
            raise ExperimentConflictError(
                f"layer {mine.space!r} has {len(free) / BUCKETS:g} left{beside}{held}, and "
                f"{more / BUCKETS:g} is needed; ask for a smaller share, or stop one of them",
                field="share",
            )
        return _segments([*_buckets(self.status.segments), *free[:more]])

    def ended(self, reason: str, now: int, arm: str | None = None) -> Status:
        """Its status once it, or one of its arms, is stopped. Stopping again changes nothing.

        An experiment whose arms have nothing left to be compared with is stopped as a whole.

        Raises:
            NotFoundError: It has no such arm.
            ExperimentConflictError: It does not run.
        """
        mine, status = self.definition, self.status
        if arm is not None and arm not in {known.name for known in mine.arms}:
            known = ", ".join(each.name for each in mine.arms)
            raise NotFoundError(
                f"experiment {mine.name!r} has no arm {arm[:80]!r} (known: {known})", field="arm"
            )
        if status.state == "stopped":
            return status
        if arm is not None and not self.running:
            raise ExperimentConflictError(f"experiment {mine.name!r} does not run", field="experiment")
        if arm in status.stopped_arms:
            return status
        left = [known for known in self.served if known.name != arm]
        if arm is not None and len(left) > 1 and left[0] is mine.arms[0] and mine.kind == "split":
            return status.model_copy(update={"stopped_arms": {**status.stopped_arms, arm: reason}})
        stopped_arms = status.stopped_arms if arm is None else {**status.stopped_arms, arm: reason}
        return status.model_copy(
            update={"state": "stopped", "stopped": now, "reason": reason, "stopped_arms": stopped_arms}
        )


def held_out(share: float) -> int:
    """Buckets of a layer's holdout."""
    return round(share * BUCKETS)


def _buckets(segments: Sequence[tuple[int, int]]) -> Iterator[int]:
    for first, end in segments:
        yield from range(first, end)


def _segments(buckets: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Buckets as the fewest segments."""
    found: list[tuple[int, int]] = []
    for bucket in sorted(buckets):
        if found and found[-1][1] == bucket:
            found[-1] = (found[-1][0], bucket + 1)
        else:
            found.append((bucket, bucket + 1))
    return tuple(found)


def plain_of(experiment: Experiment) -> dict[str, Any]:
    """An experiment as plain data, for people and programs."""
    definition = experiment.definition
    arms = [
        {
            **arm.model_dump(mode="json", exclude={"parameters"}),
            "share": definition.share_of(arm),
            "parameters": arm.parameters and arm.parameters.model_dump(mode="json", exclude_defaults=True),
        }
        for arm in definition.arms
    ]
    return {
        **definition.model_dump(mode="json"),
        "layer": definition.space,
        "arms": arms,
        "created": experiment.created,
        "status": experiment.status.model_dump(mode="json", exclude={"segments"}),
    }
