"""``make release`` makes a wheel of every distribution, complete and of one version."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

import recserve
from tools import structure

pytestmark = pytest.mark.slow

# Data without which an installed package would not work, by package.
NEEDED = {
    "recserve": ["api/static/index.html", "cli/new/templates/init.py.txt", "evaluation/html/style.css"],
    "recserve_shop": ["data/products.tsv"],
    "recserve_video": ["recserve.yaml", "microlens.yaml"],
    "recserve_social": ["recserve.yaml"],
    "recserve_music": ["recserve.yaml"],
    "recserve_movielens": ["data/movielens-small/ratings.csv", "data/movielens-small/LICENSE.txt"],
}
# No plugins: what those share, and the client.
LIBRARIES = {"recserve-torch", "recserve-sequence", "recserve-client"}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that the real recipe has filled, run in this environment."""
    folder = tmp_path_factory.mktemp("release") / "dist"
    command = ["make", "release", f"DIST={folder}", f"VENV={sys.prefix}", "-o", f"{sys.prefix}/.installed"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(command, cwd=structure.ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheels(dist: Path) -> Iterator[dict[str, zipfile.ZipFile]]:
    """Wheels by the name of their distribution."""
    opened = {parse_wheel_filename(path.name)[0]: zipfile.ZipFile(path) for path in dist.glob("*.whl")}
    yield {str(name): wheel for name, wheel in opened.items()}
    for wheel in opened.values():
        wheel.close()


def test_every_distribution_has_a_wheel_beside_the_tested_versions(
    dist: Path, wheels: dict[str, zipfile.ZipFile]
) -> None:
    plugins = {folder.parent.name for folder in structure.ROOT.glob("plugins/*/pyproject.toml")}
    assert set(wheels) == {"recserve", "recserve-client", *plugins}
    assert (dist / "constraints.txt").read_bytes() == (structure.ROOT / "constraints.txt").read_bytes()


def test_the_version_is_that_of_the_library_and_plugins_accept_it(wheels: dict[str, zipfile.ZipFile]) -> None:
    for name, wheel in wheels.items():
        (path,) = [entry for entry in wheel.namelist() if entry.endswith(".dist-info/METADATA")]
        metadata = HeaderParser().parsestr(wheel.read(path).decode("utf-8"))
        assert metadata["Version"] == recserve.__version__, name
        needs = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
        ours = [need for need in needs if need.name.startswith("recserve")]
        assert bool(ours) == (name != "recserve-client"), name
        assert all(need.specifier.contains(recserve.__version__) for need in ours if need.specifier), name


def test_every_package_is_whole_and_says_that_it_is_typed(wheels: dict[str, zipfile.ZipFile]) -> None:
    """All modules and data are there, and no test or cache."""
    entries = [name for wheel in wheels.values() for name in wheel.namelist()]
    for package in structure.packages():
        sources = {str(path.relative_to(package.parent)) for path in package.rglob("*.py")}
        assert sources <= set(entries)
        assert f"{package.name}/py.typed" in entries
        for needed in NEEDED.get(package.name, ()):
            assert f"{package.name}/{needed}" in entries
    assert not [name for name in entries if "test_" in name or "__pycache__" in name]


def test_plugins_are_found_by_their_entry_points(wheels: dict[str, zipfile.ZipFile]) -> None:
    for name, wheel in wheels.items():
        paths = [entry for entry in wheel.namelist() if entry.endswith("entry_points.txt")]
        groups = [line for path in paths for line in wheel.read(path).decode("utf-8").splitlines()]
        assert ("[recserve]" in groups) == (name not in LIBRARIES), name
