"""What a fault of a cluster cost: reads, errors, lost events, seconds until full strength."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.outcome import Fault
from benchmarks.traffic import Call


@dataclass
class Cost:
    """What a fault cost, from its start until the cluster was at full strength again.

    Attributes:
        fault: Its name.
        reads, answered: Reads, and those answered 2xx.
        server_errors: Answers of 5xx, events included, by status and code.
        unanswered: Reads without any answer, by what broke them.
        degraded: Reads answered without some stage.
        longest: Seconds that the slowest read took.
        lost: Acknowledged events that the database does not hold.
        strong: Seconds from when it could recover until full strength, None if that was never reached.
    """

    fault: str
    reads: int
    answered: int
    server_errors: dict[str, int]
    unanswered: dict[str, int]
    degraded: int
    longest: float
    lost: int
    strong: float | None

    @property
    def errors_500(self) -> int:
        """Answers with 500, which say that the server did not know what to do."""
        return sum(count for what, count in self.server_errors.items() if what.startswith("500"))


def cost_of(fault: Fault, calls: Sequence[Call], until: float, lost: int) -> Cost:
    """Look at the calls that overlap a fault and the while after it, up to a moment."""
    within = [call for call in calls if call.ended >= fault.started and call.started <= until]
    reads = [call for call in within if call.kind == "read"]
    errors = [f"{call.status} {call.code}" for call in within if call.status >= 500]
    broken = [call.code for call in reads if not call.status]
    return Cost(
        fault=fault.name,
        reads=len(reads),
        answered=sum(call.good for call in reads),
        server_errors={what: errors.count(what) for what in dict.fromkeys(errors)},
        unanswered={what: broken.count(what) for what in dict.fromkeys(broken)},
        degraded=sum(bool(call.degraded) for call in reads),
        longest=max((call.ended - call.started for call in reads), default=0.0),
        lost=lost,
        strong=None if fault.healthy is None else fault.healthy - fault.mending,
    )


def show(costs: Sequence[Cost], console: Console) -> None:
    """A row for each fault."""
    table = Table(
        "fault",
        "reads",
        "answered",
        "5xx",
        "no answer",
        "degraded",
        "longest s",
        "events lost",
        "full strength s",
    )
    for cost in costs:
        table.add_row(
            cost.fault,
            str(cost.reads),
            f"{cost.answered / max(cost.reads, 1):.2%}",
            _counts(cost.server_errors),
            _counts(cost.unanswered),
            str(cost.degraded),
            f"{cost.longest:.1f}",
            str(cost.lost),
            "never" if cost.strong is None else f"{cost.strong:.0f}",
        )
    console.print(table)


def _counts(found: Mapping[str, int]) -> str:
    return "\n".join(f"{count} x {what}" for what, count in found.items()) or "0"
