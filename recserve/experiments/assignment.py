"""Assignment of users and sessions to the arms of running experiments.

By hashes alone: nothing is stored, every replica says the same, and who was assigned stays so for as long
as the experiment runs (Tang et al. 2010, "Overlapping experiment infrastructure"). A hash salted with the
layer's name finds the bucket, another one salted with the experiment's the arm, so that arms of experiments
that follow one another have nothing to do with each other.
"""

from __future__ import annotations

import hashlib
import logging
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate
from typing import Literal, NamedTuple

from recserve.experiments.definition import HOLDOUT, Arm, Guardrails, Parameters
from recserve.experiments.lifecycle import BUCKETS, Experiment, held_out

logger = logging.getLogger(__name__)

_WHOLE = 2.0**64
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class AssignedArm:
    """An arm as requests carry it; equal ones are the same arm of the same experiment.

    Attributes:
        experiment: Name of the experiment; None for those held out.
        name: Name of the arm.
        created: When the experiment was created.
        definition: What the arm changes.
    """

    experiment: str | None
    name: str
    created: int
    definition: Arm = field(compare=False, repr=False)

    @property
    def parameters(self) -> Parameters | None:
        """The parameters of the scenario that it changes."""
        return self.definition.parameters


class Watched(NamedTuple):
    """How guardrails look at the arms of an experiment.

    Attributes:
        control: The arm that others are compared with.
        guardrails: The bounds.
    """

    control: AssignedArm
    guardrails: Guardrails


@dataclass(frozen=True, slots=True)
class Assignment:
    """What an experiment says of a request.

    Attributes:
        arm: The arm that answers; None where each page has items of :attr:`teams`.
        teams: The two arms whose lists are interleaved.
        shadows: The arms that are computed after the answer.
        watched: How guardrails look at the answer; None if they do not.
    """

    arm: AssignedArm | None = None
    teams: tuple[AssignedArm, ...] = ()
    shadows: tuple[AssignedArm, ...] = ()
    watched: Watched | None = None


_HELD_OUT = Assignment(AssignedArm(None, HOLDOUT, 0, Arm(name="none")))


class _Running:
    """A running experiment, ready to be looked up."""

    def __init__(self, experiment: Experiment) -> None:
        definition, served = experiment.definition, experiment.served
        shown = definition.shown
        ident = f"{definition.name} {experiment.created}"
        assigned = self._assigned = {
            arm.name: AssignedArm(definition.name, arm.name, experiment.created, arm)
            for arm in definition.arms
        }
        watched = self._watched = Watched(assigned[shown[0].name], definition.guardrails)
        self._salt = _salt("arm", ident)
        self._upto = list(accumulate(definition.share_of(arm) for arm in shown))[:-1]
        self._shadows = [
            (_salt("shadow", f"{ident} {arm.name}"), definition.share_of(arm), assigned[arm.name])
            for arm in served
            if arm.shadow
        ]
        self._found: list[Assignment | None]
        if definition.kind == "interleaving":
            teams = tuple(assigned[arm.name] for arm in shown)
            self._found = [Assignment(None, teams, watched=watched)] * len(shown)
        else:
            # Whom a stopped arm had gets no other one: they have seen it.
            self._found = [
                Assignment(assigned[arm.name], watched=watched) if arm in served else None for arm in shown
            ]

    def named(self, name: str) -> tuple[AssignedArm, Watched] | None:
        """An arm, and how guardrails look at it; None if there is no such arm."""
        arm = self._assigned.get(name)
        return None if arm is None else (arm, self._watched)

    def assign(self, unit: bytes) -> Assignment | None:
        """What it says of a user or session; None where their arm was stopped."""
        found = self._found[bisect_right(self._upto, _hash(self._salt, unit) / _WHOLE)]
        if found is None or not self._shadows:
            return found
        shadows = tuple(
            arm for salt, share, arm in self._shadows if share >= 1 or _hash(salt, unit) / _WHOLE < share
        )
        return replace(found, shadows=shadows) if shadows else found


