"""The structure of the product code: no import cycle of any kind, few layers, short modules."""

from __future__ import annotations

import re

from tools import structure


def test_no_modules_import_one_another() -> None:
    """Imports inside functions and under ``TYPE_CHECKING`` included."""
    assert structure.cycles(structure.imports(structure.modules())) == []


def test_a_cycle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}
    assert structure.cycles(graph) == [["b", "c"]]


def test_imports_inside_functions_count() -> None:
    graph = structure.imports(structure.modules())
    assert "recserve_mf.retriever" in graph["recserve_mf"]


def test_layers_are_few() -> None:
    assert structure.layers() <= 12


def test_plugins_take_array_aliases_from_the_contract() -> None:
    """``recserve`` exports them, so that one name means one element type everywhere."""
    alias = re.compile(r"^\w+(?:: TypeAlias)? = (?:np\.ndarray|NDArray)\[[^|\n]*$", re.MULTILINE)
    own = {
        name: found
        for name, file in structure.modules().items()
        if not name.startswith("recserve.") and (found := alias.findall(file.read_text(encoding="utf-8")))
    }
    assert own == {}
