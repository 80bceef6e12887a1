"""Parts and training loops on a real Ray: order, losses, exceptions, and what is left behind."""

from __future__ import annotations

import sys
import tempfile
import time
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from recserve_bert_lstm.network import LstmNetwork
from recserve_bert_lstm.parameters import BertLstmParams
from recserve_deployments.jobs.executor import RayExecutor
from recserve_sequence.training.loop import Task, fit

from recserve import TorchWorker
from recserve.data.system.cpus import NICENESS
from recserve.errors import ConfigError, RuntimeEnvironmentError
from recserve.testing import example_dataset
from tests.support import parts

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayExecutor]:
    """Two workers of half a CPU each on a Ray of this process."""
    # A short path: names of sockets have at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="rs-ray-", ignore_cleanup_errors=True) as folder:
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=150 * 2**20,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=folder,
            _node_ip_address="127.0.0.1",
        )
        try:
            yield RayExecutor(2, {"CPU": 0.5}, tmp_path_factory.mktemp("checkpoints"))
        finally:
            ray.shutdown()


def test_results_come_in_the_order_of_the_parts(executor: RayExecutor) -> None:
    values = np.arange(100_000, dtype=np.float64)
    shared = executor.share(values)
    found = list(executor.map(parts.scaled, range(20), shared))
    assert found == [parts.scaled(part, values) for part in range(20)]
    shared.release()
    with pytest.raises(ValueError, match="after it was released"):
        next(executor.map(parts.scaled, [1], shared))


def test_a_part_may_hold_handles(executor: RayExecutor) -> None:
    handles = [executor.share(np.full(50_000, number)) for number in range(3)]
    offset = executor.share(7)
    found = list(executor.map(parts.held, list(enumerate(handles)), offset))
    # Arrays lie in the node's memory, read-only.
    assert found == [(number, 50_000.0 * number + 7, False) for number in range(3)]


def test_a_worker_keeps_to_its_share_and_steps_back(executor: RayExecutor) -> None:
    (found,) = executor.map(parts.surroundings, [0])
    assert found == {
        "niceness": NICENESS,
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "CUDA_VISIBLE_DEVICES": "",
    }


def test_a_killed_process_costs_its_part_only(executor: RayExecutor, tmp_path: Path) -> None:
    folder, dies = executor.share(str(tmp_path)), executor.share(3)
    assert list(executor.map(parts.counted, range(8), folder, dies)) == list(range(8))
    calls = sorted(path.name for path in tmp_path.iterdir())
    assert calls == sorted([*(f"{part}-0" for part in range(8)), "3-1"])


def test_a_part_that_always_kills_its_process_ends_the_run(executor: RayExecutor) -> None:
    with pytest.raises(RuntimeEnvironmentError, match="lost with its process or node more than 3 times"):
        list(executor.map(parts.deadly, [0]))


def test_what_a_function_raises_comes_out_as_itself(executor: RayExecutor) -> None:
    results = executor.map(parts.refusing, range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ConfigError) as caught:
        next(results)
    assert type(caught.value) is ConfigError
    assert (caught.value.message, caught.value.field) == ("two is too many", "count")
    with pytest.raises(ValueError, match="three") as other:
        list(executor.map(parts.refusing, [3]))
    assert type(other.value) is ValueError
    assert other.value.args == ("three", 3)
    assert "refusing" in str(other.value.__notes__), "the traceback of the worker is kept"


def test_a_node_without_the_plugin_says_so(executor: RayExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("only_here")
    exec("def work(part):\n    return part", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    with pytest.raises(RuntimeEnvironmentError, match="No module named 'only_here'") as caught:
        list(executor.map(module.work, [0]))
    assert caught.value.message.endswith("install the same distributions on every node")


def test_only_a_function_of_a_module_travels(executor: RayExecutor) -> None:
    with pytest.raises(TypeError, match="use a function of a module"):
        list(executor.map(lambda part: part, [0]))


def test_what_cannot_be_pickled_is_named(executor: RayExecutor) -> None:
    with pytest.raises(TypeError, match="generator"):
        executor.share(value for value in "abc")


def test_who_stops_listening_ends_the_parts(executor: RayExecutor, tmp_path: Path) -> None:
    cpus = ray.cluster_resources()["CPU"]
    folder = executor.share(str(tmp_path))
    results = executor.map(parts.first_only, range(9), folder)
    assert next(results) == 0
    results.close()
    end = time.monotonic() + 60
    while ray.available_resources().get("CPU", 0.0) < cpus and time.monotonic() < end:
        time.sleep(0.1)
    assert ray.available_resources()["CPU"] == cpus
    assert len(list(tmp_path.iterdir())) < 9


def test_a_loop_runs_in_several_processes(executor: RayExecutor, tmp_path: Path) -> None:
    reports: list[tuple[int, float]] = []
    found = executor.torch(
        parts.descend,
        executor.share(str(tmp_path)),
        executor.share(""),
        reported=lambda epoch, score: reports.append((epoch, score)),
    )
    assert reports == [(epoch, 3.0 * epoch) for epoch in range(1, 7)]
    assert found == {"total": 18.0, "world": 2, "begun": 0, "threads": 1}
    assert not list(Path(executor.checkpoints).glob("*")), "a loop that has ended leaves no checkpoint"


@pytest.mark.parametrize("rank", [0, 1])
def test_a_loop_that_loses_a_process_goes_on_from_its_last_epoch(
    executor: RayExecutor, tmp_path: Path, rank: int
) -> None:
    found = executor.torch(parts.descend, executor.share(str(tmp_path)), executor.share(f"{rank}@4"))
    assert (tmp_path / f"died-{rank}").exists()
    assert found["total"] == 18.0
    assert 2 <= found["begun"] <= 3


@pytest.mark.long
def test_bert_lstm_in_two_processes_learns_what_it_learns_in_one(
    executor: RayExecutor, tmp_path: Path
) -> None:
    """A process dies in between. Without dropout, which each process draws for itself."""
    data = example_dataset()
    params = BertLstmParams(width=8, epochs=4, patience=9, batch_events=300, dropout=0.0)
    vectors, kinds = data.catalogue.vectors, len(data.event_types)
    task = Task(data.histories, data.item_counts, vectors, kinds, LstmNetwork, params, 3, None)
    found = executor.torch(parts.interrupted_fit, executor.share(task), executor.share(str(tmp_path)))
    assert (tmp_path / "died").exists()
    assert found["world"] == 2
    assert 1 <= found["begun"] <= 3
    alone = fit(TorchWorker(threads=1), task)
    np.testing.assert_allclose(found["facts"]["losses"], alone.facts["losses"], rtol=1e-3)
    np.testing.assert_allclose(found["matrix"], alone.matrix, rtol=0.02, atol=2e-3)


def test_what_a_rank_raises_comes_out_as_itself(executor: RayExecutor, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        executor.torch(parts.descend, executor.share(str(tmp_path)), executor.share("raises 0@2"))
    assert caught.value.field == "rank"
