"""Files that training keeps of what it measured, in the folder ``reports`` of a home."""

from __future__ import annotations

from pathlib import Path


def measurement_file(home: Path, bundle_id: str) -> Path:
    """The measurement of a bundle, user by user; it may not be there."""
    return home / "reports" / f"{bundle_id}.measured.json"


def report_page(home: Path, bundle_id: str) -> Path:
    """The page of what was measured of a bundle; it may not be there."""
    return home / "reports" / f"{bundle_id}.html"
