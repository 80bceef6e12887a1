"""Training loop on the executor of a fit: in this process, or in those of a cluster."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from recserve import FitContext, InProcess, TorchWorker
from recserve_torch.settings import choose_device

Task = TypeVar("Task")
Fitted = TypeVar("Fitted")


def run_loop(
    fit: Callable[[TorchWorker, Task], Fitted], task: Task, context: FitContext, name: str, epochs: int
) -> Fitted:
    """Run a training loop; what its first process returns.

    Args:
        fit: The loop, a function of a module.
        task: What every process of it reads.
        context: Executor, device, threads; told of epochs and scores.
        name: Of the component.
        epochs: Epochs at most.

    Raises:
        ConfigError: The device is not there.
        RecserveError: What the loop raised, or processes were lost too often.
    """
    executor = context.executor
    if isinstance(executor, InProcess):
        executor = InProcess(str(choose_device(context.device)), context.threads)

    def reported(epoch: int, score: float) -> None:
        context.progress(f"{name}: epochs", epoch, epochs)
        if not math.isnan(score):
            context.validated(epoch, score)

    shared = executor.share(task)
    try:
        return executor.torch(fit, shared, reported=reported)
    finally:
        shared.release()
