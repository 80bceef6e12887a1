"""Degradation: how a batch goes on without a stage that fails or is late.

Whatever a stage loses is named in the answer's ``degraded``, and the answer is still served:

==================  ===========================================================================
lost                what is served
==================  ===========================================================================
``retrieval``       the scenario's fallback, unranked: the ranker's candidates are missing
``retriever:NAME``  what the other retrievers found
``filter:NAME``     an empty page: what the filter would have hidden stays hidden
``fallback``        the short page
``encoding``        the answer to the same request without its text and what its user wrote just now
``ranking``         the candidates in the order of retrieval
``reranker:NAME``   the order as the reranker found it
``explaining``      items without explanations
``store``           an answer to somebody without a history
==================  ===========================================================================

Deadlines are those of ``server`` (:class:`recserve.config.ServerConfig`). A client of the stages waits for
them (:mod:`recserve.serving.local`), a worker pool for plugin code of the pipeline's own process
(:mod:`recserve.serving.guard.workers`).
"""

from __future__ import annotations

from collections.abc import Mapping

from recserve.errors import RecserveError
from recserve.serving.guard.failures import cause_of, log_failure


class Degradation:
    """What a batch has lost and why, in the order of the losses.

    Attributes:
        degraded: Name of what was lost -> the cause, see :func:`recserve.serving.guard.failures.cause_of`.
    """

    def __init__(self) -> None:
        self.degraded: dict[str, str] = {}

    def without(self, name: str) -> GoingWithout:
        """A block whose error of ours is noted and ends there: the batch goes on after it."""
        return GoingWithout(self, name)

    def lost(self, name: str, error: Exception) -> None:
        """Note that the batch goes on without a stage."""
        log_failure(name, error)
        self.left_out({name: cause_of(error)})

    def left_out(self, causes: Mapping[str, str]) -> None:
        """Note components that a stage did without, and why."""
        self.degraded.update(causes)

    def of_answer(self, with_text: bool) -> dict[str, str]:
        """What the answer to a request had to do without; with no text to read it needs no encoder."""
        return {name: cause for name, cause in self.degraded.items() if with_text or name != "encoding"}


class GoingWithout:
    """Context manager of :meth:`Degradation.without`."""

    def __init__(self, degradation: Degradation, name: str) -> None:
        self._degradation = degradation
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, RecserveError):
            return False
        self._degradation.lost(self._name, error)
        return True
