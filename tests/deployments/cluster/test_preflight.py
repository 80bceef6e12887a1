"""What keeps a cluster of several hosts from working is said before anything is deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.deployments.cluster.conftest import GCS, HOME, TestBed

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

PLAIN: dict[str, Any] = {
    "encoder": None,
    "scenarios": {"home": {"retrievers": [{"use": "mf", "params": {"dimension": 4}}, {"use": "popular"}]}},
}


def refused(bed: TestBed, *arguments: str) -> list[str]:
    """The lines that a command which cannot work ends with; printed, for docs/how-to/cluster.md."""
    done = bed.recserve(1, *arguments, check=False)
    assert done.returncode == 2, done.stdout
    errors = [line.removeprefix("error: ") for line in done.stdout.splitlines() if line.startswith("error: ")]
    print(f"recserve {' '.join(arguments)}:", *errors, sep="\n    ")
    assert errors, done.stdout
    assert "Traceback" not in done.stdout
    return errors


def test_the_traps_of_several_hosts_are_a_line_each(bed: TestBed) -> None:
    bed.configure(1, {"encoder": None, "scenarios": {"home": {"retrievers": [{"use": "popular"}]}}})
    checked = bed.recserve(1, "cluster", "check", "--address", GCS, check=False)
    assert checked.returncode == 2
    errors = [line for line in checked.stdout.splitlines() if line.startswith("error: ")]
    assert [line.split()[1] for line in errors] == ["store.url:", "bundles:", "server.host:"], checked.stdout
    assert "the cluster has 3 nodes; set store.url to a PostgreSQL database" in errors[0]
    assert f"{HOME}/bundles is a folder of one machine" in errors[1]
    assert "set server.host to 0.0.0.0" in errors[2]


def test_a_good_configuration_passes_with_a_table_of_the_nodes(bed: TestBed) -> None:
    bed.configure(1, {**bed.shared, "encoder": None, "server": {"host": "0.0.0.0"}})
    checked = bed.recserve(1, "cluster", "check", "--address", GCS)
    assert "3 nodes, nothing in the way" in checked.stdout
    for number in (1, 2, 3):
        (row,) = [line for line in checked.stdout.splitlines() if bed.hosts.address(number) in line]
        assert " ms" in row
        assert ("yes" if number == 1 else "no") == row.split("│")[-2].strip()


def test_what_does_not_work_on_several_nodes_is_a_line_from_every_command(
    bed: TestBed, files: dict[str, Path]
) -> None:
    bed.configure(1, PLAIN)
    for name, path in files.items():
        bed.copy(1, path, f"{HOME}/{name}")
    bed.recserve(1, "import", "--events", f"{HOME}/events.csv", "--items", f"{HOME}/items.jsonl")
    bed.recserve(1, "train", "--no-evaluate")
    (first, *others) = refused(bed, "serve", "--address", GCS)
    assert first.startswith("store.url: SQLite")
    assert len(others) in (0, 2)  # the following lines of one error have no mark of their own

    gpus = {**PLAIN, **bed.shared, "server": {"host": "0.0.0.0", "ranking": {"gpus": 0.5}}}
    bed.configure(1, gpus)
    (wanted,) = refused(bed, "cluster", "check", "--address", GCS)
    assert wanted.startswith("server asks for 0.5 GPUs, and no node has one")
    bed.configure(1, {**gpus, "bundles": "${BUCKET}"})
    (unset,) = refused(bed, "cluster", "check", "--address", GCS)
    assert unset == "bundles: the environment variable BUCKET is not set"
