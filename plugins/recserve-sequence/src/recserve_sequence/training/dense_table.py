"""Id vectors of items while they are learnt, where there is room for an optimiser of all of them: AdamW."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from recserve_sequence.training.id_table import first_rows


class DenseIdTable:
    """Table of id vectors whose rows all move in every step, by momentum also without a gradient.

    It needs five times the memory of its rows and touches all of it in every step, for which it generalises
    better than :class:`recserve_sequence.training.id_table.IdTable`, whose methods it has.

    Args:
        n_ids: Rows.
        width: Length of a row.
        weight_decay: Decoupled, as in AdamW.
        generator: Source of the random start.
        device: Where to compute.
    """

    def __init__(
        self, n_ids: int, width: int, weight_decay: float, generator: torch.Generator, device: torch.device
    ) -> None:
        start = first_rows(n_ids, width, generator).to(device)
        self._rows = torch.nn.Parameter(start)
        self._rows.grad = torch.zeros_like(start)
        self._average = start.clone()
        self._optimiser = torch.optim.AdamW([self._rows], weight_decay=weight_decay, fused=True)

    def read(self, slots: torch.Tensor) -> torch.Tensor:
        """Some rows as a leaf that gathers a gradient."""
        return self._rows.detach()[slots].requires_grad_()

    @torch.no_grad()
    def step(self, slots: torch.Tensor, gradient: torch.Tensor, rate: float, keep: float) -> None:
        """Move all rows by the gradient of some, and all averages."""
        whole = self._rows.grad
        assert whole is not None
        whole[slots] = gradient
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        whole[slots] = 0.0
        self._average.lerp_(self._rows, 1.0 - keep)

    def average(self) -> torch.Tensor:
        """Running average of all rows, float, shape (n_ids, width); changed by the next step."""
        return self._average

    def state(self) -> dict[str, torch.Tensor]:
        """What :meth:`restore` needs."""
        moments = self._optimiser.state_dict()["state"].get(0, {})
        return {"average": self._average, "rows": self._rows.detach(), **moments}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from a :meth:`state`."""
        with torch.no_grad():
            self._rows.copy_(state["rows"])
            self._average.copy_(state["average"])
        moments = {name: value for name, value in state.items() if name not in ("rows", "average")}
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": {0: moments} if moments else {}, "param_groups": groups})
