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
        outage_s=max(call.ended for call in failed) - min(call.started for call in failed) if failed else 0.0,
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
        lost=sorted(
            event_id for event_id, fact in traffic.acknowledged.items() if facts.get(event_id) != fact
        ),
        twice=sorted(event_id for event_id, count in counts.items() if count > 1),
        refused=len(traffic.refused),
        refused_stored=sorted(traffic.refused & set(facts)),
        items=len(traffic.item_revisions),
        items_lost=sorted(
            item_id
            for item_id, newest in traffic.item_revisions.items()
            if revisions.get(item_id, -1) < newest
        ),
    )


def _overlaps(call: Call, fault: Fault | None) -> bool:
    if fault is None:
        return False
    end = float("inf") if fault.healthy is None else fault.healthy
    return call.ended >= fault.started and call.started <= end


def show_calls(traffic: Traffic, restart: Fault | None, console: Console) -> None:
    """Requests by kind; those during the restart of the whole server apart."""
    table = Table("requests", "sent", "2xx", "other answers", "no answer", "degraded", "p50 ms", "p99 ms")
    for apart, label in ((False, ""), (True, " (restart)")):
        for kind in ("read", "event", "batch", "item"):
            calls = [one for one in traffic.calls if one.kind == kind and _overlaps(one, restart) == apart]
            if not calls:
                continue
            other = Counter(f"{call.status} {call.code}" for call in calls if call.status and not call.good)
            broken = Counter(call.code for call in calls if not call.status)
            spent = [1000 * (call.ended - call.started) for call in calls if call.good]
            table.add_row(
                kind + label,
                str(len(calls)),
                str(sum(call.good for call in calls)),
                "\n".join(f"{count} x {what}" for what, count in other.most_common()),
                "\n".join(f"{count} x {what}" for what, count in broken.most_common()),
                str(sum(bool(call.degraded) for call in calls)),
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
    for effect in effects:
        table.add_row(
            effect.fault,
            "never" if effect.recovery_s is None else f"{effect.recovery_s:.1f}",
            "" if effect.noticed_s is None else f"{effect.noticed_s:.1f}",
            str(effect.reads),
            str(effect.failed),
            f"{effect.success:.2%}",
            f"{effect.outage_s:.1f}" if effect.failed else "",
            f"{effect.longest_s:.1f}",
            ", ".join(f"{part} {count}" for part, count in effect.degraded.most_common()),
        )
    console.print(table)
    stages = [effect for effect in effects if effect.fault.startswith(STAGES)]
    reads, failed = sum(effect.reads for effect in stages), sum(effect.failed for effect in stages)
    if reads:
        console.print(f"reads while a stage was down: {1 - failed / reads:.3%} of {reads} successful")


def show_kept(kept: Kept, console: Console) -> None:
    """Acknowledged beside stored."""
    headings = ("writes", "sent", "acknowledged", "stored", "lost", "stored twice")
    table = Table(*headings, "refused for good", "refused but stored")
    stored = (kept.sent, kept.acknowledged, kept.stored, len(kept.lost), len(kept.twice))
    table.add_row("events", *map(str, (*stored, kept.refused, len(kept.refused_stored))))
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
    restart = next((fault for fault in faults if fault.name == RESTART), None)
    ends = [*(fault.started for fault in faults[1:]), float("inf")]
    # A call that the restart broke may end during the next fault, which is not to blame.
    others = [call for call in traffic.calls if not _overlaps(call, restart)]
    effects = [
        effect_of(fault, traffic.calls if fault is restart else others, end)
        for fault, end in zip(faults, ends, strict=True)
    ]
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
        "faults": [
            {**vars(effect), "degraded": dict(effect.degraded), "success": effect.success}
            for effect in effects
        ],
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
