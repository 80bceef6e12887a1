"""Training on three hosts that share no disk: equal figures, and a host that dies costs its parts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bed import GCS, HEAD, HOME, TestBed
from tests.support.parts import CONFIG

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

MANIFESTS = f"""
import json
from pathlib import Path
folders = [path for path in Path({HOME!r}, "bundles").iterdir() if not path.name.startswith(".")]
folders.sort(key=lambda path: path.stat().st_mtime_ns)
print(json.dumps([json.loads((path / "manifest.json").read_text())["metrics"] for path in folders]))
"""
PARTS = f"""
import sys
from pathlib import Path
from recserve_deployments.jobs.session import executor_session
from tests.support.parts import slow_address
with executor_session(
    Path({HOME!r}), {GCS!r}, workers=4, cpus=1, gpus=0, checkpoints={HOME!r}, placed=print
) as executor:
    for part, address in executor.map(slow_address, range(24)):
        print(part, address, flush=True)
"""


def test_a_bundle_of_three_hosts_is_that_of_one(bed: TestBed, files: dict[str, Path]) -> None:
    bed.configure(HEAD, CONFIG)
    for name, path in files.items():
        bed.copy(HEAD, path, f"{HOME}/{name}")
    bed.recserve(HEAD, "import", "--events", f"{HOME}/events.csv", "--items", f"{HOME}/items.jsonl")
    bed.recserve(HEAD, "train", "--no-auto")
    done = bed.recserve(HEAD, "train", "--no-auto", "--address", GCS, "--workers", "2")
    assert f"2 workers on the cluster at {GCS}" in done.stdout
    listed = bed.hosts.run(HEAD, [sys.executable, "-c", MANIFESTS])
    metrics = json.loads(listed.stdout.splitlines()[-1])
    here, there = metrics[0], metrics[-1]
    assert here.keys() == there.keys()
    for name, figure in here.items():
        assert there[name]["mean"] == pytest.approx(figure["mean"], abs=1e-5), name


def test_a_host_that_dies_costs_its_parts(bed: TestBed) -> None:
    process = bed.hosts.popen(
        HEAD,
        [sys.executable, "-c", PARTS],
        bed.variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("5 "):
            bed.hosts.kill(3)
            break
    said += process.stdout.readlines()
    assert process.wait(timeout=300) == 0, "".join(said)
    parts = [line.split() for line in said if line[:1].isdigit() and len(line.split()) == 2]
    assert [int(part) for part, _ in parts] == list(range(24))
    addresses = [address for _, address in parts]
    assert set(addresses[:6]) == {bed.hosts.address(2), bed.hosts.address(3)}
    assert set(addresses[-4:]) == {bed.hosts.address(2)}
