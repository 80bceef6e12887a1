"""How many cores a process may really use."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from threading import Barrier

import pytest
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]  # ships no types

from recserve.data.system.cpus import (
    NICENESS,
    SLEEPING,
    map_in_threads,
    thread_variables,
    usable_cpus,
    usable_threads,
)


def machine(root: Path, cgroup: str, files: dict[str, str]) -> Path:
    """A file tree with what the kernel tells of a process's cgroups."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.fixture
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)))


@pytest.mark.usefixtures("sixteen_cores")
@pytest.mark.parametrize(
    ("cgroup", "files", "cpus"),
    [
        ("0::/\n", {}, 16),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 16),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/pod/box\n", {"pod/cpu.max": "400000 100000\n", "pod/box/cpu.max": "max 100000\n"}, 4),
        ("0::/not/seen/here\n", {"cpu.max": "300000 100000\n"}, 3),
        (
            "4:memory:/x\n3:cpu,cpuacct:/box\n",
            {"cpu,cpuacct/box/cpu.cfs_quota_us": "600000\n", "cpu,cpuacct/box/cpu.cfs_period_us": "100000\n"},
            6,
        ),
        (
            "3:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            16,
        ),
    ],
)
def test_a_quota_counts(tmp_path: Path, cgroup: str, files: dict[str, str], cpus: int) -> None:
    assert usable_cpus(machine(tmp_path, cgroup, files)) == cpus


@pytest.mark.usefixtures("sixteen_cores")
def test_a_system_without_cgroups_has_its_affinity(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path) == 16


def test_what_a_process_was_told_counts_before_what_it_might_use() -> None:
    assert usable_threads({"OMP_NUM_THREADS": "3"}) == 3
    assert usable_threads({"OMP_NUM_THREADS": "0"}) == usable_cpus()
    assert usable_threads({"OMP_NUM_THREADS": "all"}) == usable_cpus()
    assert usable_threads({}) == usable_cpus()


def test_numerical_libraries_are_told_in_their_own_words() -> None:
    variables = thread_variables(3)
    assert variables["OMP_NUM_THREADS"] == variables["OPENBLAS_NUM_THREADS"] == "3"
    assert variables["OMP_WAIT_POLICY"] == "PASSIVE"


def test_commands_let_idle_threads_sleep_unless_told_otherwise() -> None:
    script = (
        "import sys; sys.argv = ['recserve', '--version']; from recserve.cli import main; import atexit, os\n"
    )
    script += f"atexit.register(lambda: print({{name: os.environ.get(name) for name in {list(SLEEPING)}}}))\n"
    script += "main()"
    plain = {name: value for name, value in os.environ.items() if name not in SLEEPING}
    for given, expected in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=plain | given
        )
        assert f"'OMP_WAIT_POLICY': '{expected}'" in done.stdout


def test_work_that_steps_back_lets_others_go_first() -> None:
    script = "import os; from recserve.data.system.cpus import step_back; step_back(); print(os.nice(0))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) == NICENESS


def test_parts_keep_their_order_on_threads_with_one_blas_thread_each() -> None:
    import_module("faiss")  # Its BLAS is on OpenMP, that of NumPy is not.
    together = Barrier(2, timeout=10)

    def blas_threads(part: int) -> tuple[int, int]:
        together.wait()
        found = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        return part, max(found, default=1)

    before = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert map_in_threads(blas_threads, range(4), 2) == [(part, 1) for part in range(4)]
    assert [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"] == before
    with pytest.raises(ValueError, match="no part"):
        map_in_threads(_refuse, range(4), 2)


def _refuse(part: int) -> None:
    raise ValueError("no part")
