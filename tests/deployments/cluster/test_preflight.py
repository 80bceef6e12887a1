"""What keeps a cluster of several hosts from working is said before anything is deployed."""

from __future__ import annotations

import pytest

from tests.deployments.cluster.conftest import GCS, HOME, TestBed

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]


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
