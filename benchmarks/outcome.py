"""What came of the chaos benchmark: effects of each fault, acknowledged beside stored, and the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common import machine, quantile, write_json
from benchmarks.traffic import Call, Fact, Traffic

STAGES = ("Retrieval", "Encoding", "Ranking")
RESTART = "server restarted"


@dataclass
class Fault:
    """Something that was broken on purpose.

    Attributes:
        name: What.
        started: When it was broken, ``time.monotonic()``.
        mending: From when on it could recover: at once, or when it was started again.
        healthy: When the server said that all is well again; None if it never did.
    """

    name: str
    started: float
    mending: float
    healthy: float | None = None


@dataclass
class Effect:
    """What clients noticed of a fault, from its start until the server was healthy again.

    Attributes:
        fault: Its name.
        recovery_s: Seconds until the server said that all is well, None if it never did.
        outage_s: Seconds from the first failed read to the last one.
        noticed_s: Seconds until the end of the last read that failed or was degraded; None of none.
        reads: Reads that were under way in that time.
        failed: Those not answered 2xx.
        degraded: Answers by what they were degraded by.
        longest_s: Duration of the slowest read.
    """

    fault: str
    recovery_s: float | None
    outage_s: float
    noticed_s: float | None
    reads: int
    failed: int
    longest_s: float
    degraded: Counter[str] = field(default_factory=Counter)

    @property
    def success(self) -> float:
        """Share of the reads that were answered 2xx."""
        return 1.0 - self.failed / self.reads if self.reads else float("nan")


def effect_of(fault: Fault, calls: Sequence[Call], until: float) -> Effect:
    """Look at the reads that overlap a fault; what they notice counts until the next one at ``until``."""
    end = until if fault.healthy is None else fault.healthy
    reads = [call for call in calls if call.kind == "read" and call.ended >= fault.started]
    within = [call for call in reads if call.started <= end]
    failed = [call for call in within if not call.good]
    bad = [call.ended for call in reads if call.ended < until and (not call.good or call.degraded)]
    return Effect(
        fault=fault.name,
        recovery_s=None if fault.healthy is None else fault.healthy - fault.mending,
        outage_s=max(one.ended for one in failed) - min(one.started for one in failed) if failed else 0.0,
        noticed_s=max(max(bad) - fault.mending, 0.0) if bad else None,
        reads=len(within),
        failed=len(failed),
        longest_s=max((call.ended - call.started for call in within), default=0.0),
        degraded=Counter(part for call in within for part in call.degraded),
    )


@dataclass
class Kept:
    """Acknowledged writes beside what the database holds.

    Attributes:
        acknowledged: Events acknowledged.
        sent: Events sent, acknowledged or not.
        stored: Events of this run in the database.
        lost: Acknowledged events that are not there, or are there with other content.
        twice: Event ids that are there more than once.
        refused: Events that were refused and not sent again.
        refused_stored: Those of them that are there all the same.
        items: Items acknowledged.
        items_lost: Items that are missing or older than what was acknowledged.
    """

    acknowledged: int
    sent: int
    stored: int
    lost: list[str]
    twice: list[str]
    refused: int
    refused_stored: list[str]
    items: int
    items_lost: list[str]


def compare(traffic: Traffic, rows: Sequence[tuple[str, Fact]], revisions: dict[str, int]) -> Kept:
    """Compare what was acknowledged with what is stored."""
    counts = Counter(event_id for event_id, _ in rows)
    facts = dict(rows)
    return Kept(
        acknowledged=len(traffic.acknowledged),
        sent=len(traffic.sent),
        stored=len(facts),
        lost=sorted(one for one, fact in traffic.acknowledged.items() if facts.get(one) != fact),
        twice=sorted(one for one, count in counts.items() if count > 1),
        refused=len(traffic.refused),
        refused_stored=sorted(traffic.refused & set(facts)),
        items=len(traffic.item_revisions),
        items_lost=sorted(
            one for one, newest in traffic.item_revisions.items() if revisions.get(one, -1) < newest
        ),
    )


def show_calls(traffic: Traffic, restart: Fault | None, console: Console) -> None:
    """Requests by kind; those during the restart of the whole server apart."""

    def in_restart(call: Call) -> bool:
        end = float("inf") if restart is None or restart.healthy is None else restart.healthy
        return restart is not None and call.ended >= restart.started and call.started <= end

    table = Table("requests", "sent", "2xx", "other answers", "no answer", "degraded", "p50 ms", "p99 ms")
    for apart, label in ((False, ""), (True, " (restart)")):
        for kind in ("read", "event", "batch", "item"):
            calls = [one for one in traffic.calls if one.kind == kind and in_restart(one) == apart]
            if not calls:
                continue
            other = Counter(f"{one.status} {one.code}" for one in calls if one.status and not one.good)
            broken = Counter(one.code for one in calls if not one.status)
            spent = [1000 * (one.ended - one.started) for one in calls if one.good]
            table.add_row(
                kind + label,
                str(len(calls)),
                str(sum(one.good for one in calls)),
                "\n".join(f"{count} x {what}" for what, count in other.most_common()),
                "\n".join(f"{count} x {what}" for what, count in broken.most_common()),
                str(sum(bool(one.degraded) for one in calls)),
                f"{quantile(spent, 0.5):.0f}",
                f"{quantile(spent, 0.99):.0f}",
            )
    console.print(table)
    for (status, code), text in sorted(traffic.examples.items()):
        console.print(f"{status} {code}: {' '.join(text.split())}", markup=False, highlight=False)


def show_effects(effects: Sequence[Effect], console: Console) -> None:
    """One row a fault."""
    headings = ("fault", "healthy after s", "last noticed s", "reads", "failed", "success")
    table = Table(*headings, "failing for s", "slowest s", "degraded answers")
    for one in effects:
        table.add_row(
            one.fault,
            "never" if one.recovery_s is None else f"{one.recovery_s:.1f}",
            "" if one.noticed_s is None else f"{one.noticed_s:.1f}",
            str(one.reads),
            str(one.failed),
            f"{one.success:.2%}",
            f"{one.outage_s:.1f}" if one.failed else "",
            f"{one.longest_s:.1f}",
            ", ".join(f"{part} {count}" for part, count in one.degraded.most_common()),
        )
    console.print(table)
    stages = [one for one in effects if one.fault.startswith(STAGES)]
    reads, failed = sum(one.reads for one in stages), sum(one.failed for one in stages)
    if reads:
        console.print(f"reads while a stage was down: {1 - failed / reads:.3%} of {reads} successful")


def show_kept(kept: Kept, console: Console) -> None:
    """Acknowledged beside stored."""
    headings = ("writes", "sent", "acknowledged", "stored", "lost", "stored twice")
    table = Table(*headings, "refused for good", "refused but stored")
    table.add_row(
        "events",
        str(kept.sent),
        str(kept.acknowledged),
        str(kept.stored),
        str(len(kept.lost)),
        str(len(kept.twice)),
        str(kept.refused),
        str(len(kept.refused_stored)),
    )
    if kept.items:
        table.add_row("items", "", str(kept.items), "", str(len(kept.items_lost)))
    console.print(table)


def report(traffic: Traffic, faults: Sequence[Fault], kept: Kept, store: str, path: Path | None) -> int:
    """Print everything and write it to ``path``; returns the exit status."""
    console = Console(width=140)
    console.print(
        f"{machine()}; store: {store}; {traffic.rate:g} requests a second wanted, reads started up to "
        f"{traffic.latest:.1f} s late",
        highlight=False,
    )
    restart = next((one for one in faults if one.name == RESTART), None)
    ends = [*(one.started for one in faults[1:]), float("inf")]
    effects = [effect_of(one, traffic.calls, end) for one, end in zip(faults, ends, strict=True)]
    show_calls(traffic, restart, console)
    show_effects(effects, console)
    show_kept(kept, console)
    for line in dict.fromkeys(traffic.rejected):
        console.print(f"rejected: {line}", markup=False, highlight=False)
    errors = sum(call.status == 500 for call in traffic.calls)
    alive = [one for one in effects if one.fault != RESTART]
    reads, unanswered = sum(one.reads for one in alive), sum(one.failed for one in alive)
    if reads:
        console.print(f"reads answered while something was broken: {1 - unanswered / reads:.3%} of {reads}")
    lost = len(kept.lost) + len(kept.twice) + len(kept.items_lost)
    refused = len(traffic.rejected)
    content = {
        "machine": machine(),
        "store": store,
        "rate": traffic.rate,
        "reads_late_s": traffic.latest,
        "answers_500": errors,
        "rejected": traffic.rejected,
        "faults": [{**vars(one), "degraded": dict(one.degraded), "success": one.success} for one in effects],
        "writes": vars(kept),
        "calls": [_row(call, traffic.calls[0].started) for call in traffic.calls],
    }
    write_json(path, content)
    console.print(
        f"answers with 500: {errors}; acknowledged writes lost or stored twice: {lost}; "
        f"good writes refused for good: {refused}; refused writes stored: {len(kept.refused_stored)}",
        style="bold",
    )
    return 1 if errors or lost or refused or kept.refused_stored else 0


def _row(call: Call, zero: float) -> list[Any]:
    times = (round(call.started - zero, 4), round(call.ended - zero, 4))
    return [call.kind, *times, call.status, call.code, list(call.degraded)]
