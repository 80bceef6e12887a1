"""Stage client over Serve handles: deadlines, retries, and a circuit breaker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

from ray.exceptions import RayActorError
from ray.serve.handle import DeploymentHandle

from recserve.config import ServerConfig, StageConfig
from recserve.data.arrays import FloatArray
from recserve.data.batches import Candidates, Queries
from recserve.errors import RecserveError, StageDownError, StageError, StageLateError
from recserve.experiments.definition import Parameters
from recserve.serving.local import stage_seconds
from recserve.serving.stages.retrieval import RetrievalResult
from recserve.telemetry.requests import current

logger = logging.getLogger(__name__)

_LATE_IN_A_ROW = 3
_PING_SECONDS = 5.0
_SLACK_SECONDS = 0.5

# A call that is not answered after this long is made again: its replica's host may be away without a word.
# Stages that are merely slow must not get twice the load, so this is for a share of all calls and a burst.
_PATIENCE_SECONDS = 0.4
_REPEATED_SHARE = 0.1
_REPEATED_BURST = 10.0


class StageHandle:
    """One stage behind a Serve handle, with a deadline, retries, and a breaker.

    A call that waits for longer than usual is made again where there is another replica, and the first
    answer counts; all calls are reads.
    After a replica died and no other one answered, or after three late answers in a row, the stage
    counts as down: calls fail at once, so that requests degrade instead of waiting, until the stage answers a
    ping again.

    Args:
        name: What ``degraded`` and log messages call it.
        handle: The deployment's handle.
        deadline: Seconds a call may take, retry included.
        alone: Whether the stage has one replica only: a repeated call would just burden it, and there is
            nobody to ask after it died.
    """

    def __init__(
        self, name: str, handle: DeploymentHandle[Any], deadline: float, *, alone: bool = False
    ) -> None:
        self._name = name
        self._handle = handle
        self._deadline = deadline
        self._alone = alone
        self._late = 0
        self._burst = 0.0 if alone else _REPEATED_BURST
        self._spare = self._burst
        self._attempts: set[asyncio.Task[Any]] = set()
        self._reviving: asyncio.Task[None] | None = None

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method on some replica.

        Raises:
            StageError: No answer in time, or the stage failed.
            RecserveError: What the stage itself raised.
        """
        if self._reviving is not None:
            raise StageDownError(f"{self._name} does not answer")
        end = time.monotonic() + self._deadline
        try:
            answer = await self._first_answer(method, arguments, end)
        except RayActorError:
            answer = await self._retry(method, arguments, end)
        except TimeoutError:
            self._late += 1
            if self._late >= _LATE_IN_A_ROW:
                self._mark_down()
            raise StageLateError(f"{self._name} took longer than {self._deadline:g} s") from None
        self._late = 0
        return answer

    async def _retry(self, method: str, arguments: tuple[Any, ...], end: float) -> Any:
        """What another replica answers, after one died under the call."""
        if self._alone:
            # The next replica is seconds away, so waiting for it would end at the deadline. That goes for
            # calls, too, that Serve had not sent to the one that died and keeps for its successor.
            self._mark_down()
            for attempt in self._attempts:
                attempt.cancel()
            raise StageDownError(f"{self._name}: its only replica died")
        logger.warning("a replica of %s died, trying another one", self._name)
        try:
            return await self._first_answer(method, arguments, end)
        except (RayActorError, TimeoutError):
            self._mark_down()
            raise StageDownError(f"{self._name}: its replica died and no other one answers") from None

    async def _first_answer(self, method: str, arguments: tuple[Any, ...], end: float) -> Any:
        """The first answer of several attempts: another one is made whenever none has come for a while."""
        self._spare = min(self._spare + _REPEATED_SHARE, self._burst)
        waiting = {self._start(method, arguments, end)}
        while True:
            done, waiting = await asyncio.wait(
                waiting, timeout=_PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if any(attempt.cancelled() for attempt in done):
                raise StageDownError(f"{self._name}: its only replica died")
            answered = [attempt for attempt in done if not isinstance(attempt.exception(), RayActorError)]
            if answered or (done and not waiting):
                return (answered or list(done))[0].result()
            if not done and self._spare >= 1.0:
                self._spare -= 1.0
                waiting.add(self._start(method, arguments, end))

    def _start(self, method: str, arguments: tuple[Any, ...], end: float) -> asyncio.Task[Any]:
        """An attempt that goes on until its deadline, even after another one has answered.

        Serve sends calls to the replica with the fewest unanswered ones: as long as they are not cancelled,
        they keep others from a host that is away.
        """
        attempt = asyncio.get_running_loop().create_task(self._attempt(method, arguments, end))
        self._attempts.add(attempt)
        attempt.add_done_callback(self._ended)
        return attempt

    def _ended(self, attempt: asyncio.Task[Any]) -> None:
        self._attempts.discard(attempt)
        if not attempt.cancelled():
            attempt.exception()  # nobody else need have asked

    async def _attempt(self, method: str, arguments: tuple[Any, ...], end: float) -> Any:
        response = getattr(self._handle, method).remote(*arguments)
        try:
            async with asyncio.timeout(max(end - time.monotonic(), 0.001)):
                return await response
        except (RayActorError, TimeoutError):
            raise
        except Exception as error:
            # Exceptions of the stage arrive wrapped; what is not ours is a failure of the stage.
            cause = getattr(error, "cause", error)
            if isinstance(cause, RecserveError):
                raise cause from None
            raise StageError(f"{self._name}: {type(cause).__name__}: {cause}") from None

    def _mark_down(self) -> None:
        if self._reviving is None:
            logger.error("%s does not answer; going on without it", self._name)
            self._reviving = asyncio.get_running_loop().create_task(self._revive())

    async def _revive(self) -> None:
        while not await self.alive(_PING_SECONDS):
            await asyncio.sleep(0.1)
        logger.info("%s answers again", self._name)
        self._late = 0
        self._reviving = None

    async def alive(self, timeout: float) -> bool:
        """Whether a replica answers within ``timeout`` seconds."""
        try:
            return bool(await self._first_answer("ping", (), time.monotonic() + timeout))
        except Exception:  # whatever it is, the stage does not answer
            return False

    async def prepare(self, bundle: str, timeout: float) -> None:
        """Have every replica load a bundle. A replica that cannot will load it, or degrade, when asked."""
        try:
            loaded = await self._handle.broadcast("prepare", bundle).results_async(
                timeout_s=timeout, return_exceptions=True
            )
        except Exception as error:
            logger.warning("%s could not be told of bundle %s: %s", self._name, bundle, error)
            return
        for answer in loaded:
            if isinstance(answer, BaseException):
                logger.warning("%s cannot load bundle %s: %s", self._name, bundle, answer)


class ServeStageClient:
    """:class:`recserve.serving.stage_client.StageClient` over Serve handles.

    Args:
        retrieval: Handle of the deployment Retrieval.
        encoding: Handle of the deployment Encoding, None when no text encoder is configured.
        ranking: Handle of the deployment Ranking.
        server: Deadlines.
    """

    def __init__(
        self,
        retrieval: DeploymentHandle[Any],
        encoding: DeploymentHandle[Any] | None,
        ranking: DeploymentHandle[Any],
        server: ServerConfig,
    ) -> None:
        # A stage itself gives up at its deadlines; these ones are for a replica that does not even do that.
        seconds = stage_seconds(server) + _SLACK_SECONDS
        self._retrieval = StageHandle("retrieval", retrieval, seconds, alone=_alone(server.retrieval))
        seconds = server.ranking.deadline_ms / 1000 + _SLACK_SECONDS
        self._ranking = StageHandle("ranking", ranking, seconds, alone=_alone(server.ranking))
        # A breaker of its own: comparing many users takes long, and what is late there is no reason to do
        # without ranking.
        self._audience = StageHandle("audience", ranking, seconds, alone=_alone(server.ranking))
        self._encoding = None
        if encoding is not None:
            seconds = server.encoding.deadline_ms / 1000 + _SLACK_SECONDS
            self._encoding = StageHandle("encoding", encoding, seconds, alone=_alone(server.encoding))

    @property
    def stages(self) -> dict[str, StageHandle]:
        """The stages by name."""
        found = {"retrieval": self._retrieval, "encoding": self._encoding, "ranking": self._ranking}
        return {name: stage for name, stage in found.items() if stage is not None}

    async def retrieve(
        self, bundle: str, scenario: str, queries: Queries, n: int, parameters: Parameters | None = None
    ) -> RetrievalResult:
        """See :class:`recserve.serving.stage_client.StageClient`."""
        result: RetrievalResult = await self._retrieval.call(
            "retrieve", bundle, scenario, queries, n, current(), parameters
        )
        return result

    async def rank(self, bundle: str, scenario: str, queries: Queries, candidates: Candidates) -> FloatArray:
        """See :class:`recserve.serving.stage_client.StageClient`."""
        scores: FloatArray = await self._ranking.call(
            "rank", bundle, scenario, queries, candidates, current()
        )
        return scores

    async def affinity(self, bundle: str, scenario: str, queries: Queries, item: int) -> FloatArray:
        """See :class:`recserve.serving.stage_client.StageClient`."""
        affinity: FloatArray = await self._audience.call(
            "affinity", bundle, scenario, queries, item, current()
        )
        return affinity

    async def encode(self, bundle: str, texts: Sequence[str], *, queries: int = 0) -> FloatArray:
        """See :class:`recserve.serving.stage_client.StageClient`."""
        if self._encoding is None:
            raise StageError("no text encoder is configured")
        vectors: FloatArray = await self._encoding.call("encode", bundle, list(texts), queries, current())
        return vectors


def _alone(stage: StageConfig) -> bool:
    return max(stage.replicas, stage.max_replicas or 1) == 1
