"""Fetches the files of other projects that the console and its tests load, and compares the committed ones.

Run by ``python -m tools.vendor_console``; needs npm and its registry. Nothing else of the project does: what
it fetches is committed. The tables of versions and checksums stand in a ``README.md`` beside the files.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (ROOT / "recserve/api/static/vendor", ROOT / "tests/support/axe")
PATIENCE = 120.0
"""Seconds that npm has for a package."""
_ROW = re.compile(
    r"^\| `(?P<file>[^`]+)` \| (?P<package>[^ |]+) \| (?P<version>[^ |]+) \| `(?P<inside>[^`]+)` "
    r"\| [^|]+ \| `(?P<sha256>[0-9a-f]{64})` \|$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Vendored:
    """One committed file of another project.

    Attributes:
        path: Where it is committed.
        package: Its npm package.
        version: Version of the package.
        inside: Path in the package.
        sha256: What the committed file must have.
    """

    path: Path
    package: str
    version: str
    inside: str
    sha256: str

    @property
    def intact(self) -> bool:
        """Whether the committed file is what the table says."""
        return self.path.exists() and digest(self.path.read_bytes()) == self.sha256


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def vendored(folder: Path) -> list[Vendored]:
    """The files that a folder's ``README.md`` lists."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    return [
        Vendored(folder / row["file"], row["package"], row["version"], row["inside"], row["sha256"])
        for row in _ROW.finditer(text)
    ]


def unlisted(folder: Path, files: Iterable[Vendored]) -> list[Path]:
    """Files of a folder that its table does not name."""
    known = {one.path.name for one in files} | {"README.md"}
    return sorted(path for path in folder.iterdir() if path.name not in known)


def fetch(package: str, version: str, into: Path) -> Path:
    """Fetch a package's archive from the npm registry.

    Args:
        package: Its name.
        version: Its version.
        into: Folder for the archive.

    Raises:
        RuntimeError: npm is missing, failed or took too long.
    """
    command = ["npm", "pack", f"{package}@{version}", "--silent", "--pack-destination", str(into)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    except FileNotFoundError:
        raise RuntimeError("npm is missing; install Node.js to fetch packages") from None
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"npm did not fetch {package}@{version} within {PATIENCE:g} s") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["no reason given"]
        raise RuntimeError(f"npm could not fetch {package}@{version}: {lines[-1]}") from None
    return into / done.stdout.strip().splitlines()[-1]


def content(archive: Path, inside: str) -> bytes:
    """A file of a package's archive.

    Raises:
        RuntimeError: The archive has no such file.
    """
    with tarfile.open(archive) as opened:
        try:
            found = opened.extractfile(f"package/{inside}")
        except KeyError:
            found = None
        if found is None:
            raise RuntimeError(f"{archive.name} has no file {inside}")
        return found.read()


def problems(files: Sequence[Vendored], *, write: bool) -> Iterator[str]:
    """Compare committed files with those of the registry, a line for each that differs.

    Args:
        files: The files.
        write: Replace what differs.
    """
    with tempfile.TemporaryDirectory() as folder:
        archives: dict[tuple[str, str], Path] = {}
        for one in files:
            key = (one.package, one.version)
            if key not in archives:
                archives[key] = fetch(*key, Path(folder))
            fetched = content(archives[key], one.inside)
            if digest(fetched) != one.sha256:
                yield f"{one.path.name}: {one.package}@{one.version} has sha256 {digest(fetched)} by now"
            if one.path.exists() and one.path.read_bytes() == fetched:
                continue
            if write:
                one.path.write_bytes(fetched)
                yield f"{one.path.name}: written anew"
            else:
                yield f"{one.path.name}: is not what {one.package}@{one.version} has"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare all files; returns 1 if one differs or cannot be fetched."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="replace files that differ")
    write = parser.parse_args(arguments).write
    try:
        found = [line for folder in FOLDERS for line in problems(vendored(folder), write=write)]
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(found) or "all files are those of their packages")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
