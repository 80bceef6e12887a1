"""Answers by the arms of running experiments: assigned, interleaved, computed in the shadow, and watched.

It stands before whatever answers requests, in one process or in micro-batches, and gives each request the
arm that answers it. Assigning takes a look-up and a hash.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from recserve.data.entities import Event
from recserve.errors import NotReadyError, OverloadedError, RecserveError, StoreError
from recserve.experiments.assignment import AssignedArm, Assignment
from recserve.experiments.follower import ExperimentFollower
from recserve.experiments.guardrails import Answered, GuardrailWatch
from recserve.serving.requests.arms.background import BackgroundQueue
from recserve.serving.requests.arms.interleaved import interleaved
from recserve.serving.requests.request import Asked, Recommendation, Request
from recserve.store import ExposedItem, Exposure
from recserve.telemetry.instruments import ARM_ANSWERS, UNASSIGNED
from recserve.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

_SHADOWS = 64
"""Shadow answers that may wait."""

_DISLIKES = 256
"""Dislikes that may wait for the store to say whose answer they follow."""

_SHADOW_SECONDS = 5.0
"""Longest wait of a shadow answer for a moment at which no request is being answered."""

_IDLE_SECONDS = 0.005
_REMEMBERED = 20_000
"""Latest answers whose arm is known to the process, for events that follow them."""

_STOP_RETRY_SECONDS = 2.0
_STOP_ATTEMPTS = 300


class AnsweringHost(Protocol):
    """What answers requests and keeps what comes of it."""

    async def answer(self, request: Request) -> Recommendation:
        """Answer a request by the arm that it carries."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a request is being answered or waits for it."""
        ...

    def shown(self, request: Request, answer: Recommendation, asked: Asked) -> None:
        """Log a page that was put together of several answers."""
        ...

    def shadowed(self, request: Request, answer: Recommendation, asked: Asked) -> None:
        """Log an answer that nobody was shown."""
        ...

    async def exposure(self, recommendation_id: str) -> Exposure | None:
        """What an answer showed, by whichever process; None if that is not known.

        Raises:
            StoreError: The store cannot be reached.
        """
        ...

    async def stop_arm(self, arm: AssignedArm, reason: str) -> None:
        """Have the store stop an arm, for all processes.

        Raises:
            StoreError: The store cannot be reached.
        """
        ...


class _Shown(NamedTuple):
    """Whose an answer was that was shown; ``teams`` has the arm of each item where they differ."""

    experiment: str
    arm: str | None
    teams: Mapping[str, str | None]

    def arm_of(self, item_id: str) -> str | None:
        """The arm whose item it is."""
        return self.teams.get(item_id) if self.arm is None else self.arm


class _Dislike(NamedTuple):
    recommendation_id: str
    item_id: str


class _Shadow(NamedTuple):
    request: Request
    arm: AssignedArm
    until: float


