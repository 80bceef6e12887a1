"""Device, determinism and seeds: what a fit sets, it puts back."""

from __future__ import annotations

import pytest
import torch
from recserve_torch import choose_device, deterministic, mixed_precision, seeded

from recserve import ConfigError


def test_a_device_that_is_not_there_is_named() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    if torch.cuda.is_available():
        assert choose_device("auto").type == choose_device("cuda").type == "cuda"
        return
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(ConfigError, match="no CUDA device here; use auto or cpu"):
        choose_device("cuda")


def test_a_cpu_multiplies_in_full_precision() -> None:
    values = torch.ones(2, 2)
    with mixed_precision(torch.device("cpu")):
        assert (values @ values).dtype == torch.float32


def test_settings_are_put_back_whatever_happens() -> None:
    def settings() -> tuple[int, bool]:
        return torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()

    before = settings()
    other = before[0] + 1

    def interrupted() -> None:
        with deterministic(other, torch.device("cpu")):
            assert settings() == (other, True)
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert settings() == before
    with deterministic(0, torch.device("cpu")):
        assert settings() == (before[0], True)


def test_seeds_decide_inside_and_disturb_nothing_outside() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    drawn = []
    for _ in range(2):
        with seeded(7, threads=2):
            assert torch.get_num_threads() == 2
            drawn.append(torch.rand(3))
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(torch.rand(3), expected)
