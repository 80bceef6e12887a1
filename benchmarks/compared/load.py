"""The load of :mod:`benchmarks.serving_load` for servers that are spoken to in other ways.

    python -m benchmarks.compared.load < plan.json > outcome.json

*Repeated*: users at random who were answered before, and nothing happens in between. *Fresh*: every request
follows a new event of its user. Where the server stores events they are stored in between, uncounted; where
the client keeps histories, they grow by an item, and the next request brings it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.compared.wires import WIRES
from benchmarks.serving_load import Load, Plan, in_a_loop

MODULE = "benchmarks.compared.load"
N = 10


@dataclass
class WiredPlan(Plan):
    """What to ask, and how.

    Attributes:
        wire: Name of the wire.
        histories: Items of each user, where the client keeps them.
        keeps_answers: Whether the server does, so that everybody has to be answered once before.
    """

    wire: str = "events"
    histories: dict[str, list[str]] = field(default_factory=dict)
    keeps_answers: bool = True


class WiredLoad(Load):
    """Carries a plan out over a wire.

    Args:
        plan: The plan.
    """

    def __init__(self, plan: WiredPlan) -> None:
        self._wire = WIRES[plan.wire]
        self._histories = {user: list(items) for user, items in plan.histories.items()}
        self._keeps_answers = plan.keeps_answers
        super().__init__(plan)

    async def ask_everybody(self) -> None:
        """See :class:`benchmarks.serving_load.Load`; without answers that are kept it changes nothing."""
        if self._keeps_answers:
            await super().ask_everybody()

    def _body(self, user: str) -> dict[str, Any]:
        return self._wire.body(user, self._histories.get(user, ()), N)

    async def _store_events(self) -> None:
        if self._wire.takes_events:
            await super()._store_events()
        elif self._wire.keeps_history:
            raise SystemExit(f"{self._wire.name}: no event can be told")
        else:
            for user, history in self._histories.items():
                history.append(self._chooser.choice(self._plan.items))
                self.requests[user] = self._ask_for(user)


def main() -> None:
    """Carry out the plan on standard input."""
    plan = WiredPlan(**json.load(sys.stdin))
    json.dump(asdict(in_a_loop(WiredLoad(plan).go())), sys.stdout)


if __name__ == "__main__":
    main()
