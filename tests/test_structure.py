"""The structure of the product code: no import cycle of any kind, few layers, short modules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import structure


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return structure.imports(structure.modules())


def test_no_modules_import_one_another(graph: dict[str, set[str]]) -> None:
    """Imports inside functions and under ``TYPE_CHECKING`` included."""
    assert structure.cycles(graph) == []


def test_a_cycle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}
    assert structure.cycles(graph) == [["b", "c"]]


def test_imports_inside_functions_count(graph: dict[str, set[str]]) -> None:
    assert "recserve_mf.retriever" in graph["recserve_mf"]


def test_layers_are_few() -> None:
    assert structure.layers() <= 12


def test_folders_have_few_entries() -> None:
    """The library itself has a room a part of the architecture, and two modules that all of them share.

    Migrations are a list that only grows.
    """
    crowded = {name for name, count in structure.entries().items() if count > structure.MOST_ENTRIES}
    assert crowded <= {"recserve", "recserve/store/sql/migrations/versions"}
    assert structure.entries()["recserve"] <= 17


def test_plugins_take_array_aliases_from_the_contract() -> None:
    """``recserve`` exports them, so that one name means one element type everywhere."""
    alias = re.compile(r"^\w+(?:: TypeAlias)? = (?:np\.ndarray|NDArray)\[[^|\n]*$", re.MULTILINE)
    own = {
        name: found
        for name, file in structure.modules().items()
        if not name.startswith("recserve.") and (found := alias.findall(file.read_text(encoding="utf-8")))
    }
    assert own == {}


def test_a_module_has_tests_by_name_or_by_import(tmp_path: Path) -> None:
    (tmp_path / "test_named.py").write_text("import shop.imported\n")
    (tmp_path / "test_other.py").write_text("from shop import gathered\nfrom shop.parts import Part\n")
    names = ("shop", "shop.named", "shop.imported", "shop.gathered", "shop.parts", "shop.forgotten")
    files = {name: tmp_path / f"{name.partition('.')[2] or '__init__'}.py" for name in names}
    for file in files.values():
        file.write_text("def work():\n    return 1\n")
    assert structure.untested(files, tmp_path.glob("test_*.py")) == ["shop.forgotten"]


def test_a_module_that_only_declares_needs_no_tests(tmp_path: Path) -> None:
    file = tmp_path / "protocol.py"
    file.write_text(
        'KEEP = 3\n\n\nclass Store:\n    def read(self) -> int:\n        """Read."""\n        ...\n'
    )
    assert structure.untested({"shop.protocol": file}, ()) == []


def test_tests_named_after_a_package_test_its_modules() -> None:
    files = structure.modules()
    named = {name: files[name] for name in ("recserve.config.loading", "recserve_rules.rerankers.caps")}
    assert structure.untested(named, ()) == []
    alone = {"recserve.serving.loader": files["recserve.serving.loader"]}
    assert structure.untested(alone, ()) == ["recserve.serving.loader"]
