"""The structure of the product code: no import cycle of any kind, few layers, short modules."""

from __future__ import annotations

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
