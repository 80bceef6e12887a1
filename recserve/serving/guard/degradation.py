"""Degradation: how a batch goes on without a stage that fails or is late.

Whatever a stage loses is named in the answer's ``degraded``, and the answer is still served:

==================  ===========================================================================
lost                what is served
==================  ===========================================================================
``retrieval``       the scenario's fallback, unranked: the ranker's candidates are missing
``retriever:NAME``  what the other retrievers found
``filter:NAME``     an empty page: what the filter would have hidden stays hidden
``fallback``        the short page
``encoding``        the answer to the same request without its text, but for what matches its words, and
                    without what its user wrote just now
``unknown_words``   the same without its text, as the encoder does not know most of its tokens
``ranking``         the candidates in the order of retrieval
``reranker:NAME``   the order as the reranker found it, for the whole batch or some of it
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

UNKNOWN_WORDS = "unknown_words"
"""Name of the loss when the text encoder does not know the words of a request's text."""


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

    def of_answer(self, with_text: bool, unread: bool = False) -> dict[str, str]:
        """What the answer to a request had to do without.

        Args:
            with_text: Whether there is a text to read; without any it needs no encoder.
            unread: Whether the encoder did not read the request's own.
        """
        found = {name: cause for name, cause in self.degraded.items() if with_text or name != "encoding"}
        if unread and "encoding" not in found:
            found[UNKNOWN_WORDS] = "unread"
        return found


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
