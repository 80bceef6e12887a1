"""Administration of bundles behind the routes: what there is, how good it is, and which one is served."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from recserve.api.backends.store_threads import StoreThreads
from recserve.bundles.manifest import Manifest
from recserve.bundles.repository import BundleRepository
from recserve.config import Config
from recserve.errors import InvalidRequestError, NotFoundError, OutcomeUnknownError, StoreError
from recserve.plugin.registry import Registry
from recserve.store import BundleRecord, Promotion, Store
from recserve.training.promotion.decision import Decider
from recserve.training.promotion.files import report_page
from recserve.training.promotion.gate import Finding
from recserve.training.retraining.status import RetrainingStatus, read_status

MOST_REPORT_BYTES = 5_000_000
"""Of the page of an offline report; one that training writes has some ten thousand."""

_MOST_PROMOTIONS = 1_000
# Together less than a request may take: a call is read, weighed and written for.
_BEGIN_SECONDS = 2.0
_READ_SECONDS = 6.0
_WEIGH_SECONDS = 16.0


Weigher = Callable[[str, str], Sequence[Finding]]
"""Findings on a bundle, of the current one's id and its own."""
Comparer = Callable[[str, str], dict[str, Any] | None]
"""Difference of two bundles, see :func:`recserve.training.promotion.process.measured_difference`."""


class EvidenceLateError(StoreError):
    """Evidence that is not there in the time a call may take; nothing was decided."""

    code = "timeout"


@dataclass(frozen=True, slots=True)
class BundleState:
    """A bundle as the store remembers it.

    Attributes:
        record: What the store has of it.
        present: Whether its files are there to be served.
        promotions: When and why it became current, newest first.
        report: Whether the page of its offline report is here.
    """

    record: BundleRecord
    present: bool
    promotions: Sequence[Promotion]
    report: bool


@dataclass(frozen=True, slots=True)
class BundleList:
    """Bundles of a store.

    Attributes:
        current: Id of the bundle to serve, None before the first.
        bundles: The newest, newest first.
        known: How many there are.
        promotions: The newest changes of the current bundle, newest first.
        retraining: The last retraining run of the home, None if there was none on this machine.
    """

    current: str | None
    bundles: Sequence[BundleState]
    known: int
    promotions: Sequence[Promotion]
    retraining: RetrainingStatus | None = None


