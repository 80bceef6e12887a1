"""Functions that tests run on workers, which find them by their names, and a configuration that splits."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recserve import ConfigError, TorchWorker

CONFIG = {
    "encoder": None,
    "scenarios": {
        "home": {
            "retrievers": [
                {"use": "popular"},
                {"use": "item_knn"},
                {"use": "mf", "params": {"dimension": 8, "iterations": 3}},
            ]
        }
    },
}


def scaled(part: int, values: np.ndarray) -> float:
    return float(part * values.sum())


def held(part: tuple[int, np.ndarray], offset: int) -> tuple[int, float, bool]:
    """The handle in a part has become its value."""
    number, values = part
    return number, float(values.sum()) + offset, values.flags.writeable


def surroundings(part: int) -> dict[str, str | int]:
    names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "CUDA_VISIBLE_DEVICES")
    return {"niceness": os.nice(0), **{name: os.environ.get(name, "unset") for name in names}}


def counted(part: int, folder: str, dies: int) -> int:
    """Leaves a file each time it is called; the first call of one part takes its process down."""
    calls = len(list(Path(folder).glob(f"{part}-*")))
    (Path(folder) / f"{part}-{calls}").touch()
    if part == dies and calls == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return part


def deadly(part: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refusing(part: int) -> int:
    if part == 2:
        raise ConfigError("two is too many", field="count")
    if part == 3:
        raise ValueError("three", 3)
    return part


def first_only(part: int, folder: str) -> int:
    """The first part returns when a second one runs, the others never do."""
    (Path(folder) / str(part)).touch()
    while part > 0 or not (Path(folder) / "1").exists():
        time.sleep(0.05)
    return part


def descend(worker: TorchWorker, folder: str, dies: str) -> dict[str, Any]:
    """Six epochs of a sum over all processes; one process dies once, if it is told to."""
    import torch

    begun, state = worker.checkpoint or (0, {"total": 0.0})
    total = state["total"]
    for epoch in range(begun + 1, 7):
        step = torch.tensor([float(worker.rank + 1)])
        mark = Path(folder) / f"died-{worker.rank}"
        if dies == f"{worker.rank}@{epoch}" and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if dies == f"raises {worker.rank}@{epoch}":
            raise ConfigError("this rank refuses", field="rank")
        if worker.world > 1:
            torch.distributed.all_reduce(step)
        total += float(step)
        worker.report(epoch, total, {"total": total, "weights": np.full(3, total, dtype=np.float32)})
    return {"total": total, "world": worker.world, "begun": begun, "threads": torch.get_num_threads()}


def interrupted_fit(worker: TorchWorker, task: Any, folder: str) -> dict[str, Any]:
    """A fit of ``bert_lstm`` whose second process dies once, after the second epoch."""
    from recserve_sequence.training.loop import fit

    def report(epoch: int, score: float, state: dict[str, Any] | None) -> None:
        worker.report(epoch, score, state)
        mark = Path(folder) / "died"
        if worker.rank == 1 and epoch == 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    begun = 0 if worker.checkpoint is None else worker.checkpoint[0]
    fitted = fit(replace(worker, report=report), task)
    return {"begun": begun, "world": worker.world, "matrix": fitted.matrix, "facts": fitted.facts}


def slow_address(part: int) -> tuple[int, str]:
    """Says on which node it ran, after a second."""
    import ray

    time.sleep(1)
    return part, str(ray.util.get_node_ip_address())
