"""How many trials fit, and what a trial may ask for."""

from __future__ import annotations

import pytest

from recserve.errors import ConfigError
from recserve.training.tuning.cluster import Needs, slots


@pytest.mark.parametrize(
    ("cpus", "gpus", "free", "expected"),
    [
        (1, 0, {"CPU": 3.0}, 3),
        (2, 0, {"CPU": 3.0}, 1),
        (0.5, 0, {"CPU": 1.0}, 2),
        (4, 0, {"CPU": 3.0}, 0),
        (1, 0.5, {"CPU": 8.0, "GPU": 1.0}, 2),
        # Two trials a GPU, not five of two: each has a share of one.
        (1, 0.4, {"CPU": 8.0, "GPU": 2.0}, 4),
        (1, 0.4, {"CPU": 8.0, "GPU": 1.5}, 3),
        (1, 2, {"CPU": 8.0, "GPU": 5.0}, 2),
        (1, 0.1, {"CPU": 3.0, "GPU": 1.0}, 3),
        (1, 0.5, {"CPU": 3.0}, 0),
    ],
)
def test_trials_of_a_node(cpus: float, gpus: float, free: dict[str, float], expected: int) -> None:
    assert slots(Needs(cpus, gpus, None), free) == expected


def test_a_share_of_several_gpus_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a share of one GPU, such as 0.5, or whole GPUs, not 1.5"):
        Needs(1, 1.5, None)
    assert Needs(1, 2.0, None).gpus == 2
