"""Files of the clients that follow from the document: what they should hold, and what they hold."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.clients.operations import document, operations, schemas_of
from tools.clients.python_calls import KINDS, call_modules, sent_schemas
from tools.clients.python_types import answer_modules, params_module
from tools.clients.typescript import operations_module
from tools.structure import ROOT

CLIENTS = ROOT / "clients"
PYTHON = CLIENTS / "python" / "src" / "recserve_client"
TYPESCRIPT = CLIENTS / "typescript"
DOCUMENT = CLIENTS / "openapi.json"
TYPES = TYPESCRIPT / "src" / "schema.ts"
"""Made of the document by openapi-typescript, the only generated file that needs npm."""


def wanted() -> dict[Path, str]:
    """What all generated files but :data:`TYPES` should hold."""
    built = document()
    schemas = schemas_of(built)
    calls = operations(built)
    files = {DOCUMENT: json.dumps(built, indent=1, ensure_ascii=False) + "\n"}
    modules = {f"answers/{name}": source for name, source in answer_modules(calls, schemas).items()}
    for kind in KINDS:
        modules |= {
            f"{kind.package}/{name}": source for name, source in call_modules(kind, calls, schemas).items()
        }
    modules["params"] = params_module(sent_schemas(calls), schemas)
    files |= _formatted(modules)
    files[TYPESCRIPT / "src" / "operations.ts"] = operations_module(calls, schemas)
    return files


def stale(files: dict[Path, str]) -> list[Path]:
    """Files that do not hold what they should, and modules that should not be there."""
    there = {
        path for folder in ("answers", "calls", "async_calls") for path in (PYTHON / folder).glob("*.py")
    }
    changed = [path for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text]
    return [*changed, *sorted(there - set(files))]


def write() -> list[Path]:
    """Write what has changed; returns it."""
    files = wanted()
    changed = stale(files)
    for path in changed:
        if path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
        else:
            path.unlink()
    return changed


def write_types() -> bool:
    """Have openapi-typescript write :data:`TYPES`; False without npm."""
    npm = shutil.which("npm")
    if npm is None:
        return False
    install_tools(npm)
    subprocess.run([npm, "run", "--silent", "types"], cwd=TYPESCRIPT, check=True)
    return True


def install_tools(npm: str) -> None:
    """Install what TypeScript is generated, compiled and checked by, unless it is there."""
    there, wanted = TYPESCRIPT / "node_modules" / ".package-lock.json", TYPESCRIPT / "package-lock.json"
    if not there.exists() or there.stat().st_mtime < wanted.stat().st_mtime:
        subprocess.run([npm, "ci", "--silent", "--no-audit", "--no-fund"], cwd=TYPESCRIPT, check=True)


def _formatted(modules: Mapping[str, str]) -> dict[Path, str]:
    """Modules as ruff leaves them: imports in order, lines of a length, nothing imported in vain."""
    with TemporaryDirectory() as folder:
        for name, source in modules.items():
            file = Path(folder, f"{name}.py")
            file.parent.mkdir(exist_ok=True)
            file.write_text(source, encoding="utf-8")
        for command in (["check", "--fix-only", "--select", "I,F401,RUF022"], ["format"]):
            options = ["--quiet", "--no-cache", "--config", str(ROOT / "pyproject.toml"), folder]
            subprocess.run([sys.executable, "-m", "ruff", *command, *options], check=True)
        return {
            PYTHON / f"{name}.py": Path(folder, f"{name}.py").read_text(encoding="utf-8") for name in modules
        }
