"""``python -m tools.clients`` brings what is generated in ``clients/`` up to date with the API."""

from __future__ import annotations

from tools.clients.operations import document, left_out
from tools.clients.writing import TYPES, write, write_types
from tools.structure import ROOT


def main() -> None:
    """Write the files and say which have changed."""
    for path in write():
        print(f"wrote {path.relative_to(ROOT)}")
    for name in left_out(document()):
        print(f"{name} is left out: no client has a method of it")
    if write_types():
        print(f"wrote {TYPES.relative_to(ROOT)}")
    else:
        print(f"npm is missing: {TYPES.relative_to(ROOT)} is left as it was")


if __name__ == "__main__":
    main()
