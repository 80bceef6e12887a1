"""Settings of torch for one fit: device, precision, determinism, seed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from recserve import ConfigError


def choose_device(wanted: str) -> torch.device:
    """The device to train on; ``"auto"`` takes CUDA where it is available.

    Raises:
        ConfigError: CUDA is asked for and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("train.device is cuda, but there is no CUDA device here; use auto or cpu")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def mixed_precision(device: torch.device) -> torch.autocast:
    """Products in bfloat16 on a GPU that has it; weights and losses stay in float32, and so does a CPU."""
    able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device.type, torch.bfloat16, enabled=able)


@contextmanager
def deterministic(threads: int, device: torch.device) -> Iterator[None]:
    """Deterministic kernels and a fixed number of threads inside, the former settings after.

    Args:
        threads: CPU threads; 0 keeps the present number.
        device: On a GPU kernels without a deterministic version are let through.
    """
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    memory: Any = torch.utils.deterministic  # a property of the module, which types do not know
    filled = memory.fill_uninitialized_memory
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    # It takes a tenth of the time, for operations that read what nobody wrote; there are none.
    memory.fill_uninitialized_memory = False
    if threads > 0:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1], warn_only=before[2])
        memory.fill_uninitialized_memory = filled


@contextmanager
def seeded(seed: int, threads: int = 0) -> Iterator[None]:
    """Seed of torch's own generators and number of threads inside, the former ones after.

    For modules that draw from no generator of their own, such as those of transformers.

    Args:
        seed: Of all generators of torch.
        threads: CPU threads; 0 keeps the present number.
    """
    before = torch.get_num_threads()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if threads > 0:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