@dataclass(frozen=True, slots=True)
class _Layer:
    """The buckets of a layer as one scenario sees them."""

    salt: bytes
    buckets: tuple[_Running | Literal["holdout"] | None, ...]


class Assignments:
    """Immutable look-up of the arms of all running experiments.

    Args:
        experiments: All experiments; those that do not run do not count.
        scenarios: Names of the configured scenarios: what names another one is not served, and said so.
        bundles: Bundles that arms may name here.
    """

    def __init__(
        self,
        experiments: Iterable[Experiment] = (),
        scenarios: Collection[str] = (),
        bundles: Collection[str] = (),
    ) -> None:
        self._layers: dict[str, _Layer] = {}
        self._by_name: dict[str, _Running] = {}
        # Who asks again is most often somebody who asked a moment ago.
        self._known = lru_cache(_REMEMBERED)(self._assign)
        self.running: Mapping[str, Experiment] = {
            experiment.definition.name: experiment
            for experiment in experiments
            if experiment.running and _servable(experiment, scenarios, bundles)
        }
        for experiment in self.running.values():
            definition = experiment.definition
            known = self._layers.get(definition.scenario)
            running = self._by_name[definition.name] = _Running(experiment)
            buckets: list[_Running | Literal["holdout"] | None]
            buckets = [None] * BUCKETS if known is None else list(known.buckets)
            for first, end in experiment.status.segments:
                buckets[first:end] = [running] * (end - first)
            if held := held_out(definition.holdout):
                buckets[-held:] = ["holdout"] * held
            self._layers[definition.scenario] = _Layer(_salt("layer", definition.space), tuple(buckets))

    def concerns(self, scenario: str) -> bool:
        """Whether an experiment over a scenario runs."""
        return scenario in self._layers

    def named(self, experiment: str, arm: str) -> tuple[AssignedArm, Watched] | None:
        """An arm of a running experiment, and how guardrails look at it; None if there is none."""
        running = self._by_name.get(experiment)
        return None if running is None else running.named(arm)

    def assign(self, scenario: str, user_id: str | None, session_id: str | None) -> Assignment | None:
        """The arm of a request; None if no experiment has it.

        Args:
            scenario: Name of the scenario that it asks.
            user_id: Whose arm it is.
            session_id: Whose arm it is without a user.
        """
        return self._known(scenario, user_id, session_id if user_id is None else None)

    def _assign(self, scenario: str, user_id: str | None, session_id: str | None) -> Assignment | None:
        layer = self._layers.get(scenario)
        if layer is None:
            return None
        unit = unit_of(user_id, session_id)
        if unit is None:
            return None
        found = layer.buckets[_hash(layer.salt, unit) % BUCKETS]
        if found is None:
            return None
        return _HELD_OUT if isinstance(found, str) else found.assign(unit)


def unit_of(user_id: str | None, session_id: str | None) -> bytes | None:
    """What stays in one arm: the user, else the session; None for neither."""
    if user_id is not None:
        return b"u" + user_id.encode("utf-8", "surrogatepass")
    return None if session_id is None else b"s" + session_id.encode("utf-8", "surrogatepass")


def _servable(experiment: Experiment, scenarios: Collection[str], bundles: Collection[str]) -> bool:
    """Whether all that an experiment names is there; the configuration may have changed since it was made."""
    definition = experiment.definition
    named = {definition.scenario, *(arm.scenario for arm in definition.arms if arm.scenario is not None)}
    missing = sorted(named - set(scenarios))
    missing += sorted({arm.bundle for arm in definition.arms if arm.bundle is not None} - set(bundles))
    if missing:
        logger.warning(
            "experiment %s is not served: there is no %s here", definition.name, ", ".join(missing)
        )
    return not missing


def _salt(kind: str, name: str) -> bytes:
    return hashlib.blake2b(f"{kind} {name}".encode(), digest_size=16).digest()


def _hash(salt: bytes, unit: bytes) -> int:
    """64 bits of a user or session."""
    return int.from_bytes(hashlib.blake2b(unit, digest_size=8, key=salt).digest(), "little")