class BundleDesk:
    """Reads bundles and decides on them for callers of the API.

    Every method raises StoreError when the store cannot be reached or it takes too long. Evidence is weighed
    for one caller at a time.

    Args:
        store: The store.
        repository: Where bundles live.
        home: The home folder.
        weigh: Tells what speaks for and against a bundle, in a thread.
        compare: Tells how two bundles differ, likewise.
    """

    def __init__(
        self,
        store: Store,
        repository: BundleRepository,
        home: Path,
        weigh: Weigher,
        compare: Comparer,
    ) -> None:
        self._store = store
        self._repository = repository
        self._home = home
        self._weigh_evidence = weigh
        self._compare = compare
        # Of their own: object storage that hangs must not take the threads that requests need.
        self._reads = StoreThreads(
            "bundles", threads=2, queue=8, begin_seconds=_BEGIN_SECONDS, end_seconds=_READ_SECONDS
        )
        self._decisions = StoreThreads(
            "promotion",
            threads=1,
            queue=2,
            begin_seconds=_BEGIN_SECONDS,
            end_seconds=_WEIGH_SECONDS,
            late=EvidenceLateError,
        )
        self._writes = StoreThreads(
            "bundle-writes",
            threads=1,
            queue=2,
            begin_seconds=_BEGIN_SECONDS,
            end_seconds=_READ_SECONDS,
            late=OutcomeUnknownError,
        )

    @classmethod
    def of(cls, store: Store, repository: BundleRepository, home: Path, config: Config) -> BundleDesk:
        """A desk that weighs evidence in this process."""
        # What measures models is of no use to those who only serve them.
        from recserve.training.promotion.evidence import Weighing
        from recserve.training.promotion.process import measured_difference

        weighing = Weighing(home, config, Registry.discover, repository, store, fits=False)
        return cls(
            store,
            repository,
            home,
            lambda current, candidate: weighing.findings(current, repository.open(candidate)),
            partial(measured_difference, home, repository),
        )

    async def list(self, limit: int) -> BundleList:
        """The newest bundles, and the newest promotions.

        Args:
            limit: At most so many of each.
        """
        return await self._reads.run(partial(self._list, limit))

    def _list(self, limit: int) -> BundleList:
        promotions = self._store.promotions(limit)
        records = self._store.bundles()
        present = set(self._repository.ids())
        states = [self._state(record, present, promotions) for record in records[:limit]]
        current = self._store.current_bundle()
        return BundleList(current, states, len(records), promotions, read_status(self._home))

    async def get(self, bundle_id: str) -> tuple[BundleState, Manifest | None, str | None]:
        """A bundle, its manifest, which is None where its files are gone, and the id of the current one.

        Raises:
            NotFoundError: The store does not know it.
            BundleError: Its manifest is damaged.
        """
        return await self._reads.run(partial(self._get, bundle_id))

    def _get(self, bundle_id: str) -> tuple[BundleState, Manifest | None, str | None]:
        record = self._record(bundle_id)
        present = set(self._repository.ids())
        state = self._state(record, present, self._store.promotions(_MOST_PROMOTIONS))
        manifest = self._repository.manifest(bundle_id) if state.present else None
        return state, manifest, self._store.current_bundle()

    async def report(self, bundle_id: str) -> str:
        """The page of a bundle's offline report.

        Raises:
            NotFoundError: There is none here.
        """
        return await self._reads.run(partial(self._report, bundle_id))

    def _report(self, bundle_id: str) -> str:
        self._record(bundle_id)
        path = report_page(self._home, bundle_id)
        try:
            if path.stat().st_size <= MOST_REPORT_BYTES:
                return path.read_text(encoding="utf-8")
        except OSError:
            pass
        raise NotFoundError(
            f"there is no report of bundle {bundle_id} on this machine: it was trained elsewhere, without an "
            "evaluation, or by an earlier version",
            field="bundle_id",
        )

    async def compare(self, first: str, second: str) -> tuple[Manifest, Manifest, dict[str, Any] | None]:
        """Two bundles' manifests, and their difference as training measured it.

        Returns:
            For the difference see :func:`recserve.training.promotion.process.measured_difference`.

        Raises:
            NotFoundError: The store does not know one of them.
            BundleError: The files of one of them are damaged or gone.
        """
        if first == second:
            raise InvalidRequestError("b: compare a bundle with another one, not with itself", field="b")
        manifests = await self._reads.run(partial(self._both, first, second))
        return *manifests, await self._decisions.run(partial(self._compare, first, second))

    def _both(self, first: str, second: str) -> tuple[Manifest, Manifest]:
        self._record(first)
        self._record(second)
        return self._repository.manifest(first), self._repository.manifest(second)

    async def promote(
        self, bundle_id: str, actor: str, *, reason: str | None, forced: bool
    ) -> tuple[str | None, Sequence[Finding]]:
        """Make a bundle current if its evidence allows it; servers follow within seconds.

        Args:
            bundle_id: The bundle.
            actor: Who asks, for the history of promotions.
            reason: Why, in words.
            forced: Whether it is wanted whatever the evidence says.

        Returns:
            The bundle that was current until now, and what it was decided by.

        Raises:
            NotFoundError: The store does not know it.
            BundleError: It is damaged or gone.
            GateError: The evidence speaks against it.
            NotMeasuredError: Nothing tells how good it is.
            EvidenceLateError: Weighing takes too long; nothing was decided.
        """
        decider = Decider(self._store, actor)
        try:
            before, findings = await self._decisions.run(partial(self._weigh, decider, bundle_id, forced))
        except EvidenceLateError:
            raise EvidenceLateError(
                f"weighing the evidence takes longer than {_WEIGH_SECONDS:g} s, so nothing was decided; use "
                "`recserve promote` on the command line"
            ) from None
        if before != bundle_id:
            decide = partial(
                decider.promote,
                bundle_id,
                before,
                findings,
                reason=reason,
                forced=forced,
                anyway="`force` and a `reason`",
            )
            await self._writes.run(decide)
        return before, findings

    def _weigh(self, decider: Decider, bundle_id: str, forced: bool) -> tuple[str | None, Sequence[Finding]]:
        """The current bundle, and what speaks for and against one that is intact."""
        decider.check_known(bundle_id)
        current = self._store.current_bundle()
        if current == bundle_id:
            return current, ()
        self._repository.open(bundle_id)
        if current is None or forced:
            return current, ()
        return current, self._weigh_evidence(current, bundle_id)

    async def roll_back(self, actor: str, reason: str | None) -> tuple[str, str]:
        """Make the bundle that was current before current again; see :meth:`Decider.roll_back`."""
        return await self._writes.run(
            partial(Decider(self._store, actor).roll_back, self._repository, reason)
        )

    def _record(self, bundle_id: str) -> BundleRecord:
        for record in self._store.bundles():
            if record.bundle_id == bundle_id:
                return record
        raise NotFoundError(f"unknown bundle {bundle_id[:80]!r}", field="bundle_id")

    def _state(self, record: BundleRecord, present: set[str], promotions: Sequence[Promotion]) -> BundleState:
        return BundleState(
            record,
            record.bundle_id in present,
            [promotion for promotion in promotions if promotion.bundle_id == record.bundle_id],
            report_page(self._home, record.bundle_id).exists(),
        )
