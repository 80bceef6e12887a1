"""Two checkouts beside each other: who is asked when, and what the table makes of it."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from benchmarks.beside import Figures, measure, table


class Asked:
    """Stands in for a server, because rates must be known exactly here."""

    def __init__(self, name: str, rate: float, log: list[tuple[str, str, int]]) -> None:
        self._name, self._rate, self._log = name, rate, log

    def ask(self, load: str, seed: int, seconds: float, connections: int) -> Figures:
        self._log.append((self._name, load, seed))
        # The machine gets slower and slower.
        return {"rate": self._rate / (1 + seed), "cpu": 1000 / self._rate, "failed": 1.0}


def test_rounds_alternate_and_drift_of_the_machine_cancels_out() -> None:
    log: list[tuple[str, str, int]] = []
    sides: Any = (Asked("this", 900, log), Asked("other", 1000, log))
    found = measure(sides, ["repeat"], 3, 1.0, 64)
    assert [name for name, _, _ in log] == [
        "this",
        "other",
        "this",
        "other",
        "other",
        "this",
        "this",
        "other",
    ]
    assert len({seed for _, _, seed in log}) == 4, "both get the same requests in a round"
    console = Console(width=120, record=True)
    console.print(table(found))
    text = console.export_text()
    assert "0.900" in text
    assert "0.90 - 0.90" in text
    assert "1.000 -> 1.111" in text