class ArmAnswers:
    """Answers of requests by the arms that running experiments assign.

    Args:
        follower: Follows the experiments.
        host: Answers.
        default_scenario: Of requests that name none.
        metrics: Where answers are counted.
    """

    def __init__(
        self,
        follower: ExperimentFollower,
        host: AnsweringHost,
        default_scenario: Callable[[], str],
        metrics: Metrics,
    ) -> None:
        self.follower = follower
        self._host = host
        self._default = default_scenario
        self._metrics = metrics
        self._known = follower.assignments
        self._watch = GuardrailWatch()
        self._shown: OrderedDict[str, _Shown] = OrderedDict()
        self._dislikes: BackgroundQueue[_Dislike] = BackgroundQueue(self._look_up, _DISLIKES)
        self._stopping: dict[AssignedArm, asyncio.Task[None]] = {}
        self.shadows: BackgroundQueue[_Shadow] = BackgroundQueue(self._compute_shadow, _SHADOWS)
        """Shadow answers that wait."""

    async def answer(self, request: Request) -> Recommendation:
        """Answer a request by its arm, if an experiment has one for it.

        Raises:
            RecserveError: See :meth:`recserve.api.Backend.recommend`.
        """
        assignments = self.follower.assignments
        if assignments is not self._known:
            self._known = assignments
            self._watch.keep(frozenset(assignments.running))
        if not assignments.running:
            return await self._host.answer(request)
        scenario = request.scenario or self._default()
        assignment = assignments.assign(scenario, request.user_id, request.session_id)
        if assignment is None:
            if request.user_id is None and request.session_id is None and assignments.concerns(scenario):
                self._metrics.count(UNASSIGNED, scenario)
            return await self._host.answer(request)
        if assignment.arm is None:
            answer = await self._interleaved(request, assignment)
        else:
            answer = await self._watched(request.served_by(assignment.arm), assignment.arm, assignment)
        if answer.experiment is not None:
            teams = {item.item_id: team for item, team in zip(answer.items, answer.teams, strict=False)}
            self._shown[answer.recommendation_id] = _Shown(answer.experiment, answer.arm, teams)
            if len(self._shown) > _REMEMBERED:
                self._shown.popitem(last=False)
        self._metrics.count(ARM_ANSWERS, answer.experiment or "", answer.arm or "", "shown")
        for arm in assignment.shadows:
            self._shadow(request, arm)
        return answer

    def events_added(self, events: Sequence[Event], negative: Callable[[str], bool]) -> None:
        """Count negative events that follow answers of arms.

        Args:
            events: What was stored.
            negative: Whether an event type says that somebody dislikes an item.
        """
        if not self.follower.assignments.running:
            return
        for event in events:
            if event.recommendation_id is None or not negative(event.event):
                continue
            shown = self._shown.get(event.recommendation_id)
            if shown is not None:
                self._dislike(shown, event.item_id)
            elif not self._dislikes.add(_Dislike(event.recommendation_id, event.item_id)):
                logger.warning("a dislike of another process's answer was not counted: too many wait")

    async def close(self) -> None:
        """Drop shadow answers that wait, and stop following."""
        self.shadows.close()
        self._dislikes.close()
        for task in self._stopping.values():
            task.cancel()
        await asyncio.to_thread(self.follower.close)

    # ---- Shown answers ---------------------------------------------------------------------------------

    async def _watched(self, request: Request, arm: AssignedArm, assignment: Assignment) -> Recommendation:
        """The answer of an arm, which guardrails look at."""
        began = time.perf_counter()
        try:
            answer = await self._host.answer(request)
        except RecserveError as error:
            # A wrong request, or a server that takes no more, says nothing about the arm.
            if error.status >= 500 and not isinstance(error, OverloadedError | NotReadyError):
                self._note(arm, assignment, began, degraded=True)
            raise
        self._note(arm, assignment, began, degraded=bool(answer.degraded))
        return answer

    def _note(self, arm: AssignedArm, assignment: Assignment, began: float, *, degraded: bool) -> None:
        """Have the guardrails look at an answer that was asked for at a moment."""
        if assignment.watched is not None:
            seen = Answered(degraded, 1000 * (time.perf_counter() - began))
            self._act(arm, self._watch.answered(arm, *assignment.watched, seen))

    async def _interleaved(self, request: Request, assignment: Assignment) -> Recommendation:
        """A page with items of two arms."""
        moments: list[Asked] = []

        def told(answer: Recommendation, asked: Asked) -> None:
            moments.append(asked)

        first, second = await asyncio.gather(
            *(
                self._watched(replace(request.served_by(arm), told=told), arm, assignment)
                for arm in assignment.teams
            )
        )
        page = interleaved(request, first, second, [arm.name for arm in assignment.teams])
        # The earliest of both: who was deleted since then stays so.
        asked = Asked(min(asked.at for asked in moments), min(asked.deletions for asked in moments))
        self._host.shown(request, page, asked)
        return page

    # ---- Shadows ---------------------------------------------------------------------------------------

    def _shadow(self, request: Request, arm: AssignedArm) -> None:
        waiting = _Shadow(request.served_by(arm), arm, time.monotonic() + _SHADOW_SECONDS)
        if not self.shadows.add(waiting):
            self._count_shadow(arm, "dropped")

    async def _compute_shadow(self, shadow: _Shadow) -> None:
        """Compute a shadow answer at a moment when nobody waits for another one."""
        while self._host.busy:
            if time.monotonic() > shadow.until:
                self._count_shadow(shadow.arm, "dropped")
                return
            await asyncio.sleep(_IDLE_SECONDS)

        def told(answer: Recommendation, asked: Asked) -> None:
            self._host.shadowed(shadow.request, answer, asked)

        try:
            await self._host.answer(replace(shadow.request, told=told))
        except RecserveError:
            self._count_shadow(shadow.arm, "failed")
        else:
            self._count_shadow(shadow.arm, "shadow")

    def _count_shadow(self, arm: AssignedArm, outcome: str) -> None:
        self._metrics.count(ARM_ANSWERS, arm.experiment or "", arm.name, outcome)

    # ---- Guardrails ------------------------------------------------------------------------------------

    async def _look_up(self, dislike: _Dislike) -> None:
        """Count a dislike of an answer that another process gave, or this one long ago."""
        exposure = await self._host.exposure(dislike.recommendation_id)
        if exposure is not None and exposure.experiment is not None:
            teams = {item.item_id: item.arm for item in exposure.items if isinstance(item, ExposedItem)}
            self._dislike(_Shown(exposure.experiment, exposure.arm, teams), dislike.item_id)

    def _dislike(self, shown: _Shown, item_id: str) -> None:
        arm = shown.arm_of(item_id)
        named = None if arm is None else self.follower.assignments.named(shown.experiment, arm)
        if named is not None:
            assigned, watched = named
            self._act(assigned, self._watch.disliked(assigned, *watched))

    def _act(self, arm: AssignedArm, reason: str | None) -> None:
        """Stop an arm if there is a reason: here at once, and in the store for all."""
        if reason is not None and arm not in self._stopping:
            self._stopping[arm] = asyncio.get_running_loop().create_task(self._stop(arm, reason))

    async def _stop(self, arm: AssignedArm, reason: str) -> None:
        logger.warning("guardrail: arm %s of experiment %s is stopped: %s", arm.name, arm.experiment, reason)
        await asyncio.to_thread(self.follower.bar, arm)
        for _ in range(_STOP_ATTEMPTS):
            try:
                await self._host.stop_arm(arm, reason)
                break
            except StoreError as error:
                logger.warning("arm %s cannot be stopped in the store yet: %s", arm.name, error)
                await asyncio.sleep(_STOP_RETRY_SECONDS)
            except RecserveError as error:
                logger.info("arm %s was stopped already: %s", arm.name, error)
                break
        await asyncio.to_thread(self.follower.refresh)
