"""Structure of the product code: folders and modules, import cycles, layers, and what is longest.

Run by ``make structure``. Imports are read from the source, so that those inside functions and under
``TYPE_CHECKING`` count as well.
"""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("recserve", "deployments/recserve_deployments", "plugins/*/src/*", "clients/python/src/*")
MOST_ENTRIES = 9
"""Entries of a folder that a reader takes in at a glance."""
_NO_CHOICE = {"__init__.py", "__main__.py", "__pycache__", "py.typed"}


def packages() -> list[Path]:
    """Top folders of all packages of the product."""
    found = (folder for pattern in PACKAGES for folder in sorted(ROOT.glob(pattern)))
    return [folder for folder in found if (folder / "__init__.py").exists()]


def modules() -> dict[str, Path]:
    """Source files by dotted name; a package's is that of its ``__init__.py``."""
    found: dict[str, Path] = {}
    for package in packages():
        for file in sorted(package.rglob("*.py")):
            parts = file.relative_to(package.parent).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = file
    return found


def imports(files: Mapping[str, Path]) -> dict[str, set[str]]:
    """Modules of ``files`` that each of them imports, wherever the import stands."""
    graph: dict[str, set[str]] = {}
    for name, file in files.items():
        found: set[str] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names if alias.name in files)
            elif isinstance(node, ast.ImportFrom) and node.module in files:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                found.update(inner & set(files) or {str(node.module)})
        graph[name] = found - {name}
    return graph


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import one another, directly or by others (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return found


def entries() -> Counter[str]:
    """What a reader chooses between in each folder.

    ``__init__.py``, ``__main__.py`` and ``py.typed`` hold nothing that is looked for, and a template beside
    the module of the same name counts with it.
    """
    counts: Counter[str] = Counter()
    for package in packages():
        for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
            named = {path.stem for path in folder.iterdir() if path.name not in _NO_CHOICE}
            if named and folder.name != "__pycache__":
                counts[str(folder.relative_to(ROOT))] = len(named)
    return counts


def test_files() -> list[Path]:
    """Files of tests, those of plugins included."""
    return [*ROOT.glob("tests/**/*.py"), *ROOT.glob("plugins/*/tests/**/*.py")]


def untested(files: Mapping[str, Path], tests: Iterable[Path]) -> list[str]:
    """Modules without tests: none has their name or that of their package, and none imports them.

    A test file that is named after a package, such as ``tests/recserve/config/test_config.py``, tests what
    its modules do together. Modules without a function that does anything hold nothing to test: packages,
    which only gather names, tables, declarations and protocols.
    """
    imported: set[str] = set()
    named: set[str] = set()
    for test in tests:
        named.add(test.stem.removeprefix("test_"))
        for node in ast.walk(ast.parse(test.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return [
        name
        for name, file in files.items()
        if not file.stem.startswith("__")
        and name not in imported
        and file.stem not in named
        and not _tested_as_package(file)
        and _does_anything(file)
    ]


def _tested_as_package(module: Path) -> bool:
    """Whether the folder that mirrors a module's package has tests that are named after the package."""
    folder = module.parent
    if "clients" in folder.parts:
        inner = folder.relative_to(ROOT / "clients" / "python" / "src").parts[1:]
        tests, name = ROOT / "tests" / "clients" / "python", inner[-1] if inner else folder.name
    elif "plugins" in folder.parts:
        plugin = next(parent for parent in folder.parents if parent.name == "src").parent
        inner = folder.relative_to(plugin / "src").parts[1:]
        tests, name = plugin / "tests", inner[-1] if inner else folder.name.removeprefix("recserve_")
    else:
        inner = folder.relative_to(ROOT).parts if folder.is_relative_to(ROOT) else ()
        tests, name = ROOT / "tests", folder.name
    return tests.joinpath(*inner, f"test_{name}.py").exists()


def _does_anything(module: Path) -> bool:
    """Whether a module has a function with a body other than its docstring and ``...``."""
    functions = (
        node
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return any(
        not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for function in functions
        for statement in function.body
    )


def lengths(files: Mapping[str, Path], kinds: tuple[type[ast.AST], ...]) -> Counter[str]:
    """Lines of each definition of some kinds, by module and name."""
    counts: Counter[str] = Counter()
    for name, file in files.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, kinds) and isinstance(
                node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            ):
                counts[f"{name}.{node.name}"] = (node.end_lineno or 0) - node.lineno + 1
    return counts


def layers() -> int:
    """Layers that import-linter holds up."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = config["tool"]["importlinter"]["contracts"]
    return sum(len(contract.get("layers", ())) for contract in contracts)


def report() -> Iterator[str]:
    """The figures, a line each."""
    files = modules()
    graph = imports(files)
    sizes = Counter(
        {name: len(file.read_text(encoding="utf-8").splitlines()) for name, file in files.items()}
    )
    yield f"modules: {len(files)}, lines: {sum(sizes.values())}, imports: {sum(map(len, graph.values()))}"
    yield f"layers of import-linter: {layers()}"
    groups = cycles(graph)
    yield f"import cycles: {len(groups) or 'none'}"
    yield from (f"  {' <-> '.join(group)}" for group in groups)
    yield "folders (entries; * has more than nine):"
    for folder, count in sorted(entries().items()):
        yield f"  {count:3} {'*' if count > MOST_ENTRIES else ' '} {folder}"
    missing = untested(files, test_files())
    yield f"modules without a test file, {len(missing)}: {', '.join(missing)}"
    functions = lengths(files, (ast.FunctionDef, ast.AsyncFunctionDef))
    for title, counts in (
        ("module", sizes),
        ("class", lengths(files, (ast.ClassDef,))),
        ("function", functions),
    ):
        longest = ", ".join(f"{name} {lines}" for name, lines in counts.most_common(3))
        yield f"longest {title}: {longest}"


if __name__ == "__main__":
    print("\n".join(report()))
