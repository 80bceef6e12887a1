"""Id vectors of items while they are learnt: a step reads and writes the rows of its batch alone.

Dense Adam keeps two more numbers for each number of the table and touches all of them in every step, and so
does an average of weights. Here a row has one mean of squares (row-wise, as in Gupta, Koren & Singer 2014 and
FBGEMM), there is no momentum, which the average makes up for, and what a row would have gone through in steps
without it (decay of weights and squares, averaging) is made good when it is next read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

BETA = 0.999
_EPSILON = 1e-8
_SPREAD = 0.05
_BLOCK = 65_536


def first_rows(n_ids: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """Random vectors near zero, float, shape (n_ids, width)."""
    return _SPREAD * torch.randn((n_ids, width), generator=generator)


class IdTable:
    """Table of id vectors with its optimiser and its running average.

    Args:
        n_ids: Rows.
        width: Length of a row.
        steps: Most steps that will be made.
        weight_decay: Decoupled, as in AdamW.
        generator: Source of the random start.
        device: Where to compute.
    """

    def __init__(
        self,
        n_ids: int,
        width: int,
        steps: int,
        weight_decay: float,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self._rows = first_rows(n_ids, width, generator).to(device)
        self._average = self._rows.clone()
        self._squares = torch.zeros(n_ids, device=device)
        self._settled = torch.zeros(n_ids, dtype=torch.int64, device=device)
        self._weight_decay = weight_decay
        self._now = 0
        # Logarithms of what is left of a weight, and of an average's past, after each step.
        self._decays = torch.zeros(steps + 1, dtype=torch.float64, device=device)
        self._keeps = torch.zeros(steps + 1, dtype=torch.float64, device=device)
        # Average after each step of a weight that was 1 at the start and had no gradient since.
        self._untouched = torch.ones(steps + 1, dtype=torch.float64, device=device)

    def read(self, slots: torch.Tensor) -> torch.Tensor:
        """Some rows as a leaf that gathers a gradient.

        Args:
            slots: int64, shape (U,); distinct rows.

        Returns:
            float, shape (U, width).
        """
        self._settle(slots)
        return self._rows[slots].requires_grad_()

    @torch.no_grad()
    def step(self, slots: torch.Tensor, gradient: torch.Tensor, rate: float, keep: float) -> None:
        """Move some rows, and all averages.

        Args:
            slots: int64, shape (U,); distinct rows.
            gradient: float, shape (U, width).
            rate: Learning rate.
            keep: What the averages keep of themselves.
        """
        self._settle(slots)
        before, self._now = self._now, self._now + 1
        shrink = 1.0 - rate * self._weight_decay
        self._decays[self._now] = self._decays[before] + math.log(shrink)
        self._keeps[self._now] = self._keeps[before] + math.log(keep)
        self._untouched[self._now] = torch.lerp(self._decays[self._now].exp(), self._untouched[before], keep)
        squares = BETA * self._squares[slots] + (1.0 - BETA) * gradient.square().mean(dim=1)
        pace = rate / ((squares / (1.0 - BETA**self._now)).sqrt() + _EPSILON)
        rows = shrink * self._rows[slots] - pace[:, None] * gradient
        self._rows[slots] = rows
        self._average[slots] = torch.lerp(rows, self._average[slots], keep)
        self._squares[slots] = squares
        self._settled[slots] = self._now

    def average(self) -> torch.Tensor:
        """Running average of all rows, float, shape (n_ids, width); changed by the next step."""
        for start in range(0, len(self._rows), _BLOCK):
            self._settle(slice(start, start + _BLOCK))
        return self._average

    def state(self) -> dict[str, torch.Tensor]:
        """What :meth:`restore` needs."""
        return {
            "average": self.average(),
            "rows": self._rows,
            "squares": self._squares,
            "decays": self._decays[: self._now + 1],
            "keeps": self._keeps[: self._now + 1],
            "untouched": self._untouched[: self._now + 1],
        }

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from a :meth:`state`."""
        for name, own in (("rows", self._rows), ("average", self._average), ("squares", self._squares)):
            own.copy_(state[name])
        self._now = len(state["decays"]) - 1
        for name, own in (
            ("decays", self._decays),
            ("keeps", self._keeps),
            ("untouched", self._untouched),
        ):
            own[: self._now + 1] = state[name]
        self._settled.fill_(self._now)

    @torch.no_grad()
    def _settle(self, slots: torch.Tensor | slice) -> None:
        """Bring rows to the present step."""
        since = self._settled[slots]
        shrunk = (self._decays[self._now] - self._decays[since]).exp()
        kept = (self._keeps[self._now] - self._keeps[since]).exp()
        # An average is linear in the row: what it gained is the difference of two untouched rows' averages.
        gained = (self._untouched[self._now] - kept * self._untouched[since]) / self._decays[since].exp()
        rows = self._rows[slots]
        self._average[slots] = kept.float()[:, None] * self._average[slots] + gained.float()[:, None] * rows
        self._rows[slots] = shrunk.float()[:, None] * rows
        self._squares[slots] *= BETA ** (self._now - since)
        self._settled[slots] = self._now
